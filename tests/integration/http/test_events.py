"""`GET /events`: live, resumed without a gap or a double, filtered, by ticket, and ended when the server stops."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoheal.core.events import KINDS
from autoheal.remediator import stream as streams
from autoheal.web import tail
from tests.integration.http.live import ADMIN, Server, alert, is_problem, server


class Stream:
    """An open stream, read frame by frame; what does not come within 10 s is a failure."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.comments: list[str] = []
        self._lines = answer.iter_lines()

    def frame(self) -> dict[str, Any]:
        """The next event."""
        found: dict[str, str] = {}
        for line in self._lines:
            if line.startswith(":"):
                self.comments.append(line)
            elif line:
                name, _, value = line.partition(": ")
                found[name] = value
            elif found:
                event: dict[str, Any] = json.loads(found["data"])
                assert (str(event["id"]), event["kind"]) == (found["id"], found["event"])
                return event
        raise AssertionError("the stream ended")

    def up_to(self, last: int) -> list[dict[str, Any]]:
        found = [self.frame()]
        while found[-1]["id"] < last:
            found.append(self.frame())
        return found

    def comment(self) -> str:
        """The next comment line."""
        return next(line for line in self._lines if line.startswith(":"))


@contextmanager
def follow(live: Server, headers: dict[str, str] | None = None, **query: str) -> Iterator[Stream]:
    with (
        httpx.Client(timeout=10) as client,
        client.stream("GET", f"{live.url}/events", params=query, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        found = Stream(answer)
        assert found.comment() == ": autoheal"
        yield found


def ids(events: list[dict[str, Any]]) -> list[int]:
    return [event["id"] for event in events]


def test_what_happens_is_seen_as_it_happens(live: Server) -> None:
    with follow(live) as stream:
        before = live.last_id
        live.alert(alert("Seen", n="1"))
        live.alert(alert("Seen", n="2"))
        found = stream.up_to(live.last_id)
        assert ids(found) == list(range(before + 1, before + 1 + len(found)))
        assert [e["labels"]["n"] for e in found if e.get("alertname") == "Seen"] == ["1", "2"]
        stored = {event["id"]: event for event in live.events()}
        assert all(stored[event["id"]] == event for event in found)


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_reader_comes_back_where_it_was(live: Server, how: str) -> None:
    live.alert(*(alert("Again", n=str(n)) for n in range(5)))
    last = live.last_id
    after = last - 3
    headers = {"last-event-id": str(after)} if how == "header" else {}
    query = {} if how == "header" else {"last_event_id": str(after)}
    with follow(live, headers, **query) as stream:
        assert ids(stream.up_to(last)) == [after + 1, after + 2, after + 3]
        live.alert(alert("Again"))
        assert stream.frame()["id"] == last + 1


def test_an_id_from_the_future_means_now(live: Server) -> None:
    with follow(live, last_event_id="9" * 18) as stream:
        last = live.last_id
        live.alert(alert("Now"))
        assert stream.frame()["id"] == last + 1


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "", " ", "9" * 19, "٣"])
def test_an_id_that_is_none_is_refused(live: Server, given: str) -> None:
    if given.strip():
        is_problem(live.get("/events", params={"last_event_id": given}), 400, "last_event_id")
    is_problem(
        live.get("/events", headers={"last-event-id": "x" + given.strip().replace("٣", "")}), 400, "last_event_id"
    )


def test_filters(live: Server) -> None:
    after = live.last_id
    with (
        follow(live, kind="webhook_rejected,mode_changed") as kinds,
        follow(live, alertname="Wanted") as names,
        follow(live, last_event_id=str(after), kind="decision_skip", alertname="Wanted,Other") as both,
    ):
        live.alert(alert("Unwanted"), alert("Wanted"), alert("Other"))
        live.post("/mode", json={"enabled": False, "dry_run": True})
        assert kinds.frame()["kind"] == "mode_changed"
        assert names.frame()["alertname"] == "Wanted"
        assert [both.frame()["alertname"], both.frame()["alertname"]] == ["Wanted", "Other"]


def test_no_gap_and_no_double_between_memory_and_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "KEPT", 30)
    monkeypatch.setattr(tail, "PAGE", 7)
    with server(tmp_path) as own:

        def send() -> None:
            for number in range(40):
                own.alert(*(alert("Flood", n=f"{number}-{n}") for n in range(1 + number % 9)))

        sender = threading.Thread(target=send)
        with follow(own, last_event_id="0") as early, follow(own) as now:
            sender.start()
            seen = [early.frame() for _ in range(60)]
            with follow(own, last_event_id="17") as later:
                sender.join()
                last = own.last_id
                seen += early.up_to(last)
                assert ids(later.up_to(last)) == list(range(18, last + 1))
            found = ids(now.up_to(last))
        assert ids(seen) == list(range(1, last + 1))
        assert found == list(range(found[0], last + 1))


def test_a_reader_comes_back_over_a_restart(tmp_path: Path) -> None:
    with server(tmp_path) as own, follow(own, last_event_id="0") as stream:
        own.alert(alert("Before"))
        first = stream.up_to(own.last_id)
    with server(tmp_path) as own, follow(own, {"last-event-id": str(first[-1]["id"])}) as stream:
        own.alert(alert("After"))
        second = stream.up_to(own.last_id)
    seen = first + second
    assert ids(seen) == list(range(1, seen[-1]["id"] + 1))
    assert [event["kind"] for event in seen].count("stopped") == 1


def test_a_stream_ends_when_the_server_stops(tmp_path: Path) -> None:
    with server(tmp_path) as own:
        client = httpx.Client(timeout=10)
        answer = client.send(client.build_request("GET", f"{own.url}/events"), stream=True)
        lines = answer.iter_lines()
        assert next(lines) == ": autoheal"
    assert [line for line in lines if line.startswith("data")] == []
    client.close()


def test_a_comment_comes_while_nothing_is_to_be_told(live: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert streams.BEAT == 15.0
    monkeypatch.setattr(streams, "BEAT", 0.2)
    with follow(live) as stream:
        assert stream.comment() == ": still here"
    stop = threading.Event()

    def chatter() -> None:
        while not stop.wait(0.02):
            live.alert(alert("Chatter"))

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        with follow(live, kind="stopped") as stream:
            assert [stream.comment() for _ in range(3)] == [": still here"] * 3
    finally:
        stop.set()
        thread.join()


def test_a_ticket_opens_one_stream(tmp_path: Path) -> None:
    token = {"authorization": f"Bearer {ADMIN}"}
    with server(tmp_path, {"AUTOHEAL_ADMIN_TOKEN": ADMIN}) as own:
        is_problem(own.get("/events"), 401)
        is_problem(own.get("/events", params={"ticket": "made-up"}), 401)
        is_problem(own.post("/events/ticket"), 401)
        ticket = own.post("/events/ticket", headers=token).json()["ticket"]
        with follow(own, ticket=ticket) as stream:
            own.alert(alert("Ticketed"))
            assert stream.frame()["kind"] == "webhook_received"
            assert "autoheal_sse_clients 1.0" in own.get("/metrics").text
        is_problem(own.get("/events", params={"ticket": ticket}), 401)
        with follow(own, token, ticket=ticket):
            pass


def test_every_kind_is_one_of_the_contract(live: Server) -> None:
    assert {event["kind"] for event in live.events()} <= set(KINDS)

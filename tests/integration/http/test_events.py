"""`GET /events`: live, resumed without a gap or a double, filtered, by ticket, and ended when the server stops."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoheal.core.events import KINDS
from autoheal.store.retention import prune
from autoheal.web import sse, tail
from tests.integration.http.live import ADMIN, Server, alert, is_problem, read_all, server
from tests.servers import wait_until


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

    def reset(self) -> dict[str, Any]:
        """What is told first: that the id asked for is gone."""
        lines = [next(self._lines) for _ in range(5)][1:]
        told: dict[str, Any] = json.loads(lines[2].removeprefix("data: "))
        assert lines == [f"id: {told['first'] - 1}", "event: reset", lines[2], ""]
        return told

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


def test_an_id_that_the_ledger_does_not_have_is_told_and_means_now(live: Server) -> None:
    with follow(live, last_event_id="9" * 18) as stream:
        last = live.last_id
        told = stream.reset()
        assert told == {"first": last + 1, "asked": int("9" * 18), "reason": "ahead"}
        live.alert(alert("Now"))
        assert stream.frame()["id"] == last + 1


def test_an_id_past_retention_is_told_and_the_rest_is_whole(tmp_path: Path) -> None:
    with server(tmp_path) as own:
        own.alert(*(alert("Old", n=str(n)) for n in range(20)))
        own.service._loop.call_soon_threadsafe(own.service.tail._recent.clear)  # as after a restart
        before = float(own.events(n=3)[-1]["ts"]) + 1
        wait_until(lambda: time.time() > before, what="the next second")
        own.alert(alert("New"))
        gone = prune(own.service.ground.url, before)
        assert gone.events > 10
        with follow(own, last_event_id="3") as stream:
            told = stream.reset()
            assert (told["asked"], told["reason"]) == (3, "pruned")
            assert told["first"] == gone.first > 10
            found = ids(stream.up_to(own.last_id))
            assert found == list(range(gone.first, own.last_id + 1))


def test_who_takes_nothing_is_cut_off_and_comes_back_without_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "KEPT", 200)
    monkeypatch.setattr(tail, "WATCH", 0.02)
    monkeypatch.setattr(sse, "BUFFER", 8192)
    with server(tmp_path) as own, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        slow.settimeout(10)
        slow.connect((own.host, own.port))
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: own.service.tail.readers == 1, what="a seat")
        first = own.last_id + 1
        dropped = own.service.metrics.sse_dropped._value

        def flood() -> bool:
            own.alert(*(alert("Big", text="x" * 2000, n=str(n)) for n in range(100)))
            return dropped.get() >= 1

        wait_until(flood, what="the end of the slow reader")
        last = own.last_id
        wait_until(lambda: own.service.tail.readers == 0, what="an empty seat")
        assert "autoheal_sse_dropped_total 1.0" in own.get("/metrics").text
        taken = [int(number) for number in re.findall(rb"\nid: (\d+)\n", read_all(slow))]
        assert taken == list(range(first, first + len(taken)))
        with follow(own, last_event_id=str(taken[-1])) as again:
            assert ids(again.up_to(last)) == list(range(taken[-1] + 1, last + 1))


def test_who_takes_nothing_for_too_long_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "STALLED", 0.1)
    monkeypatch.setattr(tail, "WATCH", 0.02)
    monkeypatch.setattr(sse, "BUFFER", 8192)
    with server(tmp_path) as own, socket.socket() as slow:
        own.alert(*(alert("Big", text="x" * 2000, n=str(n)) for n in range(300)))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        slow.connect((own.host, own.port))
        slow.sendall(b"GET /events?last_event_id=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: own.service.metrics.sse_dropped._value.get() == 1, what="the end of the slow reader")
        wait_until(lambda: own.service.tail.readers == 0, what="an empty seat")


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "", " ", "9" * 19, "٣"])
def test_an_id_that_is_none_is_refused(live: Server, given: str) -> None:
    if given.strip():
        is_problem(live.get("/events", params={"last_event_id": given}), 400, "last_event_id")
    is_problem(
        live.get("/events", headers={"last-event-id": "x" + given.strip().replace("٣", "")}), 400, "last_event_id"
    )


@pytest.mark.parametrize("how", [{"headers": {"last-event-id": ""}}, {"params": {"last_event_id": ""}}])
def test_an_empty_id_is_none(live: Server, how: dict[str, Any]) -> None:
    with live.client.stream("GET", "/events", **how) as answer:
        assert answer.status_code == 200


def test_filters(live: Server) -> None:
    after = live.last_id
    with (
        follow(live, rule="fails,other") as rules,
        follow(live, kind="webhook_rejected,mode_changed") as kinds,
        follow(live, alertname="Wanted") as names,
        follow(live, last_event_id=str(after), kind="decision_skip", alertname="Wanted,Other") as both,
    ):
        live.alert(alert("Unwanted"), alert("Wanted"), alert("Other"), alert("Fails"))
        live.post("/mode", json={"enabled": False, "dry_run": True})
        assert rules.frame()["rule"] == "fails"
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
    assert tail.BEAT == 15.0
    monkeypatch.setattr(tail, "BEAT", 0.2)
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

"""`autoheal audit`: the question that is asked, the rows, following over lost connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from autoheal.cli.follow import Wanted, follow, history
from autoheal.clients.autoheal import AutohealClient
from tests.unit.cli.stage import Answer, Asked, Stage


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": number, "ts": 1_700_000_000.0 + number, "kind": "decision_skip", "alertname": "Down", **fields}


def page(*events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"count": len(events), "events": list(events), **more}


def frames(*events: dict[str, Any]) -> bytes:
    return "".join(f"id: {e['id']}\nevent: {e['kind']}\ndata: {json.dumps(e)}\n\n" for e in events).encode()


def test_filters_are_sent(stage: Stage) -> None:
    stage.routes["GET /audit"] = page()
    given = ("--kind", "ack", "--alertname", "A", "--rule", "r", "--since", "100", "--until", "200.5")
    done = stage.run("audit", *given, "--contains", "x&y", "-n", "7")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no event matches\n")
    expected = {"kind": "ack", "alertname": "A", "rule": "r", "since": "100.000000", "until": "200.500000"}
    assert stage.asked[0].params == {**expected, "contains": "x&y", "n": "7"}


def test_rows_and_json(stage: Stage) -> None:
    skip = event(3, reason="cooldown", trace={"rule": "r", "cooldown": "34 s remain"}, labels={"instance": "db:1"})
    acted = event(4, kind="action_fail", cmd="ls", rc=2, duration_seconds=0.25, remediation_id="r4", error="no")
    stage.routes["GET /audit"] = page(skip, acted)
    done = stage.run("audit")
    assert done.exit_code == 0
    first, second = done.stdout.splitlines()[1:]
    assert "Down on db:1 cooldown: 34 s remain" in first
    assert "Down ls no rc=2 in 0.25s [r4]" in second
    assert json.loads(stage.run("audit", "--json").stdout) == page(skip, acted)


@pytest.mark.parametrize(
    "args",
    [
        ("--since", "soon"),
        ("--until", "soon"),
        ("--since", "200", "--until", "100"),
        ("--kind", "decision_skp"),
        ("-n", "10001"),
        ("-n", "many"),
    ],
)
def test_a_question_that_cannot_be_asked_is_wrong_use(stage: Stage, args: tuple[str, ...]) -> None:
    done = stage.run("audit", *args)
    assert (done.exit_code, done.stdout, stage.asked) == (2, "", [])


def test_a_search_that_was_broken_off_is_taken_up_again(stage: Stage) -> None:
    pages = {
        None: page(event(90), partial=True, before=80),
        "80": page(partial=True, before=40),
        "40": page(event(7), event(8)),
    }
    stage.routes["GET /audit"] = lambda asked: (200, pages[asked.params.get("before")])
    with AutohealClient(stage.url) as client:
        assert [e["id"] for e in history(client, Wanted(contains="x"), 3)] == [7, 8, 90]
    assert [asked.params["n"] for asked in stage.asked] == ["3", "2", "2"]


def test_a_server_that_never_comes_to_an_end_is_not_asked_for_ever(stage: Stage) -> None:
    stage.routes["GET /audit"] = page(partial=True, before=50)
    with AutohealClient(stage.url) as client:
        assert history(client, Wanted(), 3) == []
    assert len(stage.asked) == 2


# ---- following --------------------------------------------------------------------------------------------------


class Script:
    """A server whose streams are given in advance, each ending the connection; and the sleeps that were taken."""

    def __init__(self, stage: Stage, *streams: Answer, old: tuple[dict[str, Any], ...] = ()) -> None:
        self.streams: Iterator[Answer] = iter(streams)
        self.slept: list[float] = []
        self.notes: list[str] = []
        stage.routes["GET /audit"] = lambda asked: (200, page(*old[-int(asked.params["n"]) :]))
        stage.routes["GET /events"] = lambda asked: next(self.streams)

    def first(self, stage: Stage, count: int, wanted: Wanted | None = None, n: int = 10) -> list[int]:
        with AutohealClient(stage.url) as client:
            told = follow(client, wanted or Wanted(), n, self.notes.append, self.slept.append)
            return [e["id"] for e in islice(told, count)]


def resumed(stage: Stage) -> list[str]:
    return [asked.headers["last-event-id"] for asked in stage.asked if asked.path == "/events"]


def test_what_was_is_followed_by_what_happens_without_gap_or_double(stage: Stage) -> None:
    script = Script(
        stage,
        (200, frames(event(3), event(4))),
        (200, frames(event(5))),
        old=(event(1), event(2)),
    )
    assert script.first(stage, 5) == [1, 2, 3, 4, 5]
    assert resumed(stage) == ["2", "4"]


def test_a_ledger_that_is_another_one_now_is_told_and_followed(stage: Stage) -> None:
    """It was restored: the server says with which event it goes on, and ids begin lower than they were."""
    reset = b'id: 1\nevent: reset\ndata: {"first":2,"asked":9,"reason":"ahead"}\n\n'
    script = Script(stage, (200, reset + frames(event(2))), (200, frames(event(3))), old=(event(9),))
    assert script.first(stage, 3) == [9, 2, 3]
    assert resumed(stage) == ["9", "2"] and "up to 1 cannot be told" in script.notes[0]


def test_lost_connections_are_tried_again_ever_more_seldom_and_told(stage: Stage) -> None:
    down = (503, {"detail": "starting"})
    script = Script(stage, *[down] * 7, (200, frames(event(1))), (200, frames(event(2))))
    assert script.first(stage, 2) == [1, 2]
    assert script.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 1.0]
    assert len(script.notes) == 8 and "trying again in 4s" in script.notes[2]


def test_only_what_is_wanted_is_told_and_heartbeats_by_name_only(stage: Stage) -> None:
    beats = (event(1, kind="heartbeat"), event(2), event(3, alertname="Other"), event(4, rule="r"))
    for wanted, expected in (
        (Wanted(), [2, 3, 4]),
        (Wanted(kind="heartbeat"), [1]),
        (Wanted(alertname="Other"), [3]),
        (Wanted(rule="r"), [4]),
        (Wanted(contains='"Other"'), [3]),
        (Wanted(since=1_700_000_003.0), [3, 4]),
        (Wanted(until=1_700_000_002.0), [2]),
    ):
        script = Script(stage, (200, frames(*beats)))
        assert script.first(stage, len(expected), wanted, n=0) == expected


def test_without_a_stream_the_trail_is_polled(stage: Stage) -> None:
    answers = [page(event(2)), page(event(1), event(2)), page(event(2)), (503, {}), page(event(2), event(3), event(4))]
    told = iter(answers)

    def audit(asked: Asked) -> Answer:
        found = next(told)
        return found if isinstance(found, tuple) else (200, found)

    script = Script(stage)
    stage.routes["GET /audit"] = audit
    del stage.routes["GET /events"]
    assert script.first(stage, 4) == [1, 2, 3, 4]
    assert script.slept == [2.0, 4.0]


def test_leave_that_is_taken_away_ends_it(stage: Stage) -> None:
    stage.routes |= {"GET /audit": page(event(1)), "GET /events": lambda asked: (401, {"detail": "no"})}
    done = stage.run("audit", "--follow", "--json")
    assert done.exit_code == 1
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1]


def test_interrupted_by_a_person_it_ends_well(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> Iterator[dict[str, Any]]:
        yield event(1, alertname="x\x1b")
        raise KeyboardInterrupt

    monkeypatch.setattr("autoheal.cli.audit.follow", interrupted)
    done = stage.run("audit", "--follow")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].split() == ["ID", "TIME", "EVENT", "WHAT"]
    assert "x\\x1b" in done.stdout.splitlines()[1]

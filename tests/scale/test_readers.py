"""Two replicas behind one address: a reader goes from one to the other without a gap; a token of one holds at both."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.service import Background, alert, policy, rule
from tests.databases import Postgres
from tests.scale.cluster import Cluster, Remediator

ADMIN = {"Authorization": "Bearer admin-token-of-the-tests"}


@pytest.fixture
def pair(tmp_path: Path, postgres_server: Postgres) -> Iterator[Cluster]:
    env = {"AUTOHEAL_ADMIN_TOKEN": ADMIN["Authorization"].split()[1]}
    quiet = policy(rule("quiet", "Loud", {"action": {"command": ["true"]}}))
    with Cluster(tmp_path, postgres_server, None, quiet, workers=0, env=env) as cluster:
        for member in cluster.remediators:
            member.web.headers.update(ADMIN)
        yield cluster


def read(one: Remediator, last: int, events: int) -> list[dict[str, Any]]:
    """The next so many events after an id, off one replica's stream."""
    found: list[dict[str, Any]] = []
    with one.web.stream("GET", "/events", headers={"Last-Event-ID": str(last)}, timeout=20) as answer:
        for line in answer.iter_lines():
            assert line != "event: reset"
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
                if len(found) == events:
                    return found
    raise AssertionError("the stream ended")


def test_a_reader_that_goes_from_one_to_the_other_misses_nothing_and_hears_nothing_twice(pair: Cluster) -> None:
    numbers, turn = iter(range(10_000)), threading.Lock()

    def chatter() -> None:
        with turn:
            number = next(numbers)
        one = pair.remediators[number % 2]
        assert one.post("/alert", {"version": "4", "alerts": [alert("Quiet", n=str(number))]}).status_code == 200

    seen: list[dict[str, Any]] = []
    with Background(chatter, 0.01):
        for round_ in range(30):  # straight to the other, which may not have heard of the last one yet
            seen += read(pair.remediators[round_ % 2], seen[-1]["id"] if seen else 0, 1 + round_ % 7)
    assert [event["id"] for event in seen] == list(range(1, len(seen) + 1))


def test_a_ticket_of_one_opens_one_stream_at_the_other(pair: Cluster) -> None:
    one, other = pair.remediators
    ticket = one.post("/events/ticket").json()["ticket"]

    def status(member: Remediator) -> int:
        with httpx.stream("GET", f"{member.url}/events", params={"ticket": ticket}, timeout=10) as answer:
            return answer.status_code

    assert [status(other), status(one), status(other)] == [200, 401, 401]

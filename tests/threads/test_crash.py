"""One threader on its SQLite file, killed at every point of the way to Slack; and answers that are lost."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoheal.testing.http_fake import Fault, as_json
from autoheal.testing.slack import FakeSlack
from tests.servers import wait_until
from tests.threads.chaos import NEVER
from tests.threads.groups import Group
from tests.threads.proof import problems, threads
from tests.threads.talker import Haste, Talker

HASTE = Haste(lease=3.0, burst=10)
STEADY = {"flapping": NEVER}


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with HASTE.slack(time.time) as fake:
        yield fake


@pytest.fixture
def talker(tmp_path: Path, slack: FakeSlack) -> Iterator[Talker]:
    with Talker(tmp_path, slack, HASTE, STEADY) as made:
        yield made


class Sender:
    """Delivers what happens, in order, as Alertmanager does: what was not answered comes again first."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self._owed: list[dict[str, Any]] = []

    def happens(self, group: Group) -> None:
        self._owed.append(group.step())
        self.deliver()

    def deliver(self) -> None:
        try:
            while self._owed:
                self._talker.send(self._owed[0])
                del self._owed[0]
        except httpx.TransportError:
            pass


def settled(talker: Talker) -> None:
    wait_until(talker.idle, 30, "rest")


LIVES = (
    "threader.claimed:1",
    "threader.sent:1",
    "threader.heard:2",
    "threader.confirmed:2",
    "threader.claimed:4",
    "threader.sent:3",
)
"""Where each life ends: at which pass of that point. Parents, replies and edits are on their way then."""


def test_killed_at_each_point(talker: Talker, slack: FakeSlack) -> None:
    """Each life finds out what the one before has left, and ends before it is done."""
    groups = [Group(number, seed=4) for number in range(2)]
    sender, turns = Sender(talker), itertools.cycle(groups)
    for life in LIVES:
        talker.launch("--crash", life)
        talker.process.until(talker.ready, 40)
        wait_until(lambda: sender.happens(next(turns)) or not talker.process.alive, 20, life, every=0.1)
        assert talker.process.wait() == -signal.SIGKILL
    talker.start()
    sender.deliver()
    for group in groups:
        sender.happens(group)
    settled(talker)
    assert problems(slack, groups) == []
    assert slack.violations == []
    assert talker.stop() == 0


def test_what_is_lost_is_looked_for_in_its_own_time(talker: Talker, slack: FakeSlack) -> None:
    """Slack shows a message later than it takes it; news that come meanwhile do not make us look before."""
    group, sender = Group(1, seed=1), Sender(talker)
    talker.start()
    sender.happens(group)
    settled(talker)
    slack.history_lag = 1.5 * HASTE.settle
    slack.faults.append(Fault("lose", "POST /api/chat.postMessage"))
    for _ in range(12):
        sender.happens(group)
    settled(talker)
    assert problems(slack, [group]) == []
    assert threads(slack)[group.name].parent.replies


def test_what_is_lost_again_is_looked_for_as_often_again(talker: Talker, slack: FakeSlack) -> None:
    group, sender = Group(1, seed=1), Sender(talker)
    talker.start()
    slack.history_lag = 1.5 * HASTE.settle
    slack.faults += [Fault("drop", "POST /api/chat.postMessage"), Fault("lose", "POST /api/chat.postMessage")]
    sender.happens(group)
    settled(talker)
    assert problems(slack, [group]) == []
    assert slack.calls["chat.postMessage"] == 1


def test_an_edit_whose_answer_is_lost_is_not_taken_for_undone(talker: Talker, slack: FakeSlack) -> None:
    """What is true again after it was not for a moment has to be drawn again: the edit between may have been done."""
    group, sender = Group(1, seed=1), Sender(talker)
    talker.start()
    sender.happens(group)
    settled(talker)
    parent = threads(slack)[group.name].parent
    body = group.sent[-1]
    slack.faults.append(Fault("lose", "POST /api/chat.update"))
    talker.send(summed_up(body, "worse than it was"))
    wait_until(lambda: "worse than it was" in parent.shown, what="the edit")
    talker.send(body)
    settled(talker)
    assert "worse than it was" not in parent.shown


def summed_up(body: dict[str, Any], summary: str) -> dict[str, Any]:
    """The same delivery with another summary of each alert."""
    return {**body, "alerts": [{**alert, "annotations": {"summary": summary}} for alert in body["alerts"]]}


def test_what_was_looked_for_waits_its_turn_without_being_looked_for_again(tmp_path: Path) -> None:
    """A channel with more to say than may be said: whoever has looked in vain is posted like all others."""
    haste = Haste(speed=4.0, share=1.0, burst=10, lease=10.0)
    groups = [Group(number, seed=1, home="critical") for number in range(12)]
    with haste.slack(time.time) as slack, Talker(tmp_path, slack, haste, STEADY) as talker:
        talker.start()
        slack.faults.append(Fault("drop", "POST /api/chat.postMessage"))
        for group in groups:
            talker.send(group.step())
        settled(talker)
        assert problems(slack, groups) == []
        assert slack.calls["conversations.history"] == 2
        places = [message.nonce for message in slack.channel(groups[0].channel).messages]
        assert len(places) == 12


def test_who_is_turned_away_keeps_the_others_back(tmp_path: Path) -> None:
    """Retry-After counts for those, too, who had been given their turn before."""
    haste = Haste(speed=4.0, share=1.0, burst=10, lease=10.0, ahead=1.0)
    groups = [Group(number, seed=1, home="critical") for number in range(8)]
    with haste.slack(time.time) as slack, Talker(tmp_path, slack, haste, STEADY) as talker:
        talker.start()
        for group in groups:
            talker.send(group.step())
        wait_until(lambda: slack.channel(groups[0].channel).messages, what="the first parent")
        turned_away = as_json(429, {"ok": False, "error": "ratelimited"}, Retry_After="3")
        slack.faults.append(Fault("refuse", "POST /api/chat.postMessage", answer=turned_away))
        wait_until(lambda: not slack.faults, what="a refusal")
        refused = time.time()
        settled(talker)
        assert problems(slack, groups) == []
        assert slack.violations == []
        waited = [one.at - refused for one in slack.channel(groups[0].channel).messages if one.at > refused]
        assert min(waited) > 2.5

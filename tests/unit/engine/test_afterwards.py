"""After a silence of ours has ended: Alertmanager says nothing of what resolved behind it and fires again, so we do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import orjson
import pytest

from autoheal.core.events import Event
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import SetMode
from autoheal.core.moves.service import Heartbeat
from autoheal.engine import head as head_module
from autoheal.engine.acks import EVERY
from autoheal.testing.clock import ManualClock
from autoheal.testing.fake_world import FakeAlertmanagers
from autoheal.testing.memory_claims import MemoryClaims, Table
from autoheal.testing.memory_ledger import Disk
from tests.servers import wait_until
from tests.unit.core.make import T0
from tests.unit.engine.desk import ABOUT, LABELS, Desk

pytestmark = pytest.mark.anyio
STALE = 14_700.0
US = "autoheal"


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    await made.head.play(SetMode(True, False, "ann"))
    await made.head.play(AlertsArrived([ABOUT], receiver=US))
    yield made
    made.head.stop()


def fire(desk: Desk, starts_at: float, receivers: tuple[str, ...] = (US,), **more: Any) -> None:
    desk.cluster.fire(ABOUT.fingerprint, ABOUT.labels, starts_at, receivers=receivers, **more)


async def over(desk: Desk, duration: float = 600.0) -> str:
    """An acknowledgement whose alert resolved behind it and which has ended since."""
    silence_id = await desk.acknowledge(duration)
    await desk.tick()
    desk.cluster.firing.clear()
    assert [e["kind"] for e in await desk.tick(EVERY)][:2] == ["webhook_received", "decision_skip"]
    [ended] = await desk.tick(duration)
    assert (ended["kind"], ended["watched_until"]) == ("ack_ended", desk.clock.now() + STALE)
    return silence_id


def refires(events: list[Event]) -> list[tuple[str, float]]:
    return [
        (one["fingerprint"], one["starts_at"])
        for event in events
        for one in event.get("seen", ())
        if one["status"] == "firing" and "behind" not in one
    ]


async def test_what_fires_again_is_told_and_decided_once(desk: Desk) -> None:
    await over(desk)
    again = desk.clock.now() + 5.0
    fire(desk, again, annotations={"summary": "s"})
    told = await desk.tick(EVERY)
    assert [e["kind"] for e in told] == ["webhook_received", "decision_hold", "approval_requested"]
    assert (told[0]["source"], told[0]["alerts"], told[0]["origin"]) == ("silence_watch", 1, desk.cluster.urls[0])
    [seen] = told[0]["seen"]
    assert (seen["starts_at"], seen["annotations"], seen["receivers"]) == (again, {"summary": "s"}, [US])
    assert (told[1]["starts_at"], told[1]["annotations"]) == (again, {"summary": "s"})
    for _ in range(3):
        assert await desk.tick(EVERY) == [], "once"
    fire(desk, again + 100.0)
    assert refires(await desk.tick(EVERY)) == [(ABOUT.fingerprint, again + 100.0)], "a new episode is another"


async def test_it_is_told_where_alertmanager_knows_little_for_what_is_there_counts(desk: Desk) -> None:
    await over(desk)
    desk.cluster.complete = False
    fire(desk, desk.clock.now())
    assert refires(await desk.tick(EVERY))


Change = Callable[[Desk], None]


@pytest.mark.parametrize(
    "change",
    [
        lambda desk: fire(desk, T0),
        lambda desk: fire(desk, desk.clock.now(), silenced_by=("of another",)),
        lambda desk: fire(desk, desk.clock.now(), inhibited_by=("x",)),
        lambda desk: desk.cluster.fire("f", {"alertname": "Other"}, desk.clock.now(), receivers=(US,)),
    ],
    ids=["began before", "silenced", "inhibited", "another"],
)
async def test_what_is_not_to_be_told_is_not(desk: Desk, change: Change) -> None:
    await over(desk)
    change(desk)
    assert await desk.tick(EVERY) == []
    fire(desk, desk.clock.now())
    assert refires(await desk.tick(EVERY)) == [(ABOUT.fingerprint, desk.clock.now() - EVERY)]


async def test_after_the_time_in_which_alertmanager_repeats_itself_nobody_watches(desk: Desk) -> None:
    silence_id = await over(desk)
    desk.clock.advance(STALE - EVERY)
    assert await desk.tick(EVERY) == [] and silence_id in desk.head.state.former
    desk.clock.advance(1.0)
    fire(desk, desk.clock.now())
    assert await desk.tick(EVERY) == []
    await desk.head.play(Heartbeat())
    assert desk.head.state.former == {} and not [fact for fact in desk.ledger.disk.facts if fact[0] == "former"]
    asked = desk.cluster.asked
    await desk.tick(EVERY)
    assert desk.cluster.asked == asked, "nothing to look for"


@pytest.mark.parametrize(
    ("heard", "receivers", "decided"),
    [
        ("autoheal", ("autoheal",), True),
        ("autoheal", ("pager", "autoheal"), True),
        ("auto\\.heal\\+1", ("auto.heal+1",), True),
        ("autoheal", ("pager",), False),
        ("autoheal", (), False),
        ("", ("autoheal",), False),
    ],
)
async def test_only_what_alertmanager_sends_to_us_is_decided(
    heard: str, receivers: tuple[str, ...], decided: bool
) -> None:
    desk = Desk()
    try:
        await desk.head.play(AlertsArrived([ABOUT], receiver=heard))
        await over(desk)
        fire(desk, desk.clock.now(), receivers)
        told = await desk.tick(EVERY)
        assert refires(told), "who follows the ledger hears of it in any case"
        assert len(told) == (2 if decided else 1)
    finally:
        desk.head.stop()


async def test_one_that_fires_again_behind_the_silence_is_told_then_and_when_it_is_over(desk: Desk) -> None:
    await desk.acknowledge(600.0)
    await desk.tick()
    desk.cluster.firing.clear()
    await desk.tick(EVERY)
    fire(desk, T0 + 100.0)
    [hidden] = await desk.tick(EVERY)
    assert hidden["seen"][0]["behind"] == hidden["silence_id"] and hidden["seen"][0]["starts_at"] == T0 + 100.0
    told = await desk.tick(600.0)
    assert told[0]["kind"] == "ack_ended" and refires(told) == [(ABOUT.fingerprint, T0 + 100.0)]
    assert await desk.tick(EVERY) == []


async def test_one_that_is_undone_by_hand_is_watched_on(desk: Desk) -> None:
    silence_id = await desk.acknowledge()
    await desk.tick()
    await desk.watch.expire(silence_id, "bob")
    assert desk.events[-1]["watched_until"] == desk.clock.now() + STALE
    fire(desk, desk.clock.now() + 1.0)
    assert refires(await desk.tick(EVERY)) == [(ABOUT.fingerprint, T0 + 2.0)]


async def test_two_silences_over_one_alert_are_one_telling(desk: Desk) -> None:
    for duration in (600.0, 300.0, 60.0):
        await desk.acknowledge(duration)
    await desk.tick()
    desk.cluster.firing.clear()
    await desk.tick(EVERY)
    await desk.tick(600.0)
    fire(desk, desk.clock.now())
    assert len(desk.head.state.former) == 3
    assert refires(await desk.tick(EVERY)) == [(ABOUT.fingerprint, desk.clock.now() - EVERY)]
    assert await desk.tick(EVERY) == []


async def test_one_that_was_adopted_counts_from_its_own_beginning(desk: Desk) -> None:
    """A crash lost its record; what began before it was found, and after it was made, was never told."""
    await desk.cluster.create_silence(LABELS, T0, T0 + 600.0, "autoheal:ann", "")
    fire(desk, T0 + 100.0)
    await desk.tick(300.0)
    assert [one.since for one in desk.head.state.acks.values()] == [T0]
    assert refires(await desk.tick(600.0)) == [(ABOUT.fingerprint, T0 + 100.0)]


@pytest.mark.parametrize("told_before", [True, False])
async def test_a_restart_neither_forgets_nor_repeats(desk: Desk, told_before: bool) -> None:
    await over(desk)
    fire(desk, desk.clock.now())
    if told_before:
        assert refires(await desk.tick(EVERY))
    desk.head.stop()
    after = Desk(desk.ledger.disk, desk.cluster)
    try:
        assert bool(refires(await after.tick(EVERY))) is not told_before
        assert await after.tick(EVERY) == []
    finally:
        after.head.stop()


async def test_a_telling_that_cannot_be_written_comes_with_the_next_look(desk: Desk) -> None:
    await over(desk)
    fire(desk, desk.clock.now())
    desk.ledger.fail("commit")
    with pytest.raises(Exception, match="commit"):
        await desk.tick(EVERY)
    assert refires(await desk.tick(EVERY))


# ---- several processes ----------------------------------------------------------------------------------------------


class Street:
    """Processes on one disk, one table of claims and one Alertmanager."""

    def __init__(self) -> None:
        self.cluster = FakeAlertmanagers(clock=ManualClock(T0))
        self.disk, self.table = Disk(), Table(self.cluster.clock)
        self.open: list[Desk] = []
        self.cluster.fire(ABOUT.fingerprint, ABOUT.labels, ABOUT.starts_at)

    def desk(self, name: str) -> Desk:
        made = Desk(self.disk, self.cluster, MemoryClaims(self.table, name))
        self.open.append(made)
        return made

    def dies(self, desk: Desk) -> None:
        """Without an orderly end; its claims run out."""
        desk.head.stop()
        self.open.remove(desk)
        self.cluster.clock.advance(3 * EVERY + 2)

    def caught_up(self, desk: Desk) -> None:
        wait_until(lambda: desk.head.state.last_id == self.disk.head.id, what="what the others wrote")


@pytest.fixture
def street(monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    monkeypatch.setattr(head_module, "POLL", 0.005)
    made = Street()
    yield made
    for desk in made.open:
        desk.head.stop()


async def test_who_takes_over_goes_on_where_the_other_stood(street: Street) -> None:
    one, two = street.desk("one"), street.desk("two")
    await one.head.play(AlertsArrived([ABOUT], receiver=US))
    await over(one)
    first = one.clock.now()
    fire(one, first)
    assert refires(await one.tick(EVERY)) == [(ABOUT.fingerprint, first)]
    street.caught_up(two)
    assert await two.tick() == [], "another one watches"
    street.dies(one)
    assert await two.tick(EVERY) == [], "it was told"
    fire(two, first + 60.0)
    assert refires(await two.tick(EVERY)) == [(ABOUT.fingerprint, first + 60.0)]


async def test_two_that_both_believe_that_they_watch_tell_once(street: Street) -> None:
    one, two = street.desk("one"), street.desk("two")
    await over(one)
    fire(one, one.clock.now())
    street.table.duties.clear()
    assert refires(await one.tick(EVERY))
    street.table.duties.clear()
    assert await two.tick(EVERY) == []


async def test_a_look_that_took_longer_than_the_claim_is_not_believed(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = street.desk("one")
    await over(one)
    fire(one, one.clock.now())
    monkeypatch.setattr(street.cluster, "step", 3 * EVERY + 1)
    assert await one.tick(EVERY) == []
    monkeypatch.setattr(street.cluster, "step", 0.0)
    assert refires(await one.tick(EVERY))


async def test_who_extends_without_watching_takes_nothing_away(street: Street) -> None:
    """What is behind a silence is known to the watching process alone; the other one must not write over it."""
    one, two = street.desk("one"), street.desk("two")
    silence_id = await one.acknowledge(1800.0)
    assert [e["kind"] for e in await one.tick()] == ["webhook_received"]
    street.caught_up(two)
    await two.watch.extend(silence_id, 7200.0, "2h", "bob")
    street.caught_up(one)
    assert await one.tick(EVERY) == [] and one.hides(silence_id)
    street.dies(one)
    street.cluster.firing.clear()
    told = await two.tick(EVERY)
    assert [e["kind"] for e in told] == ["webhook_received", "decision_skip"]
    assert [one["status"] for one in told[0]["seen"]] == ["resolved"]


async def test_one_that_another_process_undoes_is_watched_on_and_its_resolve_told(street: Street) -> None:
    one, two = street.desk("one"), street.desk("two")
    silence_id = await one.acknowledge(1800.0)
    await one.tick()
    street.cluster.firing.clear()
    await two.watch.expire(silence_id, "bob")
    street.caught_up(one)
    assert [e["kind"] for e in await one.tick(EVERY)] == ["webhook_received", "decision_skip"]
    assert [fact for fact in street.disk.facts if fact[0] == "behind"] == [], "nothing is left lying"
    fire(one, one.clock.now())
    assert refires(await one.tick(EVERY))


async def test_an_acknowledgement_of_another_process_that_resolves_at_once_is_told(street: Street) -> None:
    one, two = street.desk("one"), street.desk("two")
    await one.acknowledge(60.0)
    await one.tick()
    silence_id, _ = await two.watch.acknowledge(LABELS, 1800.0, "30m", "bob", "", only_if_firing=True)
    street.caught_up(one)
    assert one.hides(silence_id).keys() == {ABOUT.fingerprint}
    street.dies(one)
    street.cluster.firing.clear()
    told = await two.tick(EVERY)
    assert [e["kind"] for e in told if e["kind"] != "ack_ended"] == ["webhook_received", "decision_skip"]


async def test_what_an_older_version_noted_is_understood(street: Street) -> None:
    desk = Desk(None, street.cluster)
    silence_id = await desk.acknowledge(1800.0)
    desk.head.stop()
    key = ("ack", silence_id)
    noted = desk.ledger.disk.facts[key]
    hides = {ABOUT.fingerprint: {"labels": dict(ABOUT.labels), "starts_at": T0}}
    older = orjson.loads(noted.data or "") | {"hides": hides, "seen": True}
    del older["starts_at"], older["first"]
    desk.ledger.disk.facts[key] = noted._replace(data=orjson.dumps(older).decode())
    street.cluster.firing.clear()
    after = Desk(desk.ledger.disk, street.cluster)
    street.open.append(after)
    assert after.acks[silence_id].since == T0 and after.acks[silence_id].key == silence_id
    assert [e["kind"] for e in await after.tick()] == ["webhook_received", "decision_skip"]


async def test_alerts_with_names_that_no_database_would_keep(desk: Desk) -> None:
    for receiver in ("\0", "x" * 300, *(f"r{number}" for number in range(1100))):
        await desk.head.play(AlertsArrived([], receiver=receiver))
    assert len(desk.head.state.receivers) == 1000
    assert all(name.isprintable() and len(name) <= 200 for name in desk.head.state.receivers)

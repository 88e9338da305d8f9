"""Safety rule 7: a silence of ours never hides a resolve, and ends when nothing is left to hide."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from autoheal.core.errors import Conflict, Temporary, Unknown
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import SetMode
from autoheal.engine import acks as acks_module
from autoheal.engine.acks import BY_POLICY, EVERY, GONE_FOR, SEEK_FOR, AckWatch
from autoheal.engine.ports import Fact, StoreUnavailable
from autoheal.testing.memory_claims import MemoryClaims, Table
from tests.unit.core.make import T0, alert
from tests.unit.engine.desk import ABOUT, LABELS, Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    made.head.stop()


async def test_an_acknowledgement_is_an_exact_silence_and_on_record(desk: Desk) -> None:
    silence_id = await desk.acknowledge()
    made = desk.cluster.made[silence_id]
    assert made.created_by == "autoheal:ann" and made.comment == "mine" and made.ends_at == T0 + 1800.0
    assert made.matchers == ({"name": "alertname", "value": "A", "isRegex": False, "isEqual": True},)
    [event] = desk.events
    assert (event["kind"], event["actor"], event["duration"], event["silence_id"]) == ("ack", "ann", "30m", silence_id)


async def test_without_a_comment_it_says_what_it_is(desk: Desk) -> None:
    silence_id, _ = await desk.watch.acknowledge(LABELS, 60.0, "1m", "ann", "")
    assert desk.cluster.made[silence_id].comment == "acknowledged for 1m"


async def test_one_that_cannot_be_recorded_is_taken_back(desk: Desk) -> None:
    desk.ledger.fail("commit")
    with pytest.raises(StoreUnavailable):
        await desk.acknowledge()
    [made] = desk.cluster.made.values()
    assert made.state == "expired" and desk.acks == {}


async def test_one_that_may_have_been_made_is_looked_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.tick()
    create = desk.cluster.create_silence

    async def lost(*about: Any) -> str:
        await create(*about)
        raise Unknown("the connection was lost")

    monkeypatch.setattr(desk.cluster, "create_silence", lost)
    with pytest.raises(Unknown):
        await desk.acknowledge()
    [event, *_] = await desk.tick()
    assert (event["kind"], event["reason"]) == ("ack", "adopted")


async def test_a_look_that_began_before_the_answer_was_lost_does_not_settle_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, read = desk.cluster.create_silence, desk.cluster.silences

    async def lost(*about: Any) -> str:
        await create(*about)
        raise Unknown("the connection was lost")

    async def meanwhile() -> Any:
        found = await read()
        monkeypatch.setattr(desk.cluster, "silences", read)
        with pytest.raises(Unknown):
            await desk.acknowledge()
        return found

    monkeypatch.setattr(desk.cluster, "create_silence", lost)
    monkeypatch.setattr(desk.cluster, "silences", meanwhile)
    assert await desk.tick() == []
    assert [e["reason"] for e in await desk.tick(EVERY)] == ["adopted"]


async def test_one_that_may_have_been_made_is_looked_for_while_it_may_still_appear(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*about: Any) -> str:
        raise Unknown("the connection was lost")

    create = desk.cluster.create_silence
    monkeypatch.setattr(desk.cluster, "create_silence", lost)
    with pytest.raises(Unknown):
        await desk.acknowledge()
    assert await desk.tick() == []
    await create(LABELS, T0, T0 + 1800.0, "autoheal:ann", "mine")
    [event] = await desk.tick(SEEK_FOR - 2.0)
    assert (event["kind"], event["reason"]) == ("ack", "adopted")
    await desk.tick(GONE_FOR)
    await create({"a": "b"}, T0, T0 + 1800.0, "autoheal:ann", "mine")
    assert await desk.tick(EVERY) == [], "not for ever"


async def test_one_that_can_neither_be_recorded_nor_taken_back_is_looked_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.tick()

    async def away(silence_id: str) -> None:
        raise Temporary("out of reach")

    monkeypatch.setattr(desk.cluster, "expire_silence", away)
    desk.ledger.fail("commit")
    with pytest.raises(Unknown, match="could not be taken back"):
        await desk.acknowledge()
    assert [e["reason"] for e in await desk.tick(EVERY)] == ["adopted"]


async def test_without_an_alertmanager_there_is_nothing_to_silence(desk: Desk) -> None:
    watch = AckWatch(desk.head, None, desk.clock)
    with pytest.raises(Conflict, match="ALERTMANAGER_URL"):
        await watch.acknowledge(LABELS, 60.0, "1m", "ann", "")
    with pytest.raises(Conflict, match="ALERTMANAGER_URL"):
        await watch.expire("s", "ann")
    await watch.tick()


async def test_a_resolve_behind_the_silence_is_told(desk: Desk) -> None:
    await desk.head.play(SetMode(True, False, "ann"))
    held = (await desk.head.play(AlertsArrived([ABOUT])))[0]["remediation_id"]
    silence_id = await desk.acknowledge()
    await desk.tick()
    assert desk.hides(silence_id)[ABOUT.fingerprint]["starts_at"] == T0
    desk.cluster.firing.clear()
    told = await desk.tick()
    assert [e["kind"] for e in told] == ["webhook_received", "decision_skip", "cancelled"]
    assert told[0]["source"] == "silence_watch" and told[2]["remediation_id"] == held
    assert await desk.tick() == [], "told once"


async def test_a_resolve_while_we_were_away_is_told(desk: Desk) -> None:
    await desk.acknowledge()
    await desk.tick()
    desk.head.stop()
    desk.cluster.firing.clear()
    after = Desk(desk.ledger.disk, desk.cluster)
    try:
        assert [e["kind"] for e in await after.tick()] == ["webhook_received", "decision_skip"]
    finally:
        after.head.stop()


async def test_a_resolve_that_cannot_be_told_is_told_with_the_next_look(desk: Desk) -> None:
    await desk.acknowledge()
    await desk.tick()
    desk.cluster.firing.clear()
    desk.ledger.fail("commit")
    with pytest.raises(StoreUnavailable):
        await desk.tick()
    assert [e["kind"] for e in await desk.tick()] == ["webhook_received", "decision_skip"]


async def test_the_silence_ends_when_its_last_match_has_been_gone_for_five_minutes(desk: Desk) -> None:
    silence_id = await desk.acknowledge()
    await desk.tick()
    desk.cluster.firing.clear()
    await desk.tick()
    assert await desk.tick(GONE_FOR - 1.0) == []
    desk.cluster.fire(ABOUT.fingerprint, ABOUT.labels, T0 + 5.0)
    await desk.tick()
    desk.cluster.firing.clear()
    await desk.tick()
    await desk.tick(GONE_FOR - 1.0)
    assert desk.cluster.made[silence_id].state == "active", "it came back: counted anew"
    [ended] = await desk.tick(1.0)
    assert (ended["kind"], ended["reason"]) == ("ack_ended", "resolved")
    assert desk.cluster.made[silence_id].state == "expired" and desk.acks == {}


async def test_before_its_first_match_a_silence_lasts_its_time(desk: Desk) -> None:
    desk.cluster.firing.clear()
    silence_id = await desk.acknowledge(7200.0)
    await desk.tick()
    assert await desk.tick(GONE_FOR * 3) == [], "nothing has gone, for nothing has come"
    desk.cluster.fire(ABOUT.fingerprint, ABOUT.labels, T0 + 5.0)
    await desk.tick(EVERY)
    desk.cluster.firing.clear()
    await desk.tick(EVERY)
    [ended] = await desk.tick(GONE_FOR)
    assert (ended["silence_id"], ended["reason"]) == (silence_id, "resolved")


async def test_a_silence_without_a_match_ends_by_its_time(desk: Desk) -> None:
    desk.cluster.firing.clear()
    await desk.acknowledge(7200.0)
    await desk.tick()
    [ended] = await desk.tick(7200.0)
    assert ended["reason"] == "expired"


async def test_that_a_match_was_seen_outlives_a_restart(desk: Desk) -> None:
    await desk.acknowledge(7200.0)
    await desk.tick()
    desk.cluster.firing.clear()
    await desk.tick()
    desk.head.stop()
    after = Desk(desk.ledger.disk, desk.cluster)
    try:
        assert await after.tick() == []
        [ended] = await after.tick(GONE_FOR)
        assert (ended["kind"], ended["reason"]) == ("ack_ended", "resolved")
    finally:
        after.head.stop()


async def test_who_takes_over_knows_that_a_match_was_seen(desk: Desk) -> None:
    desk.cluster.firing.clear()
    silence_id = await desk.acknowledge(7200.0)
    noted = Fact("behind", silence_id, '{"hides": {}, "seen": true}')
    claims = MemoryClaims(Table(desk.clock), "heir")
    desk.watch = AckWatch(desk.head, desk.cluster, desk.clock, claims, lambda space: [noted])
    await desk.tick()
    [ended] = await desk.tick(GONE_FOR)
    assert (ended["kind"], ended["reason"]) == ("ack_ended", "resolved")


async def test_time_in_which_alertmanager_knows_nothing_is_not_counted(desk: Desk) -> None:
    silence_id = await desk.acknowledge(1e6)
    await desk.tick()
    desk.cluster.firing.clear()
    desk.cluster.complete = False
    assert await desk.tick(GONE_FOR * 3) == [], "absence says nothing yet"
    assert desk.hides(silence_id)
    desk.cluster.complete = True
    assert [e["kind"] for e in await desk.tick()] == ["webhook_received", "decision_skip"]
    desk.cluster.complete = False
    await desk.tick(GONE_FOR * 3)
    desk.cluster.complete = True
    assert await desk.tick() == []
    [ended] = await desk.tick(GONE_FOR)
    assert ended["kind"] == "ack_ended"


async def test_one_that_ended_by_its_time_is_seen_to_have_ended(desk: Desk) -> None:
    await desk.acknowledge(60.0)
    await desk.tick()
    [ended] = await desk.tick(60.0)
    assert (ended["kind"], ended["reason"]) == ("ack_ended", "expired") and desk.acks == {}


async def test_one_that_ended_while_nothing_is_known_waits_for_what_it_hid(desk: Desk) -> None:
    silence_id = await desk.acknowledge(60.0)
    await desk.tick()
    desk.cluster.firing.clear()
    desk.cluster.complete = False
    assert await desk.tick(60.0) == [] and silence_id in desk.acks
    desk.cluster.complete = True
    assert [e["kind"] for e in await desk.tick()] == ["webhook_received", "decision_skip", "ack_ended"]


async def test_one_is_ended_by_hand(desk: Desk) -> None:
    silence_id = await desk.acknowledge()
    assert await desk.watch.expire(silence_id, "bob")
    assert desk.events[-1]["reason"] == "by_hand" and desk.events[-1]["actor"] == "bob"
    other = await desk.cluster.create_silence({"a": "b"}, T0, T0 + 60.0, "carol", "")
    assert not await desk.watch.expire(other, "bob"), "ended, but not one of ours"


async def test_silences_that_a_crash_left_behind_are_adopted(desk: Desk) -> None:
    ours = await desk.cluster.create_silence(LABELS, T0, T0 + 99.0, "autoheal:ann", "note")
    policys = await desk.cluster.create_silence({"a": "b"}, T0, T0 + 99.0, BY_POLICY, "")
    await desk.cluster.create_silence(LABELS, T0, T0 + 99.0, "carol", "")
    gone = await desk.cluster.create_silence(LABELS, T0, T0 + 99.0, "autoheal:ann", "")
    await desk.cluster.expire_silence(gone)
    pattern = await desk.cluster.create_silence(LABELS, T0, T0 + 99.0, "autoheal:ann", "")
    object.__setattr__(desk.cluster.made[pattern], "matchers", ({"name": "a", "value": ".*", "isRegex": True},))
    found = await desk.tick()
    assert {e["silence_id"]: e["actor"] for e in found} == {ours: "ann", policys: BY_POLICY}
    assert desk.acks[ours].comment == "note" and desk.acks[ours].ends_at == T0 + 99.0
    [told] = await desk.tick()
    assert (told["source"], told["silence_id"]) == ("silence_watch", ours), "what it hides is told"
    assert await desk.tick() == [], "adopted once"


async def test_a_silence_that_the_policy_made_is_watched(desk: Desk) -> None:
    assert await desk.tick() == []
    desk.watch.listen([{"kind": "action_started", "action": "silence", "remediation_id": "r1"}], [], 0.0)
    made = await desk.cluster.create_silence(LABELS, T0, T0 + 99.0, BY_POLICY, "")
    assert await desk.tick() == [], "its action has not ended yet"
    desk.watch.listen([{"kind": "action_ok", "remediation_id": "r1"}], [], 0.0)
    assert [e["silence_id"] for e in await desk.tick()] == [made]


async def test_it_looks_only_while_there_is_something_to_watch_and_not_too_often(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks_module, "EVERY", 15.0)
    await desk.tick()
    asked = desk.cluster.asked
    await desk.tick(100.0)
    assert desk.cluster.asked == asked, "nothing to watch"
    await desk.acknowledge()
    await desk.tick(1.0)
    asked = desk.cluster.asked
    await desk.tick(14.0)
    assert desk.cluster.asked == asked
    await desk.tick(1.0)
    assert desk.cluster.asked == asked + 2


async def test_out_of_reach_changes_nothing(desk: Desk) -> None:
    silence_id = await desk.acknowledge()
    await desk.tick()
    desk.cluster.down = set(desk.cluster.urls)
    assert await desk.tick(GONE_FOR * 2) == [] and silence_id in desk.acks
    with pytest.raises(Temporary):
        await desk.acknowledge()


async def test_one_that_cannot_be_ended_keeps_nobody_from_looking_at_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three silences the first cannot be ended; the second is, and what fires again behind the third is told."""
    stubborn, _ = await desk.watch.acknowledge(LABELS, 7200.0, "2h", "ann", "")
    other, third = alert(alertname="B"), alert(alertname="C")
    for one in (other, third):
        desk.cluster.fire(one.fingerprint, one.labels, one.starts_at)
    second, _ = await desk.watch.acknowledge({"alertname": "B"}, 7200.0, "2h", "ann", "")
    over, _ = await desk.watch.acknowledge({"alertname": "C"}, 7200.0, "2h", "ann", "")
    await desk.tick()
    await desk.watch.expire(over, "ann")
    desk.cluster.firing.clear()
    await desk.tick(EVERY)
    expire = desk.cluster.expire_silence

    async def refused(silence_id: str) -> None:
        if silence_id == stubborn:
            raise Temporary("it does not want to")
        await expire(silence_id)

    monkeypatch.setattr(desk.cluster, "expire_silence", refused)
    desk.cluster.fire(third.fingerprint, third.labels, desk.clock.now() + GONE_FOR)
    told = await desk.tick(GONE_FOR + EVERY)
    assert [e["silence_id"] for e in told if e["kind"] == "ack_ended"] == [second]
    assert [one["fingerprint"] for e in told for one in e.get("seen", ())] == [third.fingerprint]
    monkeypatch.undo()
    assert [e["silence_id"] for e in await desk.tick(EVERY) if e["kind"] == "ack_ended"] == [stubborn]

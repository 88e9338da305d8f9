"""Acknowledgements: what they hide is on record, the resolve beats them, they are extended, their comment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from autoheal.core.errors import Conflict, Invalid, NotFound, Temporary, Unknown
from autoheal.engine.acks import EVERY, GONE_FOR, LONGEST, SPREADS, AckWatch, silence_comment
from autoheal.engine.ports import StoreUnavailable
from tests.unit.core.make import T0, alert
from tests.unit.engine.desk import ABOUT, LABELS, Desk

anyio = pytest.mark.anyio


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    made.head.stop()


# ---- what is behind it ----------------------------------------------------------------------------------------------


@anyio
async def test_what_a_silence_hides_is_on_record_once(desk: Desk) -> None:
    silence_id = await desk.acknowledge()
    other = alert(instance="i2", starts_at=T0 + 5.0)
    notes = {"summary": "s", "description": "d" * 5000}
    desk.cluster.fire(other.fingerprint, other.labels, other.starts_at, annotations=notes)
    [told] = await desk.tick()
    assert (told["kind"], told["source"], told["alerts"]) == ("webhook_received", "silence_watch", 2)
    assert {one["fingerprint"]: one["starts_at"] for one in told["seen"]} == {
        ABOUT.fingerprint: T0,
        other.fingerprint: T0 + 5.0,
    }
    assert {(one["status"], one["behind"]) for one in told["seen"]} == {("firing", silence_id)}
    [noted] = [one["annotations"] for one in told["seen"] if "annotations" in one]
    assert noted["summary"] == "s" and len(noted["description"]) == 1000
    assert await desk.tick(EVERY) == []
    desk.cluster.fire(other.fingerprint, other.labels, T0 + 50.0)
    [again] = await desk.tick(EVERY)
    assert [(one["fingerprint"], one["starts_at"]) for one in again["seen"]] == [(other.fingerprint, T0 + 50.0)]


@anyio
async def test_much_is_told_in_parts(desk: Desk) -> None:
    await desk.acknowledge()
    desk.cluster.firing.clear()
    many = [alert(instance=f"i{number}") for number in range(250)]
    for one in many:
        desk.cluster.fire(one.fingerprint, one.labels, one.starts_at)
    assert [len(e["seen"]) for e in await desk.tick()] == [100, 100, 50]
    desk.cluster.firing.clear()
    told = [e for e in await desk.tick(EVERY) if e["kind"] == "webhook_received"]
    assert [len(e["seen"]) for e in told] == [100, 100, 50]
    names = {one["fingerprint"] for e in told for one in e["seen"]}
    assert names == {one.fingerprint for one in many}
    assert {(one["status"], one["ends_at"]) for e in told for one in e["seen"]} == {("resolved", desk.clock.now())}


@anyio
async def test_a_resolve_just_before_it_is_undone_is_told(desk: Desk) -> None:
    silence_id = await desk.acknowledge()
    await desk.tick()
    desk.cluster.firing.clear()
    await desk.watch.expire(silence_id, "ann")
    assert [e["kind"] for e in await desk.tick()] == ["webhook_received", "decision_skip"]
    assert await desk.tick(EVERY) == [] and desk.head.state.behind == {}


@anyio
async def test_who_it_hides_is_asked_without_making_it(desk: Desk) -> None:
    other = alert("B")
    desk.cluster.fire(other.fingerprint, other.labels, T0, silenced_by=("other",))
    assert [one.fingerprint for one in await desk.watch.would_hide(LABELS)] == [ABOUT.fingerprint]
    assert [one.silenced_by for one in await desk.watch.would_hide({"alertname": "B"})] == [("other",)]
    assert await desk.watch.would_hide({"alertname": "C"}) == [] and desk.cluster.made == {}
    assert len(await desk.watch.would_hide({"none": ""})) == 2, "a label that is not there counts as empty"
    desk.cluster.down = set(desk.cluster.urls)
    with pytest.raises(Temporary):
        await desk.watch.would_hide(LABELS)
    with pytest.raises(Conflict):
        await AckWatch(desk.head, None, desk.clock).would_hide(LABELS)


# ---- the resolve beats the acknowledgement --------------------------------------------------------------------------


async def only_if_firing(desk: Desk, labels: dict[str, str] = LABELS) -> str:
    silence_id, _ = await desk.watch.acknowledge(labels, 1800.0, "30m", "ann", "", only_if_firing=True)
    return silence_id


@anyio
async def test_what_is_resolved_already_is_not_acknowledged(desk: Desk) -> None:
    assert desk.cluster.made[await only_if_firing(desk)].state == "active"
    with pytest.raises(Conflict, match="already resolved"):
        await only_if_firing(desk, {"alertname": "B"})
    assert len(desk.cluster.made) == 1
    desk.cluster.complete = False
    assert await only_if_firing(desk, {"alertname": "B"}), "absence says nothing yet"
    desk.cluster.down = set(desk.cluster.urls)
    with pytest.raises(Temporary):
        await only_if_firing(desk)


@anyio
async def test_one_that_resolves_before_the_first_look_is_told_and_its_silence_ends(desk: Desk) -> None:
    silence_id = await only_if_firing(desk)
    assert desk.events[-1]["hides"] == {ABOUT.fingerprint: {"labels": dict(ABOUT.labels), "starts_at": T0}}
    desk.cluster.firing.clear()
    told = await desk.tick()
    assert [e["kind"] for e in told] == ["webhook_received", "decision_skip"]
    assert [one["status"] for one in told[0]["seen"]] == ["resolved"]
    [ended] = await desk.tick(GONE_FOR)
    assert (ended["kind"], ended["silence_id"], ended["reason"]) == ("ack_ended", silence_id, "resolved")


@anyio
async def test_what_it_hides_is_told_no_second_time(desk: Desk) -> None:
    await only_if_firing(desk)
    assert await desk.tick() == []


# ---- longer ---------------------------------------------------------------------------------------------------------


@anyio
async def test_it_is_extended_and_what_it_hides_stays_known(desk: Desk) -> None:
    silence_id = await desk.acknowledge(1800.0)
    await desk.tick()
    desk.clock.advance(600.0)
    assert await desk.watch.extend(silence_id, 7200.0, "2h", "bob") == (silence_id, T0 + 9000.0)
    made = desk.cluster.made[silence_id]
    assert (made.ends_at, made.created_by, made.comment) == (T0 + 9000.0, "autoheal:bob", "mine")
    event = desk.events[-1]
    assert (event["kind"], event["reason"], event["actor"], event["duration"]) == ("ack", "extended", "bob", "2h")
    assert (event["silence_id"], event["ends_at"], event["labels"]) == (silence_id, T0 + 9000.0, LABELS)
    assert desk.acks[silence_id].actor == "ann" and desk.acks[silence_id].ends_at == T0 + 9000.0
    assert desk.hides(silence_id).keys() == {ABOUT.fingerprint}
    assert await desk.tick(EVERY) == []
    desk.cluster.firing.clear()
    assert [e["kind"] for e in await desk.tick(EVERY)] == ["webhook_received", "decision_skip"]


async def renamed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on Alertmanager ends a silence that is extended and makes a new one."""

    async def anew(silence_id: str, ends_at: float, created_by: str, comment: str) -> str:
        old = desk.cluster.made[silence_id]
        await desk.cluster.expire_silence(silence_id)
        labels = {m["name"]: m["value"] for m in old.matchers}
        return await desk.cluster.create_silence(labels, desk.clock.now(), ends_at, created_by, comment)

    monkeypatch.setattr(desk.cluster, "extend_silence", anew)


@anyio
async def test_one_that_is_extended_under_a_new_id_is_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await desk.acknowledge(1800.0)
    await desk.tick()
    await renamed(desk, monkeypatch)
    second, _ = await desk.watch.extend(first, 7200.0, "2h", "bob")
    assert second != first and desk.acks.keys() == {second}
    assert (desk.events[-1]["replaces"], desk.events[-1]["silence_id"]) == (first, second)
    assert desk.acks[second].created_at == desk.acks[second].starts_at == T0 and desk.hides(second)
    third, _ = await desk.watch.extend(first, 60.0, "1m", "bob")
    assert desk.acks.keys() == {third}, "an old button means the same acknowledgement"
    assert await desk.tick(EVERY) == []
    desk.head.stop()
    after = Desk(desk.ledger.disk, desk.cluster)
    try:
        desk.cluster.firing.clear()
        assert [e["kind"] for e in await after.tick()] == ["webhook_received", "decision_skip"]
        assert await after.watch.expire(first, "bob")
        assert desk.cluster.made[third].state == "expired" and after.acks == {}
    finally:
        after.head.stop()


@anyio
async def test_what_is_over_or_not_ours_is_not_extended(desk: Desk) -> None:
    silence_id = await desk.acknowledge(1800.0)
    with pytest.raises(NotFound):
        await desk.watch.extend("other", 60.0, "1m", "bob")
    for duration in (0.0, -1.0, LONGEST):
        with pytest.raises(Invalid):
            await desk.watch.extend(silence_id, duration, "x", "bob")
    desk.clock.advance(1800.0)
    with pytest.raises(Conflict, match="over"):
        await desk.watch.extend(silence_id, 60.0, "1m", "bob")
    with pytest.raises(Conflict, match="ALERTMANAGER_URL"):
        await AckWatch(desk.head, None, desk.clock).extend(silence_id, 60.0, "1m", "bob")
    assert [e["kind"] for e in desk.events] == ["ack"]


@anyio
async def test_one_that_ends_while_it_is_extended_is_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    silence_id = await desk.acknowledge()

    async def over(*about: Any) -> str:
        raise NotFound("it is over")

    monkeypatch.setattr(desk.cluster, "extend_silence", over)
    with pytest.raises(Conflict, match="over"):
        await desk.watch.extend(silence_id, 60.0, "1m", "bob")


@anyio
async def test_an_extension_that_cannot_be_recorded_is_set_back(desk: Desk) -> None:
    silence_id = await desk.acknowledge(1800.0)
    desk.ledger.fail("commit")
    with pytest.raises(StoreUnavailable):
        await desk.watch.extend(silence_id, 7200.0, "2h", "bob")
    made = desk.cluster.made[silence_id]
    assert (made.ends_at, made.created_by) == (T0 + 1800.0, "autoheal:ann")
    assert desk.acks[silence_id].ends_at == T0 + 1800.0


@anyio
async def test_an_extension_whose_answer_was_lost_is_noticed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    silence_id = await desk.acknowledge(1800.0)
    await desk.tick()
    extend = desk.cluster.extend_silence

    async def lost(*about: Any) -> str:
        await extend(*about)
        raise Unknown("the connection was lost")

    monkeypatch.setattr(desk.cluster, "extend_silence", lost)
    with pytest.raises(Unknown):
        await desk.watch.extend(silence_id, 7200.0, "2h", "bob")
    assert await desk.tick(EVERY) == [], "two looks must agree"
    [event] = await desk.tick(EVERY)
    assert (event["kind"], event["reason"], event["actor"]) == ("ack", "extended", "bob")
    assert event["ends_at"] == desk.acks[silence_id].ends_at == T0 + 9000.0
    assert await desk.tick(EVERY) == [], "noticed once"


@anyio
async def test_a_silence_that_somebody_else_makes_shorter_is_noticed(desk: Desk) -> None:
    silence_id = await desk.acknowledge(1800.0)
    await desk.tick()
    await desk.cluster.extend_silence(silence_id, T0 + 100.0, "carol", "")
    assert await desk.tick(EVERY) == []
    [event] = await desk.tick(EVERY)
    assert (event["reason"], event["actor"], event["ends_at"]) == ("shortened", "carol", T0 + 100.0)
    [ended] = await desk.tick(100.0)
    assert (ended["kind"], ended["reason"]) == ("ack_ended", "expired")


@anyio
async def test_an_end_that_one_member_has_not_heard_of_is_not_taken_for_a_change(desk: Desk) -> None:
    silence_id = await desk.acknowledge(1800.0)
    await desk.tick()
    before = desk.cluster.made[silence_id]
    await desk.watch.extend(silence_id, 7200.0, "2h", "bob")
    after, desk.cluster.made[silence_id] = desk.cluster.made[silence_id], before
    assert await desk.tick(EVERY) == []
    desk.cluster.made[silence_id] = after
    assert await desk.tick(EVERY) == []
    desk.cluster.made[silence_id] = before
    assert await desk.tick(EVERY) == []


@anyio
async def test_a_silence_that_this_member_has_not_heard_of_yet_is_waited_for(desk: Desk) -> None:
    silence_id = await desk.acknowledge(1800.0)
    made = desk.cluster.made.pop(silence_id)
    assert [e["kind"] for e in await desk.tick()] == []
    desk.cluster.made[silence_id] = made
    assert [e["kind"] for e in await desk.tick(EVERY)] == ["webhook_received"]
    del desk.cluster.made[silence_id]
    assert [e["kind"] for e in await desk.tick(EVERY)] == ["ack_ended"], "it is gone for good"


# ---- the comment ----------------------------------------------------------------------------------------------------

BOOK = "https://wiki.example/runbooks/a"


@pytest.mark.parametrize(
    ("text", "runbook", "comment"),
    [
        ("on it", "", "on it"),
        ("on it", BOOK, f"on it · runbook: {BOOK}"),
        ("", BOOK, f"runbook: {BOOK}"),
        ("  two\n lines ", BOOK, f"two lines · runbook: {BOOK}"),
        ("on it", "javascript:alert(1)", "on it"),
        ("on it", "ftp://x", "on it"),
        ("on it", f"{BOOK}\u202e", "on it"),
        ("on it", f"{BOOK}{'x' * 1000}", "on it"),
        ("x" * 2000, "", "x" * 1000),
    ],
)
def test_the_comment_leads_to_the_runbook(text: str, runbook: str, comment: str) -> None:
    assert silence_comment(text, runbook) == comment


def test_a_long_comment_is_cut_before_the_runbook() -> None:
    found = silence_comment("x" * 2000, BOOK)
    assert len(found) == 1000 and found.endswith(f"x · runbook: {BOOK}")


# ---- what is in force already ---------------------------------------------------------------------------------------


@anyio
async def test_what_is_in_force_is_the_longest_of_ours_with_exactly_these_labels(desk: Desk) -> None:
    assert await desk.watch.in_force(LABELS) is None
    short = await desk.acknowledge(600.0)
    assert await desk.watch.in_force(LABELS) == (short, T0 + 600.0)
    make = desk.cluster.create_silence
    longer = await make(LABELS, T0, T0 + 900.0, "autoheal:another process", "")
    await make(LABELS, T0, T0 + 9000.0, "alice", "")
    await make({**LABELS, "instance": "i"}, T0, T0 + 9000.0, "autoheal:ann", "")
    matching = await make(LABELS, T0, T0 + 9000.0, "autoheal:ann", "")
    regex = tuple({**m, "isRegex": True} for m in desk.cluster.made[matching].matchers)
    desk.cluster.made[matching] = replace(desk.cluster.made[matching], matchers=regex)
    assert await desk.watch.in_force(LABELS) == (longer, T0 + 900.0)
    await desk.cluster.expire_silence(longer)
    assert await desk.watch.in_force(LABELS) == (short, T0 + 600.0)
    desk.clock.advance(601.0)
    assert await desk.watch.in_force(LABELS) is None


@anyio
async def test_one_that_the_member_asked_has_not_heard_of_yet_is_in_force(desk: Desk) -> None:
    silence_id = await desk.acknowledge()
    del desk.cluster.made[silence_id]
    assert await desk.watch.in_force(LABELS) == (silence_id, T0 + 1800.0)
    desk.clock.advance(SPREADS)
    assert await desk.watch.in_force(LABELS) is None


@anyio
async def test_one_of_another_process_can_be_extended_before_it_is_heard_of(desk: Desk) -> None:
    silence_id = await desk.cluster.create_silence(LABELS, T0, T0 + 600.0, "autoheal:bob", "")
    assert await desk.watch.extend(silence_id, 60.0, "1m", "ann") == (silence_id, T0 + 660.0)
    assert [(e["reason"], e["actor"]) for e in desk.events] == [("adopted", "bob"), ("extended", "ann")]
    foreign = await desk.cluster.create_silence(LABELS, T0, T0 + 600.0, "bob", "")
    with pytest.raises(NotFound):
        await desk.watch.extend(foreign, 60.0, "1m", "ann")

"""Our silences: known until they end, watched on after, each telling once; whoever looks, dies or was slow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from autoheal.core.alert import RESOLVED, Alert
from autoheal.core.events import Event
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.service import Heartbeat
from autoheal.core.moves.silences import (
    Acked,
    AckEnded,
    AckHides,
    Extended,
    Recalled,
    Refired,
    ResolvedBehind,
    refired,
)
from autoheal.core.state import Behind, State
from tests.unit.core.make import T0, Play, alert, plain, resolved

LABELS = {"alertname": "A"}


def hides(*alerts: Alert) -> dict[str, dict[str, Any]]:
    return {one.fingerprint: {"labels": dict(one.labels), "starts_at": one.starts_at} for one in alerts}


def same_from_everywhere(it: Play) -> None:
    """But for what the watch keeps beside the trail."""
    living = plain(it.state)
    assert plain(it.restored()) == living
    folded = plain(it.folded())
    folded["behind"] = living["behind"]
    assert folded == living


def test_a_silence_of_ours_is_known_until_it_ends() -> None:
    it = Play()
    move = Acked("s1", {"alertname": "A"}, T0 + 60.0, "ann", "1m", "mine")
    it.play(move)
    it.play(move)
    assert it.kinds() == ["ack"] and it.events[0]["alertname"] == "A"
    assert it.state.acks["s1"].comment == "mine" and it.state.acks["s1"].ends_at == T0 + 60.0
    assert it.play(AckEnded("s1", "by_hand", "bob")) and not it.play(AckEnded("s1", "expired"))
    assert it.kinds() == ["ack", "ack_ended"] and it.events[1]["labels"] == {"alertname": "A"}
    assert it.state.former == {}, "nobody watches on where nobody said so"


def test_a_silence_that_is_not_ours_is_ended_on_record() -> None:
    it = Play.live()
    assert it.play(AckEnded("strange", "by_hand", "ann", 60.0)) is False
    assert it.events[-1] | {"ts": 0} == {
        "id": it.events[-1]["id"],
        "ts": 0,
        "kind": "ack_ended",
        "silence_id": "strange",
        "reason": "by_hand",
        "actor": "ann",
    }
    count = len(it.events)
    assert it.play(AckEnded("strange", "expired")) is False
    assert len(it.events) == count and it.state.former == {}


def test_one_that_has_ended_is_not_adopted_again() -> None:
    """A look that began before its end would."""
    it = Play()
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann"))
    it.play(AckEnded("s1", "by_hand", "ann", 60.0))
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann", reason="adopted"))
    assert it.state.acks == {} and it.kinds() == ["ack", "ack_ended"]


def test_its_beginning_is_kept_and_by_default_it_is_now() -> None:
    it = Play()
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann", starts_at=T0 - 500.0))
    it.play(Acked("s2", LABELS, T0 + 60.0, "ann"))
    assert (it.state.acks["s1"].since, it.state.acks["s2"].since) == (T0 - 500.0, T0)
    it.play(AckEnded("s1", "expired", watch=100.0))
    former = it.state.former["s1"]
    assert (former.since, former.watched_until) == (T0 - 500.0, T0 + 100.0)
    same_from_everywhere(it)


def test_an_extension_keeps_who_made_it_and_when() -> None:
    it = Play()
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann", comment="mine"))
    it.play(AckHides("s1", hides(alert())))
    it.now += 30.0
    it.play(Extended("s1", "s1", LABELS, T0 + 600.0, "bob", "10m"))
    ack = it.state.acks["s1"]
    assert (ack.actor, ack.comment, ack.created_at, ack.ends_at) == ("ann", "mine", T0, T0 + 600.0)
    it.play(Extended("s1", "s2", LABELS, T0 + 900.0, "bob", "10m"))
    assert it.state.acks.keys() == {"s2"} and it.state.behind[it.state.acks["s2"].key].seen
    assert it.events[-1]["replaces"] == "s1" and "replaces" not in it.events[-2]
    it.play(Extended("s2", "s2", LABELS, T0 + 900.5, "", changed=True))
    assert it.events[-1]["ends_at"] == T0 + 900.0, "half a second is no change"
    it.play(Extended("s2", "s2", LABELS, T0 + 100.0, "carol", changed=True))
    assert (it.events[-1]["reason"], it.state.acks["s2"].ends_at) == ("shortened", T0 + 100.0)
    count = len(it.events)
    it.play(Extended("gone", "gone", LABELS, T0 + 100.0, "carol", changed=True))
    assert len(it.events) == count
    same_from_everywhere(it)


def test_an_extension_that_comes_after_the_end_is_a_new_acknowledgement() -> None:
    it = Play()
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann"))
    it.play(AckEnded("s1", "expired", watch=60.0))
    it.play(Extended("s1", "s2", LABELS, T0 + 600.0, "bob"))
    assert it.state.acks["s2"].actor == "bob" and it.state.former.keys() == {"s1"}


def test_one_that_was_adopted_under_its_new_id_first_leaves_nothing_behind() -> None:
    it = Play()
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann"))
    it.play(AckHides("s1", hides(alert())))
    it.play(Acked("s2", LABELS, T0 + 600.0, "bob", reason="adopted"))
    it.play(AckHides("s2", hides(alert())))
    it.play(Extended("s1", "s2", LABELS, T0 + 600.0, "bob"))
    assert it.state.acks.keys() == {"s2"} and it.state.behind.keys() == {"s1"} == {it.state.acks["s2"].key}
    assert [key for space, key in it.facts if space == "behind"] == ["s1"]


def test_what_is_hidden_from_the_start_is_bounded() -> None:
    it = Play()
    many = hides(*(alert(instance=f"i{number}") for number in range(150)))
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann", hides=many))
    assert len(it.events[0]["hides"]) == 100
    it.play(AckHides("s1", many))
    assert [len(event["seen"]) for event in it.of_kind("webhook_received")] == [50]
    assert it.state.behind["s1"].hides == many


def test_large_alerts_are_fewer_to_an_event() -> None:
    it = Play()
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann"))
    big = [alert(instance=f"i{number}", much="x" * 90_000) for number in range(5)]
    notes = {"n" * 50: "y" * 5000, "a": "z" * 5000, "b": "z" * 5000, "c": "z" * 5000, "d": "z", "e" * 4000: "z"}
    big.append(alert(instance="huge", annotations=notes, much="x" * 500_000))
    it.play(AckHides("s1", hides(*big), {one.fingerprint: one for one in big}))
    parts = [event["seen"] for event in it.of_kind("webhook_received")]
    assert [len(part) for part in parts] == [2, 2, 1, 1] and sum(map(len, parts)) == 6
    kept = parts[-1][0]["annotations"]
    assert sum(len(name) + len(text) for name, text in kept.items()) <= 4000 and len(kept["a"]) == 1000
    it.play(Acked("s2", LABELS, T0 + 60.0, "ann", hides=hides(*big)))
    assert len(it.events[-1]["hides"]) == 2


def test_a_look_for_a_silence_that_is_gone_says_nothing() -> None:
    it = Play()
    it.play(AckHides("gone", hides(alert())))
    assert it.events == [] and it.state.behind == {}


def test_who_takes_over_keeps_what_was_made_meanwhile() -> None:
    it = Play()
    for name in ("s1", "s2"):
        it.play(Acked(name, LABELS, T0 + 60.0, "ann", hides=hides(alert())))
    it.play(Recalled({"s1": Behind({}, seen=True), "gone": Behind(seen=True)}))
    assert it.state.behind["s1"] == Behind({}, seen=True) and it.state.behind["s2"].hides


def test_a_resolve_is_told_only_of_what_is_still_hidden() -> None:
    it = Play.live()
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann", hides=hides(alert())))
    over = Alert(RESOLVED, alert().labels, {}, T0, alert().fingerprint, T0 + 5.0)
    assert it.play(ResolvedBehind([over])) == 1 and it.play(ResolvedBehind([over])) == 0
    it.play(AckHides("s1", hides(alert(starts_at=T0 + 7.0))))
    assert it.play(ResolvedBehind([over])) == 0, "an older look than the one that saw it fire again"
    assert len([e for e in it.of_kind("webhook_received") if e["seen"][0]["status"] == "resolved"]) == 1


def test_what_a_webhook_tells_is_not_listed_and_what_no_webhook_tells_is() -> None:
    it = Play.live()
    it.hear(alert(), resolved())
    assert all("seen" not in event for event in it.events)
    it.play(AlertsArrived([alert()], source="prober"))
    [told] = [event for event in it.events if "seen" in event]
    assert [(one["fingerprint"], one["status"]) for one in told["seen"]] == [(alert().fingerprint, "firing")]


def test_the_clock_went_back_and_nothing_is_watched_for_years() -> None:
    it = Play()
    it.play(Acked("s1", LABELS, T0 + 60.0, "ann"))
    it.play(Acked("s2", LABELS, T0 + 60.0, "ann"))
    it.play(AckEnded("s2", "expired", watch=100.0))
    it.now -= 1e6
    it.play(Heartbeat())
    assert it.state.acks["s1"].since == it.state.former["s2"].since == it.now
    assert it.state.former["s2"].watched_until == it.now + 100.0
    same_from_everywhere(it)
    it.now += 101.0
    it.play(Heartbeat())
    assert it.state.former == {}
    same_from_everywhere(it)


# ---- whatever comes -------------------------------------------------------------------------------------------------

instances = st.sampled_from(("i1", "i2", "i3"))
coverings = st.sampled_from(({"alertname": "A"}, {"alertname": "A", "instance": "i1"}))


@dataclass
class Look:
    """What a process saw, perhaps a while ago."""

    firing: dict[str, Alert]
    behind: dict[str, Behind]
    at: float


@dataclass
class Told:
    """What must be told, counted in other words: episodes by (fingerprint, start)."""

    resolved: list[tuple[str, float]] = field(default_factory=list)
    refired: list[tuple[str, float]] = field(default_factory=list)


class Silences(RuleBasedStateMachine):
    """Alerts come and go, silences as well; looks are taken at one time and acted upon at another, by two processes
    with memories of their own, which restart."""

    def __init__(self) -> None:
        super().__init__()
        self.it = Play.live()
        self.it.watch = self.see
        self.firing: dict[str, Alert] = {}
        self.silences: dict[str, dict[str, str]] = {}
        """Those that hold, by their present id."""
        self.number = 0
        self.told = Told()
        self.old: Look | None = None

    def see(self, event: Event) -> None:
        for one in event.get("seen", ()):
            episode = (one["fingerprint"], one["starts_at"])
            if one["status"] == "resolved":
                assert episode not in self.told.resolved, "a resolve is told once"
                self.told.resolved.append(episode)
            elif "behind" not in one:
                assert episode not in self.told.refired, "an episode is told once"
                self.told.refired.append(episode)

    # ---- the world -------------------------------------------------------------------------------------------

    @rule(instance=instances)
    def fire(self, instance: str) -> None:
        self.it.now += 1.0
        one = alert(instance=instance, starts_at=self.it.now)
        self.firing.setdefault(one.fingerprint, one)

    @rule(instance=instances)
    def resolve(self, instance: str) -> None:
        self.it.now += 1.0
        self.firing.pop(alert(instance=instance).fingerprint, None)

    @rule(seconds=st.sampled_from((1.0, 10.0, 100.0)))
    def time_passes(self, seconds: float) -> None:
        self.it.now += seconds

    # ---- people ----------------------------------------------------------------------------------------------

    @rule(labels=coverings, known=st.booleans())
    def acknowledge(self, labels: dict[str, str], known: bool) -> None:
        if len(self.silences) == 2:
            self.change(0, "end")
        self.it.now += 1.0
        self.number += 1
        name = f"s{self.number}"
        self.silences[name] = labels
        behind = hides(*self.covered(labels)) if known else {}
        self.it.play(Acked(name, labels, self.it.now + 1e6, "ann", starts_at=self.it.now, hides=behind))

    @rule(which=st.integers(0, 9), how=st.sampled_from(("same", "new", "end", "end", "end", "end")))
    def change(self, which: int, how: str) -> None:
        if not self.silences:
            return
        name = sorted(self.silences)[which % len(self.silences)]
        if how == "end":
            del self.silences[name]
            self.it.play(AckEnded(name, "by_hand", "ann", 1000.0))
            return
        self.number += how == "new"
        other = f"s{self.number}" if how == "new" else name
        self.it.play(Extended(name, other, self.silences[name], self.it.now + 2e6, "bob"))
        self.silences[other] = self.silences.pop(name)

    # ---- who watches -----------------------------------------------------------------------------------------

    def covered(self, labels: dict[str, str]) -> list[Alert]:
        return [one for one in self.firing.values() if all(one.labels.get(k) == v for k, v in labels.items())]

    def look(self) -> Look:
        return Look(dict(self.firing), dict(self.it.state.behind), self.it.now)

    def act(self, look: Look) -> None:
        """What the watch does with a look that it took."""
        state, firing = self.it.state, look.firing
        gone = {n: was for seen in look.behind.values() for n, was in seen.hides.items() if n not in firing}
        over = [former.key for former in state.former.values()]
        ends = [Alert(RESOLVED, was["labels"], {}, was["starts_at"], n, look.at) for n, was in gone.items()]
        self.it.play(ResolvedBehind(ends, over))
        silenced: set[str] = set()
        for name, labels in self.silences.items():
            seen = [one for one in firing.values() if all(one.labels.get(k) == v for k, v in labels.items())]
            silenced |= {one.fingerprint for one in seen}
            self.it.play(AckHides(name, hides(*seen)))
        self.it.play(Refired([one for one in firing.values() if one.fingerprint not in silenced], {}, "http://am"))

    @rule()
    def watch(self) -> None:
        self.act(self.look())
        self.nothing_is_owed()

    @rule()
    def look_for_later(self) -> None:
        self.old = self.look()

    @rule()
    def a_slow_process_wakes(self) -> None:
        """It acts on what it saw long ago: refires and resolves may be late, but none comes twice."""
        if self.old is not None:
            former = self.it.state.former.values()
            late = [one for one in self.old.firing.values() if refired(former, one, self.it.now)]
            self.it.play(Refired(late, {}, "http://am"))

    @rule()
    def restart(self) -> None:
        self.it.state = self.it.restored()
        same_from_everywhere(self.it)

    @rule()
    def heartbeat(self) -> None:
        self.it.play(Heartbeat())

    def nothing_is_owed(self) -> None:
        """After a look: what is hidden is known, nothing that is gone is still hidden, every refire was told."""
        state: State = self.it.state
        for name, labels in self.silences.items():
            assert state.behind.get(state.acks[name].key, Behind()).hides == hides(*self.covered(labels))
        keys = {ack.key for ack in state.acks.values()}
        assert state.behind.keys() <= keys, "nothing is left lying"
        open_ones = [
            one
            for one in self.firing.values()
            if not any(all(one.labels.get(k) == v for k, v in labels.items()) for labels in self.silences.values())
        ]
        for one in open_ones:
            assert not refired(state.former.values(), one, self.it.now), "it was not told"

    def teardown(self) -> None:
        """All silences end, all is quiet, and all fires once more."""
        self.watch()
        for _ in range(len(self.silences)):
            self.change(0, "end")
        self.firing.clear()
        self.watch()
        for instance in ("i1", "i2", "i3"):
            self.fire(instance)
        self.watch()
        same_from_everywhere(self.it)


def test_whatever_comes_each_telling_comes_once_and_none_is_missing() -> None:
    run_state_machine_as_test(Silences, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))

"""The prober in virtual time: when alerts begin, stay fresh, end, and survive what goes wrong."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from autoheal.core.alert import Alert, fingerprint
from autoheal.core.errors import Temporary
from autoheal.core.policy import Probe
from autoheal.engine.ports import Look, StoreUnavailable
from autoheal.sources.prober import ProbeSource, labels_of

START = 1_700_000_000.0
PROBE = Probe("crm", "http", "http://crm:8000/health", every=5.0, labels={"service": "crm"})


class Time:
    """A clock whose hours pass when the test says so."""

    def __init__(self) -> None:
        self.at = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> float:
        return START + self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self._count += 1
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.at + max(0.0, seconds), self._count, future))
        await future

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def until(self, at: float) -> None:
        """Let time pass to `at`, each sleeper waking at its own moment."""
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= at:
            self.at, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self.at = at


class World:
    """Targets answer `answer[target]` (good where nothing is said); what is handed in is kept with its time."""

    def __init__(self) -> None:
        self.time = Time()
        self.answer: dict[str, str] = {}
        self.looks: list[tuple[float, str]] = []
        self.taken: list[tuple[float, Alert]] = []
        self.broken: Exception | None = None
        self.source = ProbeSource(self, self, self.time, lambda: 0.0, self.time.sleep)

    async def look(self, kind: str, target: str, timeout: float) -> Look:
        self.looks.append((self.time.at, target))
        answer = self.answer.get(target, "good")
        if answer == "crash":
            raise RuntimeError("the prober's own mistake")
        return Look(answer, f"said {answer}")  # type: ignore[arg-type]

    async def alerts(self, alerts: Sequence[Alert], source: str) -> None:
        assert source == "prober"
        if self.broken is not None:
            raise self.broken
        self.taken += [(self.time.at, alert) for alert in alerts]

    @property
    def told(self) -> list[tuple[float, str]]:
        return [(at, alert.status) for at, alert in self.taken]


def scenario(play: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    async def inner() -> World:
        world = World()
        try:
            await play(world)
        finally:
            await world.source.stop()
        return world

    return asyncio.run(inner())


def test_down_after_three_up_after_two() -> None:
    async def play(w: World) -> None:
        w.source.configure([PROBE])
        await w.time.until(9)
        w.answer[PROBE.target] = "bad"
        await w.time.until(31)
        assert w.source.down == ["crm"]
        w.answer[PROBE.target] = "good"
        await w.time.until(60)
        assert w.source.down == []

    w = scenario(play)
    assert [at for at, _ in w.looks[:5]] == [0, 5, 10, 15, 20]
    assert w.told == [(20, "firing"), (40, "resolved")]
    (_, firing), (_, resolved) = w.taken
    assert firing.starts_at == START + 10, "the first bad answer"
    assert (resolved.starts_at, resolved.ends_at) == (START + 10, START + 40)
    assert firing.ends_at is None
    assert firing.fingerprint == resolved.fingerprint == fingerprint(firing.labels)
    assert "said bad" in firing.annotations["summary"]


def test_a_single_good_answer_starts_the_count_anew() -> None:
    async def play(w: World) -> None:
        w.source.configure([PROBE])
        for at in range(0, 100, 5):
            w.answer[PROBE.target] = "good" if at % 15 == 10 else "bad"
            await w.time.until(at)

    assert scenario(play).taken == []


def test_no_answer_is_not_counted() -> None:
    async def play(w: World) -> None:
        w.source.configure([PROBE])
        for at, answer in enumerate(["bad", "bad", "none", "crash", "bad", "good"]):
            w.answer[PROBE.target] = answer
            await w.time.until(at * 5)

    w = scenario(play)
    assert w.told == [(20, "firing")]
    assert w.taken[0][1].starts_at == START


def test_a_standing_alert_stays_fresh() -> None:
    async def play(w: World) -> None:
        w.answer[PROBE.target] = "bad"
        w.source.configure([PROBE])
        await w.time.until(200)

    w = scenario(play)
    assert w.told == [(at, "firing") for at in (10, 70, 130, 190)]
    assert len({alert.episode for _, alert in w.taken}) == 1


def test_what_was_not_taken_is_handed_in_again() -> None:
    async def play(w: World) -> None:
        w.answer[PROBE.target] = "bad"
        w.broken = StoreUnavailable("disk full")
        w.source.configure([PROBE])
        await w.time.until(22)
        w.broken = None
        await w.time.until(26)
        w.broken = Temporary("busy")
        w.answer[PROBE.target] = "good"
        await w.time.until(41)
        w.broken = None
        await w.time.until(60)

    w = scenario(play)
    assert w.told == [(25, "firing"), (45, "resolved")]
    assert w.taken[1][1].ends_at == START + 35


def test_a_resolve_that_waits_comes_before_the_next_alert() -> None:
    async def play(w: World) -> None:
        w.answer[PROBE.target] = "bad"
        w.source.configure([PROBE])
        await w.time.until(11)
        w.broken = StoreUnavailable("disk full")
        w.answer[PROBE.target] = "good"
        await w.time.until(21)
        w.answer[PROBE.target] = "bad"
        await w.time.until(36)
        w.broken = None
        await w.time.until(41)

    w = scenario(play)
    assert w.told == [(10, "firing"), (40, "resolved"), (40, "firing")]
    assert len({alert.episode for _, alert in w.taken}) == 2


def test_two_targets_do_not_mix() -> None:
    other = replace(PROBE, name="shop", kind="tcp", target="shop:80", labels={})

    async def play(w: World) -> None:
        w.answer["shop:80"] = "bad"
        w.source.configure([PROBE, other])
        await w.time.until(12)

    w = scenario(play)
    assert [alert.labels["probe"] for _, alert in w.taken] == ["shop"]


# ---- another policy --------------------------------------------------------------------------------------------------


def down(w: World) -> None:
    w.answer[PROBE.target] = "bad"
    w.source.configure([PROBE])


def test_a_probe_that_is_gone_is_resolved() -> None:
    async def play(w: World) -> None:
        down(w)
        await w.time.until(12)
        w.source.configure([])
        await w.time.until(300)

    w = scenario(play)
    assert w.told == [(10, "firing"), (12, "resolved")]
    assert len(w.looks) == 3


def test_a_farewell_is_repeated_until_it_is_taken() -> None:
    async def play(w: World) -> None:
        down(w)
        await w.time.until(12)
        w.broken = StoreUnavailable("disk full")
        w.source.configure([])
        await w.time.until(16)
        w.broken = None
        await w.time.until(60)

    assert [status for _, status in scenario(play).told] == ["firing", "resolved"]


def test_the_same_policy_disturbs_nothing() -> None:
    async def play(w: World) -> None:
        down(w)
        await w.time.until(12)
        w.source.configure([replace(PROBE)])
        await w.time.until(68)

    w = scenario(play)
    assert w.told == [(10, "firing")]
    assert [at for at, _ in w.looks] == [float(at) for at in range(0, 66, 5)]


def test_another_rhythm_keeps_the_alert() -> None:
    async def play(w: World) -> None:
        down(w)
        await w.time.until(12)
        w.source.configure([replace(PROBE, every=1.0)])
        await w.time.until(14)
        w.answer[PROBE.target] = "good"
        await w.time.until(20)

    w = scenario(play)
    assert [status for _, status in w.told] == ["firing", "firing", "resolved"]
    assert len({alert.episode for _, alert in w.taken}) == 1


def test_other_labels_are_another_alert() -> None:
    async def play(w: World) -> None:
        down(w)
        await w.time.until(12)
        w.source.configure([replace(PROBE, labels={"service": "other"})])
        await w.time.until(30)

    w = scenario(play)
    assert [(alert.status, alert.labels["service"]) for _, alert in w.taken] == [
        ("firing", "crm"),
        ("resolved", "crm"),
        ("firing", "other"),
    ]


# ---- another process -------------------------------------------------------------------------------------------------


def test_stopping_resolves_nothing() -> None:
    async def play(w: World) -> None:
        down(w)
        await w.time.until(12)
        await w.source.stop()
        await w.time.until(300)

    assert scenario(play).told == [(10, "firing")]


def test_what_was_firing_goes_on_and_is_resolved() -> None:
    async def play(w: World) -> None:
        w.source.resume({fingerprint(labels_of(PROBE)): START - 100})
        w.source.configure([PROBE])
        await w.time.until(20)

    w = scenario(play)
    assert w.told == [(0, "firing"), (5, "resolved")]
    assert {alert.starts_at for _, alert in w.taken} == {START - 100}


# ---- identity --------------------------------------------------------------------------------------------------------


def test_labels() -> None:
    assert labels_of(PROBE) == {
        "alertname": "ServiceDown",
        "instance": "crm:8000",
        "job": "autoheal-probe",
        "probe": "crm",
        "service": "crm",
    }
    assert labels_of(replace(PROBE, target="https://crm/x"))["instance"] == "crm:443"
    assert labels_of(replace(PROBE, target="http://u:p@[::1]/x"))["instance"] == "[::1]:80"
    assert labels_of(replace(PROBE, target="http://[bad"))["instance"] == "crm"
    assert labels_of(replace(PROBE, kind="tcp", target="db:5432"))["instance"] == "db:5432"
    own = labels_of(replace(PROBE, labels={"instance": "i", "job": "", "probe": "x", "alertname": "y"}))
    assert own == {"alertname": "ServiceDown", "instance": "i", "probe": "crm"}

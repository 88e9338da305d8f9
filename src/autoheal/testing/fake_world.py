"""What surrounds the engine, by script: actions, probes, Alertmanagers that do as a test says and remember it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from autoheal.core.errors import Invalid, NotFound, Temporary
from autoheal.core.policy import ActionSpec
from autoheal.engine.ports import ActionResult, Active, Answer, Begin, Look, OutgoingAlert, Seen, Silence
from autoheal.testing.clock import ManualClock


@dataclass(frozen=True, slots=True)
class Ran:
    """One call of the fake action that got through its `begin`."""

    options: Mapping[str, Any]
    timeout: float


class FakeAction:
    """An action whose results are scripted; with no script left it succeeds.

    `result` may be an ActionResult, an exception to raise after the start, or a callable that is asked.
    """

    def __init__(self) -> None:
        self.runs: list[Ran] = []
        self.script: deque[ActionResult | Exception | Callable[[], ActionResult]] = deque()
        self.before_begin: Callable[[], None] = lambda: None
        self.gate = threading.Event()
        self.gate.set()
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    schema: Mapping[str, Any] = {"type": "object"}

    def check(self, options: Any) -> ActionSpec:
        if not isinstance(options, Mapping) or "do" not in options:
            raise Invalid("expected {do: TEXT}", "do")
        return ActionSpec("fake", dict(options), ("do", str(options["do"])))

    def then(self, *results: ActionResult | Exception | Callable[[], ActionResult]) -> None:
        """What the next calls give, in this order."""
        self.script.extend(results)

    def run(self, options: Mapping[str, Any], timeout: float, begin: Begin) -> ActionResult:
        self.before_begin()
        begin(lambda: self._started(options, timeout))
        try:
            self.gate.wait(30)
            with self._lock:
                result = self.script.popleft() if self.script else ActionResult("ok", 0, "done")
            if isinstance(result, Exception):
                raise result
            return result if isinstance(result, ActionResult) else result()
        finally:
            with self._lock:
                self.at_once -= 1

    def _started(self, options: Mapping[str, Any], timeout: float) -> None:
        with self._lock:
            self.runs.append(Ran(dict(options), timeout))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)

    def hold(self) -> None:
        """Let calls start, but not end before `release`."""
        self.gate.clear()

    def release(self) -> None:
        self.gate.set()


class FakeProbes:
    """Probes whose answers are scripted for each target; `step` seconds pass on the clock with each look."""

    def __init__(self, clock: ManualClock | None = None, step: float = 5.0) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, deque[Answer | Exception]] = {}
        self.last: dict[str, Answer | Exception] = {}
        self._clock = clock
        self._step = step

    def say(self, target: str, *answers: Answer | Exception) -> None:
        """The next answers for `target`; the last one stays. An exception is raised."""
        self.answers[target] = deque(answers)
        self.last[target] = answers[-1]

    async def look(self, kind: str, target: str, timeout: float) -> Look:
        self.asked.append((kind, target))
        if self._clock is not None:
            self._clock.advance(self._step)
        waiting = self.answers.get(target)
        answer = waiting.popleft() if waiting else self.last.get(target, "good")
        if isinstance(answer, Exception):
            raise answer
        return Look(answer, f"scripted {answer}")


@dataclass
class FakeAlertmanagers:
    """A cluster of Alertmanagers in memory: its alerts, silences, and what was posted to each of its members."""

    urls: Sequence[str] = ("http://am-1:9093",)
    clock: ManualClock = field(default_factory=ManualClock)
    firing: dict[str, Seen] = field(default_factory=dict)
    made: dict[str, Silence] = field(default_factory=dict)
    posted: dict[str, list[list[OutgoingAlert]]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    asked: int = 0
    complete: bool = True
    """False: it has restarted lately, and not everything that fires has been sent to it again."""
    step: float = 0.0
    """Seconds that pass on the clock with each look at the alerts."""
    _numbers: Iterable[int] = field(default_factory=lambda: count(1))

    def fire(
        self,
        fingerprint: str,
        labels: Mapping[str, str],
        starts_at: float,
        silenced_by: tuple[str, ...] = (),
        **more: Any,
    ) -> None:
        """`more`: what else `Seen` has, such as `receivers`."""
        until = max((self.made[i].ends_at for i in silenced_by if i in self.made), default=None)
        self.firing[fingerprint] = Seen(fingerprint, labels, starts_at, silenced_by, silenced_until=until, **more)

    def _answer(self) -> None:
        self.asked += 1
        if set(self.urls) <= self.down:
            raise Temporary("no Alertmanager answers")

    async def alerts(self, matchers: Sequence[str] = ()) -> Active:
        self.clock.advance(self.step)
        self._answer()
        return Active(list(self.firing.values()), self.complete)

    async def silences(self) -> list[Silence]:
        self._answer()
        now = self.clock.now()
        return [replace(s, state="expired") if s.ends_at <= now else s for s in self.made.values()]

    async def create_silence(
        self, labels: Mapping[str, str], starts_at: float, ends_at: float, created_by: str, comment: str
    ) -> str:
        self._answer()
        silence_id = f"silence-{next(iter(self._numbers))}"
        matchers = tuple({"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in labels.items())
        self.made[silence_id] = Silence(silence_id, matchers, starts_at, ends_at, created_by, comment, "active")
        return silence_id

    async def extend_silence(self, silence_id: str, ends_at: float, created_by: str, comment: str) -> str:
        self._answer()
        found = self.made.get(silence_id)
        if found is None or found.state == "expired" or found.ends_at <= self.clock.now():
            raise NotFound(f"silence {silence_id} is over")
        self.made[silence_id] = replace(found, ends_at=ends_at, created_by=created_by, comment=comment)
        return silence_id

    async def expire_silence(self, silence_id: str) -> None:
        self._answer()
        if silence_id not in self.made:
            raise NotFound(f"no silence {silence_id}")
        self.made[silence_id] = replace(self.made[silence_id], state="expired")

    async def post_alerts(self, url: str, alerts: Sequence[OutgoingAlert]) -> None:
        if url in self.down:
            raise Temporary(f"{url} does not answer")
        self.posted.setdefault(url, []).append(list(alerts))

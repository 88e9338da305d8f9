"""How well it heals: figures over the newest remediations, and the targets that they are held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

import orjson

from autoheal.core.remediation import EXHAUSTED, FAILED, HEALED, UNKNOWN
from autoheal.engine.ports import RemediationRow

OVER = 1000
"""The newest remediations that figures are taken over."""
FAILURE_WINDOW = 900.0
"""Seconds over which failures are counted."""


@dataclass(frozen=True, slots=True)
class Results:
    """How the newest `over` remediations ended. `done`: the action ended well, and there was no verification to say
    that it healed; `heal_times`: seconds from hearing of the alert until it was seen healed, ascending."""

    over: int = OVER
    ended: int = 0
    healed: int = 0
    done: int = 0
    failed: int = 0
    unknown: int = 0
    false_positives: int = 0
    heal_times: tuple[float, ...] = ()

    @property
    def judged(self) -> int:
        return self.healed + self.done + self.failed + self.unknown

    @property
    def success_rate(self) -> float | None:
        return (self.healed + self.done) / self.judged if self.judged else None

    @property
    def false_positive_rate(self) -> float | None:
        return min(1.0, self.false_positives / self.judged) if self.judged else None

    @property
    def median_time_to_heal(self) -> float | None:
        return median(self.heal_times) if self.heal_times else None

    def as_dict(self) -> dict[str, Any]:
        """`cancelled`: they ended before an action did, or without a judgement."""
        return {
            "over": self.over,
            "ended": self.ended,
            "healed": self.healed,
            "done": self.done,
            "failed": self.failed,
            "unknown": self.unknown,
            "cancelled": self.ended - self.judged,
            "false_positives": self.false_positives,
            "success_rate": self.success_rate,
            "median_time_to_heal": self.median_time_to_heal,
        }


def results(rows: Iterable[RemediationRow], over: int = OVER) -> Results:
    """What the ended ones among `rows`, the newest `over`, came to."""
    ended = [row for row in rows if row.ended_at is not None]
    states = [row.state for row in ended]
    datas = [orjson.loads(row.data) for row in ended]
    done = sum(row.state == HEALED and data.get("effect") == "unknown" for row, data in zip(ended, datas, strict=True))
    times = sorted(data["ended_at"] - data["received_at"] for data in datas if _seen_healed(data))
    return Results(
        over=over,
        ended=len(ended),
        healed=states.count(HEALED) - done,
        done=done,
        failed=states.count(FAILED) + states.count(EXHAUSTED),
        unknown=states.count(UNKNOWN),
        false_positives=sum(data.get("marked") == "false_positive" for data in datas),
        heal_times=tuple(round(max(0.0, seconds), 3) for seconds in times),
    )


def _seen_healed(data: dict[str, Any]) -> bool:
    """By a verification; what a person settled says nothing of how long it took."""
    return data.get("effect") == "healed" and data.get("reason") != "by_hand"


@dataclass(frozen=True, slots=True)
class Measured:
    """What the targets are held against; None where there is no data. `failures` and `actions` are those that ended
    within `FAILURE_WINDOW`."""

    heartbeat_age: float | None
    failures: int
    actions: int
    write_p95: float | None
    results: Results


def slos(measured: Measured) -> list[dict[str, Any]]:
    """The targets with where they stand. Without data nothing is fulfilled: `ok` is then null."""
    found = measured.results
    rate = measured.failures / FAILURE_WINDOW if measured.actions else None
    none = "no action ended in the last 15 minutes"
    newest = f"over the newest {found.judged} that were judged"
    unverified = f", {found.done} of them without a verification" if found.done else ""
    heals = f"median of {len(found.heal_times)} verified heals"
    return [
        _slo("heartbeat_age", "Heartbeat age", measured.heartbeat_age, 300, "s", note="time since the last event"),
        _slo("failure_rate", "Failure rate", rate, 0.05, "/s", note="over 15 minutes", none=none),
        _slo("audit_write_p95", "Audit write p95", measured.write_p95, 0.2, "s", note="over 10 minutes"),
        _slo("action_success", "Action success", found.success_rate, 0.95, "ratio", "higher", newest + unverified),
        _slo("false_positives", "False positives", found.false_positive_rate, 0.05, "ratio", note=newest),
        _slo("time_to_heal", "Time to heal", found.median_time_to_heal, 120, "s", note=heals),
    ]


def _slo(
    name: str,
    title: str,
    value: float | None,
    target: float,
    unit: str,
    better: str = "lower",
    note: str = "",
    none: str = "no data yet",
) -> dict[str, Any]:
    ok = None if value is None else value > target if better == "higher" else value < target
    return {
        "id": name,
        "title": title,
        "value": value,
        "target": target,
        "unit": unit,
        "better": better,
        "ok": ok,
        "note": none if value is None else note,
    }

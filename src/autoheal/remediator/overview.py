"""What the console shows first, taken from the state in one look: what runs, what waits for a person, what is off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import nlargest, nsmallest
from operator import attrgetter
from typing import Any, NamedTuple

from autoheal.core.cooldowns import cooldown_of
from autoheal.core.moves.acting import KILLED_WITHIN
from autoheal.core.policy import Policy
from autoheal.core.remediation import HELD, RUNNING, UNKNOWN, VERIFYING, Remediation
from autoheal.core.state import Escalation, Mode, Override, Slot, State

SHOWN = 100
"""Rows of each list of remediations; the newest are shown, and how many there are is said."""
COOLDOWNS = 500


def mode_of(mode: Mode) -> dict[str, Any]:
    return {
        "enabled": mode.enabled,
        "dry_run": mode.dry_run,
        "acts": mode.acts,
        "off": mode.off,
        "source": mode.source,
        "since": mode.since,
        "by": mode.by,
    }


def of_state(state: State) -> dict[str, Any]:
    """All that must be read while the state is held still; brief: one pass, and at most `SHOWN` rows of a kind."""
    active: list[Remediation] = []
    approvals: list[Remediation] = []
    unknown: list[Remediation] = []
    for remediation in state.remediations.values():
        if remediation.state == UNKNOWN:
            unknown.append(remediation)
        elif remediation.hold == "approval" and remediation.state == HELD:
            approvals.append(remediation)
        else:
            active.append(remediation)
    return {
        "last_event_id": state.last_id,
        "mode": mode_of(state.mode),
        "active": _newest(active),
        "active_total": len(active),
        "waiting": {
            "approvals": _newest(approvals),
            "approvals_total": len(approvals),
            "unknown": _newest(unknown),
            "unknown_total": len(unknown),
            "escalations": _escalations(state.escalations.values()),
            "escalations_total": len(state.escalations),
        },
        "breakers": [
            {"rule": key.partition("|")[2], "failures": breaker.failures, "open_until": breaker.open_until}
            for key, breaker in state.breakers.items()
        ],
        "acks": [
            {
                "silence_id": ack.silence_id,
                "labels": ack.labels,
                "ends_at": ack.ends_at,
                "actor": ack.actor,
                "comment": ack.comment,
            }
            for ack in sorted(state.acks.values(), key=attrgetter("ends_at"))
        ],
        "deferred": len(state.deferred),
    }


def _newest(found: list[Remediation]) -> list[dict[str, Any]]:
    return [summary(one) for one in found[: -SHOWN - 1 : -1]]  # the state has them in the order of their numbers


def _escalations(found: Iterable[Escalation]) -> list[dict[str, Any]]:
    return [
        {
            "key": one.key,
            "severity": one.severity,
            "reason": one.reason,
            "summary": one.summary,
            "since": one.since,
            "rule": one.rule,
            "alertname": one.alertname,
            "remediation_id": one.remediation_id,
        }
        for one in nlargest(SHOWN, found, key=attrgetter("since"))
    ]


def summary(remediation: Remediation) -> dict[str, Any]:
    """One remediation in a list. `step` counts from 0; `since`: when it came into this state, as far as is known."""
    return {
        "id": remediation.id,
        "state": remediation.state,
        "rule": remediation.rule,
        "alertname": remediation.alertname,
        "labels": dict(remediation.labels),
        "cmd": remediation.cmd,
        "step": remediation.step,
        "ladder": remediation.ladder,
        "attempt": remediation.attempt,
        "since": _since(remediation),
        "until": _until(remediation),
        "hold": remediation.hold if remediation.state == HELD else None,
        "created_at": remediation.created_at,
        "started_at": remediation.started_at,
        "inconclusive": remediation.inconclusive,
        "approved_by": remediation.approved_by,
    }


def _since(remediation: Remediation) -> float:
    known: float | None = None
    if remediation.state == RUNNING and remediation.steps:
        known = remediation.steps[-1].get("started_at")
    elif remediation.state == VERIFYING:
        known = remediation.step_ended_at
    elif remediation.state == UNKNOWN:
        known = remediation.ended_at
    return known or remediation.queued_at or remediation.created_at


def _until(remediation: Remediation) -> float | None:
    """When a person, the action's timeout or the verification ends this state; None where nothing does."""
    if remediation.state == HELD:
        return remediation.hold_until
    if remediation.state == RUNNING and remediation.run_until is not None:
        return remediation.run_until - KILLED_WITHIN
    return remediation.verify_until if remediation.state == VERIFYING else None


class Slots(NamedTuple):
    """A copy of the state's slots, so that they can be looked through without holding it still: as two lists, for
    100,000 pairs would be a hundred times as slow to make."""

    keys: list[str]
    slots: list[Slot]

    @classmethod
    def of(cls, state: State) -> Slots:
        return cls(list(state.slots), list(state.slots.values()))


Overrides = Mapping[str, Override]
"""Cooldowns that a person has set, by rule."""


def cooldowns(
    taken: Slots, policy: Policy, lane: str, now: float, overrides: Overrides | None = None
) -> tuple[list[Any], int]:
    """The cooldowns that still run, soonest end first, and how many there are."""
    lasts = {rule.name: cooldown_of(rule, overrides or {}) for rule in policy.rules}
    began = {rule: now - seconds for rule, seconds in lasts.items()}
    never = float("inf")
    prefix = f"{lane}|"
    found = [
        (slot.started_at + lasts[slot.rule], key, slot)
        for key, slot in zip(*taken, strict=True)
        if slot.started_at > began.get(slot.rule, never) and key.startswith(prefix)
    ]
    rows = [
        {
            "key": key.removeprefix(prefix),
            "rule": slot.rule,
            "alertname": slot.alertname,
            "lane": lane,
            "started_at": slot.started_at,
            "until": until,
            "remediation_id": slot.remediation_id,
        }
        for until, key, slot in nsmallest(COOLDOWNS, found, key=lambda one: one[:2])
    ]
    return rows, len(found)


def by_rule(
    taken: Slots, policy: Policy, lane: str, now: float, overrides: Overrides | None = None
) -> Mapping[str, tuple[int, float]]:
    """For each rule: how many cooldowns of this lane still run, and when it was last started."""
    lasts = {rule.name: cooldown_of(rule, overrides or {}) for rule in policy.rules}
    found: dict[str, tuple[int, float]] = {}
    prefix = f"{lane}|"
    for key, slot in zip(*taken, strict=True):
        if slot.rule in lasts and key.startswith(prefix):
            cooling, last = found.get(slot.rule, (0, 0.0))
            found[slot.rule] = (cooling + (slot.started_at + lasts[slot.rule] > now), max(last, slot.started_at))
    return found

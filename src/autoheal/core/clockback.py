"""The clock went back: no mark may lie in the future, or a wait could last for years."""

from __future__ import annotations

from autoheal.core.state import State


def clock_went_back(state: State, ts: float) -> None:
    """No mark may lie in the future, or a cooldown could last for years; each wait begins anew at most once."""
    for key, slot in state.slots.items():
        if slot.started_at > ts:
            slot.started_at = ts
            state.touch("slot", key)
    for key, budget in state.budgets.items():
        if budget.times and budget.times[-1] > ts:
            budget.times = [min(at, ts) for at in budget.times]
            state.touch("budget", key)
    for lane, starts in state.starts.items():
        for position, (name, at) in enumerate(starts):
            if at > ts:
                starts[position] = (name, ts)
                state.touch(f"start:{lane}", name)
    for fingerprint, mark in state.resolved.items():
        if mark["at"] > ts:
            mark["at"] = ts
            state.touch("resolved", fingerprint)
    for silence_id, ack in state.acks.items():
        if ack.starts_at > ts:
            ack.starts_at = ts
            state.touch("ack", silence_id)
    for silence_id, former in state.former.items():
        if former.since > ts:
            former.since = ts
            state.touch("former", silence_id)
    _waits_shorten(state, ts)


def _waits_shorten(state: State, ts: float) -> None:
    """What was to end in the future ends after the same time as before; what was due stays due."""
    back = state.last_ts - ts
    for key, breaker in state.breakers.items():
        if breaker.open_until > ts:
            breaker.open_until -= back
            state.touch("breaker", key)
    for key, former in state.former.items():
        if former.watched_until > ts:
            former.watched_until -= back
            state.touch("former", key)
    for remediation in state.remediations.values():
        if remediation.queued_at is not None and remediation.queued_at > ts:
            remediation.queued_at = ts
            state.touch("remediation", remediation.id)
        for name in ("hold_until", "verify_until"):
            until = getattr(remediation, name)
            if until is not None and until > ts:
                setattr(remediation, name, max(ts, until - back))
                state.touch("remediation", remediation.id)
    for entry in list(state.deferred.values()):
        if entry.seen_at > ts or (entry.until is not None and entry.until > ts):
            entry.seen_at = min(entry.seen_at, ts)
            if entry.until is not None:
                entry.until = min(entry.until, max(ts, entry.until - back))
            state.defer(entry)

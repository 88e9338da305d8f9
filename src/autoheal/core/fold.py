"""The fold: how each event changes the state. Deterministic, so that a replica or a restored file comes to the same."""

from __future__ import annotations

from collections.abc import Callable

from autoheal.core.clockback import clock_went_back
from autoheal.core.events import Event
from autoheal.core.fold_silences import drop_old, fold_ack, fold_ack_ended, fold_received
from autoheal.core.gates import RESOLVED_MEMORY
from autoheal.core.remediation import FINAL, OPEN, RESERVED, RUNNING, VERIFYING, Remediation
from autoheal.core.state import (
    LIVE,
    MAX_STARTS,
    Breaker,
    Budget,
    Deferred,
    Escalation,
    Mode,
    Override,
    Slot,
    State,
)

KEEP_SLOTS = 367 * 86400.0
"""Seconds after which a slot or budget that nothing needs any more is dropped."""
KEEP_RESOLVED = 3600.0
MAX_BUDGET_TIMES = 1000


def fold(state: State, event: Event) -> None:
    """Apply one event, in the order of ids. Marks what changed in `state.touched`."""
    ts = event["ts"]
    if ts < state.last_ts:
        clock_went_back(state, ts)
    state.last_id = event["id"]
    state.last_ts = ts
    handler = _HANDLERS.get(event["kind"])
    if handler is not None:
        handler(state, event)


# ---- decisions ------------------------------------------------------------------------------------------------------


def _decision_act(state: State, event: Event) -> None:
    remediation = state.remediations.get(event["remediation_id"])
    if remediation is None:
        remediation = _new(event, RESERVED)
    else:
        remediation.to(RESERVED)
        remediation.hold = remediation.hold_until = None
        remediation.trace = event.get("trace", remediation.trace)
    remediation.queued_at = event["ts"]
    _changed(state, remediation)
    state.undefer(remediation.fingerprint)


def _decision_hold(state: State, event: Event) -> None:
    remediation = state.remediations.get(event["remediation_id"])
    if remediation is None:
        remediation = _new(event, "held")
    else:
        remediation.to("held")
        remediation.trace = event.get("trace", remediation.trace)
    remediation.hold = event["reason"]
    remediation.hold_until = event.get("until")
    _changed(state, remediation)
    state.undefer(remediation.fingerprint)


def _new(event: Event, status: str) -> Remediation:
    return Remediation(
        id=event["remediation_id"],
        state=status,
        rule=event["rule"],
        rule_digest=event["rule_digest"],
        key=event["key"],
        alertname=event["alertname"],
        fingerprint=event["fingerprint"],
        episode=event["episode"],
        labels=event["labels"],
        annotations=event["annotations"],
        starts_at=event["starts_at"],
        received_at=event["received_at"],
        created_at=event["ts"],
        origin=event.get("origin", ""),
        attempt=event["attempt"],
        budget_key=event.get("budget_key"),
        budget_per=event.get("budget_per", 0.0),
        ladder=event["ladder"],
        escalate=event["escalate"],
        cancel_on_resolve=event["cancel_on_resolve"],
        queue=event.get("queue", ""),
        cmd=event.get("cmd", ""),
        trace=event.get("trace", {}),
    )


def _decision_skip(state: State, event: Event) -> None:
    if "resolves" in event:
        _resolve(state, event)
        return
    until, wait_key = event.get("until"), event.get("wait_key")
    if until is not None or wait_key is not None:
        if "seen_at" in event:  # otherwise the same is deferred already
            _defer(state, event, until, wait_key)
    elif event["reason"] != "resolved":
        state.undefer(event.get("fingerprint", ""))


def _resolve(state: State, event: Event) -> None:
    fingerprint, starts_at = event["fingerprint"], event["resolves"]
    entry = state.deferred.get(fingerprint)
    if entry is not None and entry.starts_at <= starts_at:
        state.undefer(fingerprint)
    for remediation in state.of_alert(fingerprint, starts_at):
        remediation.resolved_at = event["ts"]
        state.touch("remediation", remediation.id)
    before = state.resolved.get(fingerprint)
    if before is not None and before["at"] + RESOLVED_MEMORY > event["ts"]:
        starts_at = max(starts_at, before["starts_at"])
    state.resolved[fingerprint] = {"starts_at": starts_at, "at": event["ts"]}
    state.touch("resolved", fingerprint)


def _defer(state: State, event: Event, until: float | None, wait_key: str | None) -> None:
    entry = Deferred(
        fingerprint=event["fingerprint"],
        labels=event["labels"],
        annotations=event.get("annotations", {}),
        starts_at=event["starts_at"],
        seen_at=event["seen_at"],
        reason=event["reason"],
        origin=event.get("origin", ""),
        until=until,
        wait_key=wait_key,
    )
    state.defer(entry)


def _action_dry_run(state: State, event: Event) -> None:
    slot_key = f"dry|{event['key']}"
    state.slots[slot_key] = Slot(
        event["ts"], event["alertname"], event["rule"], event["episode"], event.get("attempt", 1)
    )
    state.touch("slot", slot_key)
    _count_attempt(state, "dry", event.get("budget_key"), event.get("budget_per", 0.0), event["ts"])
    _count_start(state, "dry", event)
    state.undefer(event["fingerprint"])


# ---- acting ---------------------------------------------------------------------------------------------------------


def _action_started(state: State, event: Event) -> None:
    remediation = state.remediations.get(event["remediation_id"])
    if remediation is None:
        return  # its beginning lies before the oldest event that was kept
    remediation.to(RUNNING)
    remediation.token = event["token"]
    remediation.owner = event.get("instance", "")
    remediation.run_until = event.get("run_until")
    remediation.cmd = event["cmd"]
    remediation.verify = event.get("verify")
    remediation.verify_until = None
    remediation.inconclusive = False
    remediation.steps.append({"step": event["step"], "cmd": event["cmd"], "started_at": event["ts"]})
    if remediation.started_at is None:
        remediation.started_at = event["ts"]
        key = f"{LIVE}|{remediation.key}"
        state.slots[key] = Slot(
            event["ts"],
            remediation.alertname,
            remediation.rule,
            remediation.episode,
            remediation.attempt,
            remediation.id,
        )
        state.touch("slot", key)
        _count_attempt(state, LIVE, remediation.budget_key, remediation.budget_per, event["ts"])
    _count_start(state, LIVE, event)
    _changed(state, remediation)


def _count_attempt(state: State, lane: str, key: str | None, per: float, ts: float) -> None:
    if key is None:
        return
    name = f"{lane}|{key}"
    budget = state.budgets.setdefault(name, Budget())
    budget.times = [at for at in budget.times if at > ts - per][-(MAX_BUDGET_TIMES - 1) :] + [ts]
    budget.told = False
    state.touch("budget", name)


def _count_start(state: State, lane: str, event: Event) -> None:
    starts = state.starts[lane]
    name = str(event["id"])
    starts.append((name, event["ts"]))
    state.touch(f"start:{lane}", name)
    while len(starts) > MAX_STARTS or starts[0][1] < event["ts"] - 86400:
        old, _ = starts.popleft()
        state.touch(f"start:{lane}", old)


def _moved(state: State, event: Event) -> None:
    """An outcome, a verdict or an end: the event says the new state."""
    remediation = state.remediations.get(event["remediation_id"])
    if remediation is None:
        return
    kind, ts = event["kind"], event["ts"]
    if remediation.state != event["state"] or event["state"] == VERIFYING:
        remediation.to(event["state"])
    if kind.startswith("action_"):
        remediation.step_ended_at = ts
    _note_step(remediation, event)
    if event.get("not_started"):
        _take_back_start(state, remediation, event["token"])
    remediation.verify_until = event.get("verify_until", remediation.verify_until)
    remediation.inconclusive = kind == "verify_inconclusive" or (remediation.inconclusive and kind != "verify_ok")
    remediation.step = event.get("next_step", remediation.step)
    if event["state"] == RESERVED:
        remediation.queued_at = ts
    remediation.reason = event.get("reason", remediation.reason)
    remediation.effect = event.get("effect", remediation.effect)
    if event["state"] not in OPEN:
        remediation.ended_at = ts
    _breaker(state, remediation, event)
    _changed(state, remediation)
    if remediation.state in FINAL:
        _ended(state, remediation, event)


def _take_back_start(state: State, remediation: Remediation, token: str) -> None:
    """The brake held the process back: if it was to be the first, the slot and the counters are free again."""
    name = token.rpartition(".")[2]
    starts = state.starts[LIVE]
    at = next((when for key, when in starts if key == name), None)
    if at is not None:
        starts.remove((name, at))
        state.touch(f"start:{LIVE}", name)
    if len(remediation.steps) > 1:
        return
    remediation.started_at = None
    key = f"{LIVE}|{remediation.key}"
    if state.slots.pop(key, None) is not None:
        state.touch("slot", key)
    budget = state.budgets.get(f"{LIVE}|{remediation.budget_key}")
    if budget is not None and budget.times:
        budget.times.remove(at if at in budget.times else budget.times[-1])
        state.touch("budget", f"{LIVE}|{remediation.budget_key}")


def _note_step(remediation: Remediation, event: Event) -> None:
    if not remediation.steps:
        return
    step = remediation.steps[-1]
    if event.get("step", step["step"]) != step["step"]:
        return  # the next step ended before it began
    if event["kind"].startswith("action_"):
        step.update(
            result=event["kind"].removeprefix("action_"),
            ended_at=event["ts"],
            rc=event.get("rc"),
            error=event.get("error") or None,
            duration_seconds=event.get("duration_seconds"),
        )
    elif event["kind"].startswith("verify_"):
        step.update(verdict=event["kind"].removeprefix("verify_"), verified_at=event["ts"], detail=event.get("detail"))


def _breaker(state: State, remediation: Remediation, event: Event) -> None:
    opens = event.get("breaker_open_until")
    name = f"{LIVE}|{remediation.rule}"
    if event["state"] in ("failed", "exhausted") and event["kind"] != "settled":
        breaker = state.breakers.setdefault(name, Breaker())
        breaker.failures += 1
        if opens is not None:
            breaker.open_until = opens
        state.touch("breaker", name)
    elif event["state"] == "healed" and name in state.breakers:
        del state.breakers[name]
        state.touch("breaker", name)


def _ended(state: State, remediation: Remediation, event: Event) -> None:
    """Wake who waited for the key; a healed alert is not decided again unless it is heard again."""
    if event["state"] == "healed":
        own = state.deferred.get(remediation.fingerprint)
        if own is not None and own.starts_at <= remediation.starts_at:
            state.undefer(remediation.fingerprint)
    until = event.get("until")
    if until is not None and remediation.resolved_at is None:
        state.defer(
            Deferred(
                fingerprint=remediation.fingerprint,
                labels=remediation.labels,
                annotations=remediation.annotations,
                starts_at=remediation.starts_at,
                seen_at=event["ts"],
                reason=event.get("reason", ""),
                origin=remediation.origin,
                until=until,
            )
        )
    for fingerprint in sorted(state.waiting.get(remediation.key, ())):
        entry = state.deferred[fingerprint]
        state.undefer(fingerprint)
        entry.wait_key, entry.until = None, event["ts"]
        state.defer(entry)


def _changed(state: State, remediation: Remediation) -> None:
    state.index(remediation)
    state.touch("remediation", remediation.id)
    if remediation.state in FINAL:
        state.ended[remediation.id] = remediation


def _approved(state: State, event: Event) -> None:
    remediation = state.remediations.get(event["remediation_id"])
    if remediation is not None:
        remediation.approved_by = event["actor"]
        _changed(state, remediation)


def _marked(state: State, event: Event) -> None:
    remediation = state.remediations.get(event["remediation_id"])
    if remediation is not None:
        remediation.marked = event["mark"]
        _changed(state, remediation)


# ---- telling people -------------------------------------------------------------------------------------------------


def _escalated(state: State, event: Event) -> None:
    key = event["escalation"]
    state.escalations[key] = Escalation(
        key=key,
        severity=event["severity"],
        reason=event["reason"],
        summary=event["summary"],
        since=event["ts"],
        rule=event.get("rule") or "",
        alertname=event.get("alertname") or "",
        remediation_id=event.get("remediation_id") or "",
        fingerprint=event.get("fingerprint") or "",
        starts_at=event.get("starts_at", 0.0),
    )
    state.touch("escalation", key)
    budget = state.budgets.get(key.removeprefix("budget:")) if key.startswith("budget:") else None
    if budget is not None:
        budget.told = True
        state.touch("budget", key.removeprefix("budget:"))


def _settled(state: State, event: Event) -> None:
    key = event.get("escalation")
    if key is not None:
        if state.escalations.pop(key, None) is not None:
            state.touch("escalation", key)
        return
    _moved(state, event)


# ---- the service itself ---------------------------------------------------------------------------------------------


def _mode_changed(state: State, event: Event) -> None:
    state.mode = Mode(
        enabled=event["enabled"],
        dry_run=event["dry_run"],
        source=event["source"],
        env=event.get("env", ""),
        since=event["ts"],
        by=event.get("actor", ""),
    )
    state.touch("mode", "mode")


def _policy_loaded(state: State, event: Event) -> None:
    state.policy = {"digest": event["digest"], "rules": event["rules"], "since": event["ts"]}
    state.touch("policy", "policy")


def _cooldown_changed(state: State, event: Event) -> None:
    """`deferred`: the alerts that wait for the end of this cooldown, and until when they wait now."""
    rule, ts = event["rule"], event["ts"]
    if event.get("reset"):
        state.cooldowns.pop(rule, None)
    else:
        state.cooldowns[rule] = Override(event["cooldown"], event["rule_digest"], ts, event.get("actor", ""))
    state.touch("cooldown", rule)
    for fingerprint, until in event.get("deferred", {}).items():
        entry = state.deferred.get(fingerprint)
        if entry is not None and entry.until is not None:
            entry.until = until
            state.defer(entry)


def _heartbeat(state: State, event: Event) -> None:
    """Once a minute: drop what nothing can need any more."""
    ts = event["ts"]
    for key in [key for key, slot in state.slots.items() if slot.started_at < ts - KEEP_SLOTS]:
        del state.slots[key]
        state.touch("slot", key)
    for key in [key for key, budget in state.budgets.items() if budget.times[-1:] < [ts - KEEP_SLOTS]]:
        del state.budgets[key]
        state.touch("budget", key)
    for key in [key for key, mark in state.resolved.items() if mark["at"] < ts - KEEP_RESOLVED]:
        del state.resolved[key]
        state.touch("resolved", key)
    drop_old(state, ts)


_HANDLERS: dict[str, Callable[[State, Event], None]] = {
    "webhook_received": fold_received,
    "decision_act": _decision_act,
    "decision_hold": _decision_hold,
    "decision_skip": _decision_skip,
    "action_dry_run": _action_dry_run,
    "action_started": _action_started,
    "action_ok": _moved,
    "action_fail": _moved,
    "action_unknown": _moved,
    "verify_ok": _moved,
    "verify_fail": _moved,
    "verify_inconclusive": _moved,
    "cancelled": _moved,
    "rejected": _moved,
    "approved": _approved,
    "settled": _settled,
    "marked": _marked,
    "escalated": _escalated,
    "ack": fold_ack,
    "ack_ended": fold_ack_ended,
    "mode_changed": _mode_changed,
    "cooldown_changed": _cooldown_changed,
    "policy_loaded": _policy_loaded,
    "heartbeat": _heartbeat,
}

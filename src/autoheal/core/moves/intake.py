"""Alerts arrive, are decided, and may be decided again later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autoheal.core.alert import Alert
from autoheal.core.decision import Decision, decide
from autoheal.core.events import SILENCE_WATCH
from autoheal.core.gates import Case
from autoheal.core.moves.escalate import budget_used_up, escalate, settle
from autoheal.core.policy import Rule
from autoheal.core.remediation import HELD, RESERVED, UNKNOWN, VERIFYING, Remediation
from autoheal.core.state import Deferred
from autoheal.core.turn import Turn

ENDS_BY_TIME = frozenset({"cooldown", "maintenance", "breaker_open", "silenced"})
SEEN_EVERY = 60.0
"""Seconds: a repeat of what is deferred already is noted in full no more often than this."""
SILENCED_AGAIN = 60.0
"""Seconds until a skip `silenced` without a known end is looked at again."""

UNHEARD = (SILENCE_WATCH, "prober")
"""Sources of our own, whose alerts come by no webhook."""
MAX_SEEN = 100
"""Alerts that one event lists as `seen`."""
MAX_TEXT = 200_000
"""Characters of all their labels, roughly; one alert alone may have more."""
MAX_NOTES, MAX_NOTE = 4000, 1000
"""Characters of the annotations of one of those, and of each annotation."""

RESULTS = {"act": "accepted", "skip": "skip", "hold": "hold", "dry_run": "dry_run"}


@dataclass(frozen=True, slots=True)
class Refused:
    """One alert of a batch that could not be read: its place in the list, the field, what is wrong."""

    index: int
    field: str
    problem: str
    alertname: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class AlertsArrived:
    """A batch of alerts. `origin` is the sender's external URL, "prober", or empty; the answer is one result each."""

    alerts: Sequence[Alert | Refused]
    source: str = "alertmanager"
    origin: str = ""
    receiver: str = ""
    group_key: str = ""

    def play(self, turn: Turn) -> list[dict[str, Any]]:
        refused = [item for item in self.alerts if isinstance(item, Refused)]
        turn.emit(
            "webhook_received",
            {
                "alerts": len(self.alerts),
                "source": self.source,
                "receiver": self.receiver or None,
                "group_key": self.group_key or None,
                "origin": self.origin or None,
                "seen": self._seen() if self.source in UNHEARD else None,
            },
        )
        if refused:
            Rejected("alert", refused, self.source).play(turn)
        return [
            _refusal(item) if isinstance(item, Refused) else contained(turn, index, item, self)
            for index, item in enumerate(self.alerts)
        ]

    def _seen(self) -> list[dict[str, Any]]:
        return [seen_of(item) for item in self.alerts[:MAX_SEEN] if isinstance(item, Alert)]


def in_parts(alerts: Sequence[Alert]) -> Iterator[list[Alert]]:
    """As many at a time as one event lists."""
    part: list[Alert] = []
    size = 0
    for alert in alerts:
        more = sum(len(name) + len(value) for name, value in alert.labels.items())
        if part and (len(part) == MAX_SEEN or size + more > MAX_TEXT):
            yield part
            part, size = [], 0
        part.append(alert)
        size += more
    if part:
        yield part


def seen_of(alert: Alert) -> dict[str, Any]:
    """An alert as an event lists it for those who follow the ledger and heard no webhook; annotations are shortened."""
    notes: dict[str, str] = {}
    left = MAX_NOTES
    for name, text in alert.annotations.items():
        if left > len(name):
            notes[name] = text[: min(MAX_NOTE, left - len(name))]
            left -= len(name) + len(notes[name])
    found = {
        "fingerprint": alert.fingerprint,
        "labels": dict(alert.labels),
        "annotations": notes or None,
        "status": alert.status,
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
    }
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something was refused at the door; the first few are named, all are counted."""

    reason: str
    refused: Sequence[Refused]
    source: str = "alertmanager"
    count: int | None = None

    def play(self, turn: Turn) -> None:
        turn.emit(
            "webhook_rejected",
            {
                "reason": self.reason,
                "count": self.count if self.count is not None else len(self.refused),
                "source": self.source,
                "problems": [
                    {"index": r.index, "field": r.field, "problem": r.problem, "alertname": r.alertname or None}
                    for r in self.refused[:10]
                ]
                or None,
            },
        )


def contained(turn: Turn, index: int, alert: Alert, delivery: AlertsArrived) -> dict[str, Any]:
    """Decide one alert; if deciding it breaks before anything is recorded, it alone is refused, on record."""
    before = turn.state.last_id
    try:
        return admit(turn, alert, delivery.origin)
    except Exception as error:
        if turn.state.last_id != before:
            raise
        broken = Refused(index, "", f"cannot be decided: {error!r}"[:300], alert.alertname, alert.fingerprint)
        Rejected("undecidable", [broken], delivery.source).play(turn)
        return _refusal(broken)


def _refusal(item: Refused) -> dict[str, Any]:
    return {
        "alertname": item.alertname,
        "fingerprint": item.fingerprint,
        "result": "rejected",
        "reason": f"{item.field}: {item.problem}" if item.field else item.problem,
        "remediation_id": None,
    }


def admit(turn: Turn, alert: Alert, origin: str, seen_at: float | None = None) -> dict[str, Any]:
    """Decide one alert and record it; the result as the webhook's answer gives it."""
    case = Case(alert, turn.now, turn.policy, turn.state)
    decision = decide(case)
    remediation_id = None
    if decision.result == "skip":
        _skip(turn, case, decision, origin, seen_at)
    elif decision.result == "dry_run":
        turn.emit("action_dry_run", _decided(case, decision, origin))
    else:
        remediation_id = f"r{turn.state.last_id + 1}"
        fields = _decided(case, decision, origin)
        fields["remediation_id"] = remediation_id
        record_go_or_hold(turn, fields, decision)
    return {
        "alertname": alert.alertname,
        "fingerprint": alert.fingerprint,
        "result": RESULTS[decision.result],
        "reason": decision.reason or None,
        "remediation_id": remediation_id,
    }


def _skip(turn: Turn, case: Case, decision: Decision, origin: str, seen_at: float | None) -> None:
    alert = case.alert
    fields: dict[str, Any] = {
        "alertname": alert.alertname,
        "fingerprint": alert.fingerprint,
        "labels": alert.labels,
        "reason": decision.reason,
        "trace": decision.trace,
    }
    if decision.rule is not None:
        fields["rule"] = decision.rule.name
    if decision.reason in ENDS_BY_TIME or decision.until is not None or decision.wait_key is not None:
        _deferral(turn, alert, decision, fields, turn.now if seen_at is None else seen_at, origin)
    known = alert.fingerprint in turn.state.by_fingerprint or alert.fingerprint in turn.state.deferred
    if alert.resolved and (case.rule is not None or known):
        fields["resolves"] = alert.starts_at
    turn.emit("decision_skip", fields)
    if alert.resolved:
        end_what_resolved(turn, alert)
    elif decision.reason == "budget":
        budget_used_up(turn, case, decision.why)


def _deferral(
    turn: Turn, alert: Alert, decision: Decision, fields: dict[str, Any], seen_at: float, origin: str
) -> None:
    """What deciding it again will need; left out where the same was noted less than a minute ago."""
    until = decision.until
    if until is None and decision.wait_key is None:
        until = turn.now + SILENCED_AGAIN
    fields["until"], fields["wait_key"] = until, decision.wait_key
    known = turn.state.deferred.get(alert.fingerprint)
    if (
        known is not None
        and 0 <= seen_at - known.seen_at < SEEN_EVERY
        and (known.until, known.wait_key, known.starts_at) == (until, decision.wait_key, alert.starts_at)
        and known.reason == decision.reason
        and known.annotations == alert.annotations
        and known.origin == origin
    ):
        return
    fields["annotations"] = alert.annotations
    fields["starts_at"] = alert.starts_at
    fields["seen_at"] = seen_at
    fields["origin"] = origin or None


def _decided(case: Case, decision: Decision, origin: str) -> dict[str, Any]:
    alert, rule = case.alert, case.ruled
    slot = case.state.slots.get(case.lane_key)
    again = slot is not None and slot.episode == alert.episode
    return {
        "alertname": alert.alertname,
        "fingerprint": alert.fingerprint,
        "rule": rule.name,
        "remediation_id": None,
        "cmd": case.cmd(),
        "queue": rule.queue_for(alert) or None,
        "attempt": slot.attempt + 1 if again and slot is not None else 1,
        "key": case.key,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "episode": alert.episode,
        "starts_at": alert.starts_at,
        "received_at": case.now,
        "origin": origin or None,
        "rule_digest": rule.digest,
        "budget_key": case.budget_key,
        "budget_per": rule.max_attempts.per if rule.max_attempts else None,
        **_ladder(rule),
        "trace": decision.trace,
    }


def _ladder(rule: Rule) -> dict[str, Any]:
    return {
        "ladder": len(rule.steps),
        "escalate": rule.escalate or "warning",
        "cancel_on_resolve": rule.cancel_on_resolve,
    }


def record_go_or_hold(turn: Turn, fields: dict[str, Any], decision: Decision) -> None:
    """Record `decision_act`, or `decision_hold` with what a hold brings: a request for approval, one escalation."""
    if decision.result == "act":
        turn.emit("decision_act", fields | {"state": RESERVED})
        return
    turn.emit("decision_hold", fields | {"state": HELD, "reason": decision.reason, "until": decision.until})
    about = {name: fields.get(name) for name in ("remediation_id", "alertname", "fingerprint", "rule", "cmd")}
    if decision.reason == "approval":
        turn.emit("approval_requested", about | {"until": decision.until})
    elif "blast_radius" not in turn.state.escalations:
        del about["fingerprint"]  # it stands for all that is held, not only for the first
        summary = f"Blast radius reached: {decision.why}. Further actions are held."
        escalate(turn, "blast_radius", "critical", "blast_radius", summary, about)


def end_what_resolved(turn: Turn, alert: Alert) -> None:
    """Cancel what has not started for this episode, settle what waits for a person because of it."""
    for remediation in turn.state.of_alert(alert.fingerprint, alert.starts_at):
        if remediation.state in (HELD, RESERVED) and remediation.cancel_on_resolve:
            turn.emit(
                "cancelled",
                of(remediation) | {"state": "cancelled", "reason": "resolved", "effect": "self_resolved"},
            )
        elif remediation.state == UNKNOWN or (remediation.state == VERIFYING and remediation.inconclusive):
            end = {"state": "cancelled", "reason": "resolved", "effect": "unknown"}
            turn.emit("settled", of(remediation) | end)
    if turn.state.escalations:
        for escalation in list(turn.state.escalations.values()):
            if escalation.fingerprint == alert.fingerprint and escalation.starts_at <= alert.starts_at:
                settle(turn, escalation.key, "resolved")


def of(remediation: Remediation) -> dict[str, Any]:
    """The fields that every event about a remediation carries."""
    return {
        "alertname": remediation.alertname,
        "fingerprint": remediation.fingerprint,
        "rule": remediation.rule,
        "remediation_id": remediation.id,
    }


@dataclass(frozen=True, slots=True)
class Recheck:
    """A deferred alert's time has come. `firing`: what Alertmanager says; None: nobody could be asked."""

    entry: Deferred
    firing: bool | None
    stale_after: float

    def play(self, turn: Turn) -> dict[str, Any] | None:
        entry = turn.state.deferred.get(self.entry.fingerprint)
        if entry is None or entry.starts_at != self.entry.starts_at or entry.until is None or entry.until > turn.now:
            return None
        late = entry.reason == "resolved"  # a copy that came after the resolve: it needs Alertmanager's word
        stale = self.firing is None and (late or entry.seen_at + self.stale_after < turn.now)
        if self.firing is False or stale:
            gone = "gone" if self.firing is False else "stale"
            turn.emit(
                "decision_skip",
                {
                    "alertname": entry.alert.alertname,
                    "fingerprint": entry.fingerprint,
                    "labels": entry.labels,
                    "reason": "resolved" if self.firing is False else "stale",
                    "resolves": entry.starts_at if self.firing is False else None,
                    "trace": {"still_firing": f"{gone}: not decided again after {entry.reason}"},
                },
            )
            if self.firing is False:
                end_what_resolved(turn, entry.alert)
            return None
        seen = turn.now if self.firing else entry.seen_at
        return admit(turn, entry.alert, entry.origin, seen_at=seen)

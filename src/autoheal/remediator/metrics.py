"""The remediator's metrics: counted from the events as they are committed, gauges read from the state at scrape."""

from __future__ import annotations

import platform
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from autoheal.core.cooldowns import cooldown_of
from autoheal.core.events import KINDS, SILENCE_WATCH, Event
from autoheal.core.policy import Policy
from autoheal.core.remediation import OPEN, UNKNOWN
from autoheal.core.state import State
from autoheal.engine.head import HeadThread
from autoheal.remediator.window import Durations

RESULTS = ("executed", "failed", "dry_run", "cooldown_skip", "skip", "error", "unknown")
EFFECTS = ("healed", "self_resolved", "ineffective", "unknown")
SKIPS = (
    "disabled resolved not_allowlisted not_annotated action_not_allowed maintenance silenced in_progress unsettled "
    "cooldown budget breaker_open stale"
).split()
"""Why an alert is skipped: what its gate says, or `stale` where it was not heard of again."""
DECISIONS = (
    ("act", ""),
    ("dry_run", ""),
    ("hold", "approval"),
    ("hold", "blast_radius"),
    *(("skip", s) for s in SKIPS),
)
OTHER = "other"
_MS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 600)
WRITE_MINUTES = 10
_HEAL = (1, 5, 10, 15, 30, 60, 90, 120, 180, 300, 600, 1800, 3600)


class Metrics:
    """One registry for one service; `listen` is called by the head after each commit."""

    def __init__(self, head: HeadThread, version: str) -> None:
        self.registry = CollectorRegistry()
        self._head = head
        self._known: frozenset[str] = frozenset()
        self._writes = Durations(head.clock.monotonic, WRITE_MINUTES)
        r = self.registry
        self.actions = Counter(
            "autoheal_actions", "Decisions and actions by result", ["alertname", "result"], registry=r
        )
        self.decisions = Counter(
            "autoheal_decisions", "Decisions by the gate that did not pass", ["decision", "reason"], registry=r
        )
        self.failures = Counter("autoheal_action_failures", "Actions that failed", ["alertname"], registry=r)
        self.heals = Counter("autoheal_heals", "How remediations ended", ["alertname", "effect"], registry=r)
        self.false_positives = Counter(
            "autoheal_false_positives", "Remediations marked false positive", ["alertname"], registry=r
        )
        self.events = Counter("autoheal_event", "Events of the trail by kind", ["kind"], registry=r)
        self.rejected = Counter("autoheal_rejected", "Alerts and requests refused at the door", registry=r)
        self.write = Histogram(
            "autoheal_audit_write_seconds", "Time until events were on disk", registry=r, buckets=_MS
        )
        self.duration = Histogram(
            "autoheal_action_duration_seconds", "Run time of actions", registry=r, buckets=_SECONDS
        )
        self.to_action = Histogram(
            "autoheal_alert_to_action_seconds", "Receipt of the alert to process start", registry=r, buckets=_SECONDS
        )
        self.queued = Histogram(
            "autoheal_queue_wait_seconds", "Time that work waited for hands", registry=r, buckets=_SECONDS
        )
        self.heal_time = Histogram(
            "autoheal_time_to_heal_seconds", "Receipt to verified healed", ["alertname"], registry=r, buckets=_HEAL
        )
        self.webhook = Gauge("autoheal_last_webhook_timestamp", "Unix time of the last webhook", registry=r)
        self.reload = Gauge(
            "autoheal_config_last_reload_successful", "1 if the policy was last loaded without error", registry=r
        )
        self.sse_dropped = Counter("autoheal_sse_dropped", "Slow live readers cut off", registry=r)
        build = Gauge("autoheal_build_info", "What runs", ["version", "python"], registry=r)
        build.labels(version, platform.python_version()).set(1)
        self.sse_clients = Gauge("autoheal_sse_clients", "Live readers", registry=r)
        for kind in KINDS:
            self.events.labels(kind)
        for decision in DECISIONS:
            self.decisions.labels(*decision)
        r.register(_AtScrape(head, self))

    def name(self, alertname: str | None) -> str:
        """The label value: a name that the policy asks for, everything else is ``other``."""
        return alertname if alertname in self._known else OTHER

    def expect(self, policy: Policy) -> None:
        """A policy is in force, whoever loaded it: make the series of its alerts exist from the start, at zero."""
        self.reload.set(1)
        self._known = frozenset(policy.alertnames)
        for name in sorted(self._known) + [OTHER]:
            for result in RESULTS:
                self.actions.labels(name, result)
            for effect in EFFECTS:
                self.heals.labels(name, effect)
            self.failures.labels(name)
            self.false_positives.labels(name)
            self.heal_time.labels(name)

    def write_p95(self) -> float | None:
        """Within how many seconds 95 % of the writes of the last 10 minutes were on disk; None without any."""
        return self._writes.quantile(0.95)

    # ---- fed by the head -------------------------------------------------------------------------------------

    def listen(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        self.write.observe(took)
        self._writes.add(took)
        kinds: Tally[str] = Tally()
        actions: Tally[tuple[str, str]] = Tally()
        decisions: Tally[tuple[str, str]] = Tally()
        for event in events:
            kind = event["kind"]
            kinds[kind] += 1
            if kind in _DECISIONS:
                decisions[(_DECISIONS[kind], event.get("reason") or "")] += 1
            result = _result(kind, event)
            if result is not None:
                actions[(self.name(event.get("alertname")), result)] += 1
            if kind in _SELDOM:
                self._seldom(kind, event)
            if event.get("effect") is not None:
                self.heals.labels(self.name(event.get("alertname")), event["effect"]).inc()
        for kind, count in kinds.items():
            self.events.labels(kind).inc(count)
        for (name, result), count in actions.items():
            self.actions.labels(name, result).inc(count)
        for decision, count in decisions.items():
            self.decisions.labels(*decision).inc(count)

    def _seldom(self, kind: str, event: Event) -> None:
        name = self.name(event.get("alertname"))
        if kind == "webhook_received":
            if event.get("source") != SILENCE_WATCH:
                self.webhook.set(event["ts"])
        elif kind == "webhook_rejected":
            self.rejected.inc(event["count"])
        elif kind == "action_started":
            self.queued.observe(event["queued_seconds"])
            if event["step"] == 0:
                self.to_action.observe(event["wait_seconds"])
        elif kind in ("action_ok", "action_fail"):
            self.duration.observe(event.get("duration_seconds", 0.0))
            if kind == "action_fail":
                self.failures.labels(name).inc()
        elif kind == "verify_ok":
            self.heal_time.labels(name).observe(event["time_to_heal_seconds"])
        elif kind == "marked":
            self.false_positives.labels(name).inc()
        elif kind == "policy_rejected":
            self.reload.set(0)
        elif kind == "policy_loaded":
            self.expect(self._head.policy)


_DECISIONS = {
    "decision_act": "act",
    "decision_hold": "hold",
    "decision_skip": "skip",
    "action_dry_run": "dry_run",
}

_SELDOM = frozenset(
    {
        "webhook_received",
        "webhook_rejected",
        "action_started",
        "action_ok",
        "action_fail",
        "verify_ok",
        "marked",
        "policy_rejected",
        "policy_loaded",
    }
)


def _result(kind: str, event: Event) -> str | None:
    if kind == "decision_skip":
        return "cooldown_skip" if event["reason"] == "cooldown" else "skip"
    if kind == "action_fail":
        return "error" if event.get("rc") is None else "failed"
    return {"action_ok": "executed", "action_dry_run": "dry_run", "action_unknown": "unknown"}.get(kind)


class _AtScrape(Collector):
    """Gauges that are only true at the moment they are read."""

    def __init__(self, head: HeadThread, metrics: Metrics) -> None:
        self._head = head
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        with self._head.reading() as (state, policy):
            yield from self._gauges(state, policy, self._head.clock.now())

    def _gauges(self, state: State, policy: Policy, now: float) -> Iterator[Metric]:
        mode = state.mode
        yield _single("autoheal_ready", "1 while events can be written and alerts decided", float(self._head.healthy))
        yield _single("autoheal_enabled", "Master switch", float(mode.enabled))
        yield _single("autoheal_dry_run", "1 while nothing is really done", float(mode.dry_run))
        yield _single("autoheal_last_event_timestamp", "Unix time of the last event", state.last_ts)
        last: dict[str, float] = dict.fromkeys(policy.alertnames, 0.0)
        left: dict[str, float] = {**dict.fromkeys(policy.alertnames, 0.0), OTHER: 0.0}
        cooldowns = {rule.name: cooldown_of(rule, state.cooldowns) for rule in policy.rules}
        for key, slot in state.slots.items():
            name = self._metrics.name(slot.alertname)
            if not key.startswith(f"{mode.lane}|"):
                continue
            last[name] = max(last.get(name, 0.0), slot.started_at)
            left[name] = max(left[name], slot.started_at + cooldowns.get(slot.rule, 0.0) - now)
        yield _labelled("autoheal_action_last_timestamp", "Unix time of the last action", "alertname", last)
        yield _labelled("autoheal_cooldown_remaining_seconds", "Longest cooldown that remains", "alertname", left)
        states = dict.fromkeys([*sorted(OPEN), UNKNOWN], 0.0)
        for remediation in state.remediations.values():
            states[remediation.state] += 1
        yield _labelled("autoheal_remediations", "Remediations that have not ended", "state", states)
        yield _single("autoheal_deferred", "Skips that will be decided again", float(len(state.deferred)))
        yield _single("autoheal_escalations", "Escalations that nobody has settled", float(len(state.escalations)))


def _single(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family

"""What was decided, what was done, whether it healed, and what waits."""

from __future__ import annotations

from monitoring.grafana.panels import (
    PERCENTILES,
    Json,
    bars,
    columns,
    console,
    field,
    heatmap,
    lines,
    now,
    override,
    percentiles,
    query,
    table,
)
from monitoring.grafana.remediator.terms import ACTED, ALERT, EFFECTS, HEAL, RESULTS, STATES
from monitoring.grafana.terms import HERE, HIGH, increase

HALF, THIRD = 12, 8


def decisions() -> list[Json]:
    kinds = f'autoheal_event_total{{{HERE}, kind!="heartbeat"}}'
    return [
        bars(
            "Decisions by reason",
            "What was decided for each alert, and which gate said no. skip is forgotten or decided again later; "
            "hold waits for a person or for a limit. Everything is skipped as disabled: it is switched off.",
            (THIRD, HIGH),
            [query(f"{by_reason()} > 0", "{{named}}")],
            colors={"act": "green", "dry_run": "blue", "hold: approval": "yellow", "skip: cooldown": "#c4c4c4"},
            links=[console("Skipped and held, one by one", "view=events&kind=decision_skip,decision_hold")],
        ),
        bars(
            "Results over time",
            "What became of it. executed, failed, error: an action ran. dry_run: it would have. cooldown_skip: too "
            "soon after the last one. skip: another gate said no. unknown: it broke off in the middle, and a person "
            "must look.",
            (THIRD, HIGH),
            [query(increase(f"autoheal_actions_total{{{ALERT}}}", "result"), "{{result}}")],
            colors=RESULTS,
        ),
        bars(
            "Events of the trail by kind",
            "Everything that was written down, heartbeats left out. A lot of decision_skip with little else is an "
            "alert that repeats and is not healed.",
            (THIRD, HIGH),
            [query(f"{increase(kinds, 'kind')} > 0", "{{kind}}")],
            links=[console("These events", "view=events")],
        ),
    ]


def by_reason() -> str:
    """Counts by `decision: reason`, or by the decision alone where there is no reason to name."""
    counts = increase(f"autoheal_decisions_total{{{HERE}}}", "decision, reason")
    joined = f'label_join({counts}, "named", ": ", "decision", "reason")'
    return f'label_replace({joined}, "named", "$1", "named", "(.+): ")'


def actions() -> list[Json]:
    ran = f"autoheal_actions_total{{{ALERT}, {ACTED}}}"
    waited, took = f"autoheal_alert_to_action_seconds_bucket{{{HERE}}}", "autoheal_action_duration_seconds_bucket"
    failed = increase(f"autoheal_action_failures_total{{{ALERT}}}", "alertname")
    return [
        bars(
            "Actions by alert",
            "What really ran, by the alert that asked for it. Alerts that no rule names by `=` count as other.",
            (HALF, HIGH),
            [query(f"{increase(ran, 'alertname')} > 0", "{{alertname}}")],
        ),
        results(),
        bars(
            "Failures by alert",
            "Actions that ended with an error, a bad exit code or a timeout. One alert that stands out: its action "
            "or its target is broken.",
            (THIRD, HIGH),
            [query(f"{failed} > 0", "{{alertname}}")],
            links=[console("Failed actions, with their output", "view=events&kind=action_fail")],
        ),
        lines(
            "From alert to action",
            "Receipt of the alert to the start of its first action, over ten minutes; approvals and holds count. "
            "High: all hands are busy, or people are slow to approve.",
            (THIRD, HIGH),
            percentiles(waited, "10m"),
            "s",
            colors=PERCENTILES,
            points=True,
        ),
        lines(
            "Run time of actions",
            "How long actions ran, over ten minutes. Near a rule's timeout they will soon end as failed.",
            (THIRD, HIGH),
            percentiles(f"{took}{{{HERE}}}", "10m"),
            "s",
            colors=PERCENTILES,
            points=True,
        ),
    ]


def results() -> Json:
    counted = f"sum by (alertname, result) (increase(autoheal_actions_total{{{ALERT}}}[$__range])) > 0"
    matrix = {"columnField": "result", "rowField": "alertname", "valueField": "Value", "emptyValue": "null"}
    return table(
        "Results by alert",
        "All decisions and actions of the time range, one line for each alert.",
        (HALF, HIGH),
        [now(counted, form="table")],
        [
            {"id": "groupingToMatrix", "options": matrix},
            columns({"alertname\\result": "Alert"} | {result: result for result in RESULTS}, ()),
        ],
        shown=field("short", decimals=0, nothing="-"),
        sort="Alert",
        down=False,
    )


def healing() -> list[Json]:
    buckets = f"autoheal_time_to_heal_seconds_bucket{{{ALERT}}}"
    median = "histogram_quantile(0.5, sum by (le, alertname) (rate({}[1h]))) >= 0"
    worst = "histogram_quantile(0.95, sum by (le) (rate({}[1h])))"
    return [
        bars(
            "How remediations ended",
            "healed: verified. self_resolved: the alert went away by itself. ineffective: the actions ran and the "
            "check says no. unknown: nothing was checked, or it broke off.",
            (THIRD, HIGH),
            [query(increase(f"autoheal_heals_total{{{ALERT}}}", "effect"), "{{effect}}")],
            colors=EFFECTS,
        ),
        heatmap(
            "Time to heal, all",
            "From receipt of the alert to verified healed. Darker: more of them took that long.",
            (THIRD, HIGH),
            buckets,
            "s",
        ),
        lines(
            "Time to heal by alert",
            "Median over an hour for each alert, and p95 over all. Dashed: the target, 2 minutes.",
            (THIRD, HIGH),
            [query(median.format(buckets), "{{alertname}}"), query(worst.format(buckets), "p95, all", ref="B")],
            "s",
            limit=HEAL,
            colors={"p95, all": "red"},
            points=True,
        ),
    ]


def waiting() -> list[Json]:
    return [
        cooldowns(),
        lines(
            "Remediations by state",
            "What has not ended. held waits for a person or for a limit; unknown waits for somebody to settle it, and "
            "until then blocks its alert.",
            (THIRD, HIGH),
            [query(f"max by (state) (autoheal_remediations{{{HERE}}})", "{{state}}")],
            "short",
            colors=STATES,
            stacked=True,
            steps=True,
        ),
        lines(
            "Escalations and deferred decisions",
            "Escalations: nobody has settled them. Deferred: skipped for a cooldown, a maintenance, a silence or a "
            "breaker, and decided again when that ends, if the alert still fires.",
            (THIRD, HIGH),
            [
                query(f"max(autoheal_escalations{{{HERE}}})", "escalations"),
                query(f"max(autoheal_deferred{{{HERE}}})", "deferred", ref="B"),
            ],
            "short",
            colors={"escalations": "red", "deferred": "blue"},
            steps=True,
        ),
    ]


def cooldowns() -> Json:
    left, last = "autoheal_cooldown_remaining_seconds", "autoheal_action_last_timestamp"
    shown = {"alertname": "Alert", "Value #A": "Cools for", "Value #B": "Last action"}
    return table(
        "Cooldowns",
        "Longest cooldown that still runs for each alert in the present mode, and when it was last acted on. "
        "While one runs its alert is skipped, and decided again after it.",
        (THIRD, HIGH),
        [
            now(f"max by (alertname) ({left}{{{ALERT}}}) > 0", form="table"),
            now(f"max by (alertname) ({last}{{{ALERT}}}) * 1000 > 0", form="table", ref="B"),
        ],
        [
            {"id": "joinByField", "options": {"byField": "alertname", "mode": "outer"}},
            columns(shown, ("Time", "Time 1", "Time 2")),
        ],
        shown=field("s", decimals=0, low=0, nothing="-"),
        overrides=[
            override("Last action", {"unit": "dateTimeFromNow"}),
            override(
                "Cools for", {"custom.cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}}
            ),
        ],
        sort="Cools for",
    )

"""Is it on, and does it keep its promises: the two rows that a tired person reads first."""

from __future__ import annotations

from monitoring.grafana.panels import (
    Json,
    columns,
    field,
    gauge,
    lines,
    now,
    override,
    query,
    stat,
    table,
    timeline,
)
from monitoring.grafana.remediator.terms import ACTED, ALERT, BUDGET, FAILURES, HEAL, HEARTBEAT, MODE, MODES, WRITE
from monitoring.grafana.terms import HERE, HIGH, MIDDLE, SHORT, above, below, in_range

AGE = "autoheal:heartbeat:age_seconds"
RATE = "autoheal:action_fail_rate_15m"
DOWN = "sum_over_time(autoheal:down[30d]) / 172800"
"""The part of 30 days in which no remediator answered: the rule says so four times a minute."""


def is_it_on() -> list[Json]:
    down = f"count(up{{{HERE}}}) - sum(up{{{HERE}}})"
    return [
        stat(
            "Mode",
            "LIVE acts. DRY RUN decides and records what it would do. OFF records a skip for each alert. "
            "Where replicas differ the safer mode holds, and that is what is shown.",
            (4, SHORT),
            now(MODE),
            field("short", says=MODES, nothing="no process answers"),
        ),
        stat(
            "Heartbeat age",
            "Time since the last event of the trail; a heartbeat is written each minute, so under two minutes is "
            "normal. The promise is under 5 minutes. It goes on ageing when the service is dead.",
            (4, SHORT),
            now(AGE),
            field("s", below(HEARTBEAT, 120), decimals=0, nothing="never seen"),
        ),
        stat(
            "Processes down",
            "Processes that Prometheus should reach and does not: remediators and workers. The list below says which.",
            (4, SHORT),
            now(down),
            field("short", below(1), decimals=0, nothing="none is scraped"),
        ),
        *works(),
        firing(),
        processes(),
        timeline(
            "Mode over time",
            "When it was live, in dry run or off. Purple lines across all panels are changes of it.",
            (8, MIDDLE),
            query(MODE, "mode"),
            field("short", says=MODES),
        ),
    ]


def works() -> list[Json]:
    refused = {0: ("REFUSED", "red"), 1: ("LOADED", "green")}
    webhook = f"time() - (max(autoheal_last_webhook_timestamp{{{HERE}}}) > 0)"
    return [
        stat(
            "Last webhook",
            "Time since Alertmanager last delivered anything. With the watchdog alert of the shipped rules something "
            "comes at least every few minutes; much older means that alerts do not reach Autoheal.",
            (4, SHORT),
            now(webhook),
            field("s", below(900, 600), decimals=0, nothing="none known"),
        ),
        stat(
            "Policy",
            "Whether the policy file was accepted when it was last loaded. REFUSED: the one before it still holds; "
            "the log and `autoheal policy check` name each mistake.",
            (4, SHORT),
            now(f"min(autoheal_config_last_reload_successful{{{HERE}}})"),
            field("short", says=refused, nothing="no process answers"),
        ),
        stat(
            "Escalations open",
            "What Autoheal could not mend and nobody has settled yet. The console's first screen lists them.",
            (4, SHORT),
            now(f"max(autoheal_escalations{{{HERE}}})"),
            field("short", below(5, 1), decimals=0, nothing="no process answers"),
        ),
    ]


def firing() -> Json:
    shown = {"alertname": "Alert", "alertstate": "State", "severity": "Severity"}
    text = {"type": "value", "options": {"firing": {"color": "red"}, "pending": {"color": "orange"}}}
    runbook = {"title": "The rule and its runbook", "url": "/alerting/list?search=rule:${__data.fields.Alert}"}
    return table(
        "Alerts about Autoheal",
        "Rules of Prometheus about Autoheal itself that fire, or will if it lasts. A name leads to its runbook.",
        (8, MIDDLE),
        [now('max by (alertname, alertstate, severity) (ALERTS{alertname=~"Autoheal.*"})', form="table")],
        [columns(shown, ("Time", "Value"))],
        shown=field("string", nothing="nothing fires"),
        overrides=[
            override("State", {"custom.cellOptions": {"type": "color-text"}, "mappings": [text]}),
            override("Alert", {"links": [runbook | {"targetBlank": True}]}),
        ],
        sort="State",
        down=False,
    )


def processes() -> Json:
    shown = {"instance": "Process", "job": "Job", "Value #A": "Answers", "version": "Version", "python": "Python"}
    words = {"0": {"text": "no", "color": "red", "index": 0}, "1": {"text": "yes", "color": "green", "index": 1}}
    return table(
        "Processes",
        "Every remediator and worker that Prometheus knows, whether it answers, and what runs there. "
        "A version that differs is a rollout under way, or one that stuck.",
        (8, MIDDLE),
        [
            now(f"max by (instance, job) (up{{{HERE}}})", form="table"),
            now(f"max by (instance, version, python) (autoheal_build_info{{{HERE}}})", form="table", ref="B"),
        ],
        [
            {"id": "joinByField", "options": {"byField": "instance", "mode": "outer"}},
            columns(shown, ("Time", "Time 1", "Time 2", "Value #B")),
        ],
        shown=field("short"),
        overrides=[
            override(
                "Answers",
                {
                    "custom.cellOptions": {"type": "color-text"},
                    "mappings": [{"type": "value", "options": words}],
                },
            )
        ],
        sort="Process",
        down=False,
    )


def objectives() -> list[Json]:
    return [
        stat(
            "Availability, 30 days",
            "The part of the last 30 days in which at least one remediator answered Prometheus. The promise is 99.9 %. "
            "A time of which Prometheus knows nothing does not count as an outage.",
            (6, SHORT),
            now(f"1 - {DOWN}"),
            field("percentunit", above(1 - BUDGET), decimals=3, high=1, nothing="no data"),
        ),
        gauge(
            "Error budget left, 30 days",
            "99.9 % allows 43 minutes of absence in 30 days; this is what is left of them. Empty: no risky change.",
            (6, SHORT),
            now(f"1 - {DOWN} / {BUDGET}"),
            field("percentunit", above(0.25, 0.0), decimals=1, low=0, high=1, nothing="no data"),
        ),
        stat(
            "Failure rate, 15 minutes",
            "Failed actions a second. The promise is under 0.05/s, which is one each 20 seconds: at usual rates the "
            "success ratio beside it says more.",
            (6, SHORT),
            now(RATE),
            field("ops", below(FAILURES), decimals=3, nothing="no data"),
        ),
        stat(
            "Audit write, p95 of 10 minutes",
            "Time until events are on disk, which every decision waits for. The promise is under 200 ms; more means a "
            "slow disk or database.",
            (6, SHORT),
            now("autoheal:audit_write:p95_10m >= 0"),
            field("s", below(WRITE, WRITE / 2), nothing="nothing written"),
        ),
        *targets(),
        *objectives_over_time(),
    ]


def targets() -> list[Json]:
    """What is aimed at over the time range, and no promise."""
    total = f"autoheal_actions_total{{{ALERT}, {ACTED}}}"
    good = f'autoheal_actions_total{{{ALERT}, result="executed"}}'
    ended, heals = f"autoheal_heals_total{{{ALERT}}}", f"autoheal_time_to_heal_seconds_bucket{{{ALERT}}}"
    false = f"{in_range(f'autoheal_false_positives_total{{{ALERT}}}')} / "
    median = f"histogram_quantile(0.5, sum by (le) (increase({heals}[$__range]))) >= 0"
    return [
        stat(
            "Action success",
            "Of the actions in the time range that really ran, the part that ended without an error. Target: over "
            "95 %. Whether they healed is in the row Healing.",
            (6, SHORT),
            now(f"{in_range(good)} / ({in_range(total)} > 0)"),
            field("percentunit", above(0.95, 0.9), decimals=1, high=1, nothing="no action ran"),
        ),
        stat(
            "False positives",
            "Of the remediations that ended in the time range, the part that a person marked as not needed. "
            "Target: under 5 %.",
            (6, SHORT),
            now(f"{false}({in_range(ended)} > 0)"),
            field("percentunit", below(0.05, 0.03), decimals=1, low=0, nothing="none ended"),
        ),
        stat(
            "Time to heal, median",
            "From receipt of the alert to verified healed, over the time range. Target: under 2 minutes.",
            (6, SHORT),
            now(median),
            field("s", below(HEAL, HEAL * 0.75), nothing="nothing healed"),
        ),
        stat(
            "Heartbeat age, worst",
            "The longest silence of the trail in the time range. The promise is under 5 minutes.",
            (6, SHORT),
            now(f"max_over_time({AGE}[$__range])"),
            field("s", below(HEARTBEAT, 120), decimals=0, nothing="never seen"),
        ),
    ]


def objectives_over_time() -> list[Json]:
    return [
        lines(
            "Heartbeat age over time",
            "A saw of about a minute is healthy. A slope that only rises is a dead service or a ledger that cannot "
            "be written. Dashed: the promise.",
            (8, HIGH),
            [query(AGE, "age")],
            "s",
            limit=HEARTBEAT,
        ),
        lines(
            "Error budget: how fast it burns",
            "1 spends the budget of 30 days in 30 days. 14.4 over an hour spends 2 % of it: that pages. "
            "6 over six hours spends 5 %.",
            (8, HIGH),
            [
                query(f"autoheal:unavailability:ratio_1h / {BUDGET}", "1 hour"),
                query(f"autoheal:unavailability:ratio_6h / {BUDGET}", "6 hours", ref="B"),
                query(f"autoheal:unavailability:ratio_3d / {BUDGET}", "3 days", ref="C"),
            ],
            "short",
            limit=14.4,
            colors={"1 hour": "orange", "6 hours": "blue", "3 days": "purple"},
        ),
        lines(
            "Failed actions",
            "Failed actions a second over 15 minutes. Dashed: the promise, 0.05/s.",
            (8, HIGH),
            [query(RATE, "failures")],
            "ops",
            limit=FAILURES,
            colors={"failures": "red"},
        ),
    ]

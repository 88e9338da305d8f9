"""What stands behind it: the trail, its readers and its door, workers and their queues, the log."""

from __future__ import annotations

from monitoring.grafana.panels import (
    PERCENTILES,
    Json,
    bars,
    columns,
    field,
    heatmap,
    lines,
    logql,
    logs,
    now,
    override,
    panel,
    percentiles,
    query,
    stat,
    table,
)
from monitoring.grafana.remediator.terms import WRITE
from monitoring.grafana.terms import HERE, HIGH, MIDDLE, SHORT, below, increase

THIRD, QUARTER = 8, 6
LINE = "{{if .message}}{{.level}} {{.name}}: {{.message}} {{.error}}{{else}}{{__line__}}{{end}}"
"""A line of the log as it is shown; one that is no JSON, such as a traceback at the start, as it is."""


def trail() -> list[Json]:
    buckets = f"autoheal_audit_write_seconds_bucket{{{HERE}}}"
    commits = f"sum by (instance) (rate(autoheal_audit_write_seconds_count{{{HERE}}}[$__rate_interval]))"
    return [
        heatmap(
            "Writes of the trail",
            "Time until events were on disk. Nothing is done before that.",
            (THIRD, HIGH),
            buckets,
            "s",
        ),
        lines(
            "Time of a write",
            "Over ten minutes. Dashed: the promise for p95, 200 ms.",
            (THIRD, HIGH),
            percentiles(buckets, "10m"),
            "s",
            limit=WRITE,
            colors=PERCENTILES,
        ),
        lines(
            "Writes a second",
            "Commits of the ledger by process. At rest a heartbeat each minute; under load many events share one.",
            (THIRD, HIGH),
            [query(commits, "{{instance}}")],
            "wps",
        ),
        *door(),
    ]


def door() -> list[Json]:
    dropped = increase(f"autoheal_sse_dropped_total{{{HERE}}}")
    came = increase(f'autoheal_event_total{{{HERE}, kind="webhook_received"}}')
    return [
        lines(
            "Live readers",
            "Open consoles and other readers of the stream, by process.",
            (THIRD, HIGH),
            [query(f"sum by (instance) (autoheal_sse_clients{{{HERE}}})", "{{instance}}")],
            "short",
            steps=True,
        ),
        bars(
            "Readers cut off",
            "Readers too slow to follow: they come back where they left. Many: a poor line, or a script that hangs.",
            (THIRD, HIGH),
            [query(dropped, "cut off")],
            colors={"cut off": "orange"},
        ),
        bars(
            "Webhooks",
            "Deliveries of Alertmanager that were taken, and alerts or requests that were refused: bad form or a "
            "wrong token. The log says which.",
            (THIRD, HIGH),
            [
                query(came, "received"),
                query(increase(f"autoheal_rejected_total{{{HERE}}}"), "rejected", ref="B"),
            ],
            colors={"received": "green", "rejected": "red"},
        ),
    ]


def queues() -> list[Json]:
    waits = f"autoheal_queue_wait_seconds_bucket{{{HERE}}}"
    up = {0: ("DOWN", "red"), 1: ("UP", "green")}
    return [
        stat(
            "Broker",
            "Whether Redis takes messages. Without it remediations wait, or run here where "
            "AUTOHEAL_BROKER_DOWN=run. Without workers this row is empty.",
            (QUARTER, SHORT),
            now(f"min(autoheal_queue_up{{{HERE}}})"),
            field("short", says=up, nothing="no broker is used"),
        ),
        stat(
            "Wait for hands",
            "Remediations that are decided and that no worker has taken yet.",
            (QUARTER, SHORT),
            now(f"max(autoheal_queue_waiting{{{HERE}}})"),
            field("short", below(20, 5), decimals=0, nothing="no broker is used"),
        ),
        stat(
            "Workers",
            "Workers that are there, over all queues; one that serves two queues counts twice.",
            (QUARTER, SHORT),
            now(f"sum(max by (queue) (autoheal_workers{{{HERE}}}))"),
            field("short", [(None, "red"), (1, "green")], decimals=0, nothing="no broker is used"),
        ),
        stat(
            "Queues without a worker",
            "Queues in which messages wait and that no worker serves.",
            (QUARTER, SHORT),
            now(
                f"count((max by (queue) (autoheal_queue_depth{{{HERE}}}) > 0) unless "
                f"(max by (queue) (autoheal_workers{{{HERE}}}) > 0)) or vector(0)"
            ),
            field("short", below(1), decimals=0),
        ),
        *queues_over_time(waits),
    ]


def queues_over_time(waits: str) -> list[Json]:
    rung = increase(f"autoheal_doorbells_total{{{HERE}}}", "result")
    return [
        lines(
            "Messages by queue",
            "Messages at the broker. A line that only rises: its workers are gone or too few.",
            (QUARTER, HIGH),
            [query(f"max by (queue) (autoheal_queue_depth{{{HERE}}})", "{{queue}}")],
            "short",
            steps=True,
        ),
        lines(
            "Time in the queue",
            "From decided to a free hand, over ten minutes; without workers, the wait for a free thread.",
            (QUARTER, HIGH),
            percentiles(waits, "10m"),
            "s",
            colors=PERCENTILES,
            points=True,
        ),
        bars(
            "Messages sent",
            "rung: sent. again: sent once more for what nobody took. failed: the broker was away.",
            (QUARTER, HIGH),
            [query(rung, "{{result}}")],
            colors={"rung": "green", "again": "orange", "failed": "red"},
        ),
        leases(),
    ]


def leases() -> Json:
    shown = {"exported_instance": "Worker", "Value": "Counts as there for"}
    return table(
        "Workers and their leases",
        "Each worker says every few seconds that it is there. Near zero: it hangs, or cannot reach the database.",
        (QUARTER, HIGH),
        [now(f"max by (exported_instance) (autoheal_worker_lease_seconds{{{HERE}}})", form="table")],
        [columns(shown)],
        shown=field("s", [(None, "red"), (5, "green")], decimals=0, nothing="no worker"),
        overrides=[override("Counts as there for", {"custom.cellOptions": {"type": "color-text"}})],
        sort="Worker",
        down=False,
    )


def log(lines_of: str) -> list[Json]:
    """The process log; `lines_of` is the selector of its streams in Loki."""
    bad = f'{lines_of} | json | __error__="" | level=~"WARNING|ERROR|CRITICAL"'
    shown = field("short", custom={"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 90}, by_steps=False, decimals=0)
    legend = {"displayMode": "list", "placement": "right", "showLegend": True, "calcs": []}
    return [
        panel(
            "timeseries",
            "Warnings and errors in the log",
            "Lines of the process log by level. Needs Loki, which the shipped stack brings.",
            (24, MIDDLE),
            [logql(f"sum by (level) (count_over_time({bad} [$__interval]))", "{{level}}")],
            fieldConfig={"defaults": shown | {"noValue": "none in this time"}, "overrides": []},
            options={"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}},
            interval="1m",
        ),
        logs(
            "Log",
            "What the processes wrote, the newest first. A line with a remediation_id leads to that remediation.",
            (24, 12),
            f'{lines_of} | json | line_format "{LINE}"',
        ),
    ]

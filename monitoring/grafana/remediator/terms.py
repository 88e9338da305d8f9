"""What the remediator's rows share: which series are meant, what is promised, which colour means what.

Counters belong to one process each, so they are summed over instances. Gauges come from the ledger and are the same on
every replica, so the greatest is taken. `increase` is an estimate between scrapes; the console has the exact counts.
"""

from __future__ import annotations

from monitoring.grafana.panels import Steps

JOB = 'job=~"$job"'
HERE = f'{JOB}, instance=~"$instance"'
ALERT = f'{HERE}, alertname=~"$alertname"'
ACTED = 'result=~"executed|failed|error|unknown"'
"""Results of what really ran."""
SHORT, MIDDLE, HIGH = 4, 6, 8
"""Heights of panels."""

BUDGET = 0.001
"""Of the time: availability is promised for 99.9 %."""
HEARTBEAT, FAILURES, WRITE, HEAL = 300.0, 0.05, 0.2, 120.0
"""The promises: seconds, failures a second, seconds, seconds."""

MODES = {0: ("OFF", "red"), 1: ("DRY RUN", "blue"), 2: ("LIVE", "green"), 3: ("DRY RUN", "blue")}
MODE = f"2 * min(autoheal_enabled{{{HERE}}}) + max(autoheal_dry_run{{{HERE}}})"
RESULTS = {
    "executed": "green",
    "failed": "red",
    "error": "dark-red",
    "unknown": "purple",
    "dry_run": "blue",
    "skip": "#8e8e8e",
    "cooldown_skip": "#c4c4c4",
}
EFFECTS = {"healed": "green", "self_resolved": "blue", "ineffective": "red", "unknown": "purple"}
STATES = {"held": "yellow", "reserved": "light-blue", "running": "blue", "verifying": "green", "unknown": "purple"}


def below(limit: float, warn: float | None = None) -> Steps:
    """Green below a limit, red from there on; orange from `warn` on."""
    return [(None, "green"), *([(warn, "orange")] if warn is not None else []), (limit, "red")]


def above(limit: float, warn: float | None = None) -> Steps:
    """Green from a limit on, red below; orange from `warn` on."""
    return [(None, "red"), *([(warn, "orange")] if warn is not None else []), (limit, "green")]


def increase(series: str, by: str = "", over: str = "$__rate_interval") -> str:
    """How many there were, by some labels."""
    return f"sum{f' by ({by}) ' if by else ''}(increase({series}[{over}]))"


def in_range(series: str) -> str:
    """How many there were in the dashboard's time range."""
    return increase(series, over="$__range")

"""What the dashboards share: which series are meant, how high panels are, thresholds, counts.

Counters belong to one process each, so they are summed over instances. Gauges come from a database and are the same on
every replica, so the greatest is taken. `increase` is an estimate between scrapes.
"""

from __future__ import annotations

from monitoring.grafana.panels import Steps

JOB = 'job=~"$job"'
HERE = f'{JOB}, instance=~"$instance"'
SHORT, MIDDLE, HIGH = 4, 6, 8
"""Heights of panels."""


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

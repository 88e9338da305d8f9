"""What threaders that run by themselves are asked: how much, how fast, with which answers."""

from __future__ import annotations

from monitoring.grafana.panels import PERCENTILES, Json, bars, lines, percentiles, query
from monitoring.grafana.terms import HERE, HIGH, increase

REAL = f'{HERE}, job=~"alert_threader_.*", route!~"/metrics|/health.*"'
"""Alerts and people, and none who only look whether it is there. Others have metrics of this name, too."""
LIMIT = 0.05
"""Of the requests: ThreaderErrorRate."""
QUARTER = 6


def http() -> list[Json]:
    asked = f"sum by (route) (rate(http_requests_total{{{REAL}}}[$__rate_interval]))"
    bad = f'sum(rate(http_requests_total{{{REAL}, status=~"5.."}}[5m]))'
    return [
        lines(
            "Requests a second",
            "By route. /alert is Alertmanager, /slack/… are people: clicks, commands, links.",
            (QUARTER, HIGH),
            [query(asked, "{{route}}")],
            "reqps",
        ),
        bars(
            "Answers by status",
            "4xx of /alert is never sent again: something unreadable, or a wrong token. 5xx is.",
            (QUARTER, HIGH),
            [query(f"{increase(f'http_requests_total{{{REAL}}}', 'status')} > 0", "{{status}}")],
            colors={"200": "green", "401": "purple", "500": "dark-red", "503": "red"},
        ),
        lines(
            "Refused with 5xx",
            "The part of the requests of five minutes. Dashed: 5 %, ThreaderErrorRate.",
            (QUARTER, HIGH),
            [query(f"({bad} or vector(0)) / (sum(rate(http_requests_total{{{REAL}}}[5m])) > 0)", "5xx")],
            "percentunit",
            limit=LIMIT,
            colors={"5xx": "red"},
        ),
        lines(
            "Time to an answer",
            "Over ten minutes. An alert is answered when it is on disk; Slack is answered within three seconds.",
            (QUARTER, HIGH),
            percentiles(f"http_request_duration_seconds_bucket{{{REAL}}}", "10m"),
            "s",
            colors=PERCENTILES,
            points=True,
        ),
    ]

"""Writes the dashboards to dashboards/*.json. From the repository's root: python -m monitoring.grafana.generate"""

from __future__ import annotations

import json
from pathlib import Path

from monitoring.grafana.panels import PROMETHEUS, Json, rows
from monitoring.grafana.remediator import health, trail, work
from monitoring.grafana.schema import Dashboard
from monitoring.grafana.terms import HERE, JOB
from monitoring.grafana.threader import http, slack

FOLDER = Path(__file__).with_name("dashboards")
SCHEMA_VERSION = 39
"""Grafana 10.3's and 11.0's; older ones read it as it is, newer ones bring it up to theirs."""
LINES = '{job=~"autoheal.*"}'


def autoheal() -> Json:
    """The dashboard of the remediator."""
    return dashboard(
        "autoheal",
        "Autoheal",
        "The remediator: is it on, does it keep its promises, what did it decide and do, what waits.",
        marks(),
        variables(),
        rows(
            ("Is it on?", health.is_it_on(), False),
            ("Promises and error budget", health.objectives(), False),
            ("Decisions", work.decisions(), False),
            ("Actions", work.actions(), False),
            ("Healing", work.healing(), False),
            ("What waits", work.waiting(), False),
            ("Trail, readers, door", trail.trail(), False),
            ("Workers and queues", trail.queues(), True),
            ("Log", trail.log(LINES), False),
        ),
    )


def threads() -> Json:
    """The dashboard of the threads in Slack."""
    return dashboard(
        "autoheal-threads",
        "Autoheal threads",
        "Alerts in Slack: are people told, what waits for Slack, what became of the calls, what threaders are asked.",
        thread_marks(),
        thread_variables(),
        rows(
            ("Are people told?", slack.are_people_told(), False),
            ("The queue", slack.the_queue(), False),
            ("Calls of Slack", slack.calls(), False),
            ("HTTP, of threaders that run by themselves", http.http(), False),
        ),
    )


def dashboard(
    uid: str, title: str, description: str, annotations: list[Json], templating: list[Json], panels: list[Json]
) -> Json:
    """What all of them share, around their panels."""
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["autoheal"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "fiscalYearStartMonth": 0,
        "weekStart": "",
        "timepicker": {"refresh_intervals": ["10s", "30s", "1m", "5m", "15m", "1h"]},
        "links": links(),
        "annotations": {"list": annotations},
        "templating": {"list": templating},
        "panels": panels,
    }


# ---- around the panels ----------------------------------------------------------------------------------------------


def links() -> list[Json]:
    """At the top of the page."""
    usual: Json = {"asDropdown": False, "includeVars": False, "keepTime": False, "tags": [], "targetBlank": True}

    def link(title: str, url: str, tooltip: str, icon: str) -> Json:
        return usual | {"type": "link", "title": title, "url": url, "tooltip": tooltip, "icon": icon}

    others = {"type": "dashboards", "title": "Dashboards", "tags": ["autoheal"], "asDropdown": True, "keepTime": True}
    return [
        link("Console", "${console:raw}/console", "Live: what happens, what waits for you, the switch", "bolt"),
        link("Alerts and runbooks", "${runbooks:raw}", "The rules about Autoheal and what to do for each", "doc"),
        usual | others | {"url": "", "tooltip": "", "icon": "external link", "targetBlank": False},
    ]


BUILT_IN: Json = {
    "builtIn": 1,
    "type": "dashboard",
    "name": "Annotations & Alerts",
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
}


def marks() -> list[Json]:
    """Events as vertical lines over all panels that show time."""
    restarts = f'sum by (instance) (resets(autoheal_event_total{{{HERE}, kind="heartbeat"}}[2m])) > 0'
    return [
        BUILT_IN,
        mark("Mode changed", happened("mode_changed"), "purple", "Mode changed", True),
        mark("Actions", happened("action_started"), "blue", "Action started", True),
        mark("Escalated", happened("escalated"), "red", "Escalated to a person", True),
        mark("Policy loaded", happened("policy_loaded"), "green", "Policy loaded", False),
        mark("Restarts", restarts, "orange", "Restarted: {{instance}}", True),
    ]


def thread_marks() -> list[Json]:
    refused = f"count(threader_slack_up{{{HERE}}} == 0) > 0"
    restarts = f"sum by (instance) (changes(process_start_time_seconds{{{HERE}}}[2m])) > 0"
    return [
        BUILT_IN,
        mark("Slack refuses", refused, "red", "Slack does not take what is posted", True),
        mark("Restarts", restarts, "orange", "Restarted: {{instance}}", True),
    ]


def happened(kind: str) -> str:
    return f'sum(increase(autoheal_event_total{{{JOB}, kind="{kind}"}}[2m])) > 0'


def mark(name: str, expr: str, color: str, title: str, enable: bool) -> Json:
    """Grafana 10 reads `expr` and `step` here, later ones in `target`."""
    return {
        "name": name,
        "datasource": PROMETHEUS,
        "enable": enable,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": "60s",
        "titleFormat": title,
        "textFormat": "",
        "tagKeys": "",
        "useValueForTime": False,
        "target": {"refId": "Anno", "expr": expr, "interval": "60s"},
    }


def variables() -> list[Json]:
    jobs = 'count by (job) (up{job=~"autoheal|autoheal-worker"} or last_over_time(autoheal_build_info[1d]))'
    return [
        source("datasource", "Prometheus", "prometheus"),
        source("logs", "Loki", "loki"),
        choice("job", "Job", f"query_result({jobs})", 3, regex='/job="([^"]+)"/'),
        choice("instance", "Process", f"label_values(up{{{JOB}}}, instance)", 1, every=".*"),
        choice("alertname", "Alert", f"label_values(autoheal_actions_total{{{HERE}}}, alertname)", 1, every=".*"),
        text("console", "Autoheal at", "http://localhost:9009"),
        text("runbooks", "Runbooks at", "/alerting/list?search=datasource:Prometheus"),
    ]


def thread_variables() -> list[Json]:
    jobs = 'count by (job) (up{job=~"alert_threader_.*"} or last_over_time(threader_health_status[1d]))'
    return [
        source("datasource", "Prometheus", "prometheus"),
        choice("job", "Job", f"query_result({jobs})", 3, regex='/job="([^"]+)"/'),
        choice("instance", "Process", f"label_values(up{{{JOB}}}, instance)", 1, every=".*"),
        text("console", "Autoheal at", "http://localhost:9009"),
        text("runbooks", "Runbooks at", "/alerting/list?search=datasource:Prometheus"),
    ]


def source(name: str, label: str, kind: str) -> Json:
    """Which data source of a kind is asked; the shipped one is chosen."""
    return {
        "type": "datasource",
        "name": name,
        "label": label,
        "query": kind,
        "regex": "",
        "current": {"text": label, "value": kind},
        "options": [],
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "skipUrlSync": False,
    }


def choice(name: str, label: str, asked: str, form: int, regex: str = "", every: str | None = None) -> Json:
    """Values that Prometheus knows, several or all at once. `form` is the editor's: 1 label values, 3 query result;
    `every` is what All stands for, else the list."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": PROMETHEUS,
        "definition": asked,
        "query": {"qryType": form, "query": asked, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "regex": regex,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": every,
        "current": {"text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
        "skipUrlSync": False,
    }


def text(name: str, label: str, value: str) -> Json:
    """An address that the links use; write your own once and save, or pass it as `var-NAME` in the URL."""
    known = {"text": value, "value": value}
    return {
        "type": "textbox",
        "name": name,
        "label": label,
        "query": value,
        "current": known,
        "options": [{"selected": True, **known}],
        "hide": 0,
        "skipUrlSync": False,
    }


# ---- files ----------------------------------------------------------------------------------------------------------


def rendered() -> dict[Path, str]:
    """Every dashboard's file and what belongs in it; a ValidationError where one is not as Grafana wants it."""
    found = {FOLDER / f"{one['uid']}.json": json.dumps(one, indent=2) + "\n" for one in (autoheal(), threads())}
    for content in found.values():
        Dashboard.model_validate_json(content)
    return found


def main() -> None:
    for file, content in rendered().items():
        file.write_text(content)


if __name__ == "__main__":
    main()

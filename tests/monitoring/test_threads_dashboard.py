"""The dashboard of the threads: every query of it answered by a real Prometheus that scrapes two real threaders."""

from __future__ import annotations

import re
from pathlib import Path

from monitoring.grafana.schema import Dashboard
from tests.monitoring.answers import Expected, await_answers
from tests.monitoring.test_dashboards import GRAFANA, rule_files
from tests.monitoring.threads import JOB, Site, exposed, happen, site
from tests.monitoring.viewer import Viewer
from tests.servers import wait_until

FILE = GRAFANA / "dashboards" / "autoheal-threads.json"
EXPECTED = Expected(
    may_be_zero={
        "Slack": "at the end it refuses both",
        "Threaders": "so says this one, too",
        "Dropped": "it must be 0",
    },
    must_show={
        "Calls by result": {
            "post: posted",
            "edit: edited",
            "post: limited",
            "post: doubt",
            "look: posted",
            "look: absent",
        },
        "Edits made and saved": {"made", "saved"},
        "Tried again, by reason": {"limited", "lost"},
        "What went wrong, by kind": {"unauthorized", "unreadable", "store", "limited"},
        "Answers by status": {"200", "400", "401", "503"},
        "Requests a second": {"/alert", "/slack/interactive"},
        "What waits, by kind": {"post"},
    },
    truth={
        "Slack": (0, 0),
        "Oldest that waits": (0.5, 120),
        "Waiting": (1, 20),
        "Conversations open": (2, 20),
        "Dropped": (0, 0),
        "Refused with 5xx": (0.01, 1),
    },
    absent={
        "Tried again, by reason": {"down", "later"},
        "What went wrong, by kind": {"internal"},
        "Answers by status": {"500"},
    },
)


def test_busy_threaders_fill_every_panel(tmp_path: Path) -> None:
    with site(tmp_path, rule_files(tmp_path)) as busy:
        happen(busy)
        viewer = Viewer(Dashboard.model_validate_json(FILE.read_text()), busy.prometheus, 15, 900)
        wait_until(lambda: _filled(viewer, busy), 10, "values for each variable")
        await_answers(viewer, EXPECTED)
        check_a_chosen_process_is_asked_alone(viewer, busy)
        check_what_is_measured_is_shown(busy)


def _filled(viewer: Viewer, busy: Site) -> bool:
    viewer.fill()
    assert viewer.known["job"] == [JOB, "autoheal"], viewer.known
    assert len(viewer.known["instance"]) == 2
    return True


def check_a_chosen_process_is_asked_alone(viewer: Viewer, busy: Site) -> None:
    address = f"127.0.0.1:{busy.alone.port}"
    viewer.chosen = {"instance": [address], "job": [JOB]}
    asked = viewer.replaced('threader_slack_calls_total{job=~"$job", instance=~"$instance"}')
    assert {one["metric"]["instance"] for one in busy.prometheus.query(asked)} == {address}


def check_what_is_measured_is_shown(busy: Site) -> None:
    families = re.findall(r"^# TYPE ((?:threader|http)_\w+) (?:counter|gauge|histogram)$", exposed(busy), re.MULTILINE)
    shown = FILE.read_text()
    assert len(families) > 10
    assert not {name for name in families if not name.endswith("_created") and name not in shown}

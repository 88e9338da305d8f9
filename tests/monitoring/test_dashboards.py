"""The dashboards: as Grafana wants them, up to date, and every query of theirs answered by a real Prometheus.

Grafana and Loki are not at hand. So what Grafana requires is held by a schema of our own (schema.py beside the
generator), queries are asked as Grafana would ask them (viewer.py), and of LogQL only the labels are checked.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import ValidationError

from monitoring.grafana import generate
from monitoring.grafana.remediator import health
from monitoring.grafana.remediator.terms import EFFECTS, RESULTS
from monitoring.grafana.schema import Dashboard, LogQuery, PromQuery
from tests.acceptance.service import ROOT
from tests.monitoring.answers import Expected, await_answers
from tests.monitoring.traffic import Site, happen, reader, site
from tests.monitoring.viewer import Viewer, seconds
from tests.servers import wait_until

MONITORING = ROOT / "monitoring"
GRAFANA = MONITORING / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
SHOWN = 900
"""Seconds that the dashboard shows when its queries are run."""

MAY_BE_ZERO = {
    "Processes down": "at the end all of them answer",
    "Error budget: how fast it burns": "the restart may fall between two scrapes",
    "Readers cut off": "no reader was slow",
    "Queues without a worker": "the worker is there",
    "Wait for hands": "the worker took everything",
    "Messages by queue": "the worker took everything",
}
"""Panels in which 0 is the truth of this run."""
MUST_SHOW = {
    "Results over time": set(RESULTS),
    "How remediations ended": set(EFFECTS),
    "Remediations by state": {"held", "unknown"},
    "Webhooks": {"received", "rejected"},
}
"""Series that are not 0 in this run, or the traffic does not do what it is there for."""
TRUTH = {
    "Mode": (2, 2),
    "Policy": (1, 1),
    "Processes down": (0, 0),
    "Last webhook": (0, 60),
    "Heartbeat age": (0, 10),
    "Escalations open": (2, 9),
    "Availability, 30 days": (0.9, 1),
    "Error budget left, 30 days": (0.5, 1),
    "Action success": (0.3, 0.6),
    "False positives": (0.05, 0.3),
    "Time to heal, median": (0.1, 15),
    "Broker": (1, 1),
    "Workers": (1, 1),
}
"""Between what the big numbers lie, as this run has them."""


def load(file: Path) -> Dashboard:
    return Dashboard.model_validate_json(file.read_text())


# ---- the files ------------------------------------------------------------------------------------------------------


def test_what_is_committed_is_what_is_generated() -> None:
    wanted = generate.rendered()
    assert set(FILES) == set(wanted)
    for file, content in wanted.items():
        assert file.read_text() == content, "run: python -m monitoring.grafana.generate"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_grafana_finds_what_it_requires(file: Path) -> None:
    found = load(file)
    assert found.uid == file.stem


BREAKS: dict[str, Any] = {
    "overlap": lambda d: d["panels"][2]["gridPos"].update(x=2),
    "wider than the grid": lambda d: d["panels"][1]["gridPos"].update(x=23),
    "a hole": lambda d: d["panels"].pop(1),
    "ids twice": lambda d: d["panels"][2].update(id=d["panels"][1]["id"]),
    "no refId": lambda d: _first(d, "timeseries")["targets"][0].pop("refId"),
    "no query": lambda d: _first(d, "timeseries")["targets"][0].update(expr=""),
    "a panel of old": lambda d: _first(d, "timeseries").update(type="graph"),
    "a source by name": lambda d: _first(d, "timeseries")["targets"][0].update(datasource="Prometheus"),
    "no description": lambda d: _first(d, "stat").pop("description"),
    "an unknown unit": lambda d: _first(d, "stat")["fieldConfig"]["defaults"].update(unit="sec"),
    "thresholds out of order": lambda d: _first(d, "gauge")["fieldConfig"]["defaults"]["thresholds"]["steps"].reverse(),
    "an option of another kind": lambda d: _first(d, "stat")["options"].update(calculate=True),
    "a slip": lambda d: d.update(shemaVersion=39),
}


def _first(dashboard: Any, kind: str) -> Any:
    return next(panel for panel in dashboard["panels"] if panel["type"] == kind)


@pytest.mark.parametrize("name", BREAKS)
def test_the_schema_refuses(name: str) -> None:
    broken = copy.deepcopy(generate.autoheal())
    BREAKS[name](broken)
    with pytest.raises(ValidationError):
        Dashboard.model_validate_json(json.dumps(broken))


def _provisioned(kind: str) -> Any:
    [file] = (GRAFANA / "provisioning" / kind).glob("*.yml")
    return yaml.safe_load(file.read_text())


def _recording() -> Any:
    return yaml.safe_load((MONITORING / "prometheus-recording-rules.yml").read_text())


def _sources() -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in _provisioned("datasources")["datasources"]}


def test_the_sources_are_those_that_the_dashboards_ask() -> None:
    sources = _sources()
    assert {kind: one["uid"] for kind, one in sources.items()} == {
        kind: kind for kind in ("prometheus", "loki", "alertmanager")
    }
    assert [kind for kind, one in sources.items() if one.get("isDefault")] == ["prometheus"]
    for file in FILES:
        for variable in load(file).templating.items:
            if variable.type == "datasource":
                assert variable.current.value == sources[str(variable.query)]["uid"]
    [provider] = _provisioned("dashboards")["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_the_scrape_interval_is_the_one_that_grafana_is_told() -> None:
    config = yaml.safe_load((MONITORING / "prometheus-config.yml").read_text())
    assert config["global"]["scrape_interval"] == _sources()["prometheus"]["jsonData"]["timeInterval"]


def test_the_budget_counts_the_samples_that_the_rule_leaves() -> None:
    [group] = [one for one in _recording()["groups"] for rule in one["rules"] if rule["record"] == "autoheal:down"]
    assert f"/ {30 * 86400 // seconds(group['interval'])}" in health.DOWN


# ---- the queries ----------------------------------------------------------------------------------------------------


def test_a_busy_autoheal_fills_every_panel(tmp_path: Path, postgres_url: str) -> None:
    """One test, for everything in it wants the same dozen of processes."""
    with site(tmp_path, rule_files(tmp_path), postgres_url) as busy:
        happen(busy)
        with reader(busy.alone):
            check_every_query_is_answered(busy)
            check_a_chosen_process_is_asked_alone(busy)
            check_what_is_measured_is_shown(busy)
            check_the_log_has_what_is_asked_of_it(busy)


def rule_files(folder: Path) -> list[Path]:
    """The shipped rules, evaluated each second and without waiting."""
    made = []
    for name in ("prometheus-recording-rules.yml", "prometheus-alerts.yml"):
        shipped = yaml.safe_load((MONITORING / name).read_text())
        for group in shipped["groups"]:
            group["interval"] = "1s"
            for rule in group["rules"]:
                rule.pop("for", None)
        made.append(folder / name)
        made[-1].write_text(json.dumps(shipped))
    return made


def check_every_query_is_answered(busy: Site) -> None:
    viewer = _viewer(busy)
    wait_until(lambda: _filled(viewer), 10, "values for each variable")
    await_answers(viewer, Expected(MAY_BE_ZERO, MUST_SHOW, TRUTH, RESULTS))


def _viewer(busy: Site) -> Viewer:
    scrape = seconds(_sources()["prometheus"]["jsonData"]["timeInterval"])
    return Viewer(load(GRAFANA / "dashboards" / "autoheal.json"), busy.prometheus, scrape, SHOWN)


def _filled(viewer: Viewer) -> bool:
    viewer.fill()
    offered = viewer.known
    assert offered["job"] == ["autoheal", "autoheal-worker"], offered
    assert len(offered["instance"]) == 3 and {"Heals", "Fails", "other"} <= set(offered["alertname"]), offered
    return True


def check_a_chosen_process_is_asked_alone(busy: Site) -> None:
    viewer = _viewer(busy)
    viewer.fill()
    address = f"127.0.0.1:{busy.alone.port}"
    viewer.chosen = {"instance": [address], "job": ["autoheal"], "alertname": ["Heals", "Fails"]}
    asked = viewer.replaced('autoheal_actions_total{job=~"$job", instance=~"$instance", alertname=~"$alertname"}')
    assert r"127\\.0\\.0\\.1" in asked
    found = busy.prometheus.query(asked)
    assert {one["metric"]["instance"] for one in found} == {address}
    assert {one["metric"]["alertname"] for one in found} == {"Heals", "Fails"}


def check_what_is_measured_is_shown(busy: Site) -> None:
    """On a dashboard itself, or by a recording rule that is."""
    shown = "".join(file.read_text() for file in FILES)
    rules = [rule for group in _recording()["groups"] for rule in group["rules"]]
    shown += "".join(rule["expr"] for rule in rules if rule["record"] in shown)
    exposed = "".join(httpx.get(f"{url}/metrics").text for url in (busy.alone.url, busy.shared.url, busy.worker))
    families = set(re.findall(r"^# TYPE (autoheal_\w+) (?:counter|gauge|histogram)$", exposed, re.MULTILINE))
    assert not {name for name in families if not name.endswith("_created") and name not in shown}


def check_the_log_has_what_is_asked_of_it(busy: Site) -> None:
    """LogQL is not run. What it names is in the lines of a real log, and its streams are those that Alloy makes."""
    written = [json.loads(line) for line in busy.alone.process.text().splitlines() if line.startswith("{")]
    fields = {name for line in written for name in line}
    alloy = (MONITORING / "loki" / "config.alloy").read_text()
    asked = [target.expr for file in FILES for target in _targets(file) if isinstance(target, LogQuery)]
    assert len(asked) == 2, "each is looked at by a person who knows LogQL"
    for expr in asked:
        assert set(re.findall(r"\.(\w+)", expr)) | set(re.findall(r"\| (\w+)=", expr)) <= fields | {
            "error",
            "__error__",
        }
        [(label, pattern)] = re.findall(r'^[^{]*\{(\w+)=~"([^"]+)"\}', expr)
        assert re.search(rf'target_label\s*= "{label}"', alloy)
        assert all(re.fullmatch(pattern, job) for job in ("autoheal", "autoheal-worker"))


def _targets(file: Path) -> list[PromQuery | LogQuery]:
    return [target for panel in load(file).every_panel() for target in panel.targets]

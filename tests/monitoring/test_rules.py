"""The rules that ship: accepted by promtool, each tried to its edge, each with a page, none about a metric unknown."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families

from autoheal.cli.main import app
from autoheal.testing.slack import FakeSlack
from tests.acceptance.service import Autoheal, policy, rule
from tests.monitoring.rules import (
    ALERTS,
    CASES,
    CONFIG,
    LOKI,
    RECORDING,
    ROOT,
    metrics_of,
    named,
    read,
    rules,
    scaled,
    seconds,
    values_of,
)
from tests.needs import needs
from tests.servers import wait_until
from tests.threads.talker import Talker

RECORDED_BY_CONTRACT = {
    "autoheal:cooldown_active",
    "autoheal:actions:rate_5m",
    "autoheal:heartbeat:age_seconds",
    "autoheal:action_fail_rate_15m",
    "autoheal:action_failure_ratio_15m",
}
ALERTS_BY_CONTRACT = {
    "AutohealNoEvents15m": ("autoheal:heartbeat:age_seconds > 900", "10m"),
    "AutohealActionFailureSpike": ("autoheal:action_fail_rate_15m > 0.2", "10m"),
    "AutohealHeartbeatSLOBreach": ("autoheal:heartbeat:age_seconds > 300", "10m"),
    "AutohealFailureRateSLOBreach": ("autoheal:action_fail_rate_15m > 0.05", "15m"),
    "AutohealAuditWriteLatencySLOBreach": ("autoheal:audit_write:p95_10m > 0.2", "10m"),
    "AutohealServiceDown": ("", "2m"),
    "AutohealStuck": ("", ""),
    "AutohealNoWebhooks": ("", ""),
    "AutohealFailureRatio": ("", ""),
    "AutohealRejectedWebhooks": ("", ""),
    "AutohealUnsettled": ("", ""),
    "AutohealReloadFailed": ("", ""),
    "AutohealBackupUnproven": ("", ""),
    "AutohealAvailabilityBurnFast": ("", ""),
    "AutohealAvailabilityBurnSlow": ("", ""),
    "ThreaderInstanceDown": ('up{job=~"alert_threader_.*"} == 0', "1m"),
    "ThreaderErrorRate": ("", ""),
    "ThreaderHealthCheckFailed": ("", ""),
}
OURS_BESIDE = {
    "Watchdog",
    "AutohealReplicaDown",
    "AutohealNotReady",
    "ThreaderSlackDown",
    "ThreaderQueueOld",
    "ThreaderDropped",
}
"""Alerts that the contract does not name."""
NOT_OURS = {"up", "autoheal_backup_last_proven_timestamp"}
"""Prometheus' own, and one that comes with backups."""
OF_NEIGHBOURS = {
    "alertmanager_notifications_failed_total",
    "prometheus_notifications_alertmanagers_discovered",
    "autoheal_queue_waiting",
    "autoheal_workers",
}
"""In runbooks only: of Alertmanager, of Prometheus, and of an Autoheal with workers."""
RUNBOOKS = ROOT / "docs" / "runbooks"
SEVERITIES = {"critical", "warning", "none"}


def promtool(*arguments: str | Path) -> None:
    argv = [needs("promtool", "prometheus"), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- promtool -------------------------------------------------------------------------------------------------------


def test_prometheus_accepts_the_configuration_and_the_rules() -> None:
    promtool("check", "config", CONFIG)
    promtool("check", "rules", RECORDING, ALERTS)


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_the_rules_fire_when_they_should_and_not_before(cases: Path) -> None:
    promtool("test", "rules", cases)


def test_the_quick_rules_of_the_tests_are_rules_too(tmp_path: Path) -> None:
    for path in (RECORDING, ALERTS):
        quick = tmp_path / path.name
        quick.write_text(json.dumps(scaled(read(path), 200)))
        promtool("check", "rules", quick)


# ---- the cases cover the rules --------------------------------------------------------------------------------------


def cases() -> Iterator[dict[str, Any]]:
    for path in CASES:
        yield from read(path)["tests"]


def firing_somewhere() -> set[str]:
    found = set()
    for case in cases():
        found |= {one["alertname"] for one in case.get("alert_rule_test", ()) if one.get("exp_alerts")}
        for one in case.get("promql_expr_test", ()):
            if 'alertstate="firing"' in one["expr"]:
                labels = " ".join(sample["labels"] for sample in one["exp_samples"])
                found |= set(re.findall(r'alertname="(\w+)"', labels))
    return found


def silent_somewhere() -> set[str]:
    asked = (one for case in cases() for one in case.get("alert_rule_test", ()))
    return {one["alertname"] for one in asked if not one.get("exp_alerts")}


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    ours = set(named(ALERTS, "alert"))
    assert firing_somewhere() == ours
    assert silent_somewhere() == ours - {"Watchdog"}, "Watchdog alone always fires"


def test_each_recorded_value_is_asked_for_in_a_case() -> None:
    asked = {name for case in cases() for one in case.get("promql_expr_test", ()) for name in metrics_of(one["expr"])}
    assert set(named(RECORDING, "record")) <= asked


# ---- what the contract promises -------------------------------------------------------------------------------------


def test_every_name_of_the_contract_is_there_with_its_threshold_and_duration() -> None:
    alerts = named(ALERTS, "alert")
    assert set(named(RECORDING, "record")) >= RECORDED_BY_CONTRACT
    assert set(alerts) == {*ALERTS_BY_CONTRACT, *OURS_BESIDE}
    for name, (expr, lasts) in ALERTS_BY_CONTRACT.items():
        assert not expr or alerts[name]["expr"] == expr, name
        assert not lasts or alerts[name]["for"] == lasts, name
    groups = [group["name"] for path in (RECORDING, ALERTS, LOKI) for group in read(path)["groups"]]
    assert {name for name in groups if not name.startswith("autoheal.")} == {"threader.alerts", "threader.logs"}
    assert len(set(groups)) == len(groups)
    [threads] = [group for group in read(ALERTS)["groups"] if group["name"] == "threader.alerts"]
    assert {one["alert"] for one in threads["rules"]} == {name for name in alerts if name.startswith("Threader")}
    assert (
        "ThreaderLogErrorSpike" in named(LOKI, "alert")
        and "> 5" in named(LOKI, "alert")["ThreaderLogErrorSpike"]["expr"]
    )
    assert "> 0.05" in alerts["ThreaderErrorRate"]["expr"] and 'status=~"5.."' in alerts["ThreaderErrorRate"]["expr"]
    assert "threader_health_status == 0" in alerts["ThreaderHealthCheckFailed"]["expr"]


@pytest.mark.parametrize("path", [ALERTS, LOKI], ids=lambda path: path.parent.name)
def test_each_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on(path: Path) -> None:
    for name, alert in named(path, "alert").items():
        notes = alert["annotations"]
        assert alert["labels"]["severity"] in SEVERITIES, name
        assert set(notes) == {"summary", "description", "runbook_url"}, name
        assert "$value" in notes["description"], f"{name} does not tell the value"
        assert_page(name, notes["runbook_url"])


def assert_page(name: str, url: str) -> None:
    """The page is there, names the alert, and is in the index; where a section is meant, it is there too."""
    path, _, section = url.partition("#")
    page = ROOT / path
    assert page.parent == RUNBOOKS, f"{name}: {url}"
    text = page.read_text()
    assert name in text, f"{path} does not name {name}"
    index = (RUNBOOKS / "README.md").read_text()
    assert f"({page.name})" in index and name in index, f"{name} is not in the index"
    headings = {re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-") for line in _headings(text)}
    assert not section or section in headings, f"{path} has no section {section}"


def _headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


# ---- what a real Autoheal shows -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """The labels of every series that a fresh Autoheal and a fresh threader expose, by metric; Slack has answered."""
    folder = tmp_path_factory.mktemp("shown")
    found: dict[str, list[dict[str, str]]] = {}
    usual = policy(rule("one", "One", {"action": {"command": ["true"]}}))
    with (
        FakeSlack(time.time) as slack,
        Talker(folder / "threader", slack, None) as talker,
        Autoheal(folder / "autoheal", usual) as service,
    ):
        service.start()
        talker.start()
        wait_until(lambda: "threader_slack_up" in talker.web.get("/metrics").text, what="Slack's answer")
        for text in (service.get("/metrics").text, talker.web.get("/metrics").text):
            for family in text_string_to_metric_families(text):
                if family.type == "counter":
                    found.setdefault(f"{family.name.removesuffix('_total')}_total", [])  # there may be no series yet
                for sample in family.samples:
                    found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_every_metric_of_the_rules_is_one_that_autoheal_has(shown: dict[str, list[dict[str, str]]]) -> None:
    recorded = set(named(RECORDING, "record"))
    for path in (RECORDING, ALERTS):
        for one in rules(path):
            missing = metrics_of(one["expr"]) - set(shown) - recorded - NOT_OURS
            assert not missing, f"{one.get('alert') or one.get('record')} asks for {missing}"


def test_every_label_that_the_rules_ask_for_is_there_from_the_start(shown: dict[str, list[dict[str, str]]]) -> None:
    for path in (RECORDING, ALERTS):
        for one in rules(path):
            for metric, label, value in values_of(one["expr"]):
                if label == "job" or (metric == "http_requests_total" and label in ("status", "route")):
                    continue  # of Prometheus; of requests that were made
                there = {labels.get(label) for labels in shown[metric]}
                assert value in there, f"{metric} has no {label}={value}: {there}"


# ---- the runbooks ---------------------------------------------------------------------------------------------------

PAGES = sorted(RUNBOOKS.glob("*.md"))


def test_every_page_is_in_the_index_and_about_an_alert() -> None:
    index = (RUNBOOKS / "README.md").read_text()
    alerts = {*named(ALERTS, "alert"), *named(LOKI, "alert"), "AutohealEscalation"}
    for page in PAGES:
        assert page.name == "README.md" or f"({page.name})" in index, page.name
        assert any(name in page.read_text() for name in alerts), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_commands_of_a_runbook_exist(page: Path) -> None:
    for line in re.findall(r"(?:^|`)autoheal ([^`#\n]+)", page.read_text(), re.MULTILINE):
        words = shlex.split(line.replace("…", "").strip())
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert known >= {word for word in words if word.startswith("-")}, f"autoheal {line}"
        needs_a_verb = hasattr(command, "commands") and not command.invoke_without_command
        assert not (needs_a_verb and words), f"autoheal {line}: no such command"


def test_the_queries_of_the_runbooks_ask_for_metrics_that_are_there(shown: dict[str, list[dict[str, str]]]) -> None:
    known = {*shown, *named(RECORDING, "record"), *NOT_OURS, "ALERTS", *OF_NEIGHBOURS}
    for page in PAGES:
        for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL):
            for query in block.splitlines():
                assert metrics_of(query) <= known, f"{page.name}: {query}"


# ---- the tool that makes them quick ---------------------------------------------------------------------------------


def test_time_is_scaled_and_nothing_else() -> None:
    as_shipped = {name: one["expr"] for name, one in named(ALERTS, "alert").items()}
    quick = {one["alert"]: one for group in scaled(read(ALERTS), 100)["groups"] for one in group["rules"]}
    assert quick["AutohealNoEvents15m"]["expr"] == "autoheal:heartbeat:age_seconds > 9"
    assert quick["AutohealNoEvents15m"]["for"] == "6000ms"
    assert quick["AutohealRejectedWebhooks"]["expr"] == "round(sum(increase(autoheal_rejected_total[9000ms]))) >= 3"
    assert "max(autoheal_action_last_timestamp) > 864" in quick["AutohealStuck"]["expr"]
    assert "[36000ms] offset 864000ms) == 1" in quick["AutohealStuck"]["expr"]
    for name in ("AutohealActionFailureSpike", "AutohealAvailabilityBurnFast", "AutohealAvailabilityBurnSlow"):
        assert quick[name]["expr"] == as_shipped[name]
    seconds_in = {name for name, expr in as_shipped.items() if re.search(r"[<>]=? \d{2,}\b(?!\.)", expr)}
    assert seconds_in == {
        "AutohealHeartbeatSLOBreach",
        "AutohealNoEvents15m",
        "AutohealNoWebhooks",
        "AutohealStuck",
        "AutohealBackupUnproven",
        "ThreaderQueueOld",
    }


def test_a_window_of_the_budget_holds_as_many_samples_as_its_rule_divides_by() -> None:
    interval = next(g["interval"] for g in read(RECORDING)["groups"] if g["name"] == "autoheal.availability")
    windows = [
        re.fullmatch(r"sum_over_time\(autoheal:down\[(\w+)\]\) / (\d+)", one["expr"]) for one in rules(RECORDING)
    ]
    found = {window[1]: int(window[2]) for window in windows if window}
    assert len(found) == 7
    assert all(seconds(window) / seconds(interval) == count for window, count in found.items())

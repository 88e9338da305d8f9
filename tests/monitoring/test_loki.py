"""Log alerts and the collector's stages, run over lines that a real Autoheal wrote.

Loki and Alloy are not here: their files are checked for structure, and what they would match is matched by the few
lines of LogQL below. Regular expressions are RE2 in all three places.
"""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import re2
import yaml

from autoheal.app.serve import WITNESS_EVERY
from autoheal.store.sqlite import database_path
from autoheal.testing.slack import FakeSlack
from tests.acceptance.service import Autoheal, policy, rule
from tests.monitoring.rules import LOKI, MONITORING, named, read
from tests.servers import wait_until
from tests.threads.talker import Talker

ALLOY = (MONITORING / "loki" / "config.alloy").read_text()
IMPATIENT = ("--set=autoheal.store.connection:BUSY_SECONDS=0.1",)
"""For the launcher: a ledger whose lock is held counts as not to be written after a tenth of a second."""

Line = dict[str, Any]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[str]]]:
    """What it wrote in peace, while it was given bad policies, and while its ledger could not be written."""
    folder = tmp_path_factory.mktemp("logs")
    usual = policy(rule("one", "One", {"action": {"command": ["true"]}}))
    with Autoheal(folder, usual, options=IMPATIENT) as service:
        service.start()
        found = {"peace": service.process.text().splitlines()}
        service.write_policy("rules: [")
        for _ in range(6):
            assert service.post("/policy/reload").status_code == 400
        found["bad policies"] = _more(service, found)
        with_lock_held(service)
        found["no ledger"] = _more(service, found)
        service.stop()
        found["end"] = _more(service, found)
        yield found


def _more(service: Autoheal, before: dict[str, list[str]]) -> list[str]:
    return service.process.text().splitlines()[sum(map(len, before.values())) :]


def with_lock_held(service: Autoheal) -> None:
    """Something else holds the ledger; an alert is refused, and taken when it is free again."""
    link = sqlite3.connect(database_path(service.data), isolation_level=None)
    link.execute("BEGIN IMMEDIATE")
    body = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "Other"}, "annotations": {}}]}
    assert service.post("/alert", body).status_code == 503
    link.execute("ROLLBACK")
    link.close()
    wait_until(lambda: service.post("/alert", body).status_code == 200, what="the ledger")
    wait_until(lambda: "store_is_back" in service.process.text(), what="the word that it is back")


# ---- a little LogQL -------------------------------------------------------------------------------------------------


def parsed(line: str, job: str) -> Line:
    """What `| json` makes of a line of a job: its fields, or `__error__`."""
    try:
        return {"job": job, **json.loads(line)}
    except ValueError:
        return {"job": job, "__error__": "JSONParserErr"}


def holds(text: Any, operator: str, wanted: str) -> bool:
    """A label matcher; a label that is not there is empty, and a regular expression must match the whole."""
    value = "" if text is None else str(text)
    same = re2.fullmatch(wanted, value) is not None if "~" in operator else value == wanted
    return same != operator.startswith("!")


def matching(expr: str, lines: Sequence[str], job: str = "autoheal") -> list[Line]:
    """The lines that the log query inside of a metric query takes."""
    selector, stages = re.search(r"\{([^}]*)\}((?:\s*\|[^\[]*)?)\s*\[", expr, re.DOTALL).groups()  # type: ignore[union-attr]
    filters = re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', selector + stages)
    assert "| json" in stages and filters
    rows = [parsed(line, job) for line in lines]
    return [row for row in rows if all(holds(row.get(name), how, wanted) for name, how, wanted in filters)]


def over(expr: str) -> float:
    """Beyond which count it fires."""
    found = re.search(r"\)\s*> (\d+)\s*$", expr)
    assert found is not None, expr
    return float(found[1])


# ---- the lines ------------------------------------------------------------------------------------------------------


def test_each_line_is_an_object_with_the_fields_that_others_filter_on(lines: dict[str, list[str]]) -> None:
    for line in (line for some in lines.values() for line in some):
        row = json.loads(line)
        assert list(row)[:4] == ["ts", "level", "name", "message"]
        assert row["level"] in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


# ---- the rules ------------------------------------------------------------------------------------------------------


def test_in_peace_no_log_alert_has_anything_to_say(lines: dict[str, list[str]]) -> None:
    for name in ("AutohealLogErrorSpike", "AutohealLogTrailNotWritten"):
        expr = named(LOKI, "alert")[name]["expr"]
        assert matching(expr, [*lines["peace"], *lines["end"]]) == []


def test_errors_are_counted_and_other_lines_are_not(lines: dict[str, list[str]]) -> None:
    expr = named(LOKI, "alert")["AutohealLogErrorSpike"]["expr"]
    noise = ["Traceback (most recent call last):", '{"level": "ERROR", broken', *lines["peace"]]
    found = matching(expr, [*lines["bad policies"], *noise])
    assert {row["message"] for row in found} == {"policy_rejected"}
    assert len(found) == 6 > over(expr) == 5
    assert "[1m]" in expr


def test_a_ledger_that_cannot_be_written_is_told(lines: dict[str, list[str]]) -> None:
    expr = named(LOKI, "alert")["AutohealLogTrailNotWritten"]["expr"]
    found = matching(expr, lines["no ledger"])
    assert {"store_unavailable", "unavailable"} <= {row["message"] for row in found}
    assert all("lock" in row["error"] for row in found)
    assert len(found) > over(expr) == 0
    assert matching(expr, lines["bad policies"]) == []


def test_its_own_end_is_no_ledger_that_cannot_be_written(lines: dict[str, list[str]]) -> None:
    expr = named(LOKI, "alert")["AutohealLogTrailNotWritten"]["expr"]
    refused = next(
        json.loads(line) for line in lines["no ledger"] if '"message":"unavailable"' in line.replace(" ", "")
    )
    assert len(matching(expr, [json.dumps(refused)])) == 1
    assert matching(expr, [json.dumps(refused | {"error": "autoheal is stopping"})]) == []


def test_a_threaders_errors_are_counted_as_a_remediators_are(tmp_path: Path) -> None:
    """Slack's refusal is one; a policy that is refused is one each time; alerts that cannot be read are none."""
    with FakeSlack(time.time) as slack, Talker(tmp_path, slack, None) as talker:
        slack.revoke()
        talker.start()
        assert talker.web.post("/alert", json={"alerts": "none"}).status_code == 400
        file = tmp_path / "policy.json"
        wait_until(lambda: talker.health()["slack"]["state"] == "down", what="Slack's word")
        file.write_text("rules: [")
        for count in range(1, 6):
            talker.process.send(signal.SIGHUP)
            wait_until(lambda: talker.process.text().count("policy_rejected") == count, what="the refusal")  # noqa: B023
        lines = talker.process.text().splitlines()
    expr = named(LOKI, "alert")["ThreaderLogErrorSpike"]["expr"]
    found = matching(expr, lines, "alert-threader-a")
    assert {row["message"] for row in found} == {"slack", "policy_rejected"}
    assert len(found) == 6 > over(expr) == 5 and "[1m]" in expr
    assert matching(expr, lines, "autoheal") == []


def test_silence_is_longer_than_the_hour_between_two_witnesses() -> None:
    alert = named(LOKI, "alert")["AutohealLogSilence"]
    assert alert["expr"] == 'absent_over_time({job="autoheal"}[75m])'
    assert alert["for"] == "1h"
    assert WITNESS_EVERY == 3600.0


def test_the_log_rules_have_the_form_of_rules() -> None:
    for group in read(LOKI)["groups"]:
        assert set(group) == {"name", "interval", "rules"}
        for one in group["rules"]:
            assert {"alert", "expr", "labels", "annotations"} <= set(one) <= {*one, "for"}
            assert one["alert"].startswith(("AutohealLog", "ThreaderLog"))
            assert all(one["expr"].count(left) == one["expr"].count(right) for left, right in ("()", "{}", "[]"))


# ---- the collector --------------------------------------------------------------------------------------------------


def blocks() -> dict[str, str]:
    """The components of config.alloy: `kind.label` → its text."""
    parts = re.split(r'^([a-z_.]+) "(\w+)" \{$', ALLOY, flags=re.MULTILINE)
    return {f"{kind}.{label}": text for kind, label, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)}


def pairs(stage: str, name: str) -> dict[str, str]:
    """The map that an argument of a stage holds."""
    found = re.search(rf"stage\.{stage} \{{\s*{name} = \{{([^}}]*)\}}", ALLOY)
    assert found is not None, stage
    return dict(re.findall(r'(\w+)\s*=\s*"(\w*)"', found[1]))


def test_the_parts_of_the_collector_are_connected() -> None:
    parts = blocks()
    assert set(parts) == {
        "discovery.docker.containers",
        "discovery.relabel.services",
        "loki.source.docker.services",
        "loki.process.autoheal",
        "loki.write.loki",
    }
    for text in parts.values():
        for reference in re.findall(r"\b((?:discovery|loki)\.\w+(?:\.\w+)*?)\.(?:targets|output|receiver)\b", text):
            assert reference in parts, reference
    code = re.sub(r"//.*|\"(?:[^\"\\]|\\.)*\"", "", ALLOY)
    assert all(code.count(left) == code.count(right) for left, right in ("{}", "[]", "()"))


def test_the_collectors_stages_find_their_fields_in_real_lines(lines: dict[str, list[str]]) -> None:
    taken = pairs("json", "expressions")
    rows = [json.loads(line) for some in lines.values() for line in some]
    assert taken == {"level": "level", "remediation_id": "remediation_id"}
    assert pairs("labels", "values") == {"level": "level"}
    assert pairs("structured_metadata", "values") == {"remediation_id": "remediation_id"}
    assert {row[taken["level"]] for row in rows} >= {"INFO", "WARNING", "ERROR"}


def test_the_collector_and_the_rules_speak_of_the_same_streams() -> None:
    selector = re.search(r'selector = "\{job=~\\"(.*?)\\"\}"', ALLOY)
    assert selector is not None
    for name in ("autoheal", "autoheal-worker", "alert-threader-a", "alert_threader_a"):
        assert re2.fullmatch(selector[1], name)
    assert not re2.fullmatch(selector[1], "grafana")
    service = "__meta_docker_container_label_com_docker_compose_service"
    assert re.search(rf'source_labels = \["{service}"\]\s*target_label  = "job"', ALLOY)
    assert re2.fullmatch(re.findall(r'regex         = "(.*)"', ALLOY)[1], "/monitoring-autoheal-1").group(1)


# ---- Loki's configuration -------------------------------------------------------------------------------------------


def test_loki_keeps_what_it_is_told_to_keep_and_asks_our_rules() -> None:
    config = read(MONITORING / "loki" / "loki-config.yml")
    assert config["compactor"]["retention_enabled"] and config["compactor"]["delete_request_store"] == "filesystem"
    hours = int(config["limits_config"]["retention_period"].removesuffix("h"))
    [schema] = config["schema_config"]["configs"]
    assert schema["index"]["period"] == "24h" and hours % 24 == 0
    assert (schema["store"], schema["schema"]) == ("tsdb", "v13"), "structured metadata needs these"
    assert config["ruler"]["storage"]["local"]["directory"] == "/etc/loki/rules"
    assert config["ruler"]["alertmanager_url"] == "http://alertmanager:9093"
    assert config["server"]["http_listen_port"] == 3100
    assert f":{config['server']['http_listen_port']}/loki/api/v1/push" in ALLOY


def test_every_file_is_yaml_without_doubled_keys() -> None:
    for path in Path(MONITORING / "loki").rglob("*.yml"):
        assert_no_doubled_keys(yaml.compose(path.read_text()), path)


def assert_no_doubled_keys(node: Any, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        assert len(set(names)) == len(names), f"{path.name}: {names}"
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        for part in child if isinstance(child, tuple) else (child,):
            assert_no_doubled_keys(part, path)

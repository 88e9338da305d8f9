"""`autoheal policy`: mistakes with their places, decisions with their gates, the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoheal.cli.explain import HINTS, advice, next_in_the_way
from autoheal.cli.policy import pointed
from autoheal.core.gates import GATES
from tests.unit.cli.stage import Stage, run

GOOD = """\
version: 1
rules:
  - name: crm
    match: ['alertname="CrmDown"', 'service=~"crm-.*"']
    steps:
      - action: {command: [restart, "{labels.service}"]}
"""
BAD = """\
version: 1
rules:
  - name: a
    match: ['alertname="X"']
    cooldwn: 10m
    steps: []
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    return str(path)


# ---- check ------------------------------------------------------------------------------------------------------


def test_a_good_policy_is_fine(good: str) -> None:
    done = run("policy", "check", good)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"fine: {good} (1 rule, digest ")
    assert 'command (unverified)  alertname="CrmDown", service=~"crm-.*"' in done.stdout
    told = json.loads(run("policy", "check", good, "--json").stdout)
    assert told["ok"] and [rule["name"] for rule in told["rules"]] == ["crm"]


def test_every_mistake_is_shown_with_its_line_and_a_caret(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    done = run("policy", "check", str(path))
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0] == f'{path}:5:5: rule: unknown key "cooldwn" (did you mean "cooldown"?)'
    assert lines[1:3] == ["     5 |     cooldwn: 10m", "       |     ^"]
    assert lines[3].startswith(f"{path}:6:12: steps: ")
    assert lines[-1] == "2 mistakes"
    told = json.loads(run("policy", "check", str(path), "--json").stdout)
    assert not told["ok"]
    assert [(one["line"], one["column"]) for one in told["mistakes"]] == [(5, 5), (6, 12)]


def test_it_is_read_from_stdin_and_from_the_environment(good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("policy", "check", "-", input=GOOD).exit_code == 0
    done = run("policy", "check", "-", input=BAD)
    assert done.exit_code == 1 and done.stdout.startswith("stdin:5:5: ")
    monkeypatch.setenv("AUTOHEAL_POLICY_FILE", good)
    assert good in run("policy", "check").stdout


def test_without_a_file_it_is_the_example() -> None:
    done = run("policy", "check")
    assert done.exit_code == 0 and "tcp-endpoint-down-fast" in done.stdout


def test_a_file_that_is_not_there_is_a_mistake_like_others(tmp_path: Path) -> None:
    done = run("policy", "check", str(tmp_path / "none.yaml"))
    assert done.exit_code == 1 and "No such file" in done.stdout


def test_hostile_text_in_the_file_is_written_out(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("version: 1\nrules: []\n\u202exyz: 1\n")
    done = run("policy", "check", str(path))
    assert done.exit_code == 1
    assert "\\u202exyz" in done.stdout and "\u202e" not in done.output


def test_a_mistake_in_the_environment_is_wrong_use() -> None:
    done = run("policy", "check", env={"AUTOHEAL_PROT": "1"})
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == 'autoheal: AUTOHEAL_PROT: unknown variable (did you mean "AUTOHEAL_PORT"?)\n'


@pytest.mark.parametrize(
    ("line", "column", "caret"),
    [("ab", 1, "a"), ("ab", 2, "b"), ("\tx: 1", 2, "x"), ("a" * 500 + "X" + "b" * 500, 501, "X")],
)
def test_the_caret_is_below_the_column(line: str, column: int, caret: str) -> None:
    above, below = pointed(line, 7, column)
    assert above[below.index("^")] == caret
    assert len(above) < 120


def test_wide_characters_count_twice_and_a_column_behind_the_end_is_its_end() -> None:
    _, below = pointed("世界: x", 1, 3)
    assert below.index("^") - below.index("|") - 2 == 4
    assert pointed("ab", 1, 3)[1].endswith("|   ^")


# ---- explain ----------------------------------------------------------------------------------------------------


def explained(*args: str, **options: Any) -> dict[str, Any]:
    done = run("policy", "explain", "--json", *args, **options)
    assert done.exit_code == 0
    found: dict[str, Any] = json.loads(done.stdout)
    return found


CRM = ("--labels", "alertname=CrmDown", "service=crm-api")


def test_offline_it_says_so_and_shows_every_gate(good: str) -> None:
    done = run("policy", "explain", "--policy", good, *CRM)
    assert done.exit_code == 0
    assert done.stderr.startswith("offline: ") and "dry run" in done.stderr
    for name, _ in GATES:
        assert f" {name} " in done.stdout
    assert "skip not_annotated by rule crm" in done.stdout
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith(">")] == ["opt_in"]
    assert "step 1: restart crm-api" in done.stdout
    assert 'to change that: add the annotation autoheal: "true"' in done.stdout
    assert "after that: dry_run would decide" in done.stdout


@pytest.mark.parametrize(
    ("enabled", "dry_run", "result"),
    [("true", "false", "act"), ("false", "true", "dry_run"), ("false", "false", "skip")],
)
def test_offline_the_mode_is_that_of_the_environment(good: str, enabled: str, dry_run: str, result: str) -> None:
    env = {"AUTOHEAL_ENABLED": enabled, "AUTOHEAL_DRY_RUN": dry_run}
    found = explained("--policy", good, *CRM, "--annotations", "autoheal=true", env=env)
    assert found["result"] == result
    assert found["cmd"] == ["restart crm-api"]


def test_what_would_run_is_said_when_nothing_is_in_the_way(good: str) -> None:
    env = {"AUTOHEAL_ENABLED": "true", "AUTOHEAL_DRY_RUN": "false"}
    done = run("policy", "explain", "--policy", good, *CRM, "--annotations", "autoheal=true", env=env)
    assert "it would be healed by rule crm" in done.stdout and "to change" not in done.stdout


def test_without_a_rule_the_nearest_is_named(good: str) -> None:
    done = run("policy", "explain", "--policy", good, "--labels", "alertname=CrmDown", "service=web")
    assert "rule crm would match if this held: service=~\"crm-.*\" (the alert has 'web')" in done.stdout
    assert "after that" not in done.stdout


def test_a_value_that_may_not_be_used_gets_its_own_advice(good: str) -> None:
    done = run(
        "policy",
        "explain",
        "--policy",
        good,
        "--labels",
        "alertname=CrmDown",
        "service=crm-$(x)",
        "--annotations",
        "autoheal=true",
    )
    assert "skip action_not_allowed" in done.stdout and "change `allow`" in done.stdout
    wrong = run("policy", "explain", "--policy", good, *CRM, "--annotations", "autoheal_action=rm -rf /")
    assert "make it 'crm' or 'restart crm-api'" in wrong.stdout


ALERT = {
    "status": "firing",
    "labels": {"alertname": "CrmDown", "service": "crm-api"},
    "annotations": {"autoheal": "true"},
}


@pytest.mark.parametrize("form", [ALERT, [ALERT], {"alerts": [ALERT]}])
def test_an_alert_is_read_from_a_file_or_stdin(good: str, tmp_path: Path, form: Any) -> None:
    path = tmp_path / "alert.json"
    path.write_text(json.dumps(form))
    assert explained("--policy", good, "--alert", str(path))["result"] == "dry_run"
    assert explained("--policy", good, "--alert", "-", input=json.dumps(form))["result"] == "dry_run"


def test_several_alerts_are_all_explained(good: str) -> None:
    both = json.dumps({"alerts": [ALERT, {**ALERT, "status": "resolved"}]})
    found = explained("--policy", good, "--alert", "-", input=both)
    assert [one["result"] for one in found["alerts"]] == ["dry_run", "skip"]
    assert run("policy", "explain", "--policy", good, "--alert", "-", input=both).stdout.count("GATE") == 2


@pytest.mark.parametrize("text", ["", "nonsense", "{}", "[]", "3", '{"alerts":[{"labels":{}}]}', '{"labels":{"a":1}}'])
def test_what_is_no_alert_is_wrong_use(good: str, text: str) -> None:
    done = run("policy", "explain", "--policy", good, "--alert", "-", input=text)
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--labels", "a"),
        ("--labels", "a=1", "--alert", "-"),
        ("--alert", "-", "--annotations", "a=1"),
        ("--labels", "a=1", "--url", "http://127.0.0.1:1", "--policy", "x"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_use(args: tuple[str, ...]) -> None:
    assert run("policy", "explain", *args, input="{}").exit_code == 2


def test_a_running_autoheal_is_asked_where_its_url_is_given(stage: Stage, good: str) -> None:
    answer = explained("--policy", good, *CRM)
    stage.routes["GET /explain"] = {**answer, "why": "\x1b[31m"}
    done = stage.run("policy", "explain", *CRM, "--annotations", "autoheal=true")
    assert done.exit_code == 0 and "offline" not in done.stderr and "\x1b" not in done.output
    assert json.loads(stage.asked[0].params["labels"]) == {"alertname": "CrmDown", "service": "crm-api"}
    assert json.loads(stage.asked[0].params["annotations"]) == {"autoheal": "true"}


def test_an_alert_file_that_is_not_there_is_one_line(good: str, tmp_path: Path) -> None:
    done = run("policy", "explain", "--policy", good, "--alert", str(tmp_path / "none"))
    assert done.exit_code == 1 and done.stderr.endswith("none: No such file or directory\n")


def test_every_reason_of_the_gates_has_advice() -> None:
    """Reasons are the words after the kind in each verdict that core/gates.py gives."""
    import inspect
    import re

    from autoheal.core import gates

    reasons = set(re.findall(r'Verdict\(\s*"\w+",\s*"(\w+)"', inspect.getsource(gates)))
    assert len(reasons) >= 15
    assert reasons - HINTS.keys() == {"not_allowlisted", "action_not_allowed"}
    for reason in reasons:
        found = {"result": "skip", "reason": reason, "why": "", "rule": "r", "cmd": ["x"], "gates": []}
        assert advice(found, {"alertname": "A"})
    assert "itself" in advice({"reason": "not_allowlisted"}, {"alertname": "AutohealDown"})[0]


def test_nothing_is_next_where_the_last_gate_decides() -> None:
    gates = [{"gate": "a", "verdict": "pass"}, {"gate": "b", "verdict": "hold", "decides": True}]
    assert next_in_the_way({"gates": gates}) == ""


# ---- schema -----------------------------------------------------------------------------------------------------


def test_the_schema_is_json() -> None:
    done = run("policy", "schema")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["$schema"].startswith("https://json-schema.org/")
    assert run("policy", "schema", "--json").stdout == done.stdout

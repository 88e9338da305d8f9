"""The verbs of people: mode, ack, silence, remediations; what they ask, print, and end with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.stage import Stage, problem, run

MODE = {"enabled": True, "dry_run": True, "source": "api", "since": 1_700_000_000.0, "by": "ann\x1b[31m"}
REMEDIATION: dict[str, Any] = {
    "id": "r17",
    "state": "failed",
    "rule": "crm",
    "key": 'crm{alertname="Down"}',
    "alertname": "Down",
    "labels": {"alertname": "Down", "instance": "crm:80\x1b[2J"},
    "cmd": "docker restart crm",
    "created_at": 1_700_000_000.0,
    "started_at": 1_700_000_001.0,
    "ended_at": 1_700_000_002.0,
    "starts_at": 1_699_999_990.0,
    "attempt": 2,
    "step": 0,
    "ladder": 2,
    "steps": [
        {"cmd": "docker restart crm", "started_at": 1_700_000_001.0, "result": "ok", "duration_seconds": 0.5},
        {"cmd": "x", "started_at": 1_700_000_001.5, "result": "fail", "rc": 3, "error": "[red]no[/red]"},
    ],
    "trace": {"rule": "crm", "cooldown": "pass"},
    "events": [{"id": 5, "ts": 1_700_000_000.0, "kind": "decision_act", "alertname": "Down", "cmd": "docker"}],
}


# ---- mode -------------------------------------------------------------------------------------------------------


def test_mode_is_shown(stage: Stage) -> None:
    stage.routes["GET /mode"] = MODE
    done = stage.run("mode")
    assert done.exit_code == 0
    assert done.stdout.startswith("dry run since ")
    assert "ann\\x1b[31m" in done.stdout and "\x1b" not in done.output


@pytest.mark.parametrize(
    ("word", "body"),
    [
        ("live", {"enabled": True, "dry_run": False}),
        ("dry-run", {"enabled": True, "dry_run": True}),
        ("off", {"enabled": False, "dry_run": False}),
    ],
)
def test_mode_is_set_by_one_request(stage: Stage, word: str, body: dict[str, bool]) -> None:
    stage.routes["POST /mode"] = lambda asked: (200, {**MODE, **asked.body})
    done = stage.run("mode", word, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {**MODE, **body}
    assert [(asked.method, asked.body) for asked in stage.asked] == [("POST", body)]


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_mode_that_not_everybody_confirmed_is_exit_code_1(stage: Stage, more: tuple[str, ...]) -> None:
    stage.routes["POST /mode"] = {**MODE, "unconfirmed": ["w1:7"]}
    stage.routes["GET /mode"] = MODE
    done = stage.run("mode", "dry-run", *more)
    assert done.exit_code == 1 and "w1:7" in done.stdout
    assert stage.run("mode").exit_code == 0
    stage.routes["POST /mode"] = {**MODE, "unconfirmed": []}
    assert stage.run("mode", "dry-run").exit_code == 0


def test_a_mode_that_there_is_not_is_wrong_use_and_asks_nobody(stage: Stage) -> None:
    assert stage.run("mode", "fast").exit_code == 2
    assert stage.asked == []


# ---- cooldowns --------------------------------------------------------------------------------------------------

COOLDOWNS = {
    "cooldowns": [
        {"rule": "crm", "cooldown": 300.0, "policy": 600.0, "by": "ann\u202e", "since": 1_700_000_000.0},
        {"rule": "shop", "cooldown": 30.0, "policy": 30.0, "by": None, "since": None},
    ]
}


def test_cooldowns_are_shown_with_who_has_set_them(stage: Stage) -> None:
    stage.routes["GET /cooldown"] = COOLDOWNS
    done = stage.run("cooldown")
    assert done.exit_code == 0
    crm, shop = done.stdout.splitlines()[1:]
    assert crm.split()[:3] == ["crm", "5m", "10m"] and "by ann\\u202e" in crm
    assert shop.split() == ["shop", "30s", "30s"]
    assert "shop" not in stage.run("cooldown", "crm").stdout
    assert json.loads(stage.run("cooldown", "--json").stdout) == COOLDOWNS
    assert json.loads(stage.run("cooldown", "shop", "--json").stdout) == COOLDOWNS["cooldowns"][1]
    done = stage.run("cooldown", "crn")
    assert (done.exit_code, done.stdout) == (1, "") and 'did you mean "crm"?' in done.stderr
    stage.routes["GET /cooldown"] = {"cooldowns": []}
    assert stage.run("cooldown").stderr == "no rule\n"


@pytest.mark.parametrize(("word", "sent"), [("5m", "5m"), ("90", "90"), ("reset", None)])
def test_a_cooldown_is_set(stage: Stage, word: str, sent: str | None) -> None:
    stage.routes["POST /cooldown"] = COOLDOWNS["cooldowns"][0]
    done = stage.run("cooldown", "crm", word)
    assert done.exit_code == 0 and "5m" in done.stdout
    assert stage.asked[0].body == {"rule": "crm", "cooldown": sent}
    assert json.loads(stage.run("cooldown", "crm", word, "--json").stdout) == COOLDOWNS["cooldowns"][0]


@pytest.mark.parametrize("args", [("crm", "soon"), ("crm", "-5m"), ("crm", "5m", "more")])
def test_a_cooldown_that_cannot_be_is_wrong_use_and_asks_nobody(stage: Stage, args: tuple[str, ...]) -> None:
    assert stage.run("cooldown", *args).exit_code == 2
    assert stage.asked == []


# ---- ack and silences -------------------------------------------------------------------------------------------


def test_ack_sends_what_was_given(stage: Stage) -> None:
    stage.routes["POST /ack"] = {"ok": True, "silence_id": "abc", "ends_at": "2099-01-01T00:00:00Z"}
    done = stage.run("ack", "alertname=Down", "instance=crm:80", "--for", "2h", "--comment", "looking")
    assert done.exit_code == 0
    labels = {"alertname": "Down", "instance": "crm:80"}
    assert stage.asked[0].body == {"labels": labels, "duration": "2h", "comment": "looking"}
    assert 'alertname="Down"' in done.stdout and "autoheal silence expire abc" in done.stdout
    assert json.loads(stage.run("ack", "a=1", "--json").stdout)["silence_id"] == "abc"


@pytest.mark.parametrize("args", [(), ("Down",), ("a=1", "--for", "soon"), ("a=1", "--for", "0"), ("a=1", "a=2")])
def test_an_ack_that_cannot_be_is_wrong_use_and_asks_nobody(stage: Stage, args: tuple[str, ...]) -> None:
    done = stage.run("ack", *args)
    assert done.exit_code == 2
    assert done.stdout == "" and stage.asked == []


SILENCES = {
    "silences": [
        {
            "id": "s1",
            "state": "active",
            "matchers": [
                {"name": "alertname", "value": "Do[b]wn", "isRegex": False, "isEqual": True},
                {"name": "job", "value": "x.*", "isRegex": True, "isEqual": False},
            ],
            "createdBy": "autoheal:ann",
            "comment": "c\u202e",
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "2099-01-01T00:00:00.000Z",
            "ours": True,
        },
        {"id": "s2", "state": "expired", "matchers": [], "endsAt": "2020-01-01T00:00:00Z", "ours": False},
    ]
}


def test_silences_that_hold_are_listed(stage: Stage) -> None:
    stage.routes["GET /silences"] = SILENCES
    done = stage.run("silence", "list")
    assert done.exit_code == 0
    assert 'alertname="Do[b]wn", job!~"x.*" by autoheal:ann "c\\u202e" (watched)' in done.stdout
    assert "s2" not in done.stdout
    assert "s2" in stage.run("silence", "list", "--all").stdout
    assert json.loads(stage.run("silence", "list", "--json", "--all").stdout) == SILENCES


def test_no_silence_is_fine_and_leaves_stdout_alone(stage: Stage) -> None:
    stage.routes["GET /silences"] = {"silences": []}
    done = stage.run("silence", "list")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no silence\n")


def test_a_silence_is_ended_whatever_its_id_looks_like(stage: Stage) -> None:
    stage.routes["POST /silences/a%2F..%2Fb/expire"] = {"ok": True}
    assert stage.run("silence", "expire", "a/../b").stdout == "ended a/../b\n"
    assert json.loads(stage.run("silence", "expire", "a/../b", "--json").stdout) == {"ok": True}


# ---- remediations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [(), ("list",)])
def test_remediations_are_listed(stage: Stage, verb: tuple[str, ...]) -> None:
    stage.routes["GET /remediations"] = {"count": 1, "remediations": [REMEDIATION]}
    done = stage.run("remediations", *verb)
    assert done.exit_code == 0
    assert "r17" in done.stdout and "docker restart crm (crm)" in done.stdout
    assert "\x1b" not in done.stdout
    assert json.loads(stage.run("remediations", *verb, "--json").stdout)["remediations"] == [REMEDIATION]


def test_filters_are_sent(stage: Stage) -> None:
    stage.routes["GET /remediations"] = {"count": 0, "remediations": []}
    done = stage.run("remediations", "list", "--state", "held", "--rule", "crm", "-n", "3")
    assert (done.exit_code, done.stdout) == (0, "")
    assert stage.asked[0].params == {"state": "held", "rule": "crm", "n": "3"}


def test_a_state_that_there_is_not_gets_a_suggestion(stage: Stage) -> None:
    done = stage.run("remediations", "list", "--state", "heald")
    assert done.exit_code == 2 and 'did you mean "healed"?' in done.stderr


def test_one_is_shown_with_steps_gates_and_events(stage: Stage) -> None:
    stage.routes["GET /remediations/r17"] = REMEDIATION
    done = stage.run("remediations", "show", "r17")
    assert done.exit_code == 0
    for part in ("r17 failed", "Steps", "rc=3", "[red]no[/red]", "Gates", "cooldown", "Events", "decision_act"):
        assert part in done.stdout
    assert "crm:80\\x1b[2J" in done.stdout and "\x1b" not in done.stdout
    assert json.loads(stage.run("remediations", "show", "r17", "--json").stdout) == REMEDIATION


def test_one_with_little_known_of_it_is_shown_too(stage: Stage) -> None:
    stage.routes["GET /remediations/r1"] = {"id": "r1", "state": "held", "hold": "approval"}
    done = stage.run("remediations", "show", "r1")
    assert done.exit_code == 0 and "waits: approval" in done.stdout


@pytest.mark.parametrize(
    ("args", "path", "body"),
    [
        (("approve", "r1"), "/remediations/r1/approve", {"note": ""}),
        (("reject", "r1", "--note", "no"), "/remediations/r1/reject", {"note": "no"}),
        (("cancel", "r1"), "/remediations/r1/cancel", {"note": ""}),
        (("settle", "r1", "--outcome", "healed"), "/remediations/r1/settle", {"outcome": "healed", "note": ""}),
        (("mark", "r1", "--note", "was up"), "/remediations/r1/mark", {"note": "was up"}),
    ],
)
def test_the_word_of_a_person_is_sent(stage: Stage, args: tuple[str, ...], path: str, body: dict[str, str]) -> None:
    stage.routes[f"POST {path}"] = {"ok": True, "state": "reserved"}
    done = stage.run("remediations", *args)
    assert (done.exit_code, done.stdout) == (0, "r1 is reserved\n")
    assert stage.asked[0].body == body
    assert json.loads(stage.run("remediations", *args, "--json").stdout) == {"ok": True, "state": "reserved"}


@pytest.mark.parametrize("args", [("settle", "r1"), ("settle", "r1", "--outcome", "maybe"), ("approve",)])
def test_a_word_that_is_not_whole_is_wrong_use(stage: Stage, args: tuple[str, ...]) -> None:
    assert stage.run("remediations", *args).exit_code == 2
    assert stage.asked == []


# ---- how all of them fail ---------------------------------------------------------------------------------------

VERBS = [
    ("mode",),
    ("cooldown",),
    ("cooldown", "r", "5m"),
    ("mode", "dry-run"),
    ("ack", "a=1"),
    ("silence", "list"),
    ("silence", "expire", "x"),
    ("remediations",),
    ("remediations", "show", "r1"),
    ("remediations", "approve", "r1"),
    ("audit",),
    ("audit", "--follow"),
    ("policy", "explain", "--labels", "a=1"),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize(("status", "code"), [(400, 2), (401, 1), (409, 1), (503, 3)])
def test_a_refusal_is_one_line_and_its_code(stage: Stage, verb: tuple[str, ...], status: int, code: int) -> None:
    stage.answer = lambda asked: (status, problem(status, "because\x1b[31m of you"))  # type: ignore[method-assign]
    done = stage.run(*verb)
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr.startswith("autoheal: ") and done.stderr.count("\n") == 1
    assert "because\\x1b[31m of you" in done.stderr


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_nobody_there_is_one_line_and_code_3(verb: tuple[str, ...]) -> None:
    done = run(*verb, "--url", "http://127.0.0.1:1", "--json")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("autoheal: cannot reach Autoheal at http://127.0.0.1:1: ")


def test_the_token_of_the_environment_goes_along(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOHEAL_ADMIN_TOKEN", "s3cret")
    stage.routes["GET /mode"] = MODE
    stage.run("mode")
    stage.run("mode", "--token", "other")
    assert [asked.headers["authorization"] for asked in stage.asked] == ["Bearer s3cret", "Bearer other"]

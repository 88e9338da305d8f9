"""`autoheal smoke`: what is green, what each fault makes red, and that it does no harm and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from autoheal.cli.smoke import alert as smoke_alert
from autoheal.cli.smoke import silence as smoke_silence
from autoheal.cli.smoke.run import ALERT
from tests.unit.cli.played import RULES, Played, refusing
from tests.unit.cli.stage import Asked, Stage, run

CHECKS = [
    *("service", "ready", "metrics", "access", "cooldowns", "decision", "test alert", "stream", "resume"),
    *("silence", "audit", "recording rules", "alert rules", "scrape"),
]


@pytest.fixture
def played(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    """Everything as it must be; the same server plays Alertmanager and Prometheus."""
    monkeypatch.setenv("ALERTMANAGER_URL", stage.url)
    monkeypatch.setenv("PROMETHEUS_URL", stage.url)
    found = Played(stage)
    yield found
    found.over = True


def checks(stage: Stage, *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = stage.run("smoke", "--json", "--timeout", "0.6", *more)
    told = json.loads(done.stdout)
    found = {one["check"]: one for one in told["checks"]}
    assert told["ok"] is (done.exit_code == 0)
    assert told["red"] == sum(one["state"] == "red" for one in found.values())
    assert all(one["fix"] for one in found.values() if one["state"] == "red"), "every red line says what to do"
    return done.exit_code, found


def red(found: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, one in found.items() if one["state"] == "red"]


def assert_no_harm(played: Played) -> None:
    """Whatever came of it: only the test alert was sent, it was resolved, and no silence holds."""
    assert {alert["labels"]["alertname"] for alert in played.posted} <= {ALERT}
    assert not played.posted or played.posted[-1]["status"] == "resolved"
    assert all(one["state"] == "expired" for one in played.silences.values())


# ---- green ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["live", "dry run", "off"])
def test_all_is_green_in_every_mode_and_nothing_is_acted_on(played: Played, stage: Stage, mode: str) -> None:
    played.mode = mode
    code, found = checks(stage)
    assert code == 0, red(found)
    assert list(found) == CHECKS and {one["state"] for one in found.values()} == {"green"}
    assert found["decision"]["detail"].startswith(f"{mode}: TcpEndpointDownFast")
    assert ("would run 'docker restart crm-api'" in found["decision"]["detail"]) is (mode == "live")
    assert "odd 60 s, crm 600 s" in found["cooldowns"]["detail"]
    assert len(played.posted) == 2 and len(played.silences) == 1
    assert_no_harm(played)


def test_the_table_is_for_people(played: Played, stage: Stage) -> None:
    done = stage.run("smoke")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "14 green, 0 red"
    assert "made, exact, and ended, as" in done.stdout


def test_what_is_not_there_is_skipped_with_a_reason_and_is_not_green(
    played: Played, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROMETHEUS_URL")
    monkeypatch.delenv("ALERTMANAGER_URL")
    stage.routes["POST /ack"] = refusing(409, "no Alertmanager is configured (ALERTMANAGER_URL)")
    del stage.routes["GET /rules"]
    code, found = checks(stage)
    assert code == 0
    skipped = {name for name, one in found.items() if one["state"] == "skipped"}
    assert skipped == {"cooldowns", "silence", "recording rules", "alert rules", "scrape"}
    assert "no Alertmanager is configured" in found["silence"]["detail"]
    assert "--prometheus" in found["scrape"]["detail"]
    assert found["decision"]["state"] == "green", "the alert names of GET / are enough to ask with"
    assert "5 skipped (not looked at" in stage.run("smoke").stdout


# ---- red --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "answer", "broken"),
    [
        ("GET /readyz", refusing(503, "the ledger cannot be written"), ["ready", "stream"]),
        ("GET /metrics", lambda asked: (200, "autoheal_enabled 1.0\n"), ["metrics"]),
        ("GET /metrics", refusing(500), ["metrics"]),
        ("GET /rules", {"rules": []}, ["cooldowns"]),
        ("GET /rules", {"rules": [{**RULES[1], "cooldown": 5}]}, ["cooldowns"]),
        ("GET /explain", refusing(500), ["decision", "test alert"]),
        ("POST /alert", refusing(401), ["test alert"]),
        ("GET /events", refusing(404), ["stream"]),
        ("GET /events", refusing(401), ["stream"]),
        ("POST /ack", refusing(502, "Alertmanager cannot be reached"), ["silence"]),
        ("POST /ack", refusing(409, "no Alertmanager is configured"), ["silence"]),
        ("GET /api/v1/rules", {"data": {"groups": []}}, ["recording rules", "alert rules"]),
        ("GET /api/v1/rules", refusing(404), ["recording rules"]),
        ("GET /api/v1/query", refusing(500), ["scrape"]),
    ],
)
def test_each_fault_is_red_where_it_is(
    played: Played, stage: Stage, route: str, answer: Any, broken: list[str]
) -> None:
    stage.routes[route] = answer
    code, found = checks(stage)
    assert code == 1 and red(found) == broken
    assert_no_harm(played) if route != "POST /alert" else None


def test_missing_and_broken_rules_are_named(played: Played, stage: Stage) -> None:
    rules = stage.routes["GET /api/v1/rules"]["data"]["groups"][0]["rules"]
    gone = rules.pop()
    rules[0] |= {"health": "err", "lastError": "many-to-many"}
    found = checks(stage)[1]
    assert gone["name"] in found["alert rules"]["detail"]
    assert f"{rules[0]['name']}: many-to-many" in found["recording rules"]["detail"]


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([], "no target for it"),
        (
            [{"labels": {"job": "autoheal"}, "health": "down", "lastError": "refused", "scrapeUrl": "http://a"}],
            "refused",
        ),
        ([{"labels": {"job": "autoheal"}, "health": "unknown", "scrapeUrl": "http://a"}], "not scraped yet"),
    ],
)
def test_why_nothing_is_scraped(played: Played, stage: Stage, targets: list[Any], said: str) -> None:
    stage.routes["GET /api/v1/query"] = {"data": {"result": []}}
    stage.routes["GET /api/v1/targets"] = {"data": {"activeTargets": targets}}
    found = checks(stage)[1]
    assert red(found) == ["scrape"] and said in found["scrape"]["detail"]


def test_a_target_that_comes_in_time_is_green(played: Played, stage: Stage) -> None:
    empty = [{"data": {"result": []}}] * 2
    good = stage.routes["GET /api/v1/query"]
    stage.routes["GET /api/v1/query"] = lambda asked: (200, empty.pop() if empty else good)
    stage.routes["GET /api/v1/targets"] = {"data": {"activeTargets": []}}
    assert checks(stage, "--timeout", "5")[0] == 0 and not empty


# ---- the stream -------------------------------------------------------------------------------------------------


def test_a_stream_that_is_blocked_on_its_way_is_red(played: Played, stage: Stage) -> None:
    played.blocked = True
    found = checks(stage)[1]
    assert red(found) == ["stream"] and "nothing came" in found["stream"]["detail"]
    assert "must not buffer" in found["stream"]["fix"] and found["resume"]["state"] == "skipped"


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_double_and_a_gap_at_the_resumption_are_red(
    played: Played, stage: Stage, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    frames = played._frames
    monkeypatch.setattr(played, "_frames", lambda after: frames(after + shift if played.streams == 2 else after))
    found = checks(stage)[1]
    assert red(found) == ["resume"]
    assert "came after event" in found["resume"]["detail"]


def test_an_event_that_never_comes_is_red_although_others_do(
    played: Played, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = played.emit

    def without_key(kind: str, **more: Any) -> None:
        plain(kind, **{name: value for name, value in more.items() if name != "group_key"})

    monkeypatch.setattr(played, "emit", without_key)
    found = checks(stage)[1]
    assert "stream" in red(found)


# ---- never any harm ---------------------------------------------------------------------------------------------


def test_where_the_alert_would_be_acted_on_it_is_not_sent(played: Played, stage: Stage) -> None:
    """Should a service ever match it, its own /explain says so first."""
    played.mode = "live"
    plain = stage.routes["GET /explain"]

    def matches_everything(asked: Asked) -> Any:
        return 200, {**plain(asked)[1], "result": "act", "reason": "", "rule": "all"}

    stage.routes["GET /explain"] = matches_everything
    code, found = checks(stage)
    assert code == 1 and "test alert" in red(found) and played.posted == []
    assert "not sent" in found["test alert"]["detail"] and found["stream"]["state"] == "skipped"


def test_another_answer_than_the_mode_promises_is_red(played: Played, stage: Stage) -> None:
    """It says dry run, and would act."""
    played.mode = "live"
    stage.routes["GET /"] = {**played.home(), "dry_run": True}
    found = checks(stage)[1]
    assert red(found) == ["decision"] and "would end in act" in found["decision"]["detail"]


def test_a_silence_whose_answer_was_lost_is_found_and_ended(played: Played, stage: Stage) -> None:
    plain = stage.routes["POST /ack"]

    def lost(asked: Asked) -> Any:
        plain(asked)
        return 502, {}

    stage.routes["POST /ack"] = lost
    found = checks(stage)[1]
    assert red(found) == ["silence"] and len(played.silences) == 1
    assert_no_harm(played)


def test_a_silence_that_does_not_end_is_red_and_told_how(played: Played, stage: Stage) -> None:
    played._expire = refusing(502)  # type: ignore[method-assign]
    found = checks(stage)[1]
    assert "autoheal silence expire s1" in found["silence"]["fix"]


def test_a_silence_that_alertmanager_does_not_have_is_red_and_ended(played: Played, stage: Stage) -> None:
    played._at_alertmanager = lambda number: {}  # type: ignore[method-assign]
    found = checks(stage)[1]
    assert red(found) == ["silence"] and stage.url in found["silence"]["detail"]
    assert_no_harm(played)


def test_a_silence_that_would_match_more_is_red(played: Played, stage: Stage) -> None:
    plain = stage.routes["POST /ack"]

    def regex(asked: Asked) -> Any:
        answer = plain(asked)
        played.silences["s1"]["matchers"][0]["isRegex"] = True
        return answer

    stage.routes["POST /ack"] = regex
    assert red(checks(stage)[1]) == ["silence"]
    assert_no_harm(played)


def interrupt(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_control_c_ends_the_silence(played: Played, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke_silence, "_see", interrupt)
    assert stage.run("smoke").exit_code != 0
    assert len(played.silences) == 1
    assert_no_harm(played)


def test_control_c_resolves_the_alert(played: Played, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke_alert.Watch, "arrives", interrupt)
    assert stage.run("smoke").exit_code != 0
    assert [alert["status"] for alert in played.posted] == ["firing", "resolved"]


# ---- access and reach -------------------------------------------------------------------------------------------


def test_a_wrong_token_is_red_once_and_the_rest_is_skipped(played: Played, stage: Stage) -> None:
    for route in ("GET /audit", "GET /rules", "GET /explain", "GET /events", "POST /ack", "GET /silences"):
        stage.routes[route] = refusing(401, "this token is not known here")
    code, found = checks(stage, "--token", "wrong")
    assert code == 1 and red(found) == ["access"]
    assert found["silence"]["state"] == "skipped" and played.posted == []
    assert found["recording rules"]["state"] == "green"


@pytest.mark.parametrize(
    "answer", [refusing(404), refusing(500), (200, {"hello": "world"}), (200, "<html>"), (302, {}), (401, {})]
)
def test_something_else_at_the_url_is_out_of_reach(stage: Stage, answer: Any) -> None:
    stage.routes["GET /"] = answer if callable(answer) else lambda asked: answer
    done = stage.run("smoke")
    assert done.exit_code == 3 and done.stdout == "" and stage.url in done.stderr


def test_the_webhooks_token_opens_alert_where_there_is_no_other(
    played: Played, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOHEAL_WEBHOOK_TOKEN", "hook")
    assert checks(stage)[0] == 0
    sent = {asked.path: asked.headers.get("authorization") for asked in stage.asked}
    assert sent["/alert"] == "Bearer hook" and sent["/ack"] is None
    stage.asked.clear()
    assert checks(stage, "--token", "admin")[0] == 0
    assert {asked.headers.get("authorization") for asked in stage.asked if asked.path[:5] != "/api/"} == {
        "Bearer admin"
    }


def test_nobody_there_and_wrong_use() -> None:
    assert run("smoke", "--url", "http://127.0.0.1:1").exit_code == 3
    assert run("smoke", "--url", "nowhere").exit_code == 2
    done = run("smoke", "--prometheus", "nowhere")
    assert done.exit_code == 2 and "--prometheus" in done.stderr


def test_a_silence_whose_answer_was_lost_may_have_been_left(stage: Stage) -> None:
    Played(stage)
    stage.routes["POST /ack"] = refusing(503, "Alertmanager did not answer")
    told = " ".join(stage.run("smoke").stdout.split())
    assert "may have been made all the same" in told and "after 2m" in told

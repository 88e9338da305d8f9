"""`autoheal doctor` and Slack: what it finds with an app, with a webhook alone, and in the service that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoheal.actions import KINDS
from autoheal.cli import slack_checks
from autoheal.cli.finding import Finding
from autoheal.cli.provision.slack import SCOPES
from autoheal.cli.slack_checks import check_slack, check_threader
from autoheal.clients.autoheal import AutohealClient
from autoheal.config.policy_file import parse_policy
from autoheal.config.settings import Settings
from autoheal.core.policy import Policy
from autoheal.testing.slack import FakeSlack
from tests.unit.cli.stage import Stage, problem

PUBLIC = "https://autoheal.example.org"
ALERTMANAGER = {"ALERTMANAGER_URL": "http://am:9093"}


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack(time.time) as found:
        found.app.scopes = set(SCOPES)
        yield found


def policy(section: str = "{}") -> Policy:
    return parse_policy(f"version: 1\nrules: []\nthreader: {section}\n".encode(), "p.yaml", {}, KINDS)


def app(slack: FakeSlack, **more: str) -> Settings:
    """Everything set, as the manifest's steps leave it."""
    env = {"SLACK_BOT_TOKEN": slack.token, "SLACK_SIGNING_SECRET": slack.signing_secret, "SLACK_API_URL": slack.api_url}
    return Settings.from_env({**env, "AUTOHEAL_PUBLIC_URL": PUBLIC, **ALERTMANAGER, **more})


def asked(settings: Settings, by: Policy | None = None) -> list[Finding]:
    """The findings; none of them holds a secret."""
    found = check_slack(settings, by or policy())
    secrets = [one.reveal() for one in (settings.slack_bot_token, settings.slack_signing_secret) if one is not None]
    if settings.slack_webhook_url is not None:
        secrets.append(settings.slack_webhook_url.reveal().rpartition("/")[2])
    for one in found:
        assert not any(secret in one.detail + one.fix for secret in secrets), one
        assert (one.state == "bad") == bool(one.fix), one
    return found


def red(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.check, one.detail) for one in found if one.state == "bad"]


def said(found: list[Finding], check: str) -> str:
    return "\n".join(one.detail for one in found if one.check == check)


# ---- an app ---------------------------------------------------------------------------------------------------------


def test_everything_is_as_the_manifest_has_it(slack: FakeSlack) -> None:
    found = asked(app(slack))
    assert {one.state for one in found} == {"ok"}
    assert {one.check for one in found} == {"Slack", "clock", "Slack scopes", "Slack channels", "Slack buttons"}
    assert "Autoheal as @autoheal" in said(found, "Slack")
    assert said(found, "Slack channels") == "the bot is in #alerts-critical, #alerts-warning, #alerts-info"
    assert f"{PUBLIC}/slack/interactive" in said(found, "Slack buttons")
    assert slack.every() == [] and slack.violations == []
    assert set(slack.calls) == {"auth.test", "conversations.list"}


@pytest.mark.parametrize("state", ["token_revoked", "account_inactive", "invalid_auth"])
def test_a_token_that_slack_does_not_take(slack: FakeSlack, state: str) -> None:
    slack.revoke(state)
    [(check, detail)] = red(asked(app(slack)))
    assert check == "Slack" and state in detail


def test_nobody_there(slack: FakeSlack) -> None:
    [(check, detail)] = red(asked(app(slack, SLACK_API_URL="http://127.0.0.1:1/api/")))
    assert check == "Slack" and detail.startswith("http://127.0.0.1:1/api: ")


@pytest.mark.parametrize("scope", slack_checks.NEEDED)
def test_a_scope_that_is_needed_is_named_with_what_it_is_for(slack: FakeSlack, scope: str) -> None:
    slack.app.scopes.discard(scope)
    found = asked(app(slack))
    assert ("Slack scopes", f"{scope} is missing: it cannot {SCOPES[scope]}") in red(found)


def test_other_scopes_may_be_left_out_on_purpose(slack: FakeSlack) -> None:
    slack.app.scopes -= {"commands", "groups:read", "groups:history"}
    found = asked(app(slack))
    assert red(found) == []
    assert "commands (/autoheal status" in said(found, "Slack scopes")
    assert "the bot is in #alerts-critical" in said(found, "Slack channels"), "public ones are listed all the same"


def test_private_channels_need_their_scopes(slack: FakeSlack) -> None:
    private = slack.add_channel("secret", private=True)
    slack.app.scopes -= {"groups:read"}
    wanted = policy(f"{{fallback: {private.id}}}")
    assert [check for check, _ in red(asked(app(slack), wanted))] == ["Slack scopes", "Slack channels"]
    slack.app.scopes |= {"groups:read"}
    assert red(asked(app(slack), wanted)) == []


def test_scopes_that_nobody_tells(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_checks, "_scopes", lambda answer: None)
    assert "did not say" in said(asked(app(slack)), "Slack scopes")


# ---- channels -------------------------------------------------------------------------------------------------------


def test_each_channel_that_cannot_be_used_is_named_and_why(slack: FakeSlack) -> None:
    slack.archive("alerts-warning")
    slack.delete_channel("alerts-info")
    gone, hidden = slack.add_channel("gone"), slack.add_channel("hidden", private=True, member=False)
    slack.delete_channel(gone.id)
    routed = enumerate((gone.id, hidden.id, "#db"))
    routes = ", ".join(f'{{match: [\'a="{n}"\'], channel: "{channel}"}}' for n, channel in routed)
    slack.add_channel("db")
    found = asked(app(slack), policy(f"{{routes: [{routes}]}}"))
    details = {detail.split()[0].rstrip(":"): detail for _, detail in red(found)}
    assert set(details) == {"#alerts-warning", "#alerts-info", gone.id, hidden.id}
    assert "archived" in details["#alerts-warning"] and "no such channel" in details["#alerts-info"]
    assert "the bot is in #alerts-critical, #db" in said(found, "Slack channels")
    assert all("/invite @autoheal" in one.fix or "unarchive" in one.fix for one in found if one.state == "bad")


def test_a_channel_that_the_bot_is_not_in(slack: FakeSlack) -> None:
    slack.kick("alerts-critical")
    found = asked(app(slack))
    assert red(found) == [] and "a lost message cannot be looked for" in said(found, "Slack channels")
    slack.app.scopes -= {"chat:write.public", "channels:join"}
    assert [check for check, _ in red(asked(app(slack)))] == ["Slack channels"]


def test_a_long_list_is_read_to_its_end(slack: FakeSlack) -> None:
    slack.page_limit = 2
    slack.limits.per_minute["conversations.list"] = 6000
    for number in range(5):
        slack.add_channel(f"other-{number}")
    slack.add_channel("last")
    assert red(asked(app(slack), policy('{fallback: "#last"}'))) == []
    assert slack.calls["conversations.list"] == 5


def test_slack_may_want_fewer_questions(slack: FakeSlack) -> None:
    slack.limit(30, method="conversations.list")
    found = asked(app(slack))
    assert red(found) == [] and "30 s" in said(found, "Slack channels")


def test_a_policy_that_cannot_be_read_names_no_channels(slack: FakeSlack) -> None:
    found = check_slack(app(slack), None)
    assert red(found) == [] and said(found, "Slack channels") == ""


# ---- buttons and links ----------------------------------------------------------------------------------------------


def test_without_a_signing_secret_there_are_links(slack: FakeSlack) -> None:
    found = asked(app(slack, SLACK_SIGNING_SECRET=""))
    assert red(found) == [] and "links in place of buttons" in said(found, "Slack buttons")


def test_where_operators_are_named_there_are_no_links_either(slack: FakeSlack) -> None:
    named = policy("{operators: [U0A1]}")
    for settings, missing in (
        (app(slack, SLACK_SIGNING_SECRET=""), "set SLACK_SIGNING_SECRET,"),
        (hook(slack), "set SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET,"),
    ):
        found = asked(settings, named)
        [finding] = [one for one in found if one.state == "bad"]
        assert finding.check == "Slack ack" and "neither buttons nor links" in finding.detail
        assert finding.fix.startswith(missing)
        assert not any("links in place" in one.detail for one in found)
    assert red(asked(app(slack), named)) == []


def test_an_address_that_slack_cannot_reach(slack: FakeSlack) -> None:
    found = asked(app(slack, AUTOHEAL_PUBLIC_URL="http://localhost:9009"))
    assert red(found) == [] and "https" in said(found, "Slack buttons")


def test_without_an_alertmanager_nobody_can_acknowledge(slack: FakeSlack) -> None:
    found = asked(app(slack, ALERTMANAGER_URL=""))
    assert "ALERTMANAGER_URL" in said(found, "Slack ack") and said(found, "Slack buttons") == ""


# ---- an incoming webhook --------------------------------------------------------------------------------------------


def hook(slack: FakeSlack, **more: str) -> Settings:
    url = slack.webhook_url("alerts-info")
    return Settings.from_env({"SLACK_WEBHOOK_URL": url, "AUTOHEAL_PUBLIC_URL": PUBLIC, **ALERTMANAGER, **more})


def test_a_webhook_alone_has_no_threads_and_says_so(slack: FakeSlack) -> None:
    found = asked(hook(slack))
    assert red(found) == [] and "no threads" in said(found, "Slack")
    assert slack.every() == [], "nothing was posted"
    assert [check for check, _ in red(asked(hook(slack), policy("{operators: []}")))] == ["Slack ack"]


def test_a_webhook_that_is_gone(slack: FakeSlack) -> None:
    settings = hook(slack)
    slack.webhooks.clear()
    [(check, detail)] = red(asked(settings))
    assert check == "Slack" and "no_service" in detail
    away = Settings.from_env({"SLACK_WEBHOOK_URL": "http://127.0.0.1:1/services/T/B/hush-hush"})
    [(check, detail)] = red(asked(away))
    assert check == "Slack" and "hush" not in detail


def test_a_webhook_beside_a_bot_is_not_used(slack: FakeSlack) -> None:
    found = asked(app(slack, SLACK_WEBHOOK_URL=slack.webhook_url("alerts-info")))
    assert "not used" in said(found, "Slack") and slack.calls["webhook"] == 0


def test_nothing_is_configured() -> None:
    [found] = check_slack(Settings(), policy())
    assert found.state == "off" and "SLACK_BOT_TOKEN" in found.detail


# ---- the service that runs ------------------------------------------------------------------------------------------

HEALTH: dict[str, Any] = {
    "status": "ok",
    "slack": {"state": "ok", "detail": "", "since": 1.0, "team": "Acme", "notes": {}},
    "queue": {"depth": 2, "posts": 1, "edits": 1, "oldest_seconds": 1.5, "unsaid": 0},
    "dropped": 0,
}


def served(stage: Stage, answer: Any, configured: bool = True) -> list[Finding]:
    if answer is not None:
        stage.routes["GET /health"] = answer
    settings = Settings.from_env({"SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/x"} if configured else {})
    with AutohealClient(stage.url) as client:
        return check_threader(client, settings)


def test_the_running_threader_is_well(stage: Stage) -> None:
    [found] = served(stage, HEALTH)
    assert (found.state, found.detail) == ("ok", "it posts into Acme; 2 waiting")
    [found] = served(stage, {**HEALTH, "slack": {"state": "unknown", "detail": ""}})
    assert found.state == "off" and "posted nothing yet" in found.detail


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"slack": {"state": "down", "detail": "Slack refuses us: invalid_auth"}}, "invalid_auth"),
        ({"slack": {"state": "limited", "detail": "Slack does not answer"}}, "does not answer"),
        ({"slack": {"state": "ok", "notes": {"#db": "the channel is archived"}}}, "#db: the channel is archived"),
        ({"queue": {"depth": 9, "oldest_seconds": 130}}, "waited 130 s"),
        ({"dropped": 1}, "1 lines were dropped"),
    ],
)
def test_what_the_running_threader_suffers_from_is_red(stage: Stage, changed: dict[str, Any], told: str) -> None:
    found = served(stage, {**HEALTH, **changed})
    [one] = [one for one in found if one.state == "bad"]
    assert told in one.detail and one.fix


def test_a_runbook_that_is_named_is_there(stage: Stage) -> None:
    found = served(
        stage, {"slack": {"state": "down"}, "queue": {"depth": 1, "oldest_seconds": 999}, "dropped": 3, "status": "ok"}
    )
    assert len(found) == 3 and all((Path(__file__).parents[3] / one.fix).exists() for one in found)


def test_a_service_without_threads(stage: Stage) -> None:
    assert served(stage, None, configured=False) == []
    [found] = served(stage, None)
    assert found.state == "off" and "elsewhere" in found.detail
    assert served(stage, {"status": "ok"}) == []
    [found] = served(stage, lambda asked: (503, problem(503, "the store cannot be read")))
    assert found.state == "bad" and "store" in found.detail

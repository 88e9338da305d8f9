"""`/autoheal …` in Slack: admins change cooldowns and the mode, everybody may look, nobody breaks anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoheal.testing.http_fake import Fault
from autoheal.threader import commands, interactive
from tests.integration.threader.front import Front, down
from tests.integration.threader.front import front as made

pytestmark = pytest.mark.anyio


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    async with made(tmp_path) as found:
        found.policy = replace(found.policy, admins=frozenset({found.slack.person("ann")["id"]}))
        yield found


def actor(front: Front, name: str = "ann") -> str:
    return f"slack:{front.slack.person(name)['id']} ({name})"


async def test_an_admin_sets_a_cooldown_and_resets_it(front: Front) -> None:
    assert await front.slash("cooldown restart 5m") == "The cooldown of `restart` is now 5m."
    assert await front.slash("cooldown restart 90") == "The cooldown of `restart` is now 1m30s."
    assert "as the policy has it" in await front.slash("cooldown  restart   RESET")
    assert front.ops.asked == [("cooldown", "restart", seconds, actor(front)) for seconds in (300.0, 90.0, None)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cooldown", "say"),
        ("cooldown restart", "say"),
        ("cooldown restart 5m now", "say"),
        ("cooldown restart soon", "no duration"),
        ("cooldown restart 0", "more than 0"),
        ("cooldown restart -5", "no duration"),
        ("cooldown restart 9y", "at most 365d"),
        ("cooldown restrat 5m", "did you mean"),
        ("mode fast", "say"),
        ("mode live now", "say"),
    ],
)
async def test_what_cannot_be_done_is_explained(front: Front, text: str, told: str) -> None:
    assert told in await front.slash(text)
    assert front.ops.asked == []


@pytest.mark.parametrize(
    ("word", "enabled", "dry_run"), [("live", True, False), ("dry-run", True, True), ("OFF", False, False)]
)
async def test_an_admin_sets_the_mode(front: Front, word: str, enabled: bool, dry_run: bool) -> None:
    assert await front.slash(f"mode {word}") == f"The mode is now *{word.lower()}*."
    assert front.ops.asked == [("mode", enabled, dry_run, actor(front))]


@pytest.mark.parametrize("text", ["mode off", "cooldown restart 5m", "mode", "cooldown", "mode fast"])
async def test_nobody_else_does_and_is_told_how_to_become_one(front: Front, text: str) -> None:
    told = await front.slash(text, "bob")
    if text == "mode":
        assert told == "mode: *dry run*"
    else:
        assert "Only admins" in told and "threader.admins" in told and front.slack.person("bob")["id"] in told
    assert front.ops.asked == []


async def test_operators_are_no_admins(front: Front) -> None:
    bob = front.slack.person("bob")["id"]
    front.policy = replace(front.policy, operators=frozenset({bob}))
    assert "Only admins" in await front.slash("mode off", "bob")


async def test_the_default_policy_has_no_admins(front: Front) -> None:
    front.policy = replace(front.policy, admins=frozenset())
    assert "Only admins" in await front.slash("mode off", "ann")


async def test_status_tells_what_a_person_asks_first(front: Front) -> None:
    await front.fire(down())
    front.state.state, front.state.detail, front.state.notes = "limited", "no answer <!channel>", {"#db": "archived"}
    told = (await front.slash("status", "bob")).split("\n")
    assert told[:3] == ["mode: *dry run*", "firing: 3", "conversations open: 1"]
    assert told[3].startswith("waiting for Slack: 1, since <!date^")
    assert told[4:] == ["Slack: limited, no answer &lt;!channel&gt;", "#db: archived"]


async def test_without_a_remediator_it_says_so(front: Front) -> None:
    front.threader.ops = None
    for text in ("mode", "mode off", "cooldown restart 5m"):
        assert "no remediator is here" in await front.slash(text)
    assert "conversations open: 0" in await front.slash("status")


@pytest.mark.parametrize("text", ["", "help", "  ", "what <!channel> `x`", "\u202e", "a" * 5000, "status now"])
async def test_help_is_never_far(front: Front, text: str) -> None:
    told = await front.slash(text, "bob")
    assert commands.HELP in told and "<!channel>" not in told and len(told) < 3000


async def test_people_of_other_workspaces_are_refused(front: Front) -> None:
    front.state.team_id = "T0ANOTHER"
    assert await front.slash("mode off") == interactive.STRANGER
    assert front.ops.asked == []


async def test_a_slow_answer_comes_later_and_slack_is_not_kept_waiting(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interactive, "PATIENCE", 0.2)
    go = asyncio.Event()

    async def slow(enabled: bool, dry_run: bool, actor: str) -> dict[str, Any]:
        await go.wait()
        return {}

    front.ops.mode = slow  # type: ignore[method-assign]
    delivery = front.slack.slash("/autoheal", "mode dry-run")
    answer = await front.web.post("/slack/commands", content=delivery.body, headers=delivery.headers)
    assert (answer.status_code, answer.content, front.slack.responses) == (200, b"", [])
    go.set()
    await front.app.state.desk.finish()
    assert [one.payload["text"] for one in front.slack.responses] == ["The mode is now *dry-run*."]


async def test_an_error_of_our_own_making_is_told_as_such(front: Front) -> None:
    async def broken(enabled: bool, dry_run: bool, actor: str) -> dict[str, Any]:
        raise KeyError("secret")

    front.ops.mode = broken  # type: ignore[method-assign]
    assert await front.slash("mode dry-run") == interactive.OURS
    front.slack.faults.append(Fault("drop", ".*"))

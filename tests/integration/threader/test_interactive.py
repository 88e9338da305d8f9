"""Clicks in Slack: only Slack's, only once, only what was signed; everything else is explained and changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import structlog

from autoheal.core.errors import Temporary, Unknown
from autoheal.engine.claims import LocalClaims
from autoheal.engine.ports import StoreUnavailable
from autoheal.store.claims import PostgresClaims
from autoheal.testing.http_fake import Fault
from autoheal.testing.memory_claims import MemoryClaims
from autoheal.testing.slack import Delivery
from autoheal.threader import acknowledge, interactive
from autoheal.threader.acknowledge import REASONS, Turns
from tests.integration.threader.front import SECRET, TEAM, Front, down
from tests.integration.threader.front import front as made
from tests.servers import wait_until

pytestmark = pytest.mark.anyio
PATHS = ("/slack/interactive", "/slack/commands")


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    async with made(tmp_path) as found:
        yield found


def who(front: Front, name: str) -> str:
    return str(front.slack.person(name)["id"])


def matchers(silence: Any) -> dict[str, str]:
    assert all(one["isEqual"] and not one["isRegex"] for one in silence.matchers)
    return {one["name"]: one["value"] for one in silence.matchers}


# ---- what a click does ----------------------------------------------------------------------------------------------


async def test_a_click_makes_an_exact_silence_on_record(front: Front) -> None:
    key = await front.fire(down(), annotations={"runbook_url": "https://wiki.example/down"})
    told = await front.click(await front.message(key), "ack:2h")
    assert told.startswith("Acknowledged until <!date^")
    [silence] = await front.silences()
    assert matchers(silence) == down()
    ann = who(front, "ann")
    assert silence.created_by == f"autoheal:slack:{ann} (ann)"
    assert silence.comment == "acknowledged in Slack by ann · runbook: https://wiki.example/down"
    assert silence.ends_at == front.clock.now() + 7200
    [event] = front.events()
    assert (event["actor"], event["labels"], event["duration"]) == (f"slack:{ann} (ann)", down(), "2h")


async def test_a_group_is_silenced_by_its_own_labels_and_no_others(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    await front.click(await front.message(key), "ack:30m")
    [silence] = await front.silences()
    assert (matchers(silence), silence.ends_at) == ({"alertname": "Down"}, front.clock.now() + 1800)


async def test_one_alert_of_several_is_chosen(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    message = await front.message(key)
    [choice] = [e for block in message.blocks for e in block.get("elements", []) if e.get("action_id") == "ack_one"]
    option = next(one for one in choice["options"] if "web-2" in one["text"]["text"])
    assert len(option["value"]) <= 150
    await front.click(message, "ack_one", option=option["value"])
    assert [matchers(one) for one in await front.silences()] == [down("web-2")]


async def test_the_conversation_hears_of_it_through_the_ledger_and_can_be_extended_and_undone(front: Front) -> None:
    key = await front.fire(down())
    await front.click(await front.message(key), "ack:30m")
    await front.follow()
    message = await front.message(key)
    assert {"extend:2h", "undo"} <= set(message.buttons)
    assert "Acknowledged until" in await front.click(message, "extend:2h", "bob")
    [silence] = await front.silences()
    assert silence.ends_at == pytest.approx(front.clock.now() - 2 + 1800 + 7200, abs=1)
    assert front.events()[-1]["actor"] == f"slack:{who(front, 'bob')} (bob)"
    await front.follow()
    message = await front.message(key)
    assert await front.click(message, "undo", "cid") == "The acknowledgement is taken back."
    assert await front.silences() == []
    [ended] = front.events("ack_ended")
    assert (ended["reason"], ended["actor"]) == ("by_hand", f"slack:{who(front, 'cid')} (cid)")
    await front.follow()
    assert await front.click(message, "undo", "dan") == REASONS["none"]
    assert (await front.talk(key)).acks == {}


async def test_an_acknowledgement_cannot_be_extended_beyond_a_week(front: Front) -> None:
    key = await front.fire(down())
    await front.click(await front.message(key), "ack:24h")
    for _ in range(80):
        await front.follow()
        front.clock.advance(acknowledge.PAUSE)
        told = await front.click(await front.message(key), "extend:2h")
        if told == REASONS["far"]:
            break
    else:
        raise AssertionError("it was extended for ever")
    [silence] = await front.silences()
    assert front.clock.now() + 6.8 * 86400 < silence.ends_at <= front.clock.now() + 7 * 86400


async def test_two_who_click_at_once_make_one_silence(front: Front) -> None:
    key = await front.fire(down())
    message = await front.message(key)
    clicks = [front.slack.click(message, "ack:2h", name) for name in ("ann", "bob", "cid")]
    answers = await asyncio.gather(*(front.send(click) for click in clicks))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(await front.silences()) == len(front.events()) == 1
    assert all("Acknowledged until" in one.payload["text"] for one in front.slack.responses)


async def test_a_longer_one_extends_what_is_there(front: Front) -> None:
    key = await front.fire(down())
    message = await front.message(key)
    await front.click(message, "ack:30m")
    await front.click(message, "ack:24h", "bob")
    [silence] = await front.silences()
    assert silence.ends_at == front.clock.now() + 86400
    await front.click(message, "ack:2h", "cid")
    assert [one.ends_at for one in await front.silences()] == [silence.ends_at]


async def test_one_that_was_taken_back_just_now_is_made_anew(front: Front) -> None:
    key = await front.fire(down())
    message = await front.message(key)
    await front.click(message, "ack:2h")
    [first] = await front.silences()
    await front.watch.expire(first.id, "bob")
    await front.click(message, "ack:2h")
    [second] = await front.silences()
    assert second.id != first.id


async def test_three_quick_clicks_extend_once(front: Front) -> None:
    key = await front.fire(down())
    await front.click(await front.message(key), "ack:30m")
    await front.follow()
    message = await front.message(key)
    [before] = await front.silences()
    for _ in range(3):
        await front.send(front.slack.click(message, "extend:2h"))
    assert [one.payload["text"] for one in front.slack.responses[-2:]] == [REASONS["extended"]] * 2
    assert [one.ends_at for one in await front.silences()] == [pytest.approx(before.ends_at + 7200, abs=1)]
    front.clock.advance(acknowledge.PAUSE)
    assert "Acknowledged until" in await front.click(message, "extend:2h")


async def test_an_extension_that_failed_can_be_asked_for_at_once(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await front.fire(down())
    await front.click(await front.message(key), "ack:30m")
    await front.follow()
    message = await front.message(key)

    async def away(*given: Any) -> None:
        raise Temporary("no answer.")

    with monkeypatch.context() as patch:
        patch.setattr(front.watch, "extend", away)
        await front.send(front.slack.click(message, "extend:2h"))
    assert front.slack.responses[-1].payload["text"] == "That did not work: no answer. Nothing was changed."
    await front.send(front.slack.click(message, "extend:2h"))
    assert "Acknowledged until" in front.slack.responses[-1].payload["text"]


async def test_what_was_done_in_part_is_told(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    for name in list((await front.talk(key)).members):
        value = front.tokens.make("button", await front.talk(key), name, "2h")
        await front.send(front.interaction({"type": "button", "action_id": "ack_one", "value": value}))
    await front.follow()
    expire = front.watch.expire

    async def one(silence_id: str, actor: str) -> bool:
        if len(await front.silences()) < 2:
            raise Temporary("no answer")
        return await expire(silence_id, actor)

    monkeypatch.setattr(front.watch, "expire", one)
    undo = front.tokens.make("button", await front.talk(key), "group", "undo")
    before = len(front.slack.responses)
    await front.send(front.interaction({"type": "button", "action_id": "undo", "value": undo}))
    told = front.told(before)
    assert "1 of 2 were ended" in told and "Nothing was" not in told


# ---- several processes ----------------------------------------------------------------------------------------------


@pytest.fixture
async def pair(front: Front, tmp_path: Path, postgres_url: str) -> AsyncIterator[tuple[Front, Front]]:
    """Two processes on the same conversations, Alertmanager and claims; neither hears of the other by the ledger."""
    other = Front(tmp_path, front.slack, front.am, front.clock)
    other.head.start()
    claims = PostgresClaims(postgres_url, "one"), PostgresClaims(postgres_url, "two")
    front.threader.claims, other.threader.claims = claims
    try:
        yield front, other
    finally:
        await other.close()
        for one in claims:
            one.close()


async def test_two_who_click_at_once_at_two_processes_make_one_silence(pair: tuple[Front, Front]) -> None:
    front, other = pair
    message = await front.message(await front.fire(down()))
    front.am.faults.append(Fault("late", "POST /api/v2/silences", seconds=0.5))
    clicks = front.slack.click(message, "ack:2h", "ann"), front.slack.click(message, "ack:2h", "bob")
    answers = await asyncio.gather(front.send(clicks[0]), other.send(clicks[1]))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(await front.silences()) == 1 == len(front.events()) + len(other.events())
    assert ["Acknowledged until" in one.payload["text"] for one in front.slack.responses] == [True, True]


async def test_a_longer_one_at_another_process_extends_what_is_there(pair: tuple[Front, Front]) -> None:
    front, other = pair
    message = await front.message(await front.fire(down()))
    await front.click(message, "ack:30m")
    assert "Acknowledged until" in await other.click(message, "ack:24h", "bob")
    [silence] = await front.silences()
    assert silence.ends_at == pytest.approx(front.clock.now() + 86400, abs=1)
    assert [event["reason"] for event in other.events()] == ["adopted", "extended"]


async def test_who_cannot_have_a_conversation_in_time_is_told(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledge, "WAIT", 0.3)
    key = await front.fire(down())
    message = await front.message(key)
    other = MemoryClaims(front.table, "two")
    assert other.take([f"ack:{key}"], 3600.0)
    assert await front.click(message, "ack:2h") == REASONS["busy"]
    other.release([f"ack:{key}"])
    assert "Acknowledged until" in await front.click(message, "ack:2h")
    assert front.table.duties == {}


async def test_a_conversation_is_kept_for_as_long_as_it_takes(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledge, "LEASE", 0.4)
    other = MemoryClaims(front.table, "two")
    async with Turns().of(front.threader, "k"):
        for _ in range(3):
            front.clock.advance(0.3)
            held = front.clock.now() + 0.4
            await asyncio.to_thread(wait_until, lambda held=held: front.table.duties["ack:k"][1] >= held)
        assert other.take(["ack:k"], 1.0) == set()
    assert other.take(["ack:k"], 1.0) == {"ack:k"}


# ---- what else it would hide ----------------------------------------------------------------------------------------


async def test_what_else_would_be_hidden_is_shown_and_asked(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    await front.raise_(*(down(f"db-{n:02}", team="db") for n in range(12)))
    message = await front.message(key)
    before = (message.text, message.blocks)
    told = await front.click(message, "ack:2h")
    assert "hides 12 other alerts" in told and "Nothing has been changed yet" in told
    assert "db-00" in told and "db-09" in told and "db-10" not in told and "and 2 more" in told
    assert await front.silences() == []
    answer = await front.press("ack_confirm")
    assert answer["replace_original"] is True and "Acknowledged until" in answer["text"] and "blocks" not in answer
    [silence] = await front.silences()
    assert matchers(silence) == {"alertname": "Down"}
    assert (message.text, message.blocks) == before


async def test_a_confirmation_works_once_and_for_ten_minutes(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    await front.raise_(down("db-1", team="db"))
    message = await front.message(key)
    await front.click(message, "ack:2h")
    await front.press("ack_confirm")
    [silence] = await front.silences()
    await front.watch.expire(silence.id, "bob")
    assert (await front.press("ack_confirm", place=0))["text"] == REASONS["used"]
    await front.click(message, "ack:2h")
    front.clock.advance(601)
    answer = await front.press("ack_confirm")
    assert (answer["text"], answer["replace_original"]) == (REASONS["late"], True)
    assert await front.silences() == []


@pytest.mark.parametrize("lost", [False, True])
async def test_a_confirmation_is_used_up_with_its_effect_only(
    front: Front, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    await front.raise_(down("db-1", team="db"))
    await front.click(await front.message(key), "ack:2h")

    async def failed(*given: Any, **more: Any) -> None:
        raise Unknown("the answer was lost") if lost else Temporary("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(front.watch, "acknowledge", failed)
        answer = await front.press("ack_confirm")
    assert answer["replace_original"] is lost
    assert ("Nothing was silenced" in answer["text"]) is not lost
    assert ("no clear end" in answer["text"]) is lost
    again = (await front.press("ack_confirm", place=0))["text"]
    assert (REASONS["used"] if lost else "Acknowledged until") in again
    assert len(await front.silences()) == int(not lost)


async def test_what_was_not_shown_is_asked_anew(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    await front.raise_(down("db-1", team="db"))
    await front.click(await front.message(key), "ack:2h")
    await front.raise_(down("db-2", team="db"))
    answer = await front.press("ack_confirm")
    assert "not the same any more" in answer["text"] and "db-2" in answer["text"]
    assert await front.silences() == []
    assert "Acknowledged" in (await front.press("ack_confirm"))["text"]


async def test_somebody_else_cannot_confirm_what_he_was_not_shown(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    await front.raise_(down("db-1", team="db"))
    await front.click(await front.message(key), "ack:2h", "ann")
    assert "not the same any more" in (await front.press("ack_confirm", "bob"))["text"]
    assert await front.silences() == []


async def test_cancel_takes_the_question_away_and_nothing_else(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"))
    await front.raise_(down("db-1", team="db"))
    message = await front.message(key)
    await front.click(message, "ack:2h")
    assert await front.press("ack_cancel") == {"delete_original": True}
    delivery = front.interaction({"type": "button", "action_id": "ack_cancel", "value": "no"})
    count = len(front.slack.responses)
    await front.send(delivery)  # not in a message of his own: nothing is deleted
    assert len(front.slack.responses) == count and await front.silences() == []


# ---- the truth moves ------------------------------------------------------------------------------------------------


async def test_what_has_resolved_is_not_silenced(front: Front) -> None:
    key = await front.fire(down())
    message = await front.message(key)
    await front.resolve(down())
    assert await front.click(message, "ack:2h") == "Already resolved: nothing was silenced."
    assert await front.silences() == []


async def test_a_resolve_that_only_alertmanager_knows_beats_the_click(front: Front) -> None:
    key = await front.fire(down())
    message = await front.message(key)
    await front.raise_(down(), ends_in=-1.0)
    assert "already resolved" in await front.click(message, "ack:2h")
    assert await front.silences() == []


async def test_labels_that_are_not_those_of_the_button_are_refused(front: Front) -> None:
    key = await front.fire(down("web-1"))
    message = await front.message(key)
    await front.fire(down("web-2"))  # the group's labels now, no longer the one alert's
    assert await front.click(message, "ack:2h") == REASONS["changed"]
    assert await front.silences() == []
    assert "Acknowledged" in await front.click(await front.message(key), "ack:2h")


async def test_a_group_without_labels_cannot_be_acknowledged_whole(front: Front) -> None:
    key = await front.fire(down("web-1"), down("web-2"), group={"alertname": ""})
    message = await front.message(key)
    assert not [one for one in message.buttons if one.startswith("ack:")]
    claim = front.tokens.make("button", replace(await front.talk(key), group_labels={"a": "b"}), "group", "2h")
    before = len(front.slack.responses)
    await front.send(front.interaction({"type": "button", "action_id": "ack:2h", "value": claim}))
    assert front.told(before) == REASONS["broad"]
    assert await front.silences() == []


async def test_a_button_that_is_too_old_does_nothing_by_itself_but_asks(front: Front) -> None:
    key = await front.fire(down())
    message = await front.message(key)
    front.clock.advance(9 * 86400)
    await front.raise_(down())  # it still fires
    told = await front.click(message, "ack:2h")
    assert "too old to act by itself" in told and "web-1" in told
    assert await front.silences() == []
    assert "Acknowledged until" in (await front.press("ack_confirm"))["text"]
    assert len(await front.silences()) == 1


async def test_an_old_undo_is_refused_and_explained(front: Front) -> None:
    key = await front.fire(down())
    await front.click(await front.message(key), "ack:24h")
    await front.follow()
    message = await front.message(key)
    front.clock.advance(9 * 86400)
    assert await front.click(message, "undo") == REASONS["late"]


async def test_a_conversation_that_is_gone_is_explained(front: Front) -> None:
    key = await front.fire(down())
    message = await front.message(key)
    with front.threads.transaction() as book:
        book.lock([key])
        book.delete(key)
    assert await front.click(message, "ack:2h") == REASONS["gone"]


# ---- who, and what --------------------------------------------------------------------------------------------------


async def test_only_operators_where_there_are_some(front: Front) -> None:
    key = await front.fire(down())
    message = await front.message(key)
    front.policy = replace(front.policy, operators=frozenset({who(front, "ann")}))
    told = await front.click(message, "ack:2h", "bob")
    assert "Only operators" in told and who(front, "bob") in told and "threader.operators" in told
    assert await front.silences() == []
    assert "Acknowledged" in await front.click(message, "ack:2h", "ann")


@pytest.mark.parametrize(
    "changed",
    [
        {"team": {"id": "T0FOREIGN"}},
        {"team": None},
        {"user": {"id": "U0STRANGER", "username": "eve", "team_id": "T0FOREIGN"}},
        {"user": {"id": "U0STRANGER", "username": "eve"}},
        {"user": {"id": "", "username": "eve", "team_id": TEAM}},
        {"user": {"id": "U0 <!channel>", "username": "eve", "team_id": TEAM}},
    ],
)
async def test_other_workspaces_are_told_so(front: Front, changed: dict[str, Any]) -> None:
    key = await front.fire(down())
    [value] = {front.tokens.make("button", await front.talk(key), "group", "2h")}
    before = len(front.slack.responses)
    await front.send(front.interaction({"type": "button", "action_id": "ack:2h", "value": value}, **changed))
    assert front.told(before) == interactive.STRANGER
    assert await front.silences() == []


async def test_before_the_workspace_is_known_nobody_acts(front: Front) -> None:
    key = await front.fire(down())
    message = await front.message(key)
    front.state.team_id = ""
    assert "does not know yet which workspace" in await front.click(message, "ack:2h")
    assert await front.silences() == []


@pytest.mark.parametrize("action", ["", "ack2", "delete_everything", "ack_all:2h", "<!channel>"])
async def test_unknown_actions_are_explained(front: Front, action: str) -> None:
    before = len(front.slack.responses)
    await front.send(front.interaction({"type": "button", "action_id": action, "value": "x"}))
    assert front.told(before) == interactive.UNKNOWN


@pytest.mark.parametrize("action", ["ack:2h", "ack_one", "extend:2h", "undo", "ack_confirm"])
@pytest.mark.parametrize("value", ["", "x", "." * 7, "ä\x00\ud800", "a" * 5000])
async def test_values_that_we_never_signed_are_refused(front: Front, action: str, value: str) -> None:
    before = len(front.slack.responses)
    body = json.dumps(front.interaction({"type": "button", "action_id": action, "value": ""}).payload)
    body = body.replace('"value": ""', f'"value": {json.dumps(value)}')
    answer = await front.send(front.slack.signed(urlencode({"payload": body}).encode()))
    if "\ud800" in value:
        assert answer.status_code == 400  # what Slack never sends
    else:
        assert front.told(before) == REASONS["forged"]


@pytest.mark.parametrize(
    ("action", "scope", "duration", "purpose"),
    [
        ("ack:24h", "group", "30m", "button"),
        ("ack:2h", "group", "2h", "link"),
        ("ack:2h", "group", "2h", "confirm"),
        ("ack_confirm", "group", "2h", "button"),
        ("undo", "group", "2h", "button"),
        ("ack:undo", "group", "undo", "button"),
        ("extend:2h", "group", "undo", "button"),
    ],
)
async def test_a_token_is_worth_what_it_was_made_for(
    front: Front, action: str, scope: str, duration: str, purpose: Any
) -> None:
    key = await front.fire(down())
    await front.click(await front.message(key), "ack:30m")
    await front.follow()
    value = front.tokens.make(purpose, await front.talk(key), scope, duration)
    silences, before = await front.silences(), len(front.slack.responses)
    assert value
    await front.send(front.interaction({"type": "button", "action_id": action, "value": value}))
    assert front.told(before) == REASONS["forged"]
    assert await front.silences() == silences


async def test_a_button_that_only_leads_somewhere_is_just_acknowledged(front: Front) -> None:
    action = {"type": "button", "action_id": "ack:2h", "value": "x", "url": "https://example.org"}
    before = len(front.slack.responses)
    assert (await front.send(front.interaction(action))).status_code == 200
    assert len(front.slack.responses) == before


async def test_names_cannot_say_more_than_a_name(front: Front) -> None:
    key = await front.fire(down())
    value = front.tokens.make("button", await front.talk(key), "group", "2h")
    user = {"id": "U0EVE", "username": "eve\n) root\u202e (" + "x" * 300, "team_id": TEAM}
    await front.send(front.interaction({"type": "button", "action_id": "ack:2h", "value": value}, user=user))
    [event] = front.events()
    assert event["actor"].startswith("slack:U0EVE (eve  root ") and len(event["actor"]) < 90
    assert event["actor"].count("(") == 1 and "\n" not in event["actor"] and "\u202e" not in event["actor"]


# ---- the door -------------------------------------------------------------------------------------------------------


async def quiet_401(front: Front, delivery: Delivery, path: str = PATHS[0], **headers: str) -> None:
    before = (await front.silences(), len(front.slack.responses), len(front.ops.asked))
    answer = await front.send(delivery, path, **headers)
    assert answer.status_code == 401
    assert answer.json() == {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "not authorised"}
    assert (await front.silences(), len(front.slack.responses), len(front.ops.asked)) == before


def changed(delivery: Delivery, **headers: str | None) -> Delivery:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in (delivery.headers | named).items() if value is not None}
    return Delivery(delivery.body, kept, delivery.payload)


@pytest.mark.parametrize("path", PATHS)
async def test_forged_old_replayed_and_malformed_requests_are_refused_without_a_word(front: Front, path: str) -> None:
    front.policy = replace(front.policy, admins=frozenset({who(front, "ann")}))
    if path == PATHS[0]:
        message = await front.message(await front.fire(down()))
        good = front.slack.click(message, "ack:2h")
        again = front.slack.click(message, "ack:24h")
    else:
        good = front.slack.slash("/autoheal", "mode off")
        again = front.slack.slash("/autoheal", "mode live")
    stamp, signature = good.headers["X-Slack-Request-Timestamp"], good.headers["X-Slack-Signature"]
    flipped = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    bad: list[Delivery] = [
        changed(good, X_Slack_Signature=flipped),
        changed(good, X_Slack_Signature=again.headers["X-Slack-Signature"]),
        changed(good, X_Slack_Signature=signature.upper()),
        changed(good, X_Slack_Signature=signature.removeprefix("v0=")),
        changed(good, X_Slack_Signature=signature.replace("v0", "v1")),
        changed(good, X_Slack_Signature=f"{signature},{signature}"),
        changed(good, X_Slack_Signature=""),
        changed(good, X_Slack_Signature=None),
        changed(good, X_Slack_Request_Timestamp=None),
        changed(good, X_Slack_Request_Timestamp=""),
        changed(good, X_Slack_Request_Timestamp="now"),
        changed(good, X_Slack_Request_Timestamp=f"{stamp}.0"),
        changed(good, X_Slack_Request_Timestamp=f" {stamp}1"),
        changed(good, X_Slack_Request_Timestamp="9" * 400),
        changed(good, X_Slack_Request_Timestamp="-1"),
        changed(good, X_Slack_Request_Timestamp="NaN"),
        changed(good, X_Slack_Request_Timestamp=str(int(stamp) + 1)),
        Delivery(good.body + b"&x=1", good.headers, good.payload),
        Delivery(b"", good.headers, good.payload),
        front.slack.signed(good.body, front.clock.now() - 301, good.headers["Content-Type"]),
        front.slack.signed(good.body, front.clock.now() + 302, good.headers["Content-Type"]),
    ]
    for delivery in bad:
        await quiet_401(front, delivery, path)
    assert (await front.send(good, path)).status_code == 200
    done = (len(await front.silences()), len(front.ops.asked))
    assert sum(done) == 1
    for other in PATHS:
        await quiet_401(front, good, other)  # the same once more, wherever it is sent
    front.clock.advance(200)
    await quiet_401(front, good, path)
    found = front.metrics.registry.get_sample_value("threader_errors_total", {"kind": "unauthorized"})
    assert found == len(bad) + 3


async def test_two_signatures_are_one_too_many(front: Front) -> None:
    good = front.slack.slash("/autoheal", "status")
    headers = [*good.headers.items(), ("X-Slack-Signature", good.headers["X-Slack-Signature"])]
    assert (await front.web.post(PATHS[1], content=good.body, headers=headers)).status_code == 401


async def test_signed_rubbish_is_a_400_and_signed_strangeness_is_nothing(front: Front) -> None:
    form = "application/x-www-form-urlencoded"
    for body in (b"payload=%7B", b"\xff\xfe", b"&".join(b"a=1" for _ in range(60)), b"payload=" + b"[" * 5000):
        answer = await front.send(front.slack.signed(body, content_type=form))
        assert answer.status_code == 400, body[:20]
    for text in ("[]", "null", "3", '{"type":"view_submission"}', '{"type":"block_actions","actions":[]}',
                 '{"type":"block_actions","actions":["x"]}', '{"type":"block_actions","actions":{"0":1}}'):  # fmt: skip
        answer = await front.send(front.slack.signed(urlencode({"payload": text}).encode(), content_type=form))
        assert (answer.status_code, answer.content) == (200, b""), text
    strange = {"type": "block_actions", "actions": [{"action_id": 5}], "user": "x", "team": [], "response_url": 7}
    answer = await front.send(front.slack.signed(urlencode({"payload": json.dumps(strange)}).encode()))
    assert answer.status_code == 200
    assert front.slack.responses == []


async def test_a_body_that_is_too_large_is_not_read_to_its_end(front: Front) -> None:
    answer = await front.send(front.slack.signed(b"x=" + b"y" * (1024 * 1024)))
    assert answer.status_code == 413


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_signing_secret_there_is_no_such_place(front: Front, path: str) -> None:
    good = front.slack.slash("/autoheal", "status")
    front.threader.signing_secret = None
    assert (await front.send(good, path)).status_code == 404
    assert (await front.web.get(path)).status_code == 405


async def test_what_was_used_stays_used_after_a_restart_of_one_that_is_alone(front: Front) -> None:
    front.threader.claims = LocalClaims("alone", front.clock)
    good = front.slack.slash("/autoheal", "status")
    assert (await front.send(good, PATHS[1])).status_code == 200
    front.threader.claims = LocalClaims("alone again", front.clock)
    await quiet_401(front, good, PATHS[1])


# ---- in time, and when things fail ---------------------------------------------------------------------------------


async def test_slack_is_answered_before_a_slow_alertmanager(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "PATIENCE", 0.3)
    message = await front.message(await front.fire(down()))
    front.am.faults.append(Fault("late", "GET /api/v2/alerts", seconds=1.5))
    click = front.slack.click(message, "ack:2h")
    answer = await front.web.post(PATHS[0], content=click.body, headers=click.headers)
    assert (answer.status_code, front.events()) == (200, [])
    await front.app.state.desk.finish()
    assert "Acknowledged until" in front.slack.responses[-1].payload["text"]
    assert len(await front.silences()) == 1


async def test_an_alertmanager_that_is_away_is_told(front: Front) -> None:
    message = await front.message(await front.fire(down()))
    front.am.faults.append(Fault("drop", "GET /api/v2/alerts"))
    told = await front.click(message, "ack:2h")
    assert told.startswith("That did not work") and told.endswith(" Nothing was silenced.")
    assert await front.silences() == []


async def test_without_an_alertmanager_it_is_explained(front: Front) -> None:
    message = await front.message(await front.fire(down()))
    front.threader.acks = None
    assert "ALERTMANAGER_URL" in await front.click(message, "ack:2h")


async def test_while_claims_cannot_be_asked_nothing_is_done(front: Front) -> None:
    message = await front.message(await front.fire(down()))
    front.table.away = True
    answer = await front.send(front.slack.click(message, "ack:2h"))
    assert answer.status_code == 503
    assert await front.silences() == []


async def test_while_the_store_is_away_the_person_is_told(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    message = await front.message(await front.fire(down()))

    def away(key: str) -> None:
        raise StoreUnavailable("the database cannot be reached: password of admin@db.internal refused")

    monkeypatch.setattr(front.threads, "get", away)
    told = await front.click(message, "ack:2h")
    assert "try again in a moment" in told and "db.internal" not in told
    assert await front.silences() == []


async def test_nobody_is_told_and_nothing_breaks_where_slack_does_not_take_the_answer(front: Front) -> None:
    message = await front.message(await front.fire(down()))
    front.slack.faults.append(Fault("drop", "POST /actions/"))
    assert await front.click(message, "ack:2h") == ""
    assert len(await front.silences()) == 1


async def test_no_secret_reaches_the_log(front: Front) -> None:
    message = await front.message(await front.fire(down()))
    value = next(e["value"] for b in message.blocks for e in b.get("elements", []) if e.get("action_id") == "ack:2h")
    with structlog.testing.capture_logs() as logs:
        front.slack.faults.append(Fault("drop", "POST /actions/"))
        good = front.slack.click(message, "ack:2h")
        await front.send(good)
        await front.send(good)
        await front.send(front.interaction({"type": "button", "action_id": "ack:2h", "value": value[:-1]}))
        await front.send(front.interaction({"type": "button", "action_id": "boo", "value": value}))
    text = json.dumps(logs, default=str)
    url = good.payload["response_url"]
    for secret in (SECRET, value, url, url.rpartition("/")[2], good.headers["X-Slack-Signature"], "xoxb-"):
        assert secret not in text
    assert [one["event"] for one in logs if one["event"] == "person_not_told"]

"""Messages drawn from conversations: what they say, and what they never do."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.threader import blocks as kit
from autoheal.threader.conversation import Conversation, Line, Member, from_data, line_from, to_data
from autoheal.threader.job import Drawing
from autoheal.threader.mrkdwn import calls, units
from autoheal.threader.title import standing, title
from autoheal.threader.words import GROUP, LINES, Look, Payload, Words, parent, plain, pointer, reply, simpler
from tests.unit.threader.gallery import (
    ACK,
    DOCUMENT,
    LINKS,
    LOOK,
    NIGHT,
    SILENCE,
    document,
    group,
    healing,
    line,
    lines,
    member,
    parents,
    resolved,
    seen,
    shown,
)
from tests.unit.threader.hostile import KINDS, MENTIONS, Chance, chances, faults

CALLABLE = set(MENTIONS)
STATES = list(parents())


def _actions(payload: Payload) -> dict[str, dict[str, Any]]:
    return {
        element["action_id"]: element
        for block in payload["blocks"]
        if block["type"] == "actions"
        for element in block["elements"]
    }


# ---- as it is shown to people ---------------------------------------------------------------------------------------


def test_the_document_shows_what_is_drawn() -> None:
    assert DOCUMENT.read_text() == document(), "write it anew: python -m tests.unit.threader.gallery"


@pytest.mark.parametrize(("name", "conversation"), STATES, ids=[name for name, _ in STATES])
def test_each_state_is_told_well(name: str, conversation: Conversation) -> None:
    for look in (LOOK, LINKS):
        assert faults(parent(conversation, look), CALLABLE) == []


@pytest.mark.parametrize("told_line", list(lines()), ids=lambda told_line: told_line.kind)
def test_each_kind_of_line_is_told_well(told_line: Line) -> None:
    payload = reply([told_line], group(member(1)), LOOK)
    assert faults(payload, CALLABLE) == []
    assert "ServiceDown · svc: " in payload["text"]
    assert "\n" not in payload["text"]
    head = shown(payload).split("*")[1 if not told_line.broadcast else 3]
    assert head in seen(payload["text"]), "a notification says the same as the message"


def test_the_gallery_shows_every_kind() -> None:
    assert {one.kind for one in lines()} == set(KINDS)


def test_a_kind_of_a_newer_version_is_told_all_the_same() -> None:
    newer: Any = "power_lost"
    payload = reply([line(newer, detail="rack 7")], group(member(1)), LOOK)
    assert shown(payload) == "• *Power lost*: rack 7 · 03:11"


# ---- the title ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "members", "wanted"),
    [
        ({"alertname": "ServiceDown", "service": "svc"}, [member(1)], "🔴 ServiceDown · svc — 1 firing"),
        ({"alertname": "DiskFull", "shard": "3"}, [member(1)], "🔴 DiskFull · shard=3 — 1 firing"),
        ({"alertname": "X", "canary": "true", "zone": "eu-1"}, [member(1)], "🔴 X · canary=true · eu-1 — 1 firing"),
        ({"cluster": "prod"}, [member(1)], "🔴 ServiceDown · prod — 1 firing"),
        ({}, [member(1, labels={})], "⚪ slack — 1 firing"),
        ({}, [], "⚪ slack — no alerts"),
        ({"alertname": "X"}, [member(1, "warning")], "🟠 X — 1 firing"),
        ({"alertname": "X"}, [member(1, "info")], "🔵 X — 1 firing"),
        ({"alertname": "X"}, [member(1, "page"), member(2, "info")], "🔴 X — 2 firing"),
        ({"alertname": "X"}, [member(1, behind=SILENCE), member(2, "info")], "🔵 X — 2 firing, 1 acknowledged"),
        ({"alertname": "X"}, [member(1, behind=SILENCE)], "🔕 X — acknowledged, 1 firing"),
        ({"alertname": "X"}, [resolved(member(1))], "✅ X — resolved"),
    ],
)
def test_title(labels: dict[str, str], members: list[Member], wanted: str) -> None:
    assert title(group(*members, group_labels=labels)) == wanted


def test_many_names_are_counted() -> None:
    many = [member(n, labels={"alertname": f"Alert{n}", "severity": "info"}) for n in range(1, 6)]
    assert title(group(*many, group_labels={})) == "🔵 Alert1, Alert2 +3 — 5 firing"


@given(chances)
def test_the_title_is_whole(chance: Chance) -> None:
    """However long the names are, how it stands is never cut off."""
    conversation = chance.conversation()
    drawn, now = title(conversation), standing(conversation)
    assert 0 < units(drawn) <= 150
    state = drawn.rpartition(" — ")[2]
    if now.loud:
        assert state.startswith(f"{now.firing} firing")
    elif now.hidden:
        assert state.startswith(f"acknowledged, {now.firing} firing")
    else:
        assert state.split(",")[0] in ("resolved", "no alerts")
    assert ("flapping" in state) == conversation.flapping


# ---- the parent -----------------------------------------------------------------------------------------------------


def test_buttons_carry_what_they_are_worth() -> None:
    asked: list[tuple[str, str, str]] = []

    def token(conversation: Conversation, scope: str, duration: str) -> str:
        asked.append((conversation.key, scope, duration))
        return f"{scope}/{duration}"

    found = _actions(parent(group(member(1), member(2)), replace(LOOK, token=token)))
    assert list(found) == ["ack:30m", "ack:2h", "ack:24h", "ack_one"]
    assert [found[name]["value"] for name in ("ack:30m", "ack:2h", "ack:24h")] == [
        f"{GROUP}/30m", f"{GROUP}/2h", f"{GROUP}/24h",
    ]  # fmt: skip
    options = found["ack_one"]["options"]
    assert [option["value"] for option in options] == [f"{1:016x}/2h", f"{2:016x}/2h"]
    assert [option["text"]["text"] for option in options] == [
        "web-1:9100 web-1 does not answer", "web-2:9100 web-2 does not answer",
    ]  # fmt: skip
    assert {key for key, _, _ in asked} == {"k1"}


def test_one_acknowledgement_is_extended_and_undone_by_its_id() -> None:
    found = _actions(parent(group(member(1, behind=SILENCE), acks={SILENCE: ACK}), LOOK))
    assert {name: element["value"] for name, element in found.items()} == {
        "extend:2h": f"k1.{SILENCE}.2h",
        "undo": f"k1.{SILENCE}.undo",
    }


def test_several_acknowledgements_are_meant_together() -> None:
    other = replace(ACK, silence_id="s-2")
    conversation = group(member(1, behind=SILENCE), member(2, behind="s-2"), acks={SILENCE: ACK, "s-2": other})
    found = _actions(parent(conversation, LOOK))
    assert {name: (element["text"]["text"], element["value"]) for name, element in found.items()} == {
        "extend:2h": ("Extend all 2h", f"k1.{GROUP}.2h"),
        "undo": ("Undo all", f"k1.{GROUP}.undo"),
    }
    assert shown(parent(conversation, LOOK)).count("*Acknowledged* by alice until 05:16, 1 of 2 alerts") == 2


def test_what_is_resolved_offers_nothing_but_the_end_of_its_silence() -> None:
    assert _actions(parent(group(resolved(member(1)), resolved_at=NIGHT + 300), LOOK)) == {}
    behind = parent(group(resolved(member(1)), resolved_at=NIGHT + 300, acks={SILENCE: ACK}), LOOK)
    assert list(_actions(behind)) == ["undo"]


@pytest.mark.parametrize("length", [1, 150, 151, 600, 2000])
def test_long_tokens_cost_the_select_first(length: int) -> None:
    look = replace(LOOK, token=lambda conversation, scope, duration: "t" * length)
    payload = parent(group(*(member(number) for number in range(1, 30))), look)
    assert faults(payload, CALLABLE) == []
    found = _actions(payload)
    assert [name for name in found if name != "ack_one"] == ["ack:30m", "ack:2h", "ack:24h"]
    assert ("ack_one" in found) == (length <= 150)
    if length == 1:
        assert len(found["ack_one"]["options"]) == 25
        assert found["ack_one"]["placeholder"]["text"] == "Ack one of the 25 worst for 2h"


def test_the_select_takes_what_room_is_left() -> None:
    many = [replace(member(number), summary=f"{number} " + "&" * 400) for number in range(1, 30)]
    look = replace(LOOK, token=lambda conversation, scope, duration: "t" * 150)
    payload = parent(group(*many, note="n" * 300, mentions=[f"<@U{n:030}>" for n in range(20)]), look)
    assert faults(payload, {f"<@U{n:030}>" for n in range(20)}) == []
    options = _actions(payload)["ack_one"]["options"]
    assert 5 < len(options) < 25
    assert _actions(payload)["ack_one"]["placeholder"]["text"] == f"Ack one of the {len(options)} worst for 2h"


def test_a_token_that_slack_would_refuse_is_no_button() -> None:
    for length in (0, 2001):
        look = replace(LOOK, token=lambda conversation, scope, duration, length=length: "t" * length)
        assert _actions(parent(group(member(1), member(2)), look)) == {}


def test_without_clicks_there_are_links() -> None:
    payload = parent(group(member(1)), LINKS)
    assert _actions(payload) == {}
    assert "Acknowledge: [30m] | [2h] | [24h]" in shown(payload)
    assert "Acknowledge:" not in shown(parent(group(resolved(member(1))), LINKS))
    assert "Acknowledge:" not in shown(parent(group(member(1)), Look(buttons=False)))


def test_without_addresses_nothing_is_linked() -> None:
    bare = replace(member(1), runbook_url="", url="")
    text = shown(parent(group(bare, source="alertmanager"), Look()))
    assert "[" not in text and "( " not in text


def test_links_lead_where_they_say() -> None:
    waits = {"r-17": healing("held", detail="approval")}
    text = json.dumps(parent(group(member(1), healing=waits), LOOK))
    assert "<https://wiki.example/runbooks/svc|" in text
    assert "<https://heal.example/console?view=remediation&amp;id=r-17|approve or reject>" in text
    assert "<https://heal.example/console?view=events&amp;alertname=ServiceDown|Console>" in text
    wanted = "%7Balertname%3D%22ServiceDown%22%2Cservice%3D%22svc%22%7D"
    assert (
        f"https://alerts.example/#/alerts?silenced=true&amp;inhibited=true&amp;active=true&amp;filter={wanted}|" in text
    )
    own = replace(LOOK, alertmanager_url="")
    assert "<http://alertmanager:9093/#/alerts?" in json.dumps(parent(group(member(1)), own))
    acked = group(member(1, behind=SILENCE), acks={SILENCE: ACK})
    assert f"<https://alerts.example/#/silences/{SILENCE}|silence>" in json.dumps(parent(acked, LOOK))


def test_each_alert_is_shown_by_what_tells_it_from_the_others() -> None:
    text = shown(parent(group(member(1), member(2)), LOOK))
    assert "• `instance=web-1:9100` web-1 does not answer\n" in text
    assert "All of them: `job=svc`" in text
    assert "service=svc" not in text, "the title says it"


def test_the_worst_come_first_and_the_rest_is_counted() -> None:
    many = [member(number, "critical" if number == 40 else "warning") for number in range(1, 50)]
    text = shown(parent(group(*many), LOOK))
    assert text.index("web-40 ") < text.index("web-1 ")
    assert "… and 39 more" in text
    assert text.count("• ") == 10


def test_long_texts_are_shortened_and_everything_else_stays() -> None:
    labels = {f"label_{number:03}": "v" * 500 for number in range(300)}
    many = [
        member(n, labels={**labels, "alertname": "ServiceDown", "severity": "critical", "instance": f"web-{n}"},
               summary="s" * 100_000, description="d" * 100_000)
        for n in range(1, 501)
    ]  # fmt: skip
    for count in (1, 2, 500):
        conversation = group(*many[:count])
        for payload in (parent(conversation, LOOK), parent(conversation, LINKS), plain(conversation, LINKS)):
            assert faults(payload, CALLABLE) == []
        text = shown(parent(conversation, LOOK))
        assert f"— {count} firing" in text and "web-1" in text and "sss…" in text
        assert "called @here" in text and "[📖 Runbook]" in text and "( Ack 2h )" in text


def test_what_needs_a_person_comes_first() -> None:
    found = {
        f"r-{place}": replace(healing(state), remediation_id=f"r-{place}", at=NIGHT + place)
        for place, state in enumerate(["failed", "cancelled", "rejected", "healed", "unknown", "running"])
    }
    text = shown(parent(group(member(1), healing=found), LOOK))
    order = ["Not known whether", "*Healing*", "*Healed*", "*Rejected*", "… and 2 more remediations"]
    assert sorted(order, key=text.index) == order


def test_what_was_done_about_an_earlier_trouble_is_not_shown() -> None:
    old = {"r-1": replace(healing("healed"), at=NIGHT - 7200)}
    assert "Healed" not in shown(parent(group(member(1), healing=old), LOOK))
    assert "unknown" not in old and "Not known" in shown(
        parent(group(member(1), healing={"r-1": replace(healing("unknown"), at=NIGHT - 7200)}), LOOK)
    )


def test_the_severity_of_now_and_the_worst_of_the_trouble() -> None:
    text = shown(parent(group(member(1, "warning"), resolved(member(2))), LOOK))
    assert "*warning* · at worst critical · 1 firing, 1 resolved" in text


# ---- replies, pointers, webhooks ------------------------------------------------------------------------------------


def test_who_is_called_by_a_reply() -> None:
    risen = line("rose", detail="critical", mentions=["<!here>", "<@U1>"])
    payload = reply([line("joined", count=1, mentions=["<!here>"]), risen], group(member(1)), LOOK)
    assert calls(json.dumps(payload["blocks"])) == calls(payload["text"]) == ["<!here>", "<@U1>"]
    assert calls(json.dumps(reply([line("joined", count=1)], group(member(1)), LOOK))) == []


def test_who_acknowledged_is_called_when_that_matters_to_them_alone() -> None:
    for kind, there in (("resolved_acked", True), ("ack_ending", True), ("acked", False), ("extended", False)):
        payload = reply([line(kind, who="slack:U0ABC (alice)", until=NIGHT)], group(member(1)), LOOK)
        assert ("<@U0ABC>" in json.dumps(payload)) == there


def test_without_a_console_the_command_is_shown() -> None:
    payload = reply([line("approval", remediation_id="r-17")], group(member(1)), Look())
    assert "`autoheal remediations approve r-17`" in shown(payload)


def test_many_lines_in_one_reply_are_all_there() -> None:
    many = [line("joined", count=number, names=["x" * 200] * 10) for number in range(1, LINES + 1)]
    payload = reply(many, group(member(1)), LOOK)
    assert faults(payload, CALLABLE) == []
    text = shown(payload)
    assert all(f"*{number} more alert" in text for number in range(1, LINES + 1))
    assert f"(+{LINES - 3} more)" in payload["text"]
    assert "… and 2 more changes" in shown(reply([*many, *many[:2]], group(member(1)), LOOK))


def test_many_long_lines_say_less_each() -> None:
    long = line("rejected", who="&" * 80, detail="&" * 500, rule="&" * 80, remediation_id="r" * 100)
    payload = reply([long] * LINES, group(member(1)), LOOK)
    assert faults(payload, CALLABLE) == []
    assert shown(payload).count("🚫 *Rejected* · 03:11") == LINES
    assert shown(reply([long], group(member(1)), LOOK)).startswith("🚫 *Rejected* by &&&&")


def test_a_pointer_stands_alone() -> None:
    rose = line("rose", detail="critical", mentions=["<!here>"])
    payload = pointer(rose, group(member(1), channel="#alerts-warning"), LOOK, "https://team.slack.com/archives/C1/p1")
    assert faults(payload, CALLABLE) == []
    assert "<https://team.slack.com/archives/C1/p1|Go to the thread in #alerts-warning>" in json.dumps(payload)
    assert shown(payload).startswith("# 🔴 ServiceDown · svc — 1 firing")
    assert "The thread is in #alerts" in shown(pointer(rose, group(member(1)), LOOK))


def test_a_webhook_calls_people_once() -> None:
    conversation = group(member(1))
    assert calls(plain(conversation, LINKS)["text"]) == ["<!here>"]
    assert calls(plain(conversation, LINKS, [line("joined", count=1)])["text"]) == []
    assert calls(plain(conversation, LINKS, [line("rose", mentions=["<@U1>"])])["text"]) == ["<@U1>"]
    assert list(plain(conversation, LINKS)) == ["text"]


def test_words_is_what_the_poster_draws_with() -> None:
    words: Drawing = Words(LOOK)
    conversation, news = group(member(1)), [line("joined", count=1)]
    assert words.parent(conversation) == parent(conversation, LOOK)
    assert words.reply(news, conversation) == reply(news, conversation, LOOK)
    assert words.pointer(news[0], conversation, "https://x.example") == pointer(
        news[0], conversation, LOOK, "https://x.example"
    )
    assert words.plain(conversation, news) == plain(conversation, LOOK, news)
    assert words.simpler({"text": "x"}, 3) == {"text": "x"}


# ---- hostile input --------------------------------------------------------------------------------------------------


@given(chances)
def test_no_conversation_breaks_the_parent(chance: Chance) -> None:
    conversation = chance.conversation()
    payload = parent(conversation, chance.look())
    assert faults(payload, CALLABLE) == []
    assert title(conversation) == payload["blocks"][0]["text"]["text"]


@given(chances, st.integers(1, LINES + 5))
def test_no_line_breaks_a_reply(chance: Chance, count: int) -> None:
    news, conversation, look = [chance.line() for _ in range(count)], chance.conversation(), chance.look()
    assert faults(reply(news, conversation, look), CALLABLE) == []
    assert faults(pointer(news[0], conversation, look, "https://x.example"), CALLABLE) == []


@given(chances, st.integers(0, 20))
def test_nothing_breaks_a_webhooks_text(chance: Chance, count: int) -> None:
    news = [chance.line() for _ in range(count)]
    assert faults(plain(chance.conversation(), chance.look(), news), CALLABLE) == []


@given(chances, st.integers(0, 2**32))
def test_the_same_conversation_gives_the_same_bytes(chance: Chance, order: int) -> None:
    """Over a restart, and whatever the order in which things were stored."""
    conversation, look, news = chance.conversation(), chance.look(), chance.line()
    again = from_data(json.loads(json.dumps(to_data(conversation))))
    for holder in [again, *again.members.values(), *again.acks.values()]:
        for name in ("members", "acks", "healing", "group_labels", "labels"):
            if hasattr(holder, name):
                items = list(getattr(holder, name).items())
                Random(order).shuffle(items)
                setattr(holder, name, dict(items))
    same_news = line_from(json.loads(json.dumps(asdict(news))))
    assert _bytes(parent(again, look)) == _bytes(parent(conversation, look))
    assert _bytes(plain(again, look, [same_news])) == _bytes(plain(conversation, look, [news]))
    assert _bytes(reply([same_news], again, look)) == _bytes(reply([news], conversation, look))


def _bytes(payload: Payload) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()


# ---- simpler --------------------------------------------------------------------------------------------------------


def test_simpler_step_by_step() -> None:
    payload = parent(group(member(1), member(2)), LOOK)
    assert simpler(payload, 0) == payload
    fewer = simpler(payload, 1)
    assert [block["type"] for block in fewer["blocks"]] == ["section", "section", "section", "actions"]
    assert list(_actions(fewer)) == ["ack:30m", "ack:2h", "ack:24h"]
    text = simpler(payload, 2)
    assert text["blocks"] == [] and "web-2 does not answer" in text["text"] and "Runbook" in text["text"]
    assert simpler(payload, 3) == {
        "text": "🔴 ServiceDown · svc — 2 firing (critical): web-1 does not answer <!here>", "blocks": [],
    }  # fmt: skip
    assert simpler(payload, 9) == simpler(payload, 3)


def test_a_webhooks_text_stays_without_blocks() -> None:
    payload = plain(group(member(1)), LINKS)
    assert list(simpler(payload, 1)) == list(simpler(payload, 3)) == ["text"]


@given(chances, st.integers(1, 4))
def test_simpler_is_smaller_and_still_calls(chance: Chance, level: int) -> None:
    conversation, look, news = chance.conversation(), chance.look(), [chance.line() for _ in range(1 + level)]
    for payload in (parent(conversation, look), reply(news, conversation, look), plain(conversation, look, news)):
        less = simpler(payload, level)
        assert faults(less, CALLABLE) == []
        assert kit.weight(less.get("blocks", [])) <= kit.weight(payload.get("blocks", [])) + 50  # "… and 1 more"
        assert len(less.get("blocks", [])) <= len(payload.get("blocks", []))
        assert set(calls(_everything(less))) == set(calls(_everything(payload)))
        assert simpler(payload, level) == less
        if level >= 3:
            assert "\n" not in less["text"] and units(less["text"]) <= 1000


def _everything(payload: Payload) -> str:
    return json.dumps(payload, ensure_ascii=False)

"""The fake Slack itself: channels, scopes, threads, what tests see of it, and what it does on a bad day."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from autoheal.testing.http_fake import Fault
from autoheal.testing.slack import FakeSlack
from autoheal.testing.slack_state import Workspace

Data = dict[str, Any]
http_post = functools.partial(httpx.post, timeout=5, verify=False)  # certificates take 20 ms to load
METADATA = {"event_type": "autoheal", "event_payload": {"nonce": "n-1"}}


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack(time.time, posts_per_second=1000, burst=1000, speed=1000) as server:
        yield server


def call(slack: FakeSlack, method: str, token: str = "", **args: Any) -> Data:
    headers = {"Authorization": f"Bearer {token or slack.token}"}
    sent = {name: value if isinstance(value, str) else json.dumps(value) for name, value in args.items()}
    answer = http_post(f"{slack.api_url}{method}", data=sent, headers=headers)
    found: Data = answer.json()
    return found


def post(slack: FakeSlack, channel: str = "#alerts-info", text: str = "hello", **args: Any) -> Data:
    return call(slack, "chat.postMessage", channel=channel, text=text, unfurl_links=False, unfurl_media=False, **args)


# ---- channels -------------------------------------------------------------------------------------------------------


def test_a_renamed_channel_keeps_its_id(slack: FakeSlack) -> None:
    before = slack.channel("alerts-info").id
    slack.rename("alerts-info", "#noise")
    assert post(slack)["error"] == "channel_not_found"
    assert post(slack, "#noise")["channel"] == post(slack, before)["channel"] == before


def test_a_bot_that_was_taken_out(slack: FakeSlack) -> None:
    """In public it may still post with chat:write.public, but not read; in private there is no such channel."""
    public, private = slack.channel("alerts-info"), slack.add_channel("secret", private=True)
    made = post(slack, public.id)
    for channel in (public, private):
        slack.kick(channel.id)
    assert post(slack, public.id)["ok"] and post(slack, private.id)["error"] == "channel_not_found"
    assert call(slack, "conversations.history", channel=public.id)["error"] == "not_in_channel"
    assert call(slack, "conversations.replies", channel=public.id, ts=made["ts"])["error"] == "not_in_channel"
    slack.app.scopes.discard("chat:write.public")
    assert post(slack, public.id)["error"] == "not_in_channel"
    assert call(slack, "conversations.join", channel=public.id)["channel"]["is_member"] is True
    slack.invite(private.id)
    assert post(slack, public.id)["ok"] and post(slack, private.id)["ok"]


def test_an_archived_channel_takes_nothing_and_shows_all(slack: FakeSlack) -> None:
    made = post(slack)
    slack.archive("alerts-info")
    assert post(slack)["error"] == "is_archived"
    for method, more, error in (
        ("chat.update", {"ts": made["ts"], "text": "x"}, "is_inactive"),
        ("conversations.join", {}, "is_archived"),
    ):
        assert call(slack, method, channel=made["channel"], **more)["error"] == error
    assert call(slack, "conversations.history", channel=made["channel"])["messages"][0]["ts"] == made["ts"]
    slack.archive("alerts-info", False)
    slack.app.scopes.discard("chat:write.public")
    assert post(slack)["error"] == "not_in_channel", "bringing it back does not bring the bot back"


def test_a_deleted_and_a_read_only_channel(slack: FakeSlack) -> None:
    slack.channel("alerts-warning").read_only = True
    assert post(slack, "#alerts-warning")["error"] == "restricted_action_read_only_channel"
    slack.delete_channel("alerts-info")
    assert post(slack)["error"] == "channel_not_found"
    with pytest.raises(KeyError):
        slack.channel("alerts-info")


def test_what_a_webhook_posted_is_not_the_bots(slack: FakeSlack) -> None:
    url = slack.webhook_url("alerts-info")
    assert http_post(url, json={"text": "x"}).text == "ok"
    (parent,) = slack.channel("alerts-info").messages
    assert call(slack, "chat.update", channel=parent.channel, ts=parent.ts, text="y")["error"] == "cant_update_message"
    assert http_post(url, json={"text": "reply", "thread_ts": parent.ts}).text == "ok"
    assert [one.text for one in parent.replies] == ["reply"]


# ---- tokens and scopes ----------------------------------------------------------------------------------------------

SCOPED = [
    ("chat.postMessage", {"channel": "C", "text": "x"}, "chat:write"),
    ("chat.update", {"channel": "C", "ts": "1.0", "text": "x"}, "chat:write"),
    ("chat.delete", {"channel": "C", "ts": "1.0"}, "chat:write"),
    ("chat.postEphemeral", {"channel": "C", "user": "U", "text": "x"}, "chat:write"),
    ("conversations.history", {"channel": "C"}, "channels:history"),
    ("conversations.replies", {"channel": "C", "ts": "1.0"}, "channels:history"),
    ("conversations.info", {"channel": "C"}, "channels:read"),
    ("conversations.list", {}, "channels:read"),
    ("conversations.list", {"types": "private_channel"}, "groups:read"),
    ("conversations.join", {"channel": "C"}, "channels:join"),
    ("users.info", {"user": "U"}, "users:read"),
]


@pytest.mark.parametrize(("method", "args", "scope"), SCOPED)
def test_a_scope_that_is_missing_is_named(slack: FakeSlack, method: str, args: Data, scope: str) -> None:
    slack.app.scopes.discard(scope)
    args = {**args, "channel": slack.channel("alerts-info").id} if "channel" in args else args
    told = call(slack, method, **args)
    assert (told["ok"], told["error"], told["needed"]) == (False, "missing_scope", scope)
    assert scope not in told["provided"].split(",")


@pytest.mark.parametrize("state", ["token_revoked", "account_inactive", "invalid_auth"])
def test_a_token_can_die(slack: FakeSlack, state: str) -> None:
    slack.revoke(state)
    assert post(slack)["error"] == state
    slack.revoke("")
    assert post(slack)["ok"]


def test_who_proves_nothing_is_told(slack: FakeSlack) -> None:
    answer = http_post(f"{slack.api_url}auth.test").json()
    assert answer == {"ok": False, "error": "not_authed"}
    by_field = http_post(f"{slack.api_url}auth.test", data={"token": slack.token}).json()
    assert by_field["ok"]


@pytest.mark.parametrize(
    ("content", "kind", "error"),
    [
        (b"{", "application/json", "invalid_json"),
        (b"[]", "application/json", "json_not_object"),
        (b"<x/>", "application/xml", "invalid_post_type"),
        (b"x", "", "missing_post_type"),
    ],
)
def test_a_body_has_a_kind(slack: FakeSlack, content: bytes, kind: str, error: str) -> None:
    headers = {"Authorization": f"Bearer {slack.token}", "Content-Type": kind}
    answer = http_post(f"{slack.api_url}chat.postMessage", content=content, headers=headers)
    assert answer.json()["error"] == error


def test_what_reads_does_not_see_json(slack: FakeSlack) -> None:
    headers = {"Authorization": f"Bearer {slack.token}"}
    sent = {"channel": slack.channel("alerts-info").id}
    for given, ok in (({"json": sent}, False), ({"data": sent}, True), ({"params": sent}, True)):
        answer = http_post(f"{slack.api_url}conversations.history", headers=headers, **given)
        assert answer.json()["ok"] is ok


def test_json_without_charset_is_warned_of(slack: FakeSlack) -> None:
    headers = {"Authorization": f"Bearer {slack.token}"}
    answer = http_post(f"{slack.api_url}auth.test", json={}, headers=headers).json()
    assert answer["warning"] == "missing_charset" and answer["response_metadata"]["warnings"] == ["missing_charset"]


def test_what_is_not_there(slack: FakeSlack) -> None:
    assert call(slack, "chat.nothing")["error"] == "unknown_method"
    assert http_post(f"{slack.url}/elsewhere").status_code == 404
    assert httpx.get(slack.webhook_url("alerts-info"), timeout=5).status_code == 405


# ---- what a test sees -----------------------------------------------------------------------------------------------


def test_the_transcript_reads_as_a_person_does(slack: FakeSlack) -> None:
    button = {"type": "button", "action_id": "ack:30m", "text": {"type": "plain_text", "text": "Ack 30m"}}
    options = [{"text": {"type": "plain_text", "text": word}, "value": word} for word in ("api", "db")]
    select = {"type": "static_select", "action_id": "one", "options": options}
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "ApiDown"}},
        {"type": "actions", "elements": [button, select]},
        {
            "type": "context",
            "elements": [{"type": "mrkdwn", "text": "critical"}, {"type": "mrkdwn", "text": "3 firing"}],
        },
    ]
    parent = post(slack, blocks=blocks)
    post(slack, text="quiet", thread_ts=parent["ts"])
    loud = post(slack, text="loud", thread_ts=parent["ts"], reply_broadcast=True)
    call(slack, "chat.update", channel=parent["channel"], ts=parent["ts"], text="x", blocks=blocks)
    slack.say("alerts-info", "oh no", "ann")
    gone = slack.say("alerts-info", "gone", "ann")
    slack.remove(gone)
    assert slack.transcript("#alerts-info").splitlines() == [
        "#alerts-info",
        "• ApiDown (edited ×1)",
        "  [Ack 30m] ▾ api | db",
        "  critical 3 firing",
        "    ↳ quiet",
        "    ⇒ loud",
        "• oh no",
    ]
    first, second = slack.channel("alerts-info").messages
    assert first.buttons == ["ack:30m", "one"] and second.text == "oh no"
    assert [one.ts for one in first.replies] == [one.ts for one in slack.channel("alerts-info").replies]
    assert first.replies[1].ts == loud["ts"] and first.edits[0].text == "hello"
    slack.remove(first)
    assert slack.transcript("alerts-info").splitlines()[1] == "• (deleted)"


def test_duplicates_are_found(slack: FakeSlack) -> None:
    post(slack, metadata=METADATA)
    post(slack)
    assert slack.twice() == []
    made = post(slack, metadata=METADATA)
    call(slack, "chat.delete", channel=made["channel"], ts=made["ts"])
    assert slack.twice() == ["n-1"], "also where one was deleted"


def test_bad_manners_are_noted(slack: FakeSlack) -> None:
    made = post(slack)
    assert slack.violations == []
    reply = post(slack, thread_ts=made["ts"])
    post(slack, thread_ts=reply["ts"])
    call(slack, "chat.postMessage", channel="#alerts-info", text="see https://x/")
    call(slack, "chat.update", channel=made["channel"], ts=made["ts"], text="the old blocks stay")
    call(slack, "chat.postMessage", channel="#alerts-info", blocks=[{"type": "divider"}], unfurl_links=False)
    assert [one.kind for one in slack.violations] == [
        "reply_to_reply",
        "unfurl",
        "kept_blocks",
        "unfurl",
        "no_fallback",
    ]
    assert slack.calls["chat.postMessage"] == 5 and slack.calls["chat.update"] == 1


def test_ts_grow_while_the_clock_goes_back() -> None:
    times = iter([100.0, 200.0, 150.0, 150.0, 200.0, 199.0, 300.0])
    space = Workspace(lambda: next(times), "xoxb", ())
    stamps = [space.next_ts() for _ in range(7)]
    assert stamps == sorted(set(stamps), key=lambda ts: tuple(map(int, ts.split("."))))
    assert stamps[0] == "100.000000" and stamps[1:4] == ["200.000000", "200.000001", "200.000002"]


# ---- reading late ---------------------------------------------------------------------------------------------------


def test_history_may_lag_behind() -> None:
    at = [1_700_000_000.0]
    with FakeSlack(lambda: at[0]) as slack:
        slack.history_lag = 5.0
        made = post(slack)
        reply = post(slack, thread_ts=made["ts"])
        asked = {"channel": made["channel"]}
        assert call(slack, "conversations.history", **asked)["messages"] == []
        at[0] += 5
        assert [one["ts"] for one in call(slack, "conversations.history", **asked)["messages"]] == [made["ts"]]
        told = call(slack, "conversations.replies", ts=made["ts"], **asked)["messages"]
        assert [one["ts"] for one in told] == [made["ts"], reply["ts"]]


# ---- rates over HTTP ------------------------------------------------------------------------------------------------


def test_a_refusal_says_how_long() -> None:
    at = [1_700_000_000.0]
    with FakeSlack(lambda: at[0], burst=1) as slack:
        headers = {"Authorization": f"Bearer {slack.token}"}
        sent = {"channel": "#alerts-info", "text": "x"}
        hook = slack.webhook_url("#alerts-warning")

        def posted() -> httpx.Response:
            return http_post(f"{slack.api_url}chat.postMessage", data=sent, headers=headers)

        def hooked() -> httpx.Response:
            return http_post(hook, json={"text": "x"})

        assert posted().status_code == hooked().status_code == 200
        turned, by_word = posted(), hooked()
        assert (turned.status_code, turned.headers["Retry-After"]) == (429, "1")
        assert turned.json() == {"ok": False, "error": "ratelimited"}
        assert (by_word.status_code, by_word.text, by_word.headers["Retry-After"]) == (429, "rate_limited", "1")
        assert post(slack, "#alerts-critical")["ok"], "each channel for itself"
        at[0] += 1
        assert posted().status_code == hooked().status_code == 200
        slack.limit(30, "#alerts-critical")
        slack.limit(20, method="chat.update")
        assert post(slack, "#alerts-critical")["error"] == "ratelimited"
        assert call(slack, "chat.update", channel="C", ts="1.0", text="x")["error"] == "ratelimited"
        assert len(slack.channel("alerts-info").messages) == 2


# ---- a bad day ------------------------------------------------------------------------------------------------------


def tried(slack: FakeSlack, times: int) -> list[str]:
    """What came of posting so often: `ok`, the error, the status, or `lost`."""
    found = []
    headers = {"Authorization": f"Bearer {slack.token}"}
    with httpx.Client(timeout=5, verify=False, headers=headers) as web:
        for n in range(times):
            metadata = json.dumps({"event_type": "x", "event_payload": {"nonce": n}})
            sent = {"channel": "#alerts-info", "text": f"{n}", "metadata": metadata}
            try:
                answer = web.post(f"{slack.api_url}chat.postMessage", data=sent)
            except httpx.HTTPError:
                found.append("lost")
                continue
            if answer.headers.get("content-type") == "application/json":
                found.append(answer.json().get("error", "ok"))
            else:
                found.append(str(answer.status_code))
    return found


def test_chaos_is_as_ordered_and_the_same_each_time() -> None:
    seen = []
    for _ in range(2):
        with FakeSlack(time.time, posts_per_second=1000, burst=1000, speed=1e9) as slack:
            slack.chaos(rate_429=0.1, lost=0.15, server_error=0.1, dropped=0.1, seed=7)
            found = tried(slack, 300)
            done = {message.nonce for message in slack.channel("alerts-info").messages}
            for n, what in enumerate(found):
                if what in ("ok", "fatal_error", "500"):
                    assert n in done, f"{n} was {what}"
                elif what in ("ratelimited", "503"):
                    assert n not in done
            lost = [n for n, what in enumerate(found) if what == "lost"]
            assert {n in done for n in lost} == {True, False}
            assert {"ok", "ratelimited", "fatal_error", "500", "503", "lost"} == set(found)
            assert slack.calls["chat.postMessage"] == 300 and slack.twice() == []
            slack.chaos()
            assert set(tried(slack, 20)) == {"ok"}
            seen.append(found)
    assert seen[0] == seen[1]


def test_who_ignores_a_chaotic_429_is_noted() -> None:
    at = [1_700_000_000.0]
    with FakeSlack(lambda: at[0], burst=100) as slack:
        slack.chaos(rate_429=1.0)
        assert post(slack)["error"] == "ratelimited"
        slack.chaos()
        at[0] += 0.5
        assert post(slack)["error"] == "ratelimited"
        assert [one.kind for one in slack.violations] == ["impatient"]
        at[0] += 0.5
        assert post(slack)["ok"]


def test_faults_are_for_one_call(slack: FakeSlack) -> None:
    slack.faults.append(Fault("lose", "POST /api/chat.postMessage"))
    with pytest.raises(httpx.HTTPError):
        post(slack)
    assert len(slack.channel("alerts-info").messages) == 1 and post(slack)["ok"]


def test_many_at_once(slack: FakeSlack) -> None:
    def one(n: int) -> list[str]:
        parent = post(slack, text=f"{n}", metadata={"event_type": "x", "event_payload": {"nonce": n}})["ts"]
        return [parent, *(post(slack, text=f"{n}.{m}", thread_ts=parent)["ts"] for m in range(5))]

    with ThreadPoolExecutor(8) as pool:
        threads = list(pool.map(one, range(24)))
    assert len({ts for thread in threads for ts in thread}) == 24 * 6
    for message in slack.channel("alerts-info").messages:
        assert [one.text for one in message.replies] == [f"{message.text}.{m}" for m in range(5)]

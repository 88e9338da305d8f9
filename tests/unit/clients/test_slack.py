"""Slack's client: what every answer means, that nothing is sent twice, and that no secret is shown."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.clients import slack as clients
from autoheal.clients.exchange import Reply
from autoheal.clients.slack import RateLimited, SlackClient, SlackRefused, SlackWebhook
from autoheal.clients.slack_answers import read, read_word
from autoheal.core.errors import AutohealError, Permanent, Temporary, Unknown
from autoheal.testing.http_fake import Answer, Fault, as_json
from autoheal.testing.slack import FakeSlack
from tests.servers import free_port

T = TypeVar("T")
METADATA = {"event_type": "autoheal", "event_payload": {"nonce": "n"}}


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack(time.time, posts_per_second=1000, burst=1000, speed=1000) as server:
        yield server


def ask(slack: FakeSlack, work: Callable[[SlackClient], Awaitable[T]], timeout: float = 5.0) -> T:
    """What `work` answers with a fresh client."""

    async def inner() -> T:
        client = SlackClient(slack.token, slack.api_url, timeout)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(inner())


def hook(slack: FakeSlack, payload: dict[str, Any], url: str = "") -> None:
    async def inner() -> None:
        webhook = SlackWebhook(url or slack.webhook_url("#alerts-info"))
        try:
            await webhook.post(payload)
        finally:
            await webhook.aclose()

    asyncio.run(inner())


def reply(status: int, body: Any, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


# ---- what an answer means -------------------------------------------------------------------------------------------

NO = {"ok": False}
MEANINGS = [
    (200, {**NO, "error": "channel_not_found"}, SlackRefused),
    (200, {**NO, "error": "a_word_of_tomorrow"}, SlackRefused),
    (200, {**NO, "error": "fatal_error"}, Unknown),
    (200, {**NO, "error": "internal_error"}, Unknown),
    (200, {**NO, "error": "service_unavailable"}, Unknown),
    (200, {**NO, "error": "request_timeout"}, Unknown),
    (200, {**NO, "error": "team_added_to_org"}, Unknown),
    (200, {**NO, "error": "ratelimited"}, RateLimited),
    (200, {**NO, "error": "rate_limited"}, RateLimited),
    (429, {**NO, "error": "ratelimited"}, RateLimited),
    (429, b"<html>slow down</html>", RateLimited),
    (500, b"oops", Unknown),
    (502, {"ok": True}, Unknown),
    (503, {**NO, "error": "service_unavailable"}, Unknown),
    (408, b"", Unknown),
    (200, b"", Unknown),
    (200, b"<html>a proxy</html>", Unknown),
    (200, {"fine": True}, Unknown),
    (200, [], Unknown),
    (200, {**NO, "error": ["x"], "errors": 5, "needed": {}, "response_metadata": {"messages": 7}}, SlackRefused),
    (200, {"ok": "yes"}, Unknown),
    (302, b"", SlackRefused),
    (401, {**NO, "error": "invalid_auth"}, SlackRefused),
    (404, b"<html>nothing here</html>", SlackRefused),
]


@pytest.mark.parametrize(("status", "body", "kind"), MEANINGS)
def test_what_an_answer_means(status: int, body: Any, kind: type[AutohealError]) -> None:
    with pytest.raises(kind) as raised:
        read(reply(status, body), "chat.postMessage")
    assert type(raised.value) is kind and str(raised.value).startswith("chat.postMessage: ")


def test_an_answer_that_is_cut_may_have_been_a_yes() -> None:
    whole = reply(200, {"ok": True, "ts": "1.000001"})
    assert read(whole, "x")["ts"] == "1.000001"
    with pytest.raises(Unknown):
        read(Reply(200, {}, whole.body, complete=False), "x")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"invalid_payload", SlackRefused),
        (403, b"action_prohibited", SlackRefused),
        (404, b"no_service", SlackRefused),
        (410, b"channel_is_archived", SlackRefused),
        (404, {**NO, "error": "used_url"}, SlackRefused),
        (200, {**NO, "error": "expired_url"}, SlackRefused),
        (404, b"<html>nothing here</html>", SlackRefused),
        (429, b"rate_limited", RateLimited),
        (500, b"rollup_error", Unknown),
        (200, b"<html>a proxy</html>", Unknown),
        (200, b"", Unknown),
    ],
)
def test_what_a_webhooks_word_means(status: int, body: Any, kind: type[AutohealError]) -> None:
    with pytest.raises(kind) as raised:
        read_word(reply(status, body), "incoming webhook")
    assert type(raised.value) is kind


def test_a_webhooks_yes() -> None:
    read_word(reply(200, b"ok"), "x")
    read_word(reply(200, b"ok\n"), "x")
    read_word(reply(200, {"ok": True}), "x")


def test_the_code_is_slacks_word() -> None:
    for status, body, code in ((410, b"channel_is_archived", "channel_is_archived"), (404, b"<p>", "http_404")):
        with pytest.raises(SlackRefused) as raised:
            read_word(reply(status, body), "x")
        assert raised.value.code == code


@given(
    st.sampled_from([200, 201, 301, 400, 403, 404, 408, 410, 429, 500, 503, 599]),
    st.binary(max_size=60)
    | st.builds(
        lambda data: json.dumps(data).encode(),
        st.fixed_dictionaries(
            {},
            optional={
                "ok": st.booleans() | st.none(),
                "error": st.text(max_size=20) | st.integers() | st.none(),
                "needed": st.text(max_size=5) | st.integers(),
                "errors": st.lists(st.text(max_size=5) | st.integers()) | st.text(max_size=3) | st.integers(),
                "response_metadata": st.dictionaries(st.sampled_from(["messages"]), st.lists(st.text(max_size=5)))
                | st.integers(),
            },
        ),
    ),
    st.text("0123456789.-einfa", max_size=6),
    st.booleans(),
)
def test_whatever_comes_is_one_of_ours(status: int, body: bytes, wait: str, complete: bool) -> None:
    answer = Reply(status, {"Retry-After": wait}, body, complete)
    for read_it in (read, read_word):
        try:
            read_it(answer, "x")
        except RateLimited as error:
            assert 0 < error.retry_after <= 600
        except (SlackRefused, Unknown):
            pass
        else:
            assert status in (200, 201)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("-3", 1),
        ("0.25", 0.25),
        ("0.001", 0.05),
        ("86400", 600),
        ("soon", 30),
        ("nan", 30),
        ("inf", 30),
    ],
)
def test_how_long_to_wait(header: str, seconds: float) -> None:
    with pytest.raises(RateLimited) as raised:
        read(reply(429, NO, Retry_After=header), "x")
    assert raised.value.retry_after == seconds


def test_how_long_to_wait_where_nothing_is_said() -> None:
    with pytest.raises(RateLimited) as raised:
        read(reply(429, NO), "x")
    assert raised.value.retry_after == 30 and isinstance(raised.value, Temporary)


def test_what_is_wrong_is_told(slack: FakeSlack) -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]
    with pytest.raises(SlackRefused) as raised:
        ask(slack, lambda client: client.post_message("#alerts-info", "x", blocks))
    assert raised.value.code == "invalid_blocks"
    assert "must be less than 3001 characters [json-pointer:/blocks/0/text/text]" in str(raised.value)
    assert len(str(raised.value)) < 1200


# ---- sent or not ----------------------------------------------------------------------------------------------------


def post(client: SlackClient, **more: Any) -> Any:
    return client.post_message("#alerts-info", "hello", metadata=METADATA, **more)


@pytest.mark.parametrize("kind", ["drop", "lose", "hang"])
def test_sent_without_an_answer_is_unknown_and_never_sent_again(slack: FakeSlack, kind: Any) -> None:
    slack.faults.append(Fault(kind, "POST /api/chat"))
    with pytest.raises(Unknown):
        ask(slack, post, timeout=0.5)
    assert len(slack.asked("POST /api/chat.postMessage")) == 1
    assert len(slack.channel("alerts-info").messages) == (1 if kind == "lose" else 0)


def test_not_sent_is_temporary() -> None:
    async def inner() -> None:
        client = SlackClient("xoxb-1", f"http://127.0.0.1:{free_port()}/api/")
        try:
            await client.auth_test()
        finally:
            await client.aclose()

    with pytest.raises(Temporary):
        asyncio.run(inner())


def test_what_before_raises_stops_it(slack: FakeSlack) -> None:
    class No(Exception):
        pass

    def before() -> None:
        raise No

    for work in (
        lambda client: post(client, before=before),
        lambda client: client.update("C0", "1.000001", "x", before=before),
        lambda client: client.delete("C0", "1.000001", before=before),
        lambda client: client.join("C0", before=before),
        lambda client: client.call("auth.test", {}, before),
    ):
        with pytest.raises(No):
            ask(slack, work)
    assert slack.calls.total() == 0


def test_before_is_called_once_and_first(slack: FakeSlack) -> None:
    seen: list[int] = []
    ask(slack, lambda client: post(client, before=lambda: seen.append(slack.calls.total())))
    assert seen == [0] and slack.calls.total() == 1


def test_a_rate_limit_is_told(slack: FakeSlack) -> None:
    slack.faults.append(Fault("refuse", answer=as_json(429, {"ok": False, "error": "ratelimited"}, Retry_After="12")))
    with pytest.raises(RateLimited, match="12s") as raised:
        ask(slack, post)
    assert raised.value.retry_after == 12


# ---- what is sent ---------------------------------------------------------------------------------------------------


def test_a_post_unfurls_nothing_and_breaks_no_rule(slack: FakeSlack) -> None:
    made = ask(slack, post)
    (message,) = slack.channel("alerts-info").messages
    assert (made.channel, made.ts, made.thread_ts) == (slack.channel("alerts-info").id, message.ts, None)
    assert (message.unfurl_links, message.unfurl_media, message.metadata) == (False, False, METADATA)
    assert slack.violations == []


def test_a_reply_knows_where_it_stands(slack: FakeSlack) -> None:
    async def work(client: SlackClient) -> list[str | None]:
        parent = await post(client)
        inside = await client.post_message(parent.channel, "r", thread_ts=parent.ts, reply_broadcast=True)
        again = await client.update(parent.channel, parent.ts, "now a parent")
        alone = await client.post_message(parent.channel, "r", thread_ts="1600000000.000001")
        return [parent.ts, inside.thread_ts, again.thread_ts, alone.thread_ts]

    parent, inside, itself, alone = ask(slack, work)
    assert (inside, itself, alone) == (parent, None, None)
    (reply,) = slack.channel("alerts-info").replies
    assert reply.broadcast


def test_broadcast_needs_a_thread(slack: FakeSlack) -> None:
    ask(slack, lambda client: client.post_message("#alerts-info", "x", reply_broadcast=True))
    assert b"broadcast" not in slack.requests[0].body


def test_an_edit_leaves_no_old_blocks(slack: FakeSlack) -> None:
    blocks = [{"type": "divider"}]

    async def work(client: SlackClient) -> None:
        made = await client.post_message("#alerts-info", "one", blocks, metadata=METADATA)
        await client.update(made.channel, made.ts, "two")

    ask(slack, work)
    (message,) = slack.channel("alerts-info").messages
    assert (message.text, message.blocks, message.metadata) == ("two", [], METADATA)
    assert message.edits[0].text == "one" and slack.violations == []


@pytest.mark.parametrize("text", ["\ud800 alone", "日本\u0000", "a" * 39_000])
def test_any_text_can_be_sent(slack: FakeSlack, text: str) -> None:
    ask(slack, lambda client: client.post_message("#alerts-info", text))
    (message,) = slack.channel("alerts-info").messages
    assert message.text == text.replace("\ud800", "?")


def test_an_answer_without_a_place_is_unknown(slack: FakeSlack) -> None:
    slack.faults.append(Fault("refuse", answer=as_json(200, {"ok": True})))
    with pytest.raises(Unknown, match="where"):
        ask(slack, post)


@pytest.mark.parametrize("method", ["", "chat", "../admin", "chat.postMessage?x", "chat.post Message", "a.b/c"])
def test_a_method_is_a_method(slack: FakeSlack, method: str) -> None:
    with pytest.raises(Permanent, match="not a method"):
        ask(slack, lambda client: client.call(method, {}))
    assert slack.calls.total() == 0


# ---- looking --------------------------------------------------------------------------------------------------------


def test_a_message_is_found_over_many_pages(slack: FakeSlack) -> None:
    slack.page_limit = 2

    async def work(client: SlackClient) -> tuple[list[str], list[str], list[str]]:
        parent = await post(client)
        replies = [(await client.post_message(parent.channel, f"{n}", thread_ts=parent.ts)).ts for n in range(5)]
        others = [(await client.post_message(parent.channel, f"{n}")).ts for n in range(4)]
        everything = [one["ts"] async for one in client.messages(parent.channel)]
        thread = [one["ts"] async for one in client.messages(parent.channel, thread_ts=parent.ts)]
        since = [one["ts"] async for one in client.messages(parent.channel, oldest=others[2])]
        assert everything == [*others[::-1], parent.ts] and thread == [parent.ts, *replies]
        return everything, since, others

    _, since, others = ask(slack, work)
    assert since == others[:1:-1]
    assert slack.calls["conversations.history"] == 4 and slack.calls["conversations.replies"] == 3


def test_what_has_no_end_is_not_called_absent(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks for a message must not hear "not there" while there is more to look at."""
    monkeypatch.setattr(clients, "_PAGES", 3)
    slack.page_limit = 1

    async def work(client: SlackClient) -> list[str]:
        for n in range(4):
            channel = (await client.post_message("#alerts-info", f"{n}")).channel
        return [one["ts"] async for one in client.messages(channel)]

    with pytest.raises(Temporary, match="more"):
        ask(slack, work)


def test_metadata_is_always_asked_for(slack: FakeSlack) -> None:
    async def work(client: SlackClient) -> list[Any]:
        made = await post(client)
        history = await client.history(made.channel)
        replies = await client.replies(made.channel, made.ts)
        return [page.items[0]["metadata"] for page in (history, replies)]

    assert ask(slack, work) == [METADATA, METADATA]


def test_what_is_found_is_what_it_should_be(slack: FakeSlack) -> None:
    odd = {"ok": True, "messages": [1, {"ts": "1.0"}], "channel": "C", "user": [], "response_metadata": "x"}

    async def work(client: SlackClient) -> list[Any]:
        page = await client.history("C1")
        return [page.items, page.cursor, await client.info("C1"), await client.users_info("U1")]

    slack.faults.append(Fault("refuse", times=3, answer=as_json(200, odd)))
    assert ask(slack, work) == [[{"ts": "1.0"}], "", {}, {}]
    slack.faults.append(Fault("refuse", answer=as_json(200, {"ok": True, "messages": 7})))
    with pytest.raises(Unknown, match="no messages"):
        ask(slack, lambda client: client.history("C1"))


def test_channels_people_and_links(slack: FakeSlack) -> None:
    slack.add_channel("hidden", private=True, member=False)
    slack.add_channel("ours", private=True)
    slack.add_channel("old")
    slack.archive("old")
    ann = slack.person("ann")["id"]

    async def work(client: SlackClient) -> None:
        page = await client.channels(limit=3)
        assert [one["name"] for one in page.items] == ["alerts-critical", "alerts-warning", "alerts-info"]
        rest = await client.channels(cursor=page.cursor)
        assert [one["name"] for one in rest.items] == ["ours"] and rest.cursor == ""
        assert "ours" not in [one["name"] for one in (await client.channels(private=False)).items]
        channel = page.items[0]["id"]
        slack.kick(channel)
        assert (await client.info(channel))["is_member"] is False
        await client.join(channel)
        assert (await client.info(channel))["is_member"] is True
        made = await client.post_message(channel, "x")
        assert (await client.permalink(channel, made.ts)).startswith("https://")
        assert (await client.users_info(ann))["name"] == "ann"
        assert (await client.auth_test())["team_id"]
        await client.delete(channel, made.ts)
        with pytest.raises(SlackRefused, match="thread_not_found"):
            await client.replies(channel, made.ts)
        with pytest.raises(SlackRefused, match="user_not_in_channel"):
            await client.post_ephemeral(channel, ann, "psst")
        slack.say(channel, "here")
        await client.post_ephemeral(channel, ann, "psst", thread_ts=made.ts)

    ask(slack, work)
    (told,) = slack.channel("alerts-critical").ephemeral
    assert (told["user"], told["text"]) == (ann, "psst")
    assert slack.violations == []


# ---- answering people -----------------------------------------------------------------------------------------------


def test_a_person_is_answered(slack: FakeSlack) -> None:
    sent = slack.slash("autoheal", "status").payload
    title = {"type": "plain_text", "text": "Status"}

    async def work(client: SlackClient) -> None:
        await client.respond(sent["response_url"], {"text": "fine"})
        webhook = SlackWebhook(slack.webhook_url("#alerts-info"))
        await webhook.respond(sent["response_url"], {"text": "also fine"})
        await webhook.aclose()
        opened = await client.open_view(sent["trigger_id"], {"type": "modal", "title": title, "blocks": []})
        assert opened["view"]["id"] in slack.views
        for _ in range(3):
            await client.respond(sent["response_url"], {"text": "x"})
        with pytest.raises(SlackRefused) as raised:
            await client.respond(sent["response_url"], {"text": "too often"})
        assert raised.value.code == "used_url"

    ask(slack, work)
    assert [one.payload["text"] for one in slack.responses][:2] == ["fine", "also fine"]


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/actions/x",
        "https://hooks.slack.com.evil.example/x",
        "https://evilslack.com/x",
        "https://slack.com@evil.example/x",
        "https://evil.example/?hooks.slack.com",
        "http://169.254.169.254/latest",
        "https://[::1",
        "",
        "x",
    ],
)
def test_only_slack_is_answered(slack: FakeSlack, url: str) -> None:
    with pytest.raises(Permanent, match="response URL"):
        ask(slack, lambda client: client.respond(url, {"text": "x"}))

    async def by_webhook() -> None:
        webhook = SlackWebhook("https://hooks.slack.com/services/T/B/x")
        try:
            await webhook.respond(url, {"text": "x"})
        finally:
            await webhook.aclose()

    with pytest.raises(Permanent, match="response URL"):
        asyncio.run(by_webhook())


# ---- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "xoxb-a b", "xoxb-ä", "xoxb-\n", "a\r\nX-Evil: 1"])
def test_what_is_no_token_is_told_without_it(token: str) -> None:
    with pytest.raises(Permanent) as raised:
        SlackClient(token)
    assert not token or token not in str(raised.value)


def test_no_error_shows_the_token(slack: FakeSlack) -> None:
    leaks = [
        as_json(200, {"ok": False, "error": f"bad_{slack.token}"}),
        as_json(200, {"ok": False, "error": "missing_scope", "needed": slack.token}),
        as_json(200, {"ok": False, "error": "x", "response_metadata": {"messages": [f"got {slack.token}!"]}}),
        as_json(500, {"ok": False, "error": slack.token}),
        Answer(404, slack.token.encode()),
        Answer(200, b"<p>" + slack.token.encode()),
    ]
    for leak in leaks:
        slack.faults.append(Fault("refuse", answer=leak))
        with pytest.raises(AutohealError) as raised:
            ask(slack, post)
        assert slack.token not in str(raised.value) and slack.token not in repr(raised.value.__dict__)


def test_no_error_shows_the_webhook(slack: FakeSlack) -> None:
    for url in ("hooks.slack.com/services/T/B/secret", "ftp://x/secret", "http://[secret", "http:///secret"):
        with pytest.raises(Permanent) as raised:
            SlackWebhook(url)
        assert "secret" not in str(raised.value)
    url = slack.webhook_url("#alerts-info")
    secret = url.rpartition("/")[2]
    for fault in (Fault("drop"), Fault("refuse", answer=Answer(404, b"no_service")), Fault("lose")):
        slack.faults.append(fault)
        with pytest.raises(AutohealError) as raised:
            hook(slack, {"text": "x"}, url)
        assert secret not in str(raised.value)


# ---- incoming webhooks ----------------------------------------------------------------------------------------------


def test_a_webhook_posts_without_unfurling(slack: FakeSlack) -> None:
    hook(slack, {"text": "plain", "blocks": [{"type": "divider"}]})
    (message,) = slack.channel("alerts-info").messages
    assert (message.text, message.unfurl_links, message.unfurl_media) == ("plain", False, False)
    assert slack.violations == []


@pytest.mark.parametrize(
    ("payload", "code"),
    [({"text": ""}, "no_text"), ({"text": "x", "blocks": [{"type": "?"}]}, "invalid_blocks"), ({}, "no_text")],
)
def test_a_webhook_refuses(slack: FakeSlack, payload: dict[str, Any], code: str) -> None:
    with pytest.raises(SlackRefused) as raised:
        hook(slack, payload)
    assert raised.value.code == code


def test_a_webhook_whose_channel_is_archived(slack: FakeSlack) -> None:
    url = slack.webhook_url("#alerts-info")
    slack.archive("alerts-info")
    with pytest.raises(SlackRefused) as raised:
        hook(slack, {"text": "x"}, url)
    assert raised.value.code == "channel_is_archived"

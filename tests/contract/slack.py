"""What a Slack must do that we rely on; our fake, another one's emulator, and two clients run this suite."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from autoheal.clients.slack import SlackClient, SlackRefused, SlackWebhook

Data = dict[str, Any]


@dataclass(frozen=True)
class Slack:
    """A running one. `channel` is the id of a channel with this `name` that the tokens may post to."""

    api_url: str
    token: str
    other_token: str
    """Of another user or app of the same workspace."""
    narrow_token: str
    """With chat:write alone."""
    channel: str
    name: str
    webhook_url: str
    """Posts to a channel of its own, `webhook_channel`."""
    webhook_channel: str
    archived: Callable[[], str]
    """Archives a new channel; its id."""


class Refusal(Exception):
    """`ok: false`, whichever client heard it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Speaker(Protocol):
    """A client: calls a method of the Web API by its name."""

    def __call__(self, method: str, token: str | None = None, /, **args: Any) -> Data: ...


def ours(slack: Slack) -> Speaker:
    """Our client, a fresh one for each call."""

    def call(method: str, token: str | None = None, /, **args: Any) -> Data:
        async def inner() -> Data:
            client = SlackClient(slack.token if token is None else token, slack.api_url)
            try:
                return await client.call(method, args)
            finally:
                await client.aclose()

        try:
            return asyncio.run(inner())
        except SlackRefused as error:
            raise Refusal(error.code) from error

    return call


def sdk(slack: Slack) -> Speaker:
    """Slack's own client, which knows nothing of ours."""

    def call(method: str, token: str | None = None, /, **args: Any) -> Data:
        client = WebClient(slack.token if token is None else token, base_url=slack.api_url, retry_handlers=[])
        try:
            answer = getattr(client, method.replace(".", "_"))(**args)
        except SlackApiError as error:
            raise Refusal(error.response["error"]) from error
        found: Data = answer.data
        return found

    return call


SPEAKERS: Mapping[str, Callable[[Slack], Speaker]] = {"ours": ours, "sdk": sdk}
BLOCKS: list[Data] = [
    {"type": "header", "text": {"type": "plain_text", "text": "ApiDown"}},
    {"type": "section", "block_id": "what", "text": {"type": "mrkdwn", "text": "*api* is <http://x/|down> &amp; out"}},
    {
        "type": "actions",
        "block_id": "do",
        "elements": [
            {
                "type": "button",
                "action_id": "ack:30m",
                "value": "v1.token",
                "text": {"type": "plain_text", "text": "Ack"},
            }
        ],
    },
    {"type": "context", "elements": [{"type": "mrkdwn", "text": "since <!date^1700000000^{time}|then>"}]},
]
METADATA: Data = {"event_type": "autoheal", "event_payload": {"nonce": "n-1", "part": 2}}


class SlackContract:
    """Subclasses give the fixtures `slack` and `say`, the speaker."""

    @pytest.fixture
    def post(self, slack: Slack, say: Speaker) -> Callable[..., Data]:
        def post(text: str = "hello", **args: Any) -> Data:
            return say("chat.postMessage", channel=slack.channel, text=text, **args)

        return post

    def history(self, slack: Slack, say: Speaker, **args: Any) -> list[Data]:
        answer = say("conversations.history", channel=slack.channel, include_all_metadata=True, **args)
        found: list[Data] = answer["messages"]
        return found

    # ---- who we are ------------------------------------------------------------------------------------------------

    def test_who_we_are(self, slack: Slack, say: Speaker) -> None:
        told = say("auth.test")
        assert told["ok"] is True
        assert told["user_id"].startswith("U") and told["team_id"].startswith("T") and told["url"].startswith("https:")

    def test_a_missing_scope_is_named(self, slack: Slack) -> None:
        async def inner() -> None:
            client = SlackClient(slack.narrow_token, slack.api_url)
            try:
                await client.post_message(slack.channel, "may post")
                await client.history(slack.channel)
            finally:
                await client.aclose()

        with pytest.raises(SlackRefused) as refused:
            asyncio.run(inner())
        assert (refused.value.code, refused.value.needed) == ("missing_scope", "channels:history")
        assert "channels:history" in str(refused.value) and slack.narrow_token not in str(refused.value)

    # ---- posting ---------------------------------------------------------------------------------------------------

    def test_a_message_is_posted_and_found(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        made = post("one & two", blocks=BLOCKS, unfurl_links=False, unfurl_media=False)
        assert made["channel"] == slack.channel and "thread_ts" not in made["message"]
        (found,) = [one for one in self.history(slack, say) if one["ts"] == made["ts"]]
        assert found["type"] == "message" and found["text"] == made["message"]["text"]
        assert [block["type"] for block in found["blocks"]] == [block["type"] for block in BLOCKS]
        assert found["blocks"][2]["elements"][0]["action_id"] == "ack:30m"
        assert found["blocks"][1]["text"]["text"] == BLOCKS[1]["text"]["text"]

    def test_a_channel_may_be_named(self, slack: Slack, say: Speaker) -> None:
        assert say("chat.postMessage", channel=slack.name, text="by name")["channel"] == slack.channel

    def test_ts_are_unique_and_grow(self, post: Callable[..., Data]) -> None:
        stamps = [post(f"{n}")["ts"] for n in range(5)]
        assert len(set(stamps)) == 5
        assert stamps == sorted(stamps, key=lambda ts: tuple(map(int, ts.split("."))))
        assert all(len(ts.partition(".")[2]) == 6 for ts in stamps)

    @pytest.mark.parametrize("text", ["ünï", "日本", "a\nb", "😀", "<!channel> &lt;b&gt;", "\u202eabc"])
    def test_text_comes_back_as_it_was(self, slack: Slack, say: Speaker, post: Callable[..., Data], text: str) -> None:
        made = post(text)
        assert made["message"]["text"] == text
        assert self.history(slack, say, limit=1)[0]["text"] == text

    @pytest.mark.filterwarnings("ignore:The top-level `text` argument is missing")
    def test_nothing_to_say(self, say: Speaker, post: Callable[..., Data]) -> None:
        with pytest.raises(Refusal, match="no_text"):
            post("")

    @pytest.mark.parametrize("channel", ["C0NOSUCH00", "no-such-channel"])
    def test_a_channel_that_is_not_there(self, say: Speaker, channel: str) -> None:
        with pytest.raises(Refusal, match="channel_not_found"):
            say("chat.postMessage", channel=channel, text="x")

    def test_an_archived_channel(self, slack: Slack, say: Speaker) -> None:
        with pytest.raises(Refusal, match="is_archived"):
            say("chat.postMessage", channel=slack.archived(), text="x")

    # ---- metadata --------------------------------------------------------------------------------------------------

    def test_metadata_is_found_in_history_and_thread(
        self, slack: Slack, say: Speaker, post: Callable[..., Data]
    ) -> None:
        made = post("with", metadata=METADATA)
        reply = post("reply", thread_ts=made["ts"], metadata={**METADATA, "event_payload": {"nonce": "n-2"}})
        (found,) = [one for one in self.history(slack, say) if one["ts"] == made["ts"]]
        assert found["metadata"] == METADATA
        told = say("conversations.replies", channel=slack.channel, ts=made["ts"], include_all_metadata=True)["messages"]
        assert [one["ts"] for one in told] == [made["ts"], reply["ts"]]
        assert [one["metadata"]["event_payload"]["nonce"] for one in told] == ["n-1", "n-2"]

    def test_metadata_outlives_an_edit(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        made = post("before", metadata=METADATA)
        say("chat.update", channel=slack.channel, ts=made["ts"], text="after")
        (found,) = [one for one in self.history(slack, say) if one["ts"] == made["ts"]]
        assert (found["text"], found["metadata"]) == ("after", METADATA)

    # ---- threads ---------------------------------------------------------------------------------------------------

    def test_a_reply_says_so_and_is_not_in_the_channel(
        self, slack: Slack, say: Speaker, post: Callable[..., Data]
    ) -> None:
        parent = post("parent")
        reply = post("reply", thread_ts=parent["ts"])
        assert reply["message"]["thread_ts"] == parent["ts"]
        stamps = [one["ts"] for one in self.history(slack, say)]
        assert parent["ts"] in stamps and reply["ts"] not in stamps

    def test_replies_come_in_order_behind_their_parent(
        self, slack: Slack, say: Speaker, post: Callable[..., Data]
    ) -> None:
        parent, other = post("parent"), post("other")
        wanted = [parent["ts"], *(post(f"{n}", thread_ts=parent["ts"])["ts"] for n in range(3))]
        post("not this", thread_ts=other["ts"])
        told = say("conversations.replies", channel=slack.channel, ts=parent["ts"])["messages"]
        assert [one["ts"] for one in told] == wanted

    # ---- editing and deleting --------------------------------------------------------------------------------------

    def test_an_edit_replaces_text_and_blocks(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        made = post("before", blocks=BLOCKS)
        answer = say("chat.update", channel=slack.channel, ts=made["ts"], text="after", blocks=BLOCKS[:1])
        assert (answer["ts"], answer["text"]) == (made["ts"], "after")
        (found,) = [one for one in self.history(slack, say) if one["ts"] == made["ts"]]
        assert found["text"] == "after" and [block["type"] for block in found["blocks"]] == ["header"]
        assert "edited" in found

    def test_what_is_not_there_cannot_be_edited(self, slack: Slack, say: Speaker) -> None:
        with pytest.raises(Refusal, match="message_not_found"):
            say("chat.update", channel=slack.channel, ts="1600000000.000001", text="x")

    def test_what_another_one_wrote_cannot_be_changed(
        self, slack: Slack, say: Speaker, post: Callable[..., Data]
    ) -> None:
        made = post("mine")
        with pytest.raises(Refusal, match="cant_update_message"):
            say("chat.update", slack.other_token, channel=slack.channel, ts=made["ts"], text="x")
        with pytest.raises(Refusal, match="cant_delete_message"):
            say("chat.delete", slack.other_token, channel=slack.channel, ts=made["ts"])

    def test_what_is_deleted_is_gone(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        made = post("soon gone")
        assert say("chat.delete", channel=slack.channel, ts=made["ts"])["ts"] == made["ts"]
        assert made["ts"] not in [one["ts"] for one in self.history(slack, say)]
        for method, more in (("chat.update", {"text": "x"}), ("chat.delete", {})):
            with pytest.raises(Refusal, match="message_not_found"):
                say(method, channel=slack.channel, ts=made["ts"], **more)

    # ---- reading ---------------------------------------------------------------------------------------------------

    def test_history_is_newest_first_and_comes_in_pages(
        self, slack: Slack, say: Speaker, post: Callable[..., Data]
    ) -> None:
        wanted = [post(f"page {n}")["ts"] for n in range(5)][::-1]
        found: list[str] = []
        cursor = ""
        while len(found) < 5:
            more = {"cursor": cursor} if cursor else {}
            answer = say("conversations.history", channel=slack.channel, limit=2, **more)
            assert len(answer["messages"]) == 2 and answer["has_more"] is True
            found += [one["ts"] for one in answer["messages"]]
            cursor = answer["response_metadata"]["next_cursor"]
        assert found[:5] == wanted

    def test_channels_are_listed_in_pages(self, slack: Slack, say: Speaker) -> None:
        found: dict[str, str] = {}
        cursor = ""
        for _ in range(20):
            more = {"cursor": cursor} if cursor else {}
            answer = say("conversations.list", types="public_channel", exclude_archived=True, limit=1, **more)
            assert len(answer["channels"]) <= 1
            found |= {one["name"]: one["id"] for one in answer["channels"]}
            cursor = answer["response_metadata"]["next_cursor"]
            if not cursor:
                break
        assert not cursor and found[slack.name] == slack.channel

    def test_a_channel_tells_of_itself(self, slack: Slack, say: Speaker) -> None:
        told = say("conversations.info", channel=slack.channel)["channel"]
        assert (told["id"], told["name"]) == (slack.channel, slack.name)
        assert (told["is_archived"], told["is_private"], told["is_member"]) == (False, False, True)
        with pytest.raises(Refusal, match="channel_not_found"):
            say("conversations.info", channel="C0NOSUCH00")

    def test_joining_twice_is_fine(self, slack: Slack, say: Speaker) -> None:
        for _ in range(2):
            assert say("conversations.join", channel=slack.channel)["channel"]["id"] == slack.channel

    def test_a_link_leads_to_a_message(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        made = post("linked")
        told = say("chat.getPermalink", channel=slack.channel, message_ts=made["ts"])["permalink"]
        assert told.endswith(f"/archives/{slack.channel}/p{made['ts'].replace('.', '')}")
        with pytest.raises(Refusal, match="message_not_found"):
            say("chat.getPermalink", channel=slack.channel, message_ts="1600000000.000001")

    def test_people_are_known(self, slack: Slack, say: Speaker) -> None:
        user = say("users.info", user=say("auth.test", slack.other_token)["user_id"])["user"]
        assert user["id"].startswith("U") and user["name"]
        with pytest.raises(Refusal, match="user_not_found"):
            say("users.info", user="U0NOSUCH00")

    # ---- incoming webhooks -----------------------------------------------------------------------------------------

    def test_a_webhook_posts(self, slack: Slack, say: Speaker) -> None:
        async def inner() -> None:
            hook = SlackWebhook(slack.webhook_url)
            try:
                await hook.post({"text": "by webhook", "blocks": BLOCKS[:2]})
            finally:
                await hook.aclose()

        asyncio.run(inner())
        found = say("conversations.history", channel=slack.webhook_channel, limit=1)["messages"][0]
        assert found["text"] == "by webhook" and found["bot_id"] and len(found["blocks"]) == 2

    @pytest.mark.parametrize(
        ("body", "status", "word"),
        [(b"{", 400, "invalid_payload"), (b"{}", 400, "no_text"), (b'{"text": "fine"}', 200, "ok")],
    )
    def test_a_webhook_answers_with_a_word(self, slack: Slack, body: bytes, status: int, word: str) -> None:
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(slack.webhook_url, content=body, headers=headers, timeout=5)
        assert (answer.status_code, answer.text) == (status, word)

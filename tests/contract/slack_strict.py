"""What Slack documents, or people have found out, and emulate leaves out: for our fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.contract.slack import BLOCKS, METADATA, Data, Refusal, Slack, SlackContract, Speaker


def section(text: str) -> Data:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


class StrictContract(SlackContract):
    """Beside what every Slack must do."""

    def test_a_wrong_token_is_refused(self, say: Speaker) -> None:
        with pytest.raises(Refusal, match="invalid_auth"):
            say("auth.test", "xoxb-wrong")

    def test_a_channel_may_be_named_with_its_sign(self, slack: Slack, say: Speaker) -> None:
        assert say("chat.postMessage", channel=f"#{slack.name}", text="by name")["channel"] == slack.channel

    def test_only_posting_takes_names(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        ts = post()["ts"]
        for method, more in (
            ("chat.update", {"ts": ts, "text": "x"}),
            ("chat.delete", {"ts": ts}),
            ("conversations.history", {}),
            ("conversations.info", {}),
            ("conversations.join", {}),
        ):
            with pytest.raises(Refusal, match="channel_not_found"):
                say(method, channel=slack.name, **more)

    def test_metadata_is_hidden_unless_asked_for(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        """python-slack-sdk#1501"""
        made = post("with", metadata=METADATA)
        for method, more in (("conversations.history", {"limit": 1}), ("conversations.replies", {"ts": made["ts"]})):
            found = say(method, channel=slack.channel, **more)["messages"][0]
            assert found["metadata"] == {"event_type": "autoheal"}

    def test_metadata_is_removed_by_an_empty_one(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        made = post("with", metadata=METADATA)
        say("chat.update", channel=slack.channel, ts=made["ts"], text="without", metadata={})
        assert "metadata" not in self.history(slack, say, limit=1)[0]

    @pytest.mark.parametrize(
        ("metadata", "code"),
        [
            ({"event_type": "x"}, "invalid_metadata_format"),
            ({"event_payload": {}}, "invalid_metadata_format"),
            ({"event_type": "", "event_payload": {}}, "invalid_metadata_format"),
            ({"event_type": "x", "event_payload": []}, "invalid_metadata_format"),
            ({"event_type": "x", "event_payload": {"a": None}}, "invalid_metadata_schema"),
            ({"event_type": "x", "event_payload": {"a": "b" * 20_000}}, "metadata_too_large"),
        ],
    )
    def test_bad_metadata(self, post: Callable[..., Data], metadata: Data, code: str) -> None:
        with pytest.raises(Refusal, match=code):
            post("x", metadata=metadata)

    def test_a_broadcast_reply_is_in_both(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        parent = post("parent")
        reply = post("reply", thread_ts=parent["ts"], reply_broadcast=True)
        newest, older = self.history(slack, say, limit=2)
        assert (newest["ts"], newest["subtype"], newest["thread_ts"]) == (reply["ts"], "thread_broadcast", parent["ts"])
        assert (older["ts"], older["reply_count"], older["latest_reply"]) == (parent["ts"], 1, reply["ts"])
        told = say("conversations.replies", channel=slack.channel, ts=parent["ts"])["messages"]
        assert [one["ts"] for one in told] == [parent["ts"], reply["ts"]]

    def test_a_reply_to_a_deleted_message_stands_alone(
        self, slack: Slack, say: Speaker, post: Callable[..., Data]
    ) -> None:
        """slack-go#1571: nothing is said, but the answer has no thread_ts."""
        parent = post("parent")
        say("chat.delete", channel=slack.channel, ts=parent["ts"])
        reply = post("reply", thread_ts=parent["ts"])
        assert "thread_ts" not in reply["message"]
        assert self.history(slack, say, limit=1)[0]["ts"] == reply["ts"]
        with pytest.raises(Refusal, match="thread_not_found"):
            say("conversations.replies", channel=slack.channel, ts=parent["ts"])

    def test_a_deleted_parent_with_replies_leaves_a_stone(
        self, slack: Slack, say: Speaker, post: Callable[..., Data]
    ) -> None:
        parent = post("parent")
        reply = post("reply", thread_ts=parent["ts"])
        say("chat.delete", channel=slack.channel, ts=parent["ts"])
        with pytest.raises(Refusal, match="message_not_found"):
            say("chat.update", channel=slack.channel, ts=parent["ts"], text="x")
        stone, left = say("conversations.replies", channel=slack.channel, ts=parent["ts"])["messages"]
        assert (stone["subtype"], left["ts"]) == ("tombstone", reply["ts"])

    def test_a_replys_own_ts_finds_only_itself(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        """bolt-python#783"""
        parent = post("parent")
        replies = [post(f"{n}", thread_ts=parent["ts"])["ts"] for n in range(2)]
        told = say("conversations.replies", channel=slack.channel, ts=replies[0])["messages"]
        assert [one["ts"] for one in told] == replies[:1]

    @pytest.mark.parametrize("inclusive", [True, False])
    def test_history_between_two_times(
        self, slack: Slack, say: Speaker, post: Callable[..., Data], inclusive: bool
    ) -> None:
        stamps = [post(f"{n}")["ts"] for n in range(4)]
        found = self.history(slack, say, oldest=stamps[0], latest=stamps[2], inclusive=inclusive)
        wanted = stamps[:3] if inclusive else stamps[1:2]
        assert [one["ts"] for one in found] == wanted[::-1]

    def test_a_thread_comes_in_pages(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        parent = post("parent")
        wanted = [parent["ts"], *(post(f"{n}", thread_ts=parent["ts"])["ts"] for n in range(5))]
        found: list[str] = []
        cursor = ""
        while True:
            more = {"cursor": cursor} if cursor else {}
            answer = say("conversations.replies", channel=slack.channel, ts=parent["ts"], limit=2, **more)
            found += [one["ts"] for one in answer["messages"]]
            cursor = (answer.get("response_metadata") or {}).get("next_cursor", "")
            if not cursor:
                break
        assert found == wanted
        with pytest.raises(Refusal, match="invalid_cursor"):
            say("conversations.history", channel=slack.channel, cursor="bm90aGluZw==")

    def test_an_edit_without_blocks_keeps_them(self, slack: Slack, say: Speaker, post: Callable[..., Data]) -> None:
        made = post("before", blocks=BLOCKS)
        say("chat.update", channel=slack.channel, ts=made["ts"], text="after")
        assert len(self.history(slack, say, limit=1)[0]["blocks"]) == len(BLOCKS)
        say("chat.update", channel=slack.channel, ts=made["ts"], text="after", blocks=[])
        assert "blocks" not in self.history(slack, say, limit=1)[0]

    def test_a_long_post_is_cut_and_a_long_edit_refused(
        self, slack: Slack, say: Speaker, post: Callable[..., Data]
    ) -> None:
        made = post("x" * 40_001)
        assert len(made["message"]["text"]) == 40_000 and "message_truncated" in made["warning"]
        say("chat.update", channel=slack.channel, ts=made["ts"], text="x" * 4000)
        with pytest.raises(Refusal, match="msg_too_long"):
            say("chat.update", channel=slack.channel, ts=made["ts"], text="x" * 4001)

    @pytest.mark.parametrize(
        ("blocks", "code"),
        [
            ([section("x")] * 51, "invalid_blocks"),
            ([section("x" * 3001)], "invalid_blocks"),
            ([{"type": "nothing"}], "invalid_blocks"),
            ({"type": "section"}, "invalid_blocks_format"),
            ([section("x" * 3000)] * 5, "msg_blocks_too_long"),
        ],
    )
    def test_bad_blocks(self, slack: Slack, say: Speaker, post: Callable[..., Data], blocks: Any, code: str) -> None:
        made = post()
        with pytest.raises(Refusal) as posted:
            post("x", blocks=blocks)
        with pytest.raises(Refusal) as edited:
            say("chat.update", channel=slack.channel, ts=made["ts"], text="x", blocks=blocks)
        assert posted.value.code == edited.value.code == code

    def test_an_archived_channel_is_not_edited(self, slack: Slack, say: Speaker) -> None:
        with pytest.raises(Refusal, match="is_archived"):
            say("conversations.join", channel=slack.archived())

    @pytest.mark.parametrize(
        ("body", "status", "word"),
        [
            (b"[]", 400, "invalid_payload"),
            (b'{"text": "x", "blocks": [{"type": "nothing"}]}', 400, "invalid_blocks"),
            (b"payload=%7B%22text%22%3A%22as+a+form%22%7D", 200, "ok"),
        ],
    )
    def test_a_webhook_is_as_strict(self, slack: Slack, body: bytes, status: int, word: str) -> None:
        kind = "application/x-www-form-urlencoded" if body.startswith(b"payload") else "application/json"
        answer = httpx.post(slack.webhook_url, content=body, headers={"Content-Type": kind}, timeout=5)
        assert (answer.status_code, answer.text) == (status, word)

    def test_a_webhook_that_is_not_there(self, slack: Slack) -> None:
        answer = httpx.post(f"{slack.webhook_url}x", json={"text": "x"}, timeout=5)
        assert (answer.status_code, answer.text) == (404, "no_service")

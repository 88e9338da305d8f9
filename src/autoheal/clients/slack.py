"""Slack's Web API, incoming webhooks and response URLs: one request each, and whether it may have been done."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from autoheal.clients.exchange import client, exchange, place
from autoheal.clients.slack_answers import RateLimited, SlackRefused, read, read_word
from autoheal.core.errors import Permanent, Temporary, Unknown

__all__ = ["Page", "Posted", "RateLimited", "SlackClient", "SlackRefused", "SlackWebhook"]

Before = Callable[[], object]
Data = dict[str, Any]

MAX_ANSWER = 16 * 1024 * 1024
_PAGES = 200
_METHOD = re.compile(r"[a-z]+(\.[a-zA-Z]+)+")
_JSON_METHODS = frozenset(
    {
        "auth.test",
        "chat.delete",
        "chat.postEphemeral",
        "chat.postMessage",
        "chat.update",
        "conversations.join",
        "views.open",
        "views.update",
    }
)
"""These take JSON; methods that read take form fields only and would not see it."""
_SLACK_HOSTS = (".slack.com", ".slack-gov.com")


@dataclass(frozen=True, slots=True)
class Posted:
    """A message as it stands. `thread_ts` is None where it stands in the channel itself, whatever was asked for."""

    channel: str
    ts: str
    thread_ts: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; `cursor` leads to the next one and is empty at the end."""

    items: list[Data]
    cursor: str = ""


class SlackClient:
    """Calls with a bot token, `timeout` seconds each. Nothing is ever sent twice: trying again is the caller's.

    Every method raises RateLimited and Temporary (not done, later perhaps), SlackRefused and Permanent (not done) and
    Unknown (perhaps done: a lost answer, a server error). `before` is called directly before the first byte leaves;
    what it raises passes through and nothing is sent. All calls come from one event loop.
    """

    def __init__(self, token: str, api_url: str = "https://slack.com/api/", timeout: float = 10.0) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise Permanent("the Slack token is not a token")
        self._url = place(api_url).url
        self._token = token
        self._timeout = timeout
        self._web = client()

    async def aclose(self) -> None:
        await self._web.aclose()

    async def call(self, method: str, args: Mapping[str, Any], before: Before | None = None) -> Data:
        """The answer to one call; None among `args` is left out. Lists and mappings are sent as Slack wants them."""
        if not _METHOD.fullmatch(method):
            raise Permanent(f"{method!r} is not a method of Slack")
        given = {name: value for name, value in args.items() if value is not None}
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if method in _JSON_METHODS:
            headers["Content-Type"] = "application/json; charset=utf-8"
            content = json.dumps(given, ensure_ascii=False).encode("utf-8", "replace")
            request: dict[str, Any] = {"content": content, "headers": headers}
        else:
            request = {"data": {name: _field(value) for name, value in given.items()}, "headers": headers}
        answer = await exchange(
            self._web,
            "POST",
            f"{self._url}/{method}",
            timeout=self._timeout,
            limit=MAX_ANSWER,
            before=before,
            **request,
        )
        return read(answer, method)

    # ---- messages ----------------------------------------------------------------------------------------------

    async def post_message(
        self,
        channel: str,
        text: str,
        blocks: Sequence[Data] | None = None,
        *,
        thread_ts: str | None = None,
        reply_broadcast: bool = False,
        metadata: Data | None = None,
        before: Before | None = None,
    ) -> Posted:
        """Post; links are never unfurled. A reply whose parent is gone may come to stand in the channel: look at
        `thread_ts` of what comes back."""
        args = {
            "channel": channel,
            "text": text,
            "blocks": list(blocks) if blocks else None,
            "thread_ts": thread_ts,
            "reply_broadcast": True if reply_broadcast and thread_ts else None,
            "metadata": metadata,
            "unfurl_links": False,
            "unfurl_media": False,
            "parse": "none",
            "link_names": False,
        }
        return _posted(await self.call("chat.postMessage", args, before), "chat.postMessage")

    async def update(
        self,
        channel: str,
        ts: str,
        text: str,
        blocks: Sequence[Data] | None = None,
        *,
        metadata: Data | None = None,
        before: Before | None = None,
    ) -> Posted:
        """Replace text and blocks (None: none are left); metadata stays unless some is given."""
        args = {
            "channel": channel,
            "ts": ts,
            "text": text,
            "blocks": list(blocks or []),
            "metadata": metadata,
            "parse": "none",
            "link_names": False,
        }
        return _posted(await self.call("chat.update", args, before), "chat.update")

    async def delete(self, channel: str, ts: str, before: Before | None = None) -> None:
        await self.call("chat.delete", {"channel": channel, "ts": ts}, before)

    async def post_ephemeral(
        self,
        channel: str,
        user: str,
        text: str,
        blocks: Sequence[Data] | None = None,
        *,
        thread_ts: str | None = None,
    ) -> None:
        """A message that only `user` sees, who must be in the channel. Slack does not promise that it arrives."""
        args = {"channel": channel, "user": user, "text": text, "blocks": list(blocks) if blocks else None}
        await self.call("chat.postEphemeral", {**args, "thread_ts": thread_ts})

    async def permalink(self, channel: str, ts: str) -> str:
        found = await self.call("chat.getPermalink", {"channel": channel, "message_ts": ts})
        return str(found.get("permalink", ""))

    # ---- looking -----------------------------------------------------------------------------------------------

    async def history(
        self,
        channel: str,
        *,
        oldest: str | None = None,
        latest: str | None = None,
        limit: int = 200,
        cursor: str | None = None,
    ) -> Page:
        """A page of the channel's messages with their metadata, newest first, `oldest` and `latest` included.

        Replies are left out, except those shown in the channel, too.
        """
        return _page(await self.call("conversations.history", _range(channel, oldest, latest, limit, cursor)))

    async def replies(
        self,
        channel: str,
        ts: str,
        *,
        oldest: str | None = None,
        latest: str | None = None,
        limit: int = 200,
        cursor: str | None = None,
    ) -> Page:
        """A page of a thread with its metadata, oldest first; its parent comes first, whatever `oldest` says.

        SlackRefused `thread_not_found` where neither the parent nor a reply is left.
        """
        args = {**_range(channel, oldest, latest, limit, cursor), "ts": ts}
        return _page(await self.call("conversations.replies", args))

    async def messages(
        self, channel: str, *, thread_ts: str | None = None, oldest: str | None = None, latest: str | None = None
    ) -> AsyncIterator[Data]:
        """Every message of a channel (newest first) or of a thread (oldest first), over as many pages as there are."""
        cursor: str | None = None
        for _ in range(_PAGES):
            if thread_ts is None:
                page = await self.history(channel, oldest=oldest, latest=latest, cursor=cursor)
            else:
                page = await self.replies(channel, thread_ts, oldest=oldest, latest=latest, cursor=cursor)
            for message in page.items:
                yield message
            if not page.cursor:
                return
            cursor = page.cursor
        raise Temporary("there is more in the channel than can be read")

    async def auth_test(self) -> Data:
        """Who we are: `user_id`, `bot_id`, `team_id`, `team`, `url`."""
        return await self.call("auth.test", {})

    async def channels(self, *, cursor: str | None = None, limit: int = 200, private: bool = True) -> Page:
        """A page of the channels that the token can see, archived ones left out."""
        types = "public_channel,private_channel" if private else "public_channel"
        args = {"types": types, "exclude_archived": "true", "limit": limit, "cursor": cursor or None}
        return _page(await self.call("conversations.list", args), "channels")

    async def info(self, channel: str) -> Data:
        found = (await self.call("conversations.info", {"channel": channel})).get("channel")
        return found if isinstance(found, dict) else {}

    async def join(self, channel: str, before: Before | None = None) -> None:
        """Join a public channel; being in it already is fine."""
        await self.call("conversations.join", {"channel": channel}, before)

    async def users_info(self, user: str) -> Data:
        found = (await self.call("users.info", {"user": user})).get("user")
        return found if isinstance(found, dict) else {}

    # ---- answering people --------------------------------------------------------------------------------------

    async def open_view(self, trigger_id: str, view: Data) -> Data:
        """Open a dialog; the trigger is good for three seconds and once."""
        return await self.call("views.open", {"trigger_id": trigger_id, "view": view})

    async def respond(self, response_url: str, payload: Data) -> None:
        """Answer an interaction by its `response_url`: five times in half an hour. Only Slack's hosts are written to,
        and the one that the API is on."""
        await _respond(self._web, self._url, response_url, payload, self._timeout)


class SlackWebhook:
    """An incoming webhook: it posts to one channel, and tells neither where the message stands nor lets one edit it.

    The URL is a secret and shown nowhere.
    """

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        try:
            place(url)
        except Permanent as error:
            raise Permanent("the incoming webhook's URL is not an http(s) URL") from error
        self._url = url
        self._timeout = timeout
        self._web = client()

    async def aclose(self) -> None:
        await self._web.aclose()

    async def post(self, payload: Data, before: Before | None = None) -> None:
        """Post `{"text", "blocks", …}`; errors as `SlackClient`'s."""
        sent = {"unfurl_links": False, "unfurl_media": False, **payload}
        answer = await exchange(
            self._web, "POST", self._url, timeout=self._timeout, limit=MAX_ANSWER, before=before, json=sent
        )
        read_word(answer, "incoming webhook")

    async def respond(self, response_url: str, payload: Data) -> None:
        """As `SlackClient.respond`; it needs no token."""
        await _respond(self._web, self._url, response_url, payload, self._timeout)


async def _respond(web: httpx.AsyncClient, ours: str, response_url: str, payload: Data, timeout: float) -> None:
    try:
        parts, own = urlsplit(response_url), urlsplit(ours)
        host = parts.hostname or ""
    except ValueError as error:
        raise Permanent("the response URL is not a URL") from error
    same = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
    if not same and not (parts.scheme == "https" and host.endswith(_SLACK_HOSTS)):
        raise Permanent(f"the response URL is not Slack's: {host[:100]!r}")
    answer = await exchange(web, "POST", response_url, timeout=timeout, limit=MAX_ANSWER, json=payload)
    read_word(answer, "response_url")


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _range(channel: str, oldest: str | None, latest: str | None, limit: int, cursor: str | None) -> Data:
    inclusive = True if oldest is not None or latest is not None else None
    return {
        "channel": channel,
        "oldest": oldest,
        "latest": latest,
        "inclusive": inclusive,
        "limit": limit,
        "cursor": cursor or None,
        "include_all_metadata": True,
    }


def _page(answer: Data, name: str = "messages") -> Page:
    items, more = answer.get(name), answer.get("response_metadata")
    if not isinstance(items, list):
        raise Unknown(f"it says ok, but has no {name}")
    cursor = more.get("next_cursor") if isinstance(more, dict) else None
    return Page([item for item in items if isinstance(item, dict)], str(cursor or ""))


def _posted(answer: Data, what: str) -> Posted:
    ts, channel = answer.get("ts"), answer.get("channel")
    if not isinstance(ts, str) or not isinstance(channel, str):
        raise Unknown(f"{what}: it says ok, but not where the message is")
    message = answer.get("message")
    thread_ts = message.get("thread_ts") if isinstance(message, dict) else None
    return Posted(channel, ts, thread_ts if isinstance(thread_ts, str) and thread_ts != ts else None)

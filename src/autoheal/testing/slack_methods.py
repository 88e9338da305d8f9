"""The fake Slack's Web API, method by method: what each accepts, refuses and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoheal.testing.slack_blocks import TOTAL, complaints, size
from autoheal.testing.slack_limits import Limits
from autoheal.testing.slack_state import DOMAIN, TEAM, App, Channel, Data, Message, Version, Workspace

LONGEST_TEXT, LONGEST_EDIT, LONGEST_METADATA = 40_000, 4_000, 8_000
"""Longer posts are cut, longer edits refused (`msg_too_long`). What is too large as metadata is not documented."""


class Refused(Exception):
    """`ok: false`. `extra` goes into the answer beside `error`."""

    def __init__(self, error: str, **extra: Any) -> None:
        super().__init__(error)
        self.error = error
        self.extra = extra


class Limited(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds}")
        self.seconds = seconds


@dataclass
class Call:
    """One call: who, what, and the warnings that its answer will carry."""

    space: Workspace
    limits: Limits
    app: App
    method: str
    args: Mapping[str, Any]
    page_limit: int = 1000
    lag: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        value = self.args.get(name)
        return value if isinstance(value, str) else "" if value is None else str(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.args.get(name)
        return default if value in (None, "") else value in (True, 1, "1", "true", "True")

    def needs(self, *scopes: str) -> None:
        """Refused unless the token has all of them."""
        missing = [scope for scope in scopes if scope not in self.app.scopes]
        if missing:
            raise Refused("missing_scope", needed=",".join(scopes), provided=",".join(sorted(self.app.scopes)))

    def seen(self, prefix: str, channel: Channel) -> None:
        self.needs(f"{'groups' if channel.private else 'channels'}:{prefix}")

    def take(self, channel: str = "") -> None:
        seconds = self.limits.refused(self.method, channel)
        if seconds is not None:
            raise Limited(seconds)

    def field(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise invalid(f"missing required field: {name}")
        return value


def invalid(message: str) -> Refused:
    return Refused("invalid_arguments", response_metadata={"messages": [f"[ERROR] {message}"]})


# ---- posting --------------------------------------------------------------------------------------------------------


def post(call: Call) -> Data:
    call.needs("chat:write")
    channel = call.space.find_channel(call.text("channel"))
    if channel is None or (channel.private and call.app.user not in channel.members):
        raise Refused("channel_not_found")
    if channel.archived:
        raise Refused("is_archived")
    if call.app.user not in channel.members and "chat:write.public" not in call.app.scopes:
        raise Refused("not_in_channel")
    if channel.read_only:
        raise Refused("restricted_action_read_only_channel")
    call.take(channel.id)
    message = content(call, channel)
    parent = parent_of(call, channel)
    message.broadcast = parent is not None and call.flag("reply_broadcast")
    call.space.store(channel, message, parent)
    return {"channel": channel.id, "ts": message.ts, "message": shown(call.space, message, payload=True)}


def content(call: Call, channel: Channel) -> Message:
    """The message that the arguments describe, not stored yet."""
    text, blocks = call.text("text"), read_blocks(call.args.get("blocks"))
    if not text and not blocks:
        raise Refused("no_text")
    truncated = len(text) > LONGEST_TEXT
    if truncated:
        call.warnings.append("message_truncated")
    links, media = call.flag("unfurl_links", True), call.flag("unfurl_media", True)
    if links or media:
        call.limits.note("unfurl", call.method, text[:80])
    if blocks and not text:
        call.limits.note("no_fallback", call.method, f"{len(blocks)} blocks without text")
    return Message(
        "",
        channel.id,
        text[:LONGEST_TEXT] or "This content can't be displayed.",
        call.space.now(),
        blocks or [],
        _metadata(call.args.get("metadata")) or None,
        app=call.app.id,
        user=call.app.user,
        bot=call.app.bot,
        unfurl_links=links,
        unfurl_media=media,
        truncated=truncated,
    )


def parent_of(call: Call, channel: Channel) -> Message | None:
    """The message that is replied to. Where it is gone and has left no thread, Slack says nothing and posts anyway."""
    ts = call.text("thread_ts")
    if not ts:
        return None
    if not ts.replace(".", "", 1).isdecimal():
        raise Refused("invalid_thread_ts")
    found = channel.all.get(ts)
    if found is not None and found.thread_ts is not None:
        call.limits.note("reply_to_reply", call.method, f"{ts} is a reply of {found.thread_ts}")
        found = channel.all.get(found.thread_ts)
    if found is None or (found.deleted and not found.replies):
        return None
    return found


def read_blocks(given: object) -> list[Data] | None:
    """The blocks, from a list or from JSON in a string; None where none were given. Refused where Slack would."""
    if given is None or given == "":
        return None
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            raise Refused("invalid_blocks_format") from None
    if not isinstance(given, list):
        raise Refused("invalid_blocks_format")
    wrong = complaints(given)
    if wrong:
        raise Refused("invalid_blocks", errors=wrong, response_metadata={"messages": [f"[ERROR] {w}" for w in wrong]})
    if size(given) > TOTAL:
        raise Refused("msg_blocks_too_long")
    return given


def _metadata(given: object) -> Data | None:
    """None where none was given; an empty mapping removes what there is."""
    if given is None or given == "":
        return None
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            raise Refused("invalid_metadata_format") from None
    if given == {}:
        return {}
    if not isinstance(given, dict) or set(given) - {"event_type", "event_payload", "entities"}:
        raise Refused("invalid_metadata_format")
    kind, payload = given.get("event_type"), given.get("event_payload")
    if not isinstance(kind, str) or not 0 < len(kind) <= 255 or not isinstance(payload, dict):
        raise Refused("invalid_metadata_format")
    if not all(isinstance(value, str | int | float | bool | dict | list) for value in payload.values()):
        raise Refused("invalid_metadata_schema")
    if len(json.dumps(given)) > LONGEST_METADATA:
        raise Refused("metadata_too_large")
    return dict(given)


def ephemeral(call: Call) -> Data:
    call.needs("chat:write")
    channel = call.space.find_channel(call.text("channel"))
    if channel is None or (channel.private and call.app.user not in channel.members):
        raise Refused("channel_not_found")
    if channel.archived:
        raise Refused("is_archived")
    if call.app.user not in channel.members and "chat:write.public" not in call.app.scopes:
        raise Refused("not_in_channel")
    user = call.text("user")
    if user not in call.space.people:
        raise Refused("user_not_found")
    if user not in channel.members:
        raise Refused("user_not_in_channel")
    call.take()
    blocks = read_blocks(call.args.get("blocks"))
    if not call.text("text") and not blocks:
        raise Refused("no_text")
    ts = call.space.next_ts()
    told = {"user": user, "text": call.text("text"), "blocks": blocks or [], "thread_ts": call.text("thread_ts")}
    channel.ephemeral.append({"ts": ts, **told})
    return {"message_ts": ts}


def update(call: Call) -> Data:
    call.needs("chat:write")
    call.take()
    channel, message = _own(call, "cant_update_message")
    if channel.archived:
        raise Refused("is_inactive")
    text, blocks = call.args.get("text"), read_blocks(call.args.get("blocks"))
    if not text and not blocks:
        raise Refused("no_text")
    if isinstance(text, str) and len(text) > LONGEST_EDIT:
        raise Refused("msg_too_long")
    metadata = _metadata(call.args.get("metadata"))
    message.edits.append(Version(message.text, message.blocks, call.space.now()))
    message.text = str(text) if text else message.text
    if blocks is not None:
        message.blocks = call.space.with_ids(blocks)
    elif text:
        call.limits.note("kept_blocks", call.method, "text without blocks keeps the old blocks")
    if metadata is not None:
        message.metadata = metadata or None
    answer = shown(call.space, message, payload=True)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": answer}


def delete(call: Call) -> Data:
    call.needs("chat:write")
    call.take()
    channel, message = _own(call, "cant_delete_message")
    call.space.remove(message)
    return {"channel": channel.id, "ts": message.ts}


def _own(call: Call, not_ours: str) -> tuple[Channel, Message]:
    """A message of this app, named by the channel's id and its ts."""
    channel = call.space.find_channel(call.text("channel"), by_name=False)
    if channel is None or (channel.private and call.app.user not in channel.members):
        raise Refused("channel_not_found")
    message = channel.all.get(call.text("ts"))
    if message is None or message.deleted:
        raise Refused("message_not_found")
    if message.bot != call.app.bot:
        raise Refused(not_ours)
    return channel, message


def permalink(call: Call) -> Data:
    call.take()
    channel = call.space.find_channel(call.text("channel"), by_name=False)
    if channel is None:
        raise Refused("channel_not_found")
    message = channel.all.get(call.text("message_ts"))
    if message is None or message.deleted:
        raise Refused("message_not_found")
    more = f"?thread_ts={message.thread_ts}&cid={channel.id}" if message.thread_ts else ""
    url = f"https://{DOMAIN}.slack.com/archives/{channel.id}/p{message.ts.replace('.', '')}{more}"
    return {"channel": channel.id, "permalink": url}


def shown(space: Workspace, message: Message, payload: bool = False) -> Data:
    """A message as the API tells it. `payload`: with all of its metadata, else with its type alone."""
    if message.deleted:
        tombstone = {"type": "message", "subtype": "tombstone", "text": "This message was deleted.", "hidden": True}
        found: Data = {"user": "USLACKBOT", **tombstone, "ts": message.ts}
    else:
        found = {"type": "message", "user": message.user, "text": message.text, "ts": message.ts, "team": TEAM}
        if message.blocks:
            found["blocks"] = message.blocks
        if message.bot:
            found |= {"bot_id": message.bot, "app_id": message.app}
        if message.edits:
            found["edited"] = {"user": message.user, "ts": f"{message.edits[-1].at:.0f}.000000"}
        if message.metadata is not None:
            kind = {"event_type": message.metadata.get("event_type")}
            found["metadata"] = message.metadata if payload else kind
    if message.thread_ts is not None:
        found["thread_ts"] = message.thread_ts
        if message.broadcast:
            found["subtype"] = "thread_broadcast"
    if message.replies:
        count, latest = len(message.replies), message.replies[-1].ts
        found |= {"thread_ts": message.ts, "reply_count": count, "latest_reply": latest}
    return found

"""The fake Slack's methods that read: history and threads, channels and people."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

from autoheal.testing.slack_methods import Call, Refused, delete, ephemeral, permalink, post, shown, update
from autoheal.testing.slack_state import DOMAIN, TEAM, Channel, Data, Message


def history(call: Call) -> Data:
    channel = _readable(call)
    found = [one for one in channel.all.values() if one.thread_ts is None or one.broadcast]
    found = [one for one in found if (not one.deleted or one.replies) and _old_enough(call, one)]
    found = [one for one in found if _between(call, one.ts)]
    page, cursor = _paged(call, found[::-1], 100)
    told = [shown(call.space, one, call.flag("include_all_metadata")) for one in page]
    return {
        "messages": told,
        "has_more": bool(cursor),
        "pin_count": 0,
        "response_metadata": {"next_cursor": cursor} if cursor else None,
    }


def replies(call: Call) -> Data:
    channel = _readable(call)
    parent = channel.all.get(call.text("ts"))
    if parent is None or (parent.deleted and not parent.replies):
        raise Refused("thread_not_found")
    rest = [] if parent.thread_ts is not None else list(parent.replies)
    rest = [one for one in rest if _old_enough(call, one) and _between(call, one.ts)]
    page, cursor = _paged(call, rest, 1000)
    told = [parent, *page] if not call.text("cursor") else page
    return {
        "messages": [shown(call.space, one, call.flag("include_all_metadata")) for one in told],
        "has_more": bool(cursor),
        "response_metadata": {"next_cursor": cursor} if cursor else None,
    }


def _readable(call: Call) -> Channel:
    call.take()
    channel = call.space.find_channel(call.text("channel"), by_name=False)
    if channel is None or (channel.private and call.app.user not in channel.members):
        raise Refused("channel_not_found")
    call.seen("history", channel)
    if call.app.user not in channel.members and not channel.archived:
        raise Refused("not_in_channel")
    return channel


def _old_enough(call: Call, message: Message) -> bool:
    return call.lag <= 0 or message.at + call.lag <= call.space.now()


def _between(call: Call, ts: str) -> bool:
    inclusive = call.flag("inclusive")
    key, oldest, latest = _order(ts), call.text("oldest"), call.text("latest")
    if oldest and (key < _order(oldest) or (key == _order(oldest) and not inclusive)):
        return False
    return not (latest and (key > _order(latest) or (key == _order(latest) and not inclusive)))


def _order(ts: str) -> tuple[int, str]:
    second, _, micro = ts.partition(".")
    if not second.isdecimal() or (micro and not micro.isdecimal()):
        raise Refused("invalid_ts_oldest")
    return int(second), micro.ljust(6, "0")


def _paged(call: Call, found: Sequence[Any], default: int) -> tuple[list[Any], str]:
    """A page, and the cursor of the next one, which names its first item."""
    try:
        limit = int(call.text("limit") or default)
    except ValueError:
        raise Refused("invalid_limit") from None
    if not 0 < limit <= 1000:
        raise Refused("invalid_limit")
    names = [getattr(one, "ts", None) or one.id for one in found]
    start = 0
    if call.text("cursor"):
        try:
            start = names.index(base64.b64decode(call.text("cursor"), validate=True).decode())
        except ValueError:
            raise Refused("invalid_cursor") from None
    end = start + min(limit, call.page_limit)
    cursor = base64.b64encode(str(names[end]).encode()).decode() if end < len(found) else ""
    return list(found[start:end]), cursor


# ---- channels, people, dialogs --------------------------------------------------------------------------------------


def _channel(call: Call, channel: Channel) -> Data:
    return {
        "id": channel.id,
        "name": channel.name,
        "is_channel": not channel.private,
        "is_private": channel.private,
        "is_archived": channel.archived,
        "is_member": call.app.user in channel.members,
        "num_members": len(channel.members),
    }


def listed(call: Call) -> Data:
    call.take()
    types = set((call.text("types") or "public_channel").split(","))
    if types - {"public_channel", "private_channel", "mpim", "im"}:
        raise Refused("invalid_types")
    needed = {"public_channel": "channels:read", "private_channel": "groups:read"}
    call.needs(*(scope for kind, scope in needed.items() if kind in types))
    found = []
    for channel in call.space.channels.values():
        kind = "private_channel" if channel.private else "public_channel"
        hidden = channel.private and call.app.user not in channel.members
        if channel.gone or kind not in types or hidden or (channel.archived and call.flag("exclude_archived")):
            continue
        found.append(channel)
    page, cursor = _paged(call, found, 100)
    return {"channels": [_channel(call, one) for one in page], "response_metadata": {"next_cursor": cursor}}


def info(call: Call) -> Data:
    call.take()
    channel = call.space.find_channel(call.text("channel"), by_name=False)
    if channel is None or (channel.private and call.app.user not in channel.members):
        raise Refused("channel_not_found")
    call.seen("read", channel)
    return {"channel": _channel(call, channel)}


def join(call: Call) -> Data:
    call.needs("channels:join")
    call.take()
    channel = call.space.find_channel(call.text("channel"), by_name=False)
    if channel is None:
        raise Refused("channel_not_found")
    if channel.private:
        raise Refused("method_not_supported_for_channel_type")
    if channel.archived:
        raise Refused("is_archived")
    if call.app.user in channel.members:
        call.warnings.append("already_in_channel")
    channel.members.add(call.app.user)
    return {"channel": _channel(call, channel)}


def user_info(call: Call) -> Data:
    call.needs("users:read")
    call.take()
    who = call.space.people.get(call.text("user"))
    if who is None:
        raise Refused("user_not_found")
    profile = {"display_name": who["name"], "real_name": who["name"].title()}
    told = {"id": who["id"], "team_id": TEAM, "name": who["name"], "deleted": False, "is_bot": False}
    return {"user": {**told, "real_name": profile["real_name"], "tz": "Etc/UTC", "profile": profile}}


def auth_test(call: Call) -> Data:
    call.take()
    return {
        "url": f"https://{DOMAIN}.slack.com/",
        "team": "Autoheal",
        "user": "autoheal",
        "team_id": TEAM,
        "user_id": call.app.user,
        "bot_id": call.app.bot,
        "is_enterprise_install": False,
    }


JSON_METHODS: dict[str, Callable[[Call], Data]] = {
    "auth.test": auth_test,
    "chat.delete": delete,
    "chat.postEphemeral": ephemeral,
    "chat.postMessage": post,
    "chat.update": update,
    "conversations.join": join,
}
FORM_METHODS: dict[str, Callable[[Call], Data]] = {
    "chat.getPermalink": permalink,
    "conversations.history": history,
    "conversations.info": info,
    "conversations.list": listed,
    "conversations.replies": replies,
    "users.info": user_info,
}
"""These see form fields and the query only."""

"""What the fake Slack remembers: channels, messages and threads, people, apps; and how a test looks at it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoheal.testing.slack_blocks import elements

Data = dict[str, Any]
TEAM, DOMAIN = "T0AUTOHEAL", "autoheal"
SCOPES = (
    "chat:write chat:write.public channels:history channels:join channels:read groups:history groups:read users:read "
    "commands incoming-webhook"
)


@dataclass(slots=True)
class Version:
    """What a message said before an edit."""

    text: str
    blocks: list[Data]
    at: float


@dataclass(slots=True)
class Message:
    """One message. `blocks` are as stored: with a block_id and an action_id everywhere. `thread_ts`: its parent's."""

    ts: str
    channel: str
    text: str
    at: float
    blocks: list[Data] = field(default_factory=list)
    metadata: Data | None = None
    thread_ts: str | None = None
    broadcast: bool = False
    app: str = ""
    user: str = ""
    bot: str = ""
    unfurl_links: bool = True
    unfurl_media: bool = True
    replies: list[Message] = field(default_factory=list)
    edits: list[Version] = field(default_factory=list)
    deleted: bool = False
    truncated: bool = False

    @property
    def shown(self) -> str:
        """What a person reads: the words of the blocks, or the text where there are none."""
        return "\n".join(words(self.blocks)) if self.blocks else self.text

    @property
    def buttons(self) -> list[str]:
        """The action ids that can be clicked."""
        return [str(element["action_id"]) for element in _interactive(self.blocks) if "action_id" in element]

    @property
    def nonce(self) -> object:
        """The metadata's `nonce`, None where it has none."""
        return ((self.metadata or {}).get("event_payload") or {}).get("nonce")


@dataclass(slots=True)
class Channel:
    """A channel. `all` has every message that ever was, in order; `ephemeral` what single people were shown."""

    id: str
    name: str
    private: bool = False
    archived: bool = False
    read_only: bool = False
    gone: bool = False
    members: set[str] = field(default_factory=set)
    all: dict[str, Message] = field(default_factory=dict)
    ephemeral: list[Data] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        """What stands in the channel itself, oldest first; broadcast replies are under their parents only."""
        return [one for one in list(self.all.values()) if one.thread_ts is None and not one.deleted]

    @property
    def replies(self) -> list[Message]:
        return [one for one in list(self.all.values()) if one.thread_ts is not None and not one.deleted]


@dataclass(slots=True)
class App:
    """What a token stands for."""

    token: str
    id: str = "A0AUTOHEAL"
    bot: str = "B0AUTOHEAL"
    user: str = "U0AUTOHEAL"
    scopes: set[str] = field(default_factory=lambda: set(SCOPES.split()))
    state: str = ""
    """Empty, or what every call is told: `token_revoked`, `account_inactive`, `invalid_auth`."""


class Workspace:
    """The state, and the verbs by which a test changes it as people and administrators would."""

    def __init__(self, now: Callable[[], float], token: str, channels: Iterable[str]) -> None:
        self.now = now
        self.app = App(token)
        self.apps: dict[str, App] = {token: self.app}
        self.channels: dict[str, Channel] = {}
        self.people: dict[str, Data] = {}
        self.views: dict[str, Data] = {}
        self.webhooks: dict[str, str] = {}
        self._last_ts = (0, 0)
        self._count = 0
        for name in channels:
            self.add_channel(name)

    # ---- channels ----------------------------------------------------------------------------------------------

    def add_channel(self, name: str, *, private: bool = False, member: bool = True) -> Channel:
        """A new channel; `member`: our bot is in it."""
        made = Channel(self.new_id("C"), name.removeprefix("#"), private)
        if member:
            made.members.add(self.app.user)
        self.channels[made.id] = made
        return made

    def channel(self, name: str) -> Channel:
        """By name (with or without #) or id; KeyError where there is none."""
        found = self.find_channel(name)
        if found is None:
            raise KeyError(f"there is no channel {name}")
        return found

    def find_channel(self, name: str, by_name: bool = True) -> Channel | None:
        found = self.channels.get(name)
        if found is None and by_name:
            bare = name.removeprefix("#")
            found = next((one for one in list(self.channels.values()) if one.name == bare and not one.gone), None)
        return None if found is None or found.gone else found

    def rename(self, channel: str, name: str) -> None:
        self.channel(channel).name = name.removeprefix("#")

    def archive(self, channel: str, archived: bool = True) -> None:
        """An archived channel has no bots left in it; bringing it back does not bring them back."""
        found = self.channel(channel)
        found.archived = archived
        if archived:
            found.members.discard(self.app.user)

    def kick(self, channel: str) -> None:
        """Take our bot out of a channel."""
        self.channel(channel).members.discard(self.app.user)

    def invite(self, channel: str) -> None:
        self.channel(channel).members.add(self.app.user)

    def delete_channel(self, channel: str) -> None:
        self.channel(channel).gone = True

    def webhook(self, channel: str) -> str:
        """The path of an incoming webhook that posts to this channel."""
        path = f"/services/{TEAM}/{self.new_id('B')}/{self.new_id('x')}"
        self.webhooks[path] = self.channel(channel).id
        return path

    # ---- people ------------------------------------------------------------------------------------------------

    def person(self, name: str) -> Data:
        """Somebody of this workspace, by id (``U…``) or name; made where unknown."""
        known = name.startswith("U") and name.upper() == name
        found = next((one for one in self.people.values() if name in (one["id"], one["name"])), None)
        if found is None:
            found = {"id": name if known else self.new_id("U"), "name": name.lower()}
            self.people[found["id"]] = found
        return found

    def say(self, channel: str, text: str, user: str = "ann", thread: Message | None = None) -> Message:
        """A person writes something."""
        found, who = self.channel(channel), self.person(user)["id"]
        found.members.add(who)
        return self.store(found, Message("", found.id, text, self.now(), user=who), thread)

    def remove(self, message: Message) -> None:
        """Delete a message as an administrator can. One with replies leaves "This message was deleted" behind."""
        message.deleted = True
        channel = self.channels[message.channel]
        parent = channel.all.get(message.thread_ts or "")
        if parent is not None and message in parent.replies:
            parent.replies.remove(message)

    def revoke(self, state: str = "token_revoked") -> None:
        """Every call is told `state` from now on; an empty one ends that."""
        self.app.state = state

    # ---- messages ----------------------------------------------------------------------------------------------

    def store(self, channel: Channel, message: Message, parent: Message | None = None) -> Message:
        message.ts, message.blocks = self.next_ts(), self.with_ids(message.blocks)
        if parent is not None:
            message.thread_ts = parent.ts
            parent.replies.append(message)
        channel.all[message.ts] = message
        return message

    def next_ts(self) -> str:
        """Unique and growing, even where the clock goes back."""
        second, micro = divmod(int(self.now() * 1_000_000), 1_000_000)
        self._last_ts = max(
            (second, micro),
            (self._last_ts[0] + (self._last_ts[1] + 1) // 1_000_000, (self._last_ts[1] + 1) % 1_000_000),
        )
        return f"{self._last_ts[0]}.{self._last_ts[1]:06d}"

    def with_ids(self, blocks: Sequence[Data]) -> list[Data]:
        """A copy in which every block and every element has an id."""
        made: list[Data] = copy.deepcopy(list(blocks))
        for block in made:
            block.setdefault("block_id", self.new_id("b"))
        for element in _interactive(made):
            element.setdefault("action_id", self.new_id("a"))
        return made

    def new_id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count:08d}" if prefix.islower() else f"{prefix}0{self._count:08X}"

    # ---- views for tests ---------------------------------------------------------------------------------------

    def every(self) -> list[Message]:
        """Every message that ever was, deleted ones included, by channel and time."""
        return [one for channel in list(self.channels.values()) for one in list(channel.all.values())]

    def twice(self) -> list[object]:
        """The nonces (see `Message.nonce`) that stand on more than one message: duplicates."""
        seen: dict[object, int] = {}
        for message in self.every():
            if message.nonce is not None:
                seen[message.nonce] = seen.get(message.nonce, 0) + 1
        return [nonce for nonce, times in seen.items() if times > 1]

    def transcript(self, channel: str) -> str:
        """The channel as a person reads it, threads under their parents."""
        found = self.channel(channel)
        lines = [f"#{found.name}"]
        for message in list(found.all.values()):
            if message.thread_ts is None and (not message.deleted or message.replies):
                lines += _told(message, "• ", "  ")
                for reply in message.replies:
                    lines += _told(reply, "    ↳ " if not reply.broadcast else "    ⇒ ", "      ")
        return "\n".join(lines)


def _told(message: Message, first: str, rest: str) -> list[str]:
    if message.deleted:
        return [f"{first}(deleted)"]
    note = f" (edited ×{len(message.edits)})" if message.edits else ""
    lines = (message.shown or message.text).splitlines() or [""]
    return [f"{first}{lines[0]}{note}", *(rest + line for line in lines[1:])]


def _interactive(blocks: Sequence[Data]) -> list[Data]:
    return [element for block in blocks for element, _ in elements(block)]


def words(blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    """The blocks as lines of text: ``[Button]``, ``▾ choice | choice``."""
    found: list[str] = []
    for block in blocks:
        if isinstance(block.get("text"), dict):
            found.append(str(block["text"].get("text", "")))
        found += [str(one.get("text", "")) for one in block.get("fields", [])]
        if block.get("type") == "context":
            found.append(" ".join(str(one.get("text", one.get("alt_text", ""))) for one in block["elements"]))
        buttons = [_button(element) for element in _interactive([dict(block)])]
        if buttons:
            found.append(" ".join(buttons))
    return found


def _button(element: Mapping[str, Any]) -> str:
    if element.get("type") == "button":
        return f"[{element['text']['text']}]"
    options = [str(option["text"]["text"]) for option in element.get("options", [])]
    return "▾ " + " | ".join(options)

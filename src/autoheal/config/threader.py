"""The policy file's section ``threader``: into which channel, with whose names, how often; see `core.threads`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

from autoheal.config.nodes import Node, Scalar, Table
from autoheal.config.reading import DAY, YEAR, Reader, near
from autoheal.config.rules import read_matchers
from autoheal.core.errors import Invalid
from autoheal.core.threads import CHANNELS, NOWHERE, SEVERITY_RANKS, Flapping, Route, ThreadPolicy

T = TypeVar("T")

THREADER_KEYS = (
    "channels",
    "fallback",
    "routes",
    "mention",
    "operators",
    "admins",
    "new_thread_after",
    "news_after",
    "remind_before",
    "flapping",
    "limits",
)
ROUTE_KEYS = ("match", "channel", "mention")
FLAPPING_KEYS = ("changes", "per")
LIMIT_KEYS = ("posts_per_second", "edits_per_minute")
MAX_ROUTES = 500
MAX_MENTIONS = 20
MAX_PEOPLE = 1000
MAX_CHANGES = 1000
MAX_POSTS = 100.0
"""In one channel and second; Slack takes about one, and is believed when it says so."""
MAX_EDITS = 6000.0
SPANS: Mapping[str, tuple[float, float]] = {
    "new_thread_after": (60.0, YEAR),
    "news_after": (0.0, YEAR),
    "remind_before": (0.0, DAY),
}
"""Shortest and longest, in seconds."""

_WORDS = ("@here", "@channel", "@everyone")
_REST = re.compile(r"[A-Z]*[0-9][A-Z0-9]*|[A-Z]{8,10}")
"""Of an id, after its first letter: with a digit, or as long as ids are, so that a word in capitals is none."""
_BRACKETS = re.compile(r"<(@|!subteam\^)([A-Z0-9]+)(?:\|[^<>]*)?>")
_SPECIAL = re.compile(r"@(here|channel|everyone)|<!(here|channel|everyone)(?:\|[^<>]*)?>")


def channel(text: str) -> str:
    """A channel's name with # in front, or its id; Invalid where Slack can have none of this name."""
    if _is_id(text, "CG") or _is_name(text):
        return text
    if _is_id(text, "UWSD"):
        raise Invalid(f'"{text}" is the id of a person or a group; a channel is a #name, or an id with C or G in front')
    meant = f"#{text.strip().lstrip('#').lower()}"
    told = f' (did you mean "{meant}"?)' if _is_name(meant) else ""
    raise Invalid(f'"{text[:100]}" is no channel: a #name in small letters, without spaces, or an id{told}')


def _is_name(text: str) -> bool:
    """Letters of any script, digits, - and _, up to 80; no capitals."""
    name = text.removeprefix("#")
    fits = all(char in "-_" or unicodedata.category(char)[0] in "LMN" for char in name)
    return text.startswith("#") and 1 <= len(name) <= 80 and fits and name == name.lower()


def _is_id(text: str, letters: str) -> bool:
    return 2 <= len(text) <= 21 and text[0] in letters and _REST.fullmatch(text[1:]) is not None


def _route_channel(text: str) -> str:
    return NOWHERE if text == NOWHERE else channel(text)


def mention(text: str) -> str:
    """Who is mentioned, as Slack writes it in a message: ``<!here>``, ``<@U0ABC>``, ``<!subteam^S0ABC>``."""
    special = _SPECIAL.fullmatch(text)
    if special:
        return f"<!{special[1] or special[2]}>"
    sort, bare = _bare(text)
    if sort != "!subteam^" and _is_id(bare, "UW"):
        return f"<@{bare}>"
    if sort != "@" and _is_id(bare, "S"):
        return f"<!subteam^{bare}>"
    close = get_close_matches(text if text.startswith("@") else f"@{text}", _WORDS, n=1, cutoff=0.7)
    told = f' (did you mean "{close[0]}"?)' if close else ""
    whom = f"{', '.join(_WORDS)}, a person's id such as U0ABC123 or a group's such as S0ABC123"
    raise Invalid(f'"{text[:100]}" is nobody that Slack can mention: {whom}{told}')


def person(text: str) -> str:
    """Somebody's id in Slack."""
    sort, bare = _bare(text)
    if sort == "!subteam^" or not _is_id(bare, "UW"):
        raise Invalid(f'"{text[:100]}" is no person: an id from the profile in Slack, such as U0ABC123')
    return bare


def _bare(text: str) -> tuple[str, str]:
    """What stands before an id (``@``, ``!subteam^`` or nothing) and the id."""
    found = _BRACKETS.fullmatch(text)
    if found:
        return found[1], found[2]
    return ("@", text[1:]) if text.startswith("@") else ("", text)


def shown(policy: ThreadPolicy) -> dict[str, Any]:
    """What a digest is made of."""
    found = {item.name: getattr(policy, item.name) for item in fields(policy)}
    found["routes"] = [[[str(one) for one in route.match], route.channel, route.mention] for route in policy.routes]
    found["operators"] = None if policy.operators is None else sorted(policy.operators)
    found["admins"] = sorted(policy.admins)
    found["flapping"] = [policy.flapping.changes, policy.flapping.per]
    return found


class ThreaderReader:
    """Reads the section; what cannot be read has been told, and the default stands in its place."""

    def __init__(self, reader: Reader) -> None:
        self.read = reader

    def policy(self, node: Node) -> ThreadPolicy:
        keys = self.read.table(node, "threader", THREADER_KEYS)
        usual = ThreadPolicy()
        values: dict[str, Any] = {}
        if "channels" in keys:
            values["channels"] = {**CHANNELS, **self._by_severity(keys["channels"], "channels", self._channel)}
        usual_fallback = values.get("channels", CHANNELS)["info"]
        values["fallback"] = self._channel(keys["fallback"], "fallback") if "fallback" in keys else usual_fallback
        if "routes" in keys:
            values["routes"] = self._routes(keys["routes"])
        if "mention" in keys:
            values["mention"] = self._by_severity(keys["mention"], "mention", self._mentions)
        values |= {key: frozenset(self._people(keys[key], key)) for key in ("operators", "admins") if key in keys}
        for key, (low, high) in SPANS.items():
            found = self.read.duration(keys[key], f"threader.{key}", low, high) if key in keys else None
            values[key] = getattr(usual, key) if found is None else found
        if "flapping" in keys:
            values["flapping"] = self._flapping(keys["flapping"])
        if "limits" in keys:
            values |= self._limits(keys["limits"])
        return ThreadPolicy(**values)

    # ---- channels and people -----------------------------------------------------------------------------------

    def _by_severity(self, node: Node, what: str, read: Callable[[Node, str], T]) -> dict[str, T]:
        found: dict[str, T] = {}
        if not isinstance(node, Table):
            self.read.table(node, f"threader.{what}", ())
            return found
        for key, value in node.entries:
            if key.text in SEVERITY_RANKS:
                found[key.text] = read(value, f"{what}.{key.text}")
            else:
                instead = near(key.text, SEVERITY_RANKS) or f'; match severity="{key.text}" in `routes`'
                self.read.wrong(key, f'threader.{what}: "{key.text}" is no severity that is known{instead}')
        return found

    def _channel(self, node: Node, what: str) -> str:
        return self._one(node, f"threader.{what}", channel) or ""

    def _mentions(self, node: Node, what: str) -> tuple[str, ...]:
        return self._several(node, f"threader.{what}", mention, MAX_MENTIONS)

    def _people(self, node: Node, what: str) -> tuple[str, ...]:
        return self._several(node, f"threader.{what}", person, MAX_PEOPLE)

    def _one(self, node: Node, what: str, read: Callable[[str], str]) -> str | None:
        if isinstance(node, Scalar) and node.value is None:
            hint = "; a # begins a comment, so put the name in quotes" if read is channel else ""
            self.read.wrong(node, f"{what}: expected text, got nothing{hint}")
            return None
        text = self.read.text(node, what)
        try:
            return None if text is None else read(text)
        except Invalid as error:
            self.read.wrong(node, f"{what}: {error.detail}")
            return None

    def _several(self, node: Node, what: str, read: Callable[[str], str], most: int) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for item in self.read.items(node, what, most=most):
            one = self._one(item, what, read)
            if one is not None and one in found:
                self.read.wrong(item, f'{what}: "{one}" is there twice')
            elif one is not None:
                found[one] = None
        return tuple(found)

    # ---- routes ------------------------------------------------------------------------------------------------

    def _routes(self, node: Node) -> tuple[Route, ...]:
        found: list[Route] = []
        seen: dict[frozenset[str], Node] = {}
        for item in self.read.items(node, "threader.routes", 0, MAX_ROUTES):
            route = self._route(item)
            same = frozenset(map(str, route.match))
            if same and same in seen:
                self.read.wrong(item, f"threader.routes: never reached; line {seen[same].line} matches the same")
            seen.setdefault(same, item)
            found.append(route)
        return tuple(found)

    def _route(self, node: Node) -> Route:
        keys = self.read.table(node, "route", ROUTE_KEYS, ("match",))
        if isinstance(node, Table) and "channel" not in keys and "mention" not in keys:
            self.read.wrong(node, "route: expected a channel, a mention, or both")
        match = read_matchers(self.read, keys["match"])[0] if "match" in keys else []
        where = self._one(keys["channel"], "threader.routes.channel", _route_channel) if "channel" in keys else ""
        return Route(
            tuple(match), where or "", self._mentions(keys["mention"], "routes.mention") if "mention" in keys else None
        )

    # ---- numbers -----------------------------------------------------------------------------------------------

    def _flapping(self, node: Node) -> Flapping:
        what, usual = "threader.flapping", Flapping()
        keys = self.read.table(node, what, FLAPPING_KEYS)
        changes = self.read.integer(keys["changes"], f"{what}.changes", 2, MAX_CHANGES) if "changes" in keys else None
        per = self.read.duration(keys["per"], f"{what}.per", 60.0, DAY) if "per" in keys else None
        return Flapping(changes or usual.changes, per or usual.per)

    def _limits(self, node: Node) -> dict[str, float]:
        keys = self.read.table(node, "threader.limits", LIMIT_KEYS)
        bounds = {"posts_per_second": (0.01, MAX_POSTS), "edits_per_minute": (1.0, MAX_EDITS)}
        read = {key: self.read.number(value, f"threader.limits.{key}", *bounds[key]) for key, value in keys.items()}
        return {key: value for key, value in read.items() if value is not None}

"""How the threader talks: which channel, who is mentioned, when it is quiet. Frozen, complete, already checked.

`config.threader` builds it from the policy file's section ``threader``. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from autoheal.core.matcher import Matcher

SEVERITY_RANKS: Final[Mapping[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(("critical", "page", "emergency", "disaster", "fatal"), 3),
        **dict.fromkeys(("warning", "error", "high", "major", "average", "medium", "ticket"), 2),
        **dict.fromkeys(("info", "information", "notice", "low", "minor", "none"), 1),
    }
)
CHANNELS: Final[Mapping[str, str]] = MappingProxyType(
    {"critical": "#alerts-critical", "warning": "#alerts-warning", "info": "#alerts-info"}
)
NOWHERE: Final = "none"
"""As a route's channel: nobody is told."""
UNTOLD: Final = frozenset({"Watchdog", "DeadMansSwitch", "InfoInhibitor", "AutohealSmokeTest"})
"""Alerts that fire to show that alerts arrive, or to hold others back: told only where a route names a channel."""


def severity_rank(severity: str) -> int:
    """How bad: critical 3, warning 2, info 1, everything else 0. ``page``, ``error`` and the like count as what they
    are usually taken for."""
    return SEVERITY_RANKS.get(severity.lower(), 0)


class Routed(NamedTuple):
    """Where a conversation is held, and who is told by name (Slack's syntax, such as ``<!here>`` or ``<@U0ABC>``)."""

    channel: str
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """An exception from the routing by severity. An empty `channel` and a `mention` of None leave it to severity."""

    match: tuple[Matcher, ...]
    channel: str = ""
    mention: tuple[str, ...] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.match)


@dataclass(frozen=True, slots=True)
class Flapping:
    """More than `changes` within `per` seconds, and single changes are no longer told: a digest each `per` is."""

    changes: int = 6
    per: float = 600.0


@dataclass(frozen=True, slots=True)
class ThreadPolicy:
    """The section ``threader``. Channels are ``#name`` or Slack's id; people are Slack's ids."""

    channels: Mapping[str, str] = field(default_factory=lambda: dict(CHANNELS))
    """By severity, in lower case."""
    fallback: str = CHANNELS["info"]
    """For alerts whose severity has no channel."""
    routes: tuple[Route, ...] = ()
    mention: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By severity, in lower case."""
    operators: frozenset[str] | None = None
    """Who may acknowledge; None: everyone of the workspace."""
    admins: frozenset[str] = frozenset()
    """Who may change cooldowns and the mode, and acknowledge."""
    new_thread_after: float = 86400.0
    """Quiet this long after the resolve: the next alert begins a new thread."""
    news_after: float = 3600.0
    """A reply after this much quiet is shown in the channel, too."""
    remind_before: float = 600.0
    """How long before its end an acknowledgement is spoken of; 0: never."""
    flapping: Flapping = Flapping()
    posts_per_second: float = 1.0
    """In one channel."""
    edits_per_minute: float = 50.0
    """In the whole workspace."""

    def routed(self, labels: Mapping[str, str]) -> Routed:
        """Where this alert belongs."""
        return self._routed(labels)[0]

    @property
    def everywhere(self) -> tuple[str, ...]:
        """Every channel that may be written to, once each: the severities', the fallback, the routes'."""
        routed = (route.channel for route in self.routes if route.channel not in ("", NOWHERE))
        return tuple(dict.fromkeys([*self.channels.values(), self.fallback, *routed]))

    def may_acknowledge(self, user: str) -> bool:
        """Whether the person with this Slack id may acknowledge, extend and undo."""
        return self.operators is None or user in self.operators or user in self.admins

    def may_administer(self, user: str) -> bool:
        """Whether the person with this Slack id may change cooldowns and the mode."""
        return user in self.admins

    def _routed(self, labels: Mapping[str, str]) -> tuple[Routed, int, int]:
        """Where it belongs, how bad it is, and the place of its route (behind the last one where it has none).

        What goes to the fallback is less than anything that has a channel: else ``page``, where nobody gave it one,
        would draw a group with a warning into the channel for the rest.
        """
        severity = labels.get("severity", "").lower()
        channel, mentions = self.channels.get(severity, ""), self.mention.get(severity, ())
        place = len(self.routes)
        for index, route in enumerate(self.routes):
            if route.matches(labels):
                channel, place = route.channel or channel, index
                mentions = mentions if route.mention is None else route.mention
                break
        if channel == NOWHERE or (place == len(self.routes) and labels.get("alertname") in UNTOLD):
            return Routed(NOWHERE), -1, place
        return Routed(channel or self.fallback, mentions), severity_rank(severity) if channel else 0, place


def channel_for(policy: ThreadPolicy, labels_of_firing: Iterable[Mapping[str, str]]) -> Routed:
    """Where a group belongs: with its worst alert. Of those that are as bad, the one with the earliest route counts,
    then the channel's name, so that the order of the alerts does not matter."""
    found = map(policy._routed, labels_of_firing)
    worst = min(found, key=lambda one: (-one[1], one[2], one[0]), default=None)
    return Routed(policy.fallback) if worst is None else worst[0]

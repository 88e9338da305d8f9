"""An acknowledgement from a button or a link: only what its token says, never behind anybody's back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from autoheal.core.duration import format_duration, parse_duration
from autoheal.core.errors import Conflict, Invalid, NotFound
from autoheal.core.threads import severity_rank
from autoheal.engine.acks import AckWatch, silence_comment
from autoheal.engine.ports import Seen
from autoheal.threader.conversation import Acknowledged, Conversation, covers
from autoheal.threader.look import GROUP
from autoheal.threader.service import Threader
from autoheal.threader.tokens import Claim, Purpose, digest_of, labels_for
from autoheal.threader.uses import first

LATELY = 60.0
CLOSE = 60.0
"""Seconds by which an acknowledgement may end earlier than asked for and still counts as long enough."""
MAX_AHEAD = 7 * 86400.0
"""Seconds from now at which a silence ends at the latest."""
NO_ALERTMANAGER = "No Alertmanager is configured here (ALERTMANAGER_URL), so there is nothing to acknowledge with."
REASONS = {
    "forged": "This is not a button or a link that this Autoheal made. Nothing was changed.",
    "late": "This is too old to act on. Nothing was changed.",
    "used": "This was used already. Nothing was changed a second time.",
    "gone": "This conversation is no longer kept. Nothing was changed.",
    "resolved": "Already resolved: nothing was silenced.",
    "broad": "This group has no labels of its own: a silence for it would hide everything. Acknowledge its alerts "
    "one by one. Nothing was changed.",
    "changed": "The group has changed since this message was drawn, and its labels are others now. Look at the message "
    "again. Nothing was changed.",
    "unnamed": "Only named operators may acknowledge here, and a link cannot tell who you are: use the button in Slack "
    "or the console. Nothing was changed.",
    "none": "No acknowledgement of this group is in force. Nothing was changed.",
    "far": "An acknowledgement ends at most 7 days from now. Nothing was changed.",
}


class Refused(Conflict):
    """Nothing was done; `reason` is a key of `REASONS`, the text is for the person who asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(REASONS[reason])
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wish:
    """What a token asks for, and it may be had: exactly these labels silenced for `seconds`."""

    claim: Claim
    c: Conversation
    labels: dict[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Hidden:
    """What such a silence would hide now: of this conversation, and what else there is."""

    ours: Sequence[Seen]
    others: Sequence[Seen]

    def digest(self, who: str) -> str:
        """Stands for what `who` was shown."""
        return digest_of([who, sorted(one.fingerprint for one in self.others)])


class Turns:
    """One acknowledgement at a time for each conversation. Those made lately are remembered, for the conversation
    hears of them through the ledger, and of two who click at once the second would make another silence."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._made: dict[str, Acknowledged] = {}

    def of(self, key: str) -> asyncio.Lock:
        """There for as long as somebody holds it or waits for it."""
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = asyncio.Lock()
        return lock

    def made(self, wish: Wish, ack: Acknowledged, now: float) -> None:
        self._made = {key: one for key, one in self._made.items() if one.at > now - LATELY}
        self._made[_same(wish)] = ack

    def known(self, wish: Wish, hidden: Hidden) -> Acknowledged | None:
        """The acknowledgement with exactly these labels that is in force; the one that lasts longest."""
        found = [ack for ack in wish.c.acks.values() if ack.labels == wish.labels]
        lately = self._made.get(_same(wish))
        if lately is not None and any(lately.silence_id in one.silenced_by for one in hidden.ours):
            found.append(lately)
        return max(found, key=lambda ack: ack.until, default=None)


def _same(wish: Wish) -> str:
    return f"{wish.c.key} {digest_of(wish.labels)}"


def claim_of(threader: Threader, purpose: Purpose, token: str) -> Claim:
    claim = threader.tokens.read(purpose, token)
    if isinstance(claim, str):
        raise Refused(claim)
    return claim


async def conversation_of(threader: Threader, claim: Claim) -> Conversation:
    c = await threader.intake.find(claim.key)
    if c is None:
        raise Refused("gone")
    return c


async def wish_of(threader: Threader, claim: Claim) -> Wish:
    """What the claim asks for, if the alerts still are what they were when it was signed."""
    c = await conversation_of(threader, claim)
    labels = labels_for(c, claim.scope)
    if labels is None:
        fires = c.open and (claim.scope == GROUP or claim.scope not in c.members)
        raise Refused("broad" if fires and claim.scope == GROUP else "changed" if fires else "resolved")
    if not claim.labels_digest or digest_of(labels) != claim.labels_digest:
        raise Refused("changed")
    return Wish(claim, c, labels, seconds_of(claim.duration))


def seconds_of(duration: str) -> float:
    seconds = parse_duration(duration)
    if not 0 < seconds <= MAX_AHEAD:
        raise Invalid("must be more than 0 and at most 7d", "duration")
    return seconds


def watch_of(threader: Threader) -> AckWatch:
    if threader.acks is None:
        raise Conflict(NO_ALERTMANAGER)
    return threader.acks


async def preview(threader: Threader, wish: Wish) -> Hidden:
    """Asks Alertmanager; Temporary where it does not answer."""
    seen = sorted(await watch_of(threader).would_hide(wish.labels), key=lambda one: _worst_first(one.labels))
    meant = {wish.claim.scope} if wish.claim.scope != GROUP else set(wish.c.members)
    ours = [one for one in seen if one.fingerprint in meant]
    return Hidden(ours, [one for one in seen if one.fingerprint not in meant])


def _worst_first(labels: Mapping[str, str]) -> tuple[int, str]:
    return -severity_rank(labels.get("severity", "")), braces(labels)


async def use_up(threader: Threader, claim: Claim) -> None:
    """Refused where somebody has used it already, in whatever process. Blocks no loop."""
    if not await asyncio.to_thread(first, threader, f"threader:{claim.nonce}", threader.tokens.left(claim)):
        raise Refused("used")


async def acknowledge(threader: Threader, turns: Turns, wish: Wish, hidden: Hidden, actor: str, said: str) -> float:
    """Until when it is silenced. One that lasts as long already stays as it is; one that ends earlier is extended."""
    watch, now = watch_of(threader), threader.clock.now()
    known = turns.known(wish, hidden)
    if known is not None and known.until > now:
        if known.until >= now + wish.seconds - CLOSE:
            return known.until
        longer = round(now + wish.seconds - known.until)
        silence_id, until = await watch.extend(known.silence_id, longer, format_duration(longer), actor)
    else:
        runbook = next((m.runbook_url for m in wish.c.firing if m.runbook_url and covers(wish.labels, m)), "")
        comment = silence_comment(said, runbook)
        silence_id, until = await watch.acknowledge(
            wish.labels, wish.seconds, wish.claim.duration, actor, comment, only_if_firing=True
        )
    turns.made(wish, Acknowledged(silence_id, wish.labels, until, actor, now), now)
    return until


async def extend(threader: Threader, claim: Claim, c: Conversation, actor: str) -> float:
    """Every acknowledgement in the claim's scope lasts so much longer; the latest end."""
    watch, seconds, now = watch_of(threader), seconds_of(claim.duration), threader.clock.now()
    if not c.open:
        raise Refused("resolved")
    acks = in_scope(c, claim.scope)
    if any(ack.until + seconds > now + MAX_AHEAD for ack in acks):
        raise Refused("far")
    ends = [(await watch.extend(ack.silence_id, seconds, claim.duration, actor))[1] for ack in acks]
    return max(ends)


async def undo(threader: Threader, claim: Claim, c: Conversation, actor: str) -> int:
    """How many silences were ended; one that is gone already counts as ended."""
    watch, count = watch_of(threader), 0
    for ack in in_scope(c, claim.scope):
        try:
            await watch.expire(ack.silence_id, actor)
            count += 1
        except NotFound:
            pass
    return count


def in_scope(c: Conversation, scope: str) -> list[Acknowledged]:
    acks = [ack for ack in c.acks.values() if scope in (GROUP, ack.silence_id)]
    if not acks:
        raise Refused("none")
    return acks


def braces(labels: Mapping[str, str]) -> str:
    """Labels as Prometheus writes them."""
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in labels.items()}
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(quoted.items())) + "}"

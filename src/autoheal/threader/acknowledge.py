"""An acknowledgement from a button or a link: only what its token says, never behind anybody's back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from weakref import WeakValueDictionary

import structlog

from autoheal.core.duration import format_duration, parse_duration
from autoheal.core.errors import AutohealError, Conflict, Invalid, NotFound, Permanent, Temporary, Unknown
from autoheal.core.threads import severity_rank
from autoheal.engine.acks import AckWatch, silence_comment
from autoheal.engine.ports import Claims, Seen, StoreUnavailable
from autoheal.threader.conversation import Acknowledged, Conversation, covers
from autoheal.threader.look import GROUP
from autoheal.threader.service import Threader
from autoheal.threader.tokens import Claim, Purpose, digest_of, labels_for
from autoheal.threader.uses import Use, reserve

log = structlog.get_logger("acknowledge")

LEASE = 20.0
"""Seconds for which a process has a conversation to itself if it dies; while it works it asks for more."""
WAIT = 10.0
"""Seconds for which it is waited for another process."""
AGAIN = 0.1
PAUSE = 3.0
"""Seconds in which a silence is extended only once: a second click comes from a finger, not from a wish."""
CLOSE = 60.0
"""Seconds by which an acknowledgement may end earlier than asked for and still counts as long enough."""
MAX_AHEAD = 7 * 86400.0
"""Seconds from now at which a silence ends at the latest."""
NO_ALERTMANAGER = "No Alertmanager is configured here (ALERTMANAGER_URL), so there is nothing to acknowledge with."
REASONS = {
    "forged": "This is not a button or a link that this Autoheal made. Nothing was changed.",
    "late": "This is too old to act on. Nothing was changed.",
    "used": "This was used already. Nothing was changed a second time.",
    "using": "This is being used at this moment. Nothing was changed a second time; look at the thread.",
    "busy": "Somebody else is busy with this conversation. Nothing was changed; look at the thread, and try again.",
    "extended": "This was just extended. Nothing was changed a second time.",
    "gone": "This conversation is no longer kept. Nothing was changed.",
    "resolved": "Already resolved: nothing was silenced.",
    "broad": "This group has no labels of its own: a silence for it would hide everything. Acknowledge its alerts "
    "one by one. Nothing was changed.",
    "changed": "The group has changed since this message was drawn, and its labels are others now. Look at the message "
    "again. Nothing was changed.",
    "unnamed": "Only named operators may acknowledge here, and a link cannot tell who you are. Nothing was changed.",
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
    """One acknowledgement at a time for each conversation, over all processes: who comes second sees what the first
    has done."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, threader: Threader, key: str) -> AsyncIterator[None]:
        """Refused as busy where another process does not come to an end."""
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = asyncio.Lock()  # there for as long as somebody holds it or waits for it
        async with lock:
            if threader.claims.alone:
                yield
                return
            async with _claimed(threader.claims, f"ack:{key}"):
                yield


@asynccontextmanager
async def _claimed(claims: Claims, name: str) -> AsyncIterator[None]:
    clock = asyncio.get_running_loop()
    latest = clock.time() + WAIT
    while not await asyncio.to_thread(claims.take, [name], LEASE):
        if clock.time() >= latest:
            raise Refused("busy")
        await asyncio.sleep(AGAIN)
    done = asyncio.Event()
    keeping = asyncio.create_task(_keep(claims, name, done), name="turn")
    try:
        yield
    finally:
        done.set()
        await keeping
        try:
            await asyncio.to_thread(claims.release, [name])
        except StoreUnavailable as error:
            log.warning("turn_not_given_up", error=str(error))


async def _keep(claims: Claims, name: str, done: asyncio.Event) -> None:
    while True:
        try:
            async with asyncio.timeout(LEASE / 4):
                await done.wait()
            return
        except TimeoutError:
            with suppress(StoreUnavailable):
                await asyncio.to_thread(claims.take, [name], LEASE)


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


@asynccontextmanager
async def once(threader: Threader, claim: Claim) -> AsyncIterator[Use]:
    """The one use that this claim is worth, over all processes. It is kept where it was `acted` on or where nobody can
    tell, and given back where certainly nothing came of it."""
    use = await asyncio.to_thread(reserve, threader, claim.nonce, threader.tokens.left(claim))
    if isinstance(use, str):
        raise Refused(use)
    try:
        yield use
    except (Temporary, Permanent, StoreUnavailable):
        await _end(use)
        raise
    except Unknown:
        use.acted = True
        await _end(use)
        raise
    await _end(use)


async def _end(use: Use) -> None:
    try:
        await asyncio.to_thread(use.keep if use.acted else use.give_back)
    except StoreUnavailable as error:
        log.warning("use_not_noted", acted=use.acted, error=str(error))  # it counts as used


async def acknowledge(threader: Threader, wish: Wish, actor: str, said: str) -> float:
    """Until when it is silenced. One that lasts as long already stays as it is; one that ends earlier is extended."""
    watch = watch_of(threader)
    known, now = await watch.in_force(wish.labels), threader.clock.now()
    if known is None:
        runbook = next((m.runbook_url for m in wish.c.firing if m.runbook_url and covers(wish.labels, m)), "")
        comment, text = silence_comment(said, runbook), wish.claim.duration
        return (await watch.acknowledge(wish.labels, wish.seconds, text, actor, comment, only_if_firing=True))[1]
    silence_id, until = known
    if until >= now + wish.seconds - CLOSE:
        return until
    longer = round(now + wish.seconds - until)
    return (await watch.extend(silence_id, longer, format_duration(longer), actor))[1]


async def extend(threader: Threader, claim: Claim, c: Conversation, actor: str) -> float:
    """Every acknowledgement in the claim's scope lasts so much longer; the latest end."""
    watch, seconds, now = watch_of(threader), seconds_of(claim.duration), threader.clock.now()
    if not c.open:
        raise Refused("resolved")
    acks = in_scope(c, claim.scope)
    if any(ack.until + seconds > now + MAX_AHEAD for ack in acks):
        raise Refused("far")
    acks = [ack for ack in acks if await _extends(threader, ack.silence_id, 0.0)]
    if not acks:
        raise Refused("extended")
    ends: list[float] = []
    for ack in acks:
        try:
            silence_id, until = await watch.extend(ack.silence_id, seconds, claim.duration, actor)
        except AutohealError as error:
            if ends:
                raise _in_part(error, f"{len(ends)} of {len(acks)} were extended") from error
            raise
        for name in {silence_id, ack.silence_id}:
            await _extends(threader, name, PAUSE)
        ends.append(until)
    return max(ends)


async def _extends(threader: Threader, silence_id: str, pause: float) -> bool:
    """Whether it was not extended just now; from now on, for `pause` seconds, it was. For whose turn it is."""
    return await asyncio.to_thread(threader.claims.once, f"extend:{silence_id}", pause)


async def undo(threader: Threader, claim: Claim, c: Conversation, actor: str) -> int:
    """How many silences were ended; one that is gone already counts as ended."""
    watch, acks, count = watch_of(threader), in_scope(c, claim.scope), 0
    for ack in acks:
        try:
            await watch.expire(ack.silence_id, actor)
            count += 1
        except NotFound:
            pass
        except AutohealError as error:
            if count:
                raise _in_part(error, f"{count} of {len(acks)} were ended") from error
            raise
    return count


def _in_part(error: AutohealError, done: str) -> Unknown:
    return Unknown(f"{done}, the next was not: {error}")


def in_scope(c: Conversation, scope: str) -> list[Acknowledged]:
    acks = [ack for ack in c.acks.values() if scope in (GROUP, ack.silence_id)]
    if not acks:
        raise Refused("none")
    return acks


def braces(labels: Mapping[str, str]) -> str:
    """Labels as Prometheus writes them."""
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in labels.items()}
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(quoted.items())) + "}"

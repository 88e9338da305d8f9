"""Safety rule 7: while a silence of ours lasts, Alertmanager is asked; the resolve is told, and the silence ends.

Afterwards its alerts are watched on, for Alertmanager says nothing of one that resolved behind it and fires again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson
import structlog

from autoheal.core.alert import RESOLVED, Alert
from autoheal.core.errors import AutohealError, Conflict, Invalid, NotFound, Unknown
from autoheal.core.events import Event
from autoheal.core.moves.silences import (
    Acked,
    AckEnded,
    AckHides,
    Extended,
    Hides,
    Recalled,
    Refired,
    ResolvedBehind,
    refired,
)
from autoheal.core.state import Ack, Behind, Former
from autoheal.engine.head import HeadThread
from autoheal.engine.looks import actor_of, alert_of, hides_of, labels_of, matching
from autoheal.engine.ports import Active, Alertmanagers, Claims, Clock, Fact, Seen, Silence, StoreUnavailable

log = structlog.get_logger("acks")

GONE_FOR = 300.0
"""Seconds that the last match must have been gone before the silence is ended."""
EVERY = 15.0
SEEK_FOR = 300.0
"""Seconds for which a silence that may have been made is looked for: it may appear late."""
SPREADS = 30.0
"""Seconds after which every member of a cluster knows a silence."""
LONGEST = 7 * 86400.0
"""Seconds from now that a silence may be extended to."""
MAX_COMMENT = 1000
DUTY = "acks"
"""The claim of the process that watches."""
CREATED_BY = "autoheal"
"""Our silences' author is this, a colon and who asked, so that one made just before a crash is found again."""
BY_POLICY = "autoheal-policy"
"""The author of silences that an action of the policy made; they are watched as well."""


def silence_comment(text: str, runbook: str = "") -> str:
    """The comment of a silence in one line, with the runbook of the alert where that is a link."""
    said = " ".join(text.split())
    link = runbook.strip()
    if not link.startswith(("http://", "https://")) or len(link) > MAX_COMMENT // 2 or not link.isprintable():
        return said[:MAX_COMMENT]
    end = f"runbook: {link}"
    return f"{said[: MAX_COMMENT - len(end) - 3]} · {end}" if said else end


@dataclass(frozen=True, slots=True)
class _Watched:
    """What one look goes by: copies, for the head goes on meanwhile."""

    acks: Sequence[Ack]
    former: Sequence[Former]
    behind: Mapping[str, Behind]


class AckWatch:
    """Makes silences, watches them, ends them."""

    def __init__(
        self,
        head: HeadThread,
        alertmanagers: Alertmanagers | None,
        clock: Clock,
        claims: Claims | None = None,
        stored: Callable[[str], Sequence[Fact]] = lambda space: (),
        stale_after: float = 14_700.0,
    ) -> None:
        """`stored` reads one space of facts as the ledger has it, for what another process has noted since.
        `stale_after`: seconds for which the alerts of a silence that has ended are watched on, a little longer than
        Alertmanager's `repeat_interval`."""
        self._head = head
        self._claims = claims
        self._stored = stored
        self._ours = claims is None or claims.alone
        self._alertmanagers = alertmanagers
        self._clock = clock
        self._watch_on = stale_after
        self._gone_since: dict[str, float] = {}
        self._moved: dict[str, float] = {}
        """Ends in Alertmanager that are not on record, as the last look saw them."""
        self._looked_at = 0.0
        self._next = 0.0
        self._seek_until = self._sought_at = float("-inf")
        """Until when a silence may appear that is not on record, and when that was last looked for (monotonic)."""
        self._silencing: set[str] = set()

    # ---- what people ask for ---------------------------------------------------------------------------------

    async def acknowledge(
        self,
        labels: Mapping[str, str],
        duration: float,
        text: str,
        actor: str,
        comment: str,
        only_if_firing: bool = False,
    ) -> tuple[str, float]:
        """An exact-match silence for `duration` seconds: its id and end. Permanent without an Alertmanager.

        The record follows the silence; if it cannot be written the silence is taken back, and one that a crash
        left behind is adopted at the next start. `only_if_firing`: Conflict where Alertmanager knows that nothing of
        the kind fires any more; what does is on record at once, so that it is told even if it resolves just now.
        """
        alertmanagers = self._need()
        hides = await self._still_firing(labels) if only_if_firing else {}
        now = self._clock.now()
        note = comment or f"acknowledged for {text}"
        author = f"{CREATED_BY}:{actor}"
        try:
            silence_id = await alertmanagers.create_silence(labels, now, now + duration, author, note)
        except Unknown:
            self._seek(SEEK_FOR)
            raise
        move = Acked(silence_id, dict(labels), now + duration, actor, text, comment, starts_at=now, hides=hides)
        try:
            await self._head.play(move)
        except StoreUnavailable:
            self._seek(SEEK_FOR)  # should it not be possible to take it back
            try:
                await alertmanagers.expire_silence(silence_id)
            except AutohealError as error:
                raise Unknown(f"it is silenced, but not on record, and could not be taken back: {error}") from error
            raise
        return silence_id, now + duration

    async def _still_firing(self, labels: Mapping[str, str]) -> Hides:
        active = await self._need().alerts()
        hides = hides_of(matching(labels, active))
        if not hides and active.complete:
            raise Conflict("already resolved: nothing that this would hide fires any more")
        return hides

    async def would_hide(self, labels: Mapping[str, str]) -> list[Seen]:
        """The alerts that such a silence would hide now. Conflict without an Alertmanager, Temporary out of reach."""
        return matching(labels, await self._need().alerts())

    async def in_force(self, labels: Mapping[str, str]) -> tuple[str, float] | None:
        """The silence with exactly these labels that somebody made through us, in whatever process, and that lasts
        longest: its id and end. Alertmanager knows; of one made within `SPREADS` the member that answers may not have
        heard, and then the record counts."""
        silences, now = await self._need().silences(), self._clock.now()
        told = {one.id for one in silences}
        wanted = dict(labels)
        found = {
            one.id: one.ends_at
            for one in silences
            if one.state != "expired" and one.created_by.startswith(f"{CREATED_BY}:") and labels_of(one) == wanted
        }
        with self._head.reading() as (state, _):
            for ack in state.acks.values():
                if ack.silence_id not in told and now - ack.created_at < SPREADS and ack.labels == wanted:
                    found[ack.silence_id] = ack.ends_at
        return max(((name, end) for name, end in found.items() if end > now), key=lambda one: one[1], default=None)

    async def extend(self, silence_id: str, duration: float, text: str, actor: str) -> tuple[str, float]:
        """Let a silence of ours last `duration` seconds longer: its id, which may be a new one, and its end.

        NotFound where it is none of ours, Conflict where it is over, Invalid beyond `LONGEST` from now. If the record
        cannot be written it is set back; what could not be set back is noticed by the watch, and recorded then.
        """
        alertmanagers = self._need()
        silences = {one.id: one for one in await alertmanagers.silences()}
        ack = self._ack(silence_id)
        if ack is None and silence_id in silences:  # another process may have made it just now
            await self._adopt([silences[silence_id]], set())
            ack = self._ack(silence_id)
        if ack is None:
            raise NotFound(f"no acknowledgement of ours has the silence {silence_id[:100]!r}: it may be over")
        found = silences.get(ack.silence_id)
        now = self._clock.now()
        if found is None or found.state == "expired":
            raise Conflict("this acknowledgement is over: acknowledge again")
        ends_at = max(found.ends_at, now) + duration
        if duration <= 0 or ends_at > now + LONGEST:
            raise Invalid("must be more than 0, and it may last until 7d from now at most", "duration")
        author = f"{CREATED_BY}:{actor}"
        try:
            new_id = await alertmanagers.extend_silence(found.id, ends_at, author, found.comment)
        except NotFound:
            raise Conflict("this acknowledgement is over: acknowledge again") from None
        except Unknown:
            self._seek(SEEK_FOR)  # it may have become another one
            raise
        try:
            await self._head.play(Extended(found.id, new_id, ack.labels, ends_at, actor, text))
        except StoreUnavailable:
            self._seek(SEEK_FOR)
            try:
                await alertmanagers.extend_silence(new_id, found.ends_at, found.created_by, found.comment)
            except AutohealError as error:
                raise Unknown(f"it was extended, but not on record, and could not be set back: {error}") from error
            raise
        return new_id, ends_at

    async def expire(self, silence_id: str, actor: str) -> bool:
        """End a silence by hand, ours or not, on record; whether it was one of ours. NotFound where there is none."""
        alertmanagers = self._need()
        ack = self._ack(silence_id)
        silence_id = silence_id if ack is None else ack.silence_id
        if silence_id not in {silence.id for silence in await alertmanagers.silences()}:
            raise NotFound(f"Alertmanager has no silence {silence_id!r}")
        await alertmanagers.expire_silence(silence_id)
        ours: bool = await self._head.play(AckEnded(silence_id, "by_hand", actor, self._watch_on))
        return ours

    def _need(self) -> Alertmanagers:
        if self._alertmanagers is None:
            raise Conflict("no Alertmanager is configured (ALERTMANAGER_URL)")
        return self._alertmanagers

    def _ack(self, silence_id: str) -> Ack | None:
        """Ours by its id, or by the one that it had at first."""
        with self._head.reading() as (state, _):
            known = state.acks.get(silence_id)
            return known or next((ack for ack in state.acks.values() if ack.key == silence_id), None)

    # ---- what is not on record -------------------------------------------------------------------------------

    def listen(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        """After each commit: an action of the policy may have made a silence."""
        for event in events:
            if event["kind"] == "action_started" and event["action"] == "silence":
                self._silencing.add(event["remediation_id"])
            elif event["kind"].startswith("action_") and event.get("remediation_id") in self._silencing:
                self._silencing.discard(event["remediation_id"])
                self._seek(0.0 if event["kind"] == "action_ok" else SEEK_FOR)

    def _seek(self, seconds: float) -> None:
        """A silence may exist that is not on record. What appears within `seconds` is found."""
        self._seek_until = max(self._seek_until, self._clock.monotonic() + seconds)

    @property
    def _seeking(self) -> bool:
        """Whether no look has begun, and come to its end, since the last silence of ours could appear."""
        return self._sought_at <= self._seek_until

    async def _adopt(self, silences: Sequence[Silence], known: set[str]) -> None:
        for silence in silences:
            labels, author = labels_of(silence), silence.created_by
            ours = (author.startswith(f"{CREATED_BY}:") or author == BY_POLICY) and silence.state != "expired"
            if not ours or labels is None or silence.id in known:
                continue
            actor = actor_of(silence)
            move = Acked(silence.id, labels, silence.ends_at, actor, "", silence.comment, "adopted", silence.starts_at)
            await self._head.play(move)

    # ---- the watch -------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Look, at most every 15 s, and only while there is something to watch."""
        if self._alertmanagers is None or self._clock.monotonic() < self._next:
            return
        watched = self._watched()
        if not (watched.acks or watched.former or self._seeking):
            return
        watching = await self._is_ours()
        if not watching and not self._seeking:
            self._next = self._clock.monotonic() + EVERY / 3
            return
        began = self._clock.monotonic()
        self._next = began + EVERY
        try:
            silences = await self._alertmanagers.silences() if watched.acks or self._seeking else []
            active = await self._alertmanagers.alerts()
        except AutohealError as error:
            log.warning("acks_not_checked", error=str(error))
            return
        if self._seeking:
            await self._adopt(silences, {ack.silence_id for ack in watched.acks})
            self._sought_at = began
        if not watching or self._too_late(began):
            return
        await self._look(watched.acks, {silence.id: silence for silence in silences}, active)

    def _watched(self) -> _Watched:
        with self._head.reading() as (state, _):
            acks = [replace(ack) for ack in state.acks.values()]
            former = [replace(one, told=dict(one.told)) for one in state.former.values()]
            return _Watched(acks, former, dict(state.behind))

    def _too_late(self, began: float) -> bool:
        """Whether another process may watch by now, and what was seen here is older than what it has told."""
        alone = self._claims is None or self._claims.alone
        return not alone and self._clock.monotonic() - began >= _lease()

    async def _look(self, acks: Sequence[Ack], silences: Mapping[str, Silence], active: Active) -> None:
        self._count(active)
        if active.complete:
            await self._tell_resolved(active)
        for ack in acks:
            try:
                await self._watch(ack, silences.get(ack.silence_id), active)
            except AutohealError as error:  # the others are watched, and this one is looked at again
                log.warning("ack_not_watched", silence=ack.silence_id, error=str(error))
        await self._tell_refired(active)

    async def _is_ours(self) -> bool:
        """One process watches the silences. Who takes over reads what was last seen behind each of them."""
        if self._claims is None or self._claims.alone:
            return True
        before, self._ours = self._ours, bool(await asyncio.to_thread(self._claims.take, [DUTY], _lease()))
        if self._ours and not before:
            self._gone_since.clear()
            try:
                await self._recall()
            except BaseException:
                self._ours = False
                raise
        return self._ours

    async def _recall(self) -> None:
        noted = {fact.key: orjson.loads(fact.data or "{}") for fact in await asyncio.to_thread(self._stored, "behind")}
        behind = {key: Behind(was.get("hides", {}), was.get("seen", False)) for key, was in noted.items()}
        await self._head.play(Recalled(behind))

    def _count(self, active: Active) -> None:
        """Time in which absence says nothing is not counted to what is gone."""
        now = self._clock.monotonic()
        if not active.complete:
            self._gone_since = {name: since + now - self._looked_at for name, since in self._gone_since.items()}
        self._looked_at = now

    async def _watch(self, ack: Ack, silence: Silence | None, active: Active) -> None:
        with self._head.reading() as (state, _):
            was = state.behind.get(ack.key, Behind())
        found = matching(ack.labels, active)
        hides = hides_of(found)
        unsure = not active.complete and not was.hides.keys() <= hides.keys()
        if silence is None and self._clock.now() - ack.created_at < SPREADS:
            return  # it was made at another member, and this one has not heard of it yet
        if silence is None or silence.state == "expired":
            if not unsure:  # else a resolve behind it may still have to be told
                await self._head.play(AckEnded(ack.silence_id, "expired", watch=self._watch_on))
                self._forget(ack)
            return
        await self._compare(ack, silence)
        if unsure:
            hides = {**was.hides, **hides}
        if hides != was.hides:
            alerts = {one.fingerprint: alert_of(one) for one in found}
            await self._head.play(AckHides(ack.silence_id, hides, alerts), weight=max(1, len(hides)))
        if found:
            self._gone_since.pop(ack.key, None)
        elif active.complete and was.seen:  # before its first match, nothing has gone
            await self._gone(ack)

    async def _compare(self, ack: Ack, silence: Silence) -> None:
        """Somebody may have moved its end. Two looks must agree: another member may not have heard of ours yet."""
        if abs(silence.ends_at - ack.ends_at) < 1.0:
            self._moved.pop(ack.key, None)
        elif self._moved.get(ack.key) != silence.ends_at:
            self._moved[ack.key] = silence.ends_at
        else:
            actor = actor_of(silence)
            await self._head.play(Extended(silence.id, silence.id, ack.labels, silence.ends_at, actor, changed=True))
            del self._moved[ack.key]

    async def _gone(self, ack: Ack) -> None:
        now = self._clock.monotonic()
        since = self._gone_since.setdefault(ack.key, now)
        if now - since >= GONE_FOR:
            await self._need().expire_silence(ack.silence_id)
            await self._head.play(AckEnded(ack.silence_id, "resolved", watch=self._watch_on))
            self._forget(ack)

    def _forget(self, ack: Ack) -> None:
        self._gone_since.pop(ack.key, None)
        self._moved.pop(ack.key, None)

    async def _tell_resolved(self, active: Active) -> None:
        """No webhook tells of a resolve behind a silence, so we do; also of one that came while we were away, and of
        one that came just before its silence was ended."""
        watched = self._watched()
        firing = {alert.fingerprint for alert in active.alerts}
        gone = {name: a for was in watched.behind.values() for name, a in was.hides.items() if name not in firing}
        over = [former.key for former in watched.former if former.key in watched.behind]
        if gone or over:
            now = self._clock.now()
            alerts = [Alert(RESOLVED, was["labels"], {}, was["starts_at"], name, now) for name, was in gone.items()]
            await self._head.play(ResolvedBehind(alerts, over), weight=max(1, len(alerts)))

    async def _tell_refired(self, active: Active) -> None:
        former, now = self._watched().former, self._clock.now()
        if not former:
            return
        open_ones = [alert for alert in active.alerts if not alert.silenced_by and not alert.inhibited_by]
        alerts = [alert_of(one) for one in open_ones if any(one.starts_at > silence.since for silence in former)]
        alerts = [alert for alert in alerts if refired(former, alert, now)]
        if alerts:
            receivers = {alert.fingerprint: alert.receivers for alert in open_ones}
            origin = next(iter(self._need().urls), "")
            await self._head.play(Refired(alerts, receivers, origin), weight=len(alerts))


def _lease() -> float:
    return 3 * EVERY + 1

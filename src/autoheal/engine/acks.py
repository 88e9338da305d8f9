"""Safety rule 7: while a silence of ours lasts, Alertmanager is asked; the resolve is told, and the silence ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import orjson
import structlog

from autoheal.core.alert import RESOLVED, Alert
from autoheal.core.errors import AutohealError, Conflict, NotFound, Unknown
from autoheal.core.events import Event
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import Acked, AckEnded, AckHides
from autoheal.core.state import Ack
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Active, Alertmanagers, Claims, Clock, Fact, Silence, StoreUnavailable

log = structlog.get_logger("acks")

GONE_FOR = 300.0
"""Seconds that the last match must have been gone before the silence is ended."""
EVERY = 15.0
SEEK_FOR = 300.0
"""Seconds for which a silence that may have been made is looked for: it may appear late."""
DUTY = "acks"
"""The claim of the process that watches."""
CREATED_BY = "autoheal"
"""Our silences' author is this, a colon and who asked, so that one made just before a crash is found again."""
BY_POLICY = "autoheal-policy"
"""The author of silences that an action of the policy made; they are watched as well."""


class AckWatch:
    """Makes silences, watches them, ends them."""

    def __init__(
        self,
        head: HeadThread,
        alertmanagers: Alertmanagers | None,
        clock: Clock,
        claims: Claims | None = None,
        stored: Callable[[str], Sequence[Fact]] = lambda space: (),
    ) -> None:
        """`stored` reads one space of facts as the ledger has it, for what another process has noted since."""
        self._head = head
        self._claims = claims
        self._stored = stored
        self._ours = claims is None or claims.alone
        self._alertmanagers = alertmanagers
        self._clock = clock
        self._gone_since: dict[str, float] = {}
        self._looked_at = 0.0
        self._next = 0.0
        self._seek_until = self._sought_at = float("-inf")
        """Until when a silence may appear that is not on record, and when that was last looked for (monotonic)."""
        self._silencing: set[str] = set()

    async def acknowledge(
        self, labels: Mapping[str, str], duration: float, text: str, actor: str, comment: str
    ) -> tuple[str, float]:
        """An exact-match silence for `duration` seconds: its id and end. Permanent without an Alertmanager.

        The record follows the silence; if it cannot be written the silence is taken back, and one that a crash
        left behind is adopted at the next start.
        """
        if self._alertmanagers is None:
            raise Conflict("no Alertmanager is configured (ALERTMANAGER_URL)")
        now = self._clock.now()
        note = comment or f"acknowledged for {text}"
        author = f"{CREATED_BY}:{actor}"
        try:
            silence_id = await self._alertmanagers.create_silence(labels, now, now + duration, author, note)
        except Unknown:
            self._seek(SEEK_FOR)
            raise
        try:
            await self._head.play(Acked(silence_id, dict(labels), now + duration, actor, text, comment))
        except StoreUnavailable:
            self._seek(SEEK_FOR)  # should it not be possible to take it back
            await self._alertmanagers.expire_silence(silence_id)
            raise
        return silence_id, now + duration

    async def expire(self, silence_id: str, actor: str) -> bool:
        """End a silence by hand, ours or not, on record; whether it was one of ours. NotFound where there is none."""
        if self._alertmanagers is None:
            raise Conflict("no Alertmanager is configured (ALERTMANAGER_URL)")
        if silence_id not in {silence.id for silence in await self._alertmanagers.silences()}:
            raise NotFound(f"Alertmanager has no silence {silence_id!r}")
        await self._alertmanagers.expire_silence(silence_id)
        ours: bool = await self._head.play(AckEnded(silence_id, "by_hand", actor))
        return ours

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

    async def tick(self) -> None:
        """Look, at most every 15 s, and only while there is something to watch."""
        if self._alertmanagers is None or self._clock.monotonic() < self._next:
            return
        with self._head.reading() as (state, _):
            acks = list(state.acks.values())
        if not acks and not self._seeking:
            return
        watching = await self._is_ours()
        if not watching and not self._seeking:
            return
        began = self._clock.monotonic()
        self._next = began + EVERY
        try:
            silences = await self._alertmanagers.silences()
            active = await self._alertmanagers.alerts()
        except AutohealError as error:
            log.warning("acks_not_checked", error=str(error))
            return
        if self._seeking:
            await self._adopt(silences, {ack.silence_id for ack in acks})
            self._sought_at = began
        if not watching:
            return
        states = {silence.id: silence.state for silence in silences}
        self._count(active)
        if active.complete:
            await self._tell_resolved(acks, active)
        for ack in acks:
            await self._watch(ack, states.get(ack.silence_id, "expired"), active)

    @property
    def _seeking(self) -> bool:
        """Whether no look has begun, and come to its end, since the last silence of ours could appear."""
        return self._sought_at <= self._seek_until

    async def _is_ours(self) -> bool:
        """One process watches the silences. Who takes over reads what was last seen behind each of them."""
        if self._claims is None or self._claims.alone:
            return True
        before, self._ours = self._ours, bool(await asyncio.to_thread(self._claims.take, [DUTY], 3 * EVERY + 1))
        if self._ours and not before:
            self._gone_since.clear()
            for fact in await asyncio.to_thread(self._stored, "ack"):
                noted = orjson.loads(fact.data or "{}")
                await self._head.play(AckHides(fact.key, noted.get("hides", {}), noted.get("seen", False)))
        return self._ours

    async def _adopt(self, silences: list[Silence], known: set[str]) -> None:
        for silence in silences:
            exact = all(m.get("isEqual", True) and not m.get("isRegex") for m in silence.matchers)
            author = silence.created_by
            ours = (author.startswith(f"{CREATED_BY}:") or author == BY_POLICY) and silence.state != "expired"
            if not ours or not exact or silence.id in known:
                continue
            labels = {str(m["name"]): str(m["value"]) for m in silence.matchers}
            actor = author.partition(":")[2] or author
            move = Acked(silence.id, labels, silence.ends_at, actor, comment=silence.comment, reason="adopted")
            await self._head.play(move)

    def _count(self, active: Active) -> None:
        """Time in which absence says nothing is not counted to what is gone."""
        now = self._clock.monotonic()
        if not active.complete:
            self._gone_since = {name: since + now - self._looked_at for name, since in self._gone_since.items()}
        self._looked_at = now

    async def _watch(self, ack: Ack, status: str, active: Active) -> None:
        now = self._clock.monotonic()
        matching = [a for a in active.alerts if all(a.labels.get(k, "") == v for k, v in ack.labels.items())]
        hides = {a.fingerprint: {"labels": dict(a.labels), "starts_at": a.starts_at} for a in matching}
        unsure = not active.complete and not ack.hides.keys() <= hides.keys()
        if status == "expired":
            if not unsure:  # else a resolve behind it may still have to be told
                await self._head.play(AckEnded(ack.silence_id, "expired"))
                self._gone_since.pop(ack.silence_id, None)
            return
        if unsure:
            hides = {**ack.hides, **hides}
        if hides != ack.hides:
            await self._head.play(AckHides(ack.silence_id, hides))
        if matching:
            self._gone_since.pop(ack.silence_id, None)
        elif active.complete and ack.seen:  # before its first match, nothing has gone
            await self._gone(ack, now)

    async def _gone(self, ack: Ack, now: float) -> None:
        since = self._gone_since.setdefault(ack.silence_id, now)
        if now - since >= GONE_FOR:
            assert self._alertmanagers is not None
            await self._alertmanagers.expire_silence(ack.silence_id)
            await self._head.play(AckEnded(ack.silence_id, "resolved"))
            self._gone_since.pop(ack.silence_id, None)

    async def _tell_resolved(self, acks: Sequence[Ack], active: Active) -> None:
        """No webhook tells of a resolve behind a silence, so we do; also of one that came while we were away."""
        firing = {alert.fingerprint for alert in active.alerts}
        gone = {name: was for ack in acks for name, was in ack.hides.items() if name not in firing}
        if gone:
            now = self._clock.now()
            alerts = [Alert(RESOLVED, was["labels"], {}, was["starts_at"], name, now) for name, was in gone.items()]
            await self._head.play(AlertsArrived(alerts, source="silence_watch"), weight=len(alerts))

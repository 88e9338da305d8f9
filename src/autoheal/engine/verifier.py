"""Eyes: after an action, does it help? After a crash, what does reality say?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from autoheal.core.events import Event
from autoheal.core.hysteresis import Streak
from autoheal.core.moves.acting import Probed, Verified
from autoheal.core.remediation import RUNNING, UNKNOWN, VERIFYING, Remediation
from autoheal.core.turn import Move
from autoheal.engine import presence
from autoheal.engine.book import AlertBook
from autoheal.engine.crash import crash_point
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Clock, Look, Probes, StoreUnavailable
from autoheal.engine.presence import Attendance

log = structlog.get_logger("verifier")

AT_ONCE = 200
"""Probes under way at the same time, at most."""
LATER = 30.0
"""Seconds between two looks once the time to verify is over and nothing could be seen."""
PROBE_TIMEOUT = 5.0


def _claim(key: tuple[str, bool]) -> str:
    token, probe = key
    return f"{'probe' if probe else 'verify'}:{token}"


@dataclass(slots=True)
class _Watch:
    """One attempt that is looked at. `probe`: it is asked whether an unseen end was a good one."""

    remediation: Remediation
    token: str
    probe: bool
    nudge: asyncio.Event


class Verifier:
    """One task for each attempt that must be judged; it ends with a verdict on record."""

    def __init__(self, head: HeadThread, probes: Probes, book: AlertBook, clock: Clock, attendance: Attendance) -> None:
        self._head = head
        self._attendance = attendance
        self._claims = attendance.claims
        self._renewed = float("-inf")
        self._probes = probes
        self._book = book
        self._clock = clock
        self._tasks: dict[tuple[str, bool], asyncio.Task[None]] = {}
        self._watches: dict[tuple[str, bool], _Watch] = {}
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Take up what the ledger says is unjudged, and what processes that are gone were running."""
        self._loop = asyncio.get_running_loop()
        await self.sweep()

    async def sweep(self) -> None:
        """Take up what nobody judges: of what runs, only that whose owner is gone; a probe is asked how it ended.

        Each attempt is judged by the process that has its claim, so that a sick target is not asked by all.
        """
        found: dict[tuple[str, bool], Remediation] = {}
        with self._head.reading() as (state, _):
            for r in state.remediations.values():
                untold = r.state == UNKNOWN and f"remediation:{r.id}" not in state.escalations
                lost = r.state == RUNNING and self._lost(r)
                if r.token is not None and (r.state == VERIFYING or untold or lost):
                    found[(r.token, r.state != VERIFYING)] = r
        fresh = {key: r for key, r in found.items() if key not in self._tasks}
        now = self._clock.monotonic()
        renew = now - self._renewed >= presence.RENEW
        keys = {_claim(key): key for key in (*fresh, *(self._tasks if renew else ()))}
        if not keys:
            return
        if self._claims.alone:
            ours = set(keys)
        else:
            ours = await asyncio.to_thread(self._claims.take, sorted(keys), presence.LEASE)
            self._renewed = now if renew else self._renewed
        for name, key in keys.items():
            if name in ours and key in fresh:
                self._begin(fresh[key], key[0], key[1])
            elif name not in ours and key in self._tasks:
                self._tasks[key].cancel()  # we were away for so long that another took it up

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def listen(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        """After each commit (in the head's thread): new attempts to judge, and resolves that hasten a verdict."""
        wanted = [e for e in events if e["kind"] in ("action_ok", "action_unknown", "decision_skip")]
        if not wanted or self._loop is None or self._loop.is_closed():
            return
        for event in wanted:
            if event["kind"] == "decision_skip":
                if "resolves" in event:
                    self._loop.call_soon_threadsafe(self._hasten, event["fingerprint"])
                continue
            remediation = self._head.state.remediations.get(event["remediation_id"])
            if not self._claims.alone:
                continue  # whoever sweeps first takes it up
            if remediation is not None and remediation.state in (VERIFYING, UNKNOWN):
                lost = remediation.state == UNKNOWN and event.get("reason") == "interrupted"
                if not lost:
                    probe = remediation.state == UNKNOWN
                    self._loop.call_soon_threadsafe(self._begin, remediation, remediation.token, probe)

    def _hasten(self, fingerprint: str) -> None:
        for watch in self._watches.values():
            if watch.remediation.fingerprint == fingerprint:
                watch.nudge.set()

    def _begin(self, remediation: Remediation, token: str | None, probe: bool) -> None:
        if token is None or (token, probe) in self._tasks:
            return
        key = (token, probe)
        watch = _Watch(remediation, token, probe, asyncio.Event())
        task = asyncio.get_running_loop().create_task(self._judge(watch), name=f"verify-{token}")
        self._tasks[key] = task
        self._watches[key] = watch

        def ended(finished: asyncio.Task[None]) -> None:
            self._tasks.pop(key, None)
            self._watches.pop(key, None)
            if not self._claims.alone and self._loop is not None:
                self._loop.run_in_executor(None, self._release, key)
            if not finished.cancelled() and finished.exception() is not None:
                log.error("verification_failed", token=token, error=repr(finished.exception()))

        task.add_done_callback(ended)

    def _release(self, key: tuple[str, bool]) -> None:
        try:
            self._claims.release([_claim(key)])
        except StoreUnavailable as error:
            log.debug("claim_not_released", error=str(error))  # it runs out

    # ---- one attempt -----------------------------------------------------------------------------------------

    async def _judge(self, watch: _Watch) -> None:
        spec = watch.remediation.verify
        if spec is None:
            await self._say(Probed(watch.remediation.id, watch.token, False, "there is no verify to ask"))
            return
        began = self._clock.monotonic()
        left = float(spec["within"])
        if not watch.probe and watch.remediation.verify_until is not None:
            left = min(left, watch.remediation.verify_until - self._clock.now())
        streak, until = Streak(since=began), began + left
        told = False
        while self._current(watch):
            look = await self._look(watch, spec)
            now = self._clock.monotonic()
            if not self._current(watch):
                return  # judged by somebody, or the one who runs it has turned up
            if streak.feed(look.answer, now):
                await self._say(self._verdict(watch, "healed", look.detail))
                return
            if now >= until and not streak.running:
                verdict = streak.verdict_at_deadline()
                if watch.probe or verdict == "failed":
                    await self._say(self._verdict(watch, verdict, look.detail))
                    return
                if not told:
                    await self._say(self._verdict(watch, verdict, look.detail))
                    told = True
            await self._pause(watch, LATER if told else spec["every"])

    def _verdict(self, watch: _Watch, verdict: str, detail: str) -> Move:
        if watch.probe:
            return Probed(watch.remediation.id, watch.token, verdict == "healed", detail)
        return Verified(watch.remediation.id, watch.token, verdict, detail)  # type: ignore[arg-type]

    def _current(self, watch: _Watch) -> bool:
        with self._head.reading() as (state, _):
            now = state.remediations.get(watch.remediation.id)
            if now is None or now.token != watch.token:
                return False
            if now.state == RUNNING:
                return watch.probe and self._lost(now)
            return now.state == (UNKNOWN if watch.probe else VERIFYING)

    def _lost(self, running: Remediation) -> bool:
        """Whether nobody will tell how it ends: the process that runs it is gone."""
        return self._attendance.gone(running.owner, running.steps[-1]["started_at"])

    async def _look(self, watch: _Watch, spec: dict[str, object]) -> Look:
        async with self._limit:
            if spec["kind"] != "resolved":
                try:
                    return await self._probes.look(str(spec["kind"]), str(spec["target"]), PROBE_TIMEOUT)
                except Exception as error:
                    log.exception("probe_failed", remediation_id=watch.remediation.id)
                    return Look("none", f"{type(error).__name__}: {error}")
        return await self._resolved(watch.remediation.id, watch.remediation.fingerprint)

    async def _resolved(self, remediation_id: str, fingerprint: str) -> Look:
        if self._book.configured:
            page = await self._book.page()
            if page is None:
                return Look("none", "Alertmanager is out of reach")
            firing = page.firing(fingerprint)
            if firing is None:
                return Look("none", "Alertmanager restarted lately")
            return Look("bad", "still firing") if firing else Look("good", "no longer firing")
        with self._head.reading() as (state, _):
            remediation = state.remediations.get(remediation_id)
            gone = remediation is not None and remediation.resolved_at is not None
        return Look("good", "resolved") if gone else Look("bad", "no resolve was heard")

    async def _pause(self, watch: _Watch, seconds: float) -> None:
        try:
            await asyncio.wait_for(watch.nudge.wait(), seconds)
        except TimeoutError:
            return
        watch.nudge.clear()

    async def _say(self, move: Move) -> None:
        """Report; while the store does not take it, try again."""
        crash_point("before_verdict")
        while True:
            try:
                await self._head.play(move)
                return
            except StoreUnavailable:
                await asyncio.sleep(1.0)

"""What is wanted of Slack is done: claimed, written down, sent, confirmed; on doubt looked for before it is sent again.

Each piece of work is one row of the outbox, at most one of a kind for each conversation, so that replies stay in order
and edits coalesce: what is sent is drawn when its turn has come. A claim is a lease; whoever finds one that ran out
with a job in it does not know whether it was sent, and looks.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog

from autoheal.core.backoff import delay
from autoheal.core.threads import ThreadPolicy
from autoheal.engine.crash import crash_point
from autoheal.engine.ports import Clock, StoreUnavailable
from autoheal.store.threads import Book, Threads, Work
from autoheal.threader import blocks as kit
from autoheal.threader import talk as talks
from autoheal.threader.channels import OK, RECHECK, Channels
from autoheal.threader.conversation import Line, line_from
from autoheal.threader.job import Drawing, Job, Other, Outcome, Payload
from autoheal.threader.metrics import ThreaderMetrics
from autoheal.threader.mrkdwn import link as anchor
from autoheal.threader.mrkdwn import literal
from autoheal.threader.sending import METHODS, Sender, Trouble
from autoheal.threader.service import SlackState
from autoheal.threader.talk import EDITS, WEBHOOK, Place, Talk

log = structlog.get_logger("threader")

LOOKS = "looks"
"""The bucket of what reads Slack's history."""
REMOVALS = "removals"
"""The bucket of what takes messages back."""
MOST_REMOVED = 20
"""Messages that one conversation has to take back, at most."""
MOST_OTHERS = 5
"""Messages outside of its thread that a conversation remembers."""
PATIENCE = 50
"""Attempts at what would only be nicer: taking a message back, or correcting one outside of the thread."""
MAX_LINES = 15
"""Lines in one reply, at most."""
RETURNED = 1000
"""Conversations that are looked through when a channel can be written to again."""
LAST = 9
"""The rank of what nobody waits for."""
MAX_LEVEL = 3
"""The simplest that a message can be drawn."""
ABSORBED = frozenset({"joined", "hidden", "resolved_some"})
"""What a parent that is posted later tells by its counts."""
BURST = 0.2
"""The part of a minute's edits that may come at once; the rest is spread so that no minute has more than allowed."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `lease`: how long a claim lasts; `settle`: how long a lost message has to appear before it is looked
    for, and how long between two looks, of which there are `looks`; `poll`: between two looks at the store; `ahead`:
    how long a claim may wait for its turn in a bucket; `recheck`: between two looks at what does not work."""

    lease: float = 30.0
    settle: float = 3.0
    looks: int = 2
    poll: float = 0.25
    ahead: float = 1.0
    recheck: float = RECHECK
    batch: int = 16
    hands: int = 8


USUAL = Pace()


@dataclass(slots=True)
class _Step:
    work: Work
    job: Job
    began: float
    """Monotonic: when the claim was last renewed."""
    wait: float
    """Seconds until its turn in the bucket."""


class Poster:
    """Runs in one asyncio loop; the store is asked in threads. `owner` names this process in its claims."""

    def __init__(
        self,
        threads: Threads,
        sender: Sender,
        drawing: Drawing,
        policy: Callable[[], ThreadPolicy],
        clock: Clock,
        owner: str,
        stale_after: float,
        plain: bool,
        pace: Pace = USUAL,
        workspace: Callable[[], str] = lambda: "",
    ) -> None:
        """`workspace` gives the address of the workspace, for links to messages."""
        self.threads, self.sender, self.drawing, self.policy = threads, sender, drawing, policy
        self.clock, self.owner, self.stale_after, self.plain, self.pace = clock, owner, stale_after, plain, pace
        self._workspace = workspace
        self.trouble = Trouble(sender.state, clock)
        self._blocked: dict[str, float] = {}
        self._shut: dict[str, float] = {}
        self._paused_until = 0.0
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._busy: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def channels(self) -> Channels:
        return self.sender.channels

    @property
    def state(self) -> SlackState:
        return self.sender.state

    @property
    def metrics(self) -> ThreaderMetrics:
        return self.sender.metrics

    # ---- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="poster")
        self._tending = asyncio.create_task(self._tend(), name="channels")

    def wake(self) -> None:
        """There is something to do; from any thread."""
        self._loop.call_soon_threadsafe(self._wake.set)

    async def stop(self) -> None:
        """Take nothing more; what is being sent is given a few seconds to be confirmed."""
        self._stopping = True
        self._wake.set()
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=2)
            self._task.cancel()
        if self._busy:
            await asyncio.wait(set(self._busy), timeout=5)
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            took = 0
            free = self.pace.hands - len(self._busy)
            try:
                if free > 0 and self.clock.now() >= self._paused_until:
                    took = await self._take(min(self.pace.batch, free))
            except StoreUnavailable as error:
                log.debug("threads_not_read", error=str(error))
                await asyncio.sleep(1.0)
            except Exception:
                log.exception("poster_failed")
                await asyncio.sleep(1.0)
            if not took:
                try:
                    await asyncio.wait_for(self._wake.wait(), self.pace.poll)
                except TimeoutError:
                    pass

    async def _tend(self) -> None:
        """Look from time to time whether what did not work does so now."""
        while not self._stopping:
            try:
                mended = await self.channels.recheck(self.policy().everywhere)
                if mended:
                    await asyncio.to_thread(self._return, mended)
                    self._wake.set()
            except StoreUnavailable as error:
                log.debug("channels_not_rechecked", error=str(error))
            except Exception:
                log.exception("recheck_failed")
            await asyncio.sleep(self.pace.recheck)

    def _return(self, names: Collection[str]) -> None:
        """Channels can be written to again: what was left behind there is corrected."""
        for stored in self.threads.list(None, RETURNED):
            talk = talks.load(stored)
            if talk is not None and any(other["channel"] in names for other in talk.place.others):
                with self.threads.transaction() as book:
                    book.want(talk.key, "edit", EDITS, LAST, book.now)

    async def settled(self) -> bool:
        """Whether nothing is known to stand in the way of posting. Where nothing waits any more, somebody has posted
        what we could not."""
        if self.trouble:
            for key in list(self.trouble.stuck):
                stored = await asyncio.to_thread(self.threads.get, key)
                talk = talks.load(stored) if stored is not None else None
                if talk is None or talk.place.ts:
                    self.trouble.stuck.discard(key)
            figures = await asyncio.to_thread(self.threads.figures)
            if not sum(figures.depth.values()):
                self.trouble.over()
        return not self.trouble

    async def _take(self, limit: int) -> int:
        now = self.clock.now()
        self._blocked = {bucket: until for bucket, until in self._blocked.items() if until > now}
        works = await asyncio.to_thread(self._claim, limit, list(self._blocked))
        for work in works:
            task = asyncio.create_task(self._serve(work), name="post")
            self._busy.add(task)
            task.add_done_callback(self._served)
        return len(works)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._busy.discard(task)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            self.metrics.errors.labels("poster").inc()
            log.error("post_failed", exc_info=task.exception())

    def _claim(self, limit: int, blocked: Sequence[str]) -> list[Work]:
        with self.threads.transaction() as book:
            return book.claim(self.owner, self.pace.lease, limit, blocked)

    async def _serve(self, work: Work) -> None:
        """One conversation's work of one kind, for as long as there is some and it may be done."""
        try:
            step = await asyncio.to_thread(self._begin, work)
            while step is not None:
                crash_point("threader.claimed")
                await asyncio.sleep(step.wait)
                outcome = self._kept_back(step.job) or await self.sender.do(step.job, step.began + self.pace.lease / 2)
                crash_point("threader.sent")
                step = await asyncio.to_thread(self._end, step, outcome)
                crash_point("threader.confirmed")
        except StoreUnavailable as error:
            log.debug("work_left", error=str(error))  # the claim runs out, and whoever takes it up looks

    def _kept_back(self, job: Job) -> Outcome | None:
        """It had its turn, but since then Slack has turned another one away, and wants to hear of none."""
        rest = self._shut.get(self._rate(job)[0], 0.0) - self.clock.monotonic()
        return Outcome("limited", seconds=rest) if rest > 0 else None

    # ---- deciding ----------------------------------------------------------------------------------------------

    def _begin(self, work: Work) -> _Step | None:
        with self.threads.transaction() as book:
            stored = book.lock([work.key]).get(work.key)
            held = book.work(work.key, work.kind)
            if held is None or held.owner != self.owner:
                return None
            talk = talks.load(stored) if stored is not None else None
            if talk is None:
                book.done(work.key, work.kind)
                return None
            job = Job.load(held.job)
            if job is not None and job.what in ("remove", "other"):
                job = None  # doing it twice does no harm
            elif job is not None and job.what == "edit":
                job, talk.place.drawn = None, ""  # nobody knows what the parent shows: it is drawn and sent anew
            elif job is not None and job.sent_at and not job.resting:
                job.doubtful, job.looks = True, 0  # whoever had it is gone: nobody knows whether it was sent
            job = job or self._plan(book, talk, held.kind)
            talks.save(book, talk, self.policy(), self.stale_after, self.plain, but=work.kind)
            return self._launch(book, held, job)

    def _end(self, step: _Step, outcome: Outcome) -> _Step | None:
        """Confirm, and what is next."""
        work, job = step.work, step.job
        with self.threads.transaction() as book:
            stored = book.lock([work.key]).get(work.key)
            talk = talks.load(stored) if stored is not None else None
            held = book.work(work.key, work.kind)
            known = Job.load(held.job) if held is not None else None
            if talk is None or held is None or held.owner != self.owner or known is None or known.nonce != job.nonce:
                self._late(book, talk, job, outcome)
                return None
            self._too_many(book, talk, outcome.doubles)
            again = self._apply(book, talk, held, job, outcome)
            rests = held.at > book.now or self._stopping
            following = again if rests else again or self._plan(book, talk, held.kind)
            talks.save(book, talk, self.policy(), self.stale_after, self.plain, but=work.kind)
            if rests:
                self._release(book, held, again)
                return None
            return self._launch(book, held, following)

    def _late(self, book: Book, talk: Talk | None, job: Job, outcome: Outcome) -> None:
        """Our claim was taken over while we sent. If the other one has posted the same, ours is one too many."""
        if talk is None or job.what == "plain":
            return
        place, doubles = talk.place, list(outcome.doubles)
        if outcome.kind == "posted" and place.last_nonce == job.nonce and place.last_ts != outcome.ts:
            doubles.append((outcome.channel, outcome.ts))
        if doubles:
            self._too_many(book, talk, doubles)
            talks.save(book, talk, self.policy(), self.stale_after, self.plain)

    def _too_many(self, book: Book, talk: Talk, doubles: Sequence[tuple[str, str]]) -> None:
        """Put on record what is to be taken back: whoever does that may be turned away, or die."""
        place = talk.place
        fresh = [list(one) for one in doubles if list(one) not in place.remove and one[1] != place.last_ts]
        if fresh:
            place.remove = [*place.remove, *fresh][-MOST_REMOVED:]
            book.want(talk.key, "edit", EDITS, LAST, book.now)

    def _launch(self, book: Book, held: Work, job: Job | None) -> _Step | None:
        """Put on record what is sent or looked for now; None where there is nothing, or not yet."""
        if job is None:
            book.done(held.key, held.kind)
            return None
        bucket, interval, burst = self._rate(job)
        taken, at = book.reserve(bucket, interval, burst, self.pace.ahead)
        held.bucket = bucket
        if not taken:
            self._blocked[bucket] = held.at = at
            self._release(book, held, job if job.sent_at else None)
            return None
        job.sent_at, job.resting = job.sent_at or at, False
        held.job, held.owner, held.until = job.dump(), self.owner, book.now + self.pace.lease
        book.put(held)
        return _Step(held, job, self.clock.monotonic(), max(0.0, at - book.now))

    def _release(self, book: Book, held: Work, job: Job | None) -> None:
        if job is not None:
            job.resting = True
        held.job = job.dump() if job is not None else None
        held.owner, held.until = None, None
        book.put(held)

    def _rate(self, job: Job) -> tuple[str, float, float]:
        """The bucket, the seconds between two, and how many may come at once."""
        policy = self.policy()
        spread = 60.0 / (policy.edits_per_minute * (1 - BURST))
        at_once = max(1.0, policy.edits_per_minute * BURST)
        if job.doubtful:
            return LOOKS, spread, at_once
        if job.what in METHODS:
            return job.bucket, spread, at_once
        return job.bucket, 1.0 / policy.posts_per_second, 1.0

    def _plan(self, book: Book, talk: Talk, kind: str) -> Job | None:
        c, place = talk.c, talk.place
        if kind == "edit":
            return self._edit(talk) or self._remove(place) or self._other(talk)
        if self.plain:
            return self._plain(talk)
        if not place.ts:
            return self._parent(book, talk)
        if not talk.unsaid:
            return None
        line = talk.unsaid[0]
        if line.elsewhere:
            payload = self.drawing.pointer(line, c, self.link(place.id, place.ts))
            bucket, simple = f"post:{line.elsewhere}", self._simple(talk, payload)
            return Job(_nonce(), "pointer", line.elsewhere, simple, bucket, upto=line.first, drawn=_state(talk))
        lines = _together(talk.unsaid)
        payload = self._simple(talk, self.drawing.reply(lines, c))
        covers = [[line.first, line.last] for line in lines]
        aloud = any(line.broadcast for line in lines)
        bucket = f"post:{place.channel}"
        return Job(_nonce(), "reply", place.id, payload, bucket, place.ts, aloud, covers, lines[-1].last)

    def _parent(self, book: Book, talk: Talk) -> Job | None:
        c, place = talk.c, talk.place
        if not c.number:
            return None
        name = self._home(book, talk) or c.channel
        note = ""
        if name != c.channel:
            note = f"This belongs to {c.channel}, which cannot be written to ({self.channels.why_not(c.channel)})."
        elif place.lost:
            note = "The first message of this conversation was deleted; it goes on here."
        self._hush(talk)
        c.note, place.channel = note, name
        payload = self.drawing.parent(c)
        covered = [line for line in talk.unsaid if line.kind in ABSORBED and not line.broadcast]
        covers = [[1, 1], *([line.first, line.last] for line in covered)]
        return Job(
            _nonce(),
            "parent",
            name,
            self._simple(talk, payload),
            f"post:{name}",
            covers=covers,
            drawn=talks.digest(payload),
            changes=place.changes,
        )

    def _home(self, book: Book, talk: Talk) -> str | None:
        """The channel that a conversation belongs to, else the next best that can be written to."""
        policy = self.policy()
        return self.channels.choose([talk.c.channel, policy.fallback, *policy.channels.values()], book.now)

    def _hush(self, talk: Talk) -> None:
        """Nobody is called by a first message of what is over already."""
        if not talk.c.open and talk.c.storm is None:
            talk.c.mentions = []
            talk.unsaid = [replace(line, mentions=[]) for line in talk.unsaid]

    def _plain(self, talk: Talk) -> Job | None:
        if not talk.place.ts:
            self._hush(talk)
        c, lines = talk.c, _together(talk.unsaid)
        if not lines and talk.place.ts:
            return None
        news = talk.place.ts or any(line.kind not in ABSORBED for line in lines)
        payload = self._simple(talk, self.drawing.plain(c, lines if news else []))
        covers = [[line.first, line.last] for line in lines]
        upto, changes = lines[-1].last if lines else 0, talk.place.changes
        return Job(_nonce(), "plain", "webhook", payload, WEBHOOK, covers=covers, upto=upto, changes=changes)

    def _edit(self, talk: Talk) -> Job | None:
        place = talk.place
        if not place.ts or place.frozen:
            return None
        payload = self.drawing.parent(talk.c)
        drawn = talks.digest(payload)
        if drawn == place.drawn:
            place.changes = 0
            return None
        return Job(
            _nonce(), "edit", place.id, self._simple(talk, payload), EDITS, place.ts, drawn=drawn, changes=place.changes
        )

    def _remove(self, place: Place) -> Job | None:
        """Take back what is one too many."""
        if not place.remove:
            return None
        channel, ts = place.remove[0]
        return Job(_nonce(), "remove", channel, {"text": ""}, REMOVALS, ts)

    def _other(self, talk: Talk) -> Job | None:
        """Correct what stands elsewhere and is not true any more."""
        place = talk.place
        if not place.ts:
            return None
        for other in place.others:
            if other["line"] is None:
                if not self.channels.why_not(other["channel"]):
                    return _correction(other, self._moved(place), "moved")
            elif other["shown"] != _state(talk):
                line = replace(line_from(other["line"]), mentions=[])
                payload = self.drawing.pointer(line, talk.c, self.link(place.id, place.ts))
                return _correction(other, self._simple(talk, payload), _state(talk))
        return None

    def _moved(self, place: Place) -> Payload:
        """What is left where a conversation was."""
        name = literal(place.channel, 80)
        said = f"This conversation goes on in {name}."
        way = anchor(self.link(place.id, place.ts), "Go to the thread")
        return {"text": said, "blocks": kit.packed([f"{said} {way}".strip()])}

    def _simple(self, talk: Talk, payload: Payload) -> Payload:
        return self.drawing.simpler(payload, talk.place.level) if talk.place.level else payload

    # ---- what came of it ---------------------------------------------------------------------------------------

    def _apply(self, book: Book, talk: Talk, held: Work, job: Job, outcome: Outcome) -> Job | None:
        """Take an outcome into the conversation; the job where it has to go on, with `held.at` set for when."""
        place, kind = talk.place, outcome.kind
        held.at = book.now
        method = METHODS.get(job.what, "post")
        if outcome.outage:
            self.trouble.failed(method, outcome.code)
        if kind in ("posted", "edited", "removed"):
            held.tries = 0
        if kind in ("posted", "edited"):
            self.trouble.worked(method, talk.key)
        if job.what in ("remove", "other"):
            return self._aside(book, talk, held, job, outcome)
        if kind == "posted":
            self._posted(book, talk, job, outcome)
            return None
        if kind == "edited":
            self.metrics.coalesced.inc(max(0, job.changes - 1))
            place.drawn, place.changes = job.drawn, max(0, place.changes - job.changes)
            return None
        if kind == "doubt":
            return self._doubt(book, held, job)
        if kind in ("absent", "blind"):
            job.looks += 1
            if kind == "absent" and job.looks < self.pace.looks:
                held.at = book.now + self.pace.settle
                return job
            self.metrics.retried.labels("lost").inc()
            job.doubtful = False
            return job
        if kind in ("orphan", "gone"):
            self._gone(talk, job)
            return None
        if kind == "closed":
            self._closed(book, talk, held, job, outcome)
            return None
        if kind == "fixed":
            place.frozen = True
            self.state.notes["edits"] = (
                "the workspace does not let messages be edited: parents stay as they were posted"
            )
            return None
        if kind == "large" and place.level < MAX_LEVEL:
            place.level += 1
            return None
        if kind == "later" and job.what == "edit":
            place.drawn = ""  # it may have been done: what was shown before is not known to be shown still
        return self._later(book, held, job, outcome)

    def _aside(self, book: Book, talk: Talk, held: Work, job: Job, outcome: Outcome) -> Job | None:
        """What came of taking a message back, or of correcting one elsewhere; what is refused is given up."""
        place, kind = talk.place, outcome.kind
        if kind in ("limited", "down") or (kind == "later" and held.tries < PATIENCE):
            return self._later(book, held, job, outcome)
        held.tries = 0
        if job.what == "remove":
            place.remove = [one for one in place.remove if one != [job.channel, job.thread_ts]]
            if kind not in ("removed", "gone"):
                log.warning("message_not_removed", channel=job.channel, ts=job.thread_ts, code=outcome.code)
            return None
        for other in [one for one in place.others if (one["id"], one["ts"]) == (job.channel, job.thread_ts)]:
            if kind == "edited" and other["line"] is not None:
                other["shown"] = job.drawn
            else:
                place.others.remove(other)
        return None

    def _remember(self, place: Place, other: Other) -> None:
        place.others = [*place.others, dict(other)][-MOST_OTHERS:]

    def _posted(self, book: Book, talk: Talk, job: Job, outcome: Outcome) -> None:
        place = talk.place
        place.last_nonce, place.last_ts = job.nonce, outcome.ts
        if job.what in ("parent", "pointer", "reply"):
            name = place.channel if job.what == "reply" else job.channel
            self.channels.learn(book, name, outcome.channel, OK)
        if job.what == "pointer":
            for line in talk.unsaid:
                if line.first == job.upto:
                    said = asdict(replace(line, elsewhere=""))
                    other = Other(channel=job.channel, id=outcome.channel, ts=outcome.ts, line=said, shown=job.drawn)
                    self._remember(place, other)
                    line.elsewhere = ""
            return
        if job.what == "parent":
            place.id, place.ts, place.drawn = outcome.channel, outcome.ts, job.drawn
            told = {tuple(pair) for pair in job.covers}
            talk.unsaid = [line for line in talk.unsaid if (line.first, line.last) not in told]
        else:
            talk.unsaid = _rest(talk.unsaid, job.upto)
        if job.what == "plain":
            place.ts, place.id = "webhook", "webhook"
        if job.what in ("parent", "plain"):
            place.changes = max(0, place.changes - job.changes)
        self._count(talk, job)
        if not talk.unsaid:
            place.level = 0

    def _count(self, talk: Talk, job: Job) -> None:
        """Every transition is told once: whenever nothing waits, as many must have been told as there were."""
        place, c = talk.place, talk.c
        first = 1 if not place.told and job.what == "plain" else 0  # the first message tells of the beginning
        fresh = [pair for pair in job.covers if pair != [1, 1] or not place.told]
        place.told += first + sum(last - first + 1 for first, last in fresh)
        if talk.unsaid or c.storm is not None:
            return
        held_back = c.digest.last - c.digest.first + 1 if c.digest is not None else 0
        lost = c.number - held_back - place.told
        if lost > 0:
            self.metrics.dropped.inc(lost)
            log.error("lines_lost", conversation=c.key, count=lost)
        place.told += lost

    def _doubt(self, book: Book, held: Work, job: Job) -> Job:
        job.doubtful, job.looks = True, 0  # what was looked for before was another attempt
        held.at = book.now + self.pace.settle
        return job

    def _gone(self, talk: Talk, job: Job) -> None:
        """The parent is not there any more: a new one is posted, and what was to be said is said there."""
        if job.what in ("parent", "pointer"):
            return
        self.metrics.retried.labels("parent_gone").inc()
        place = talk.place
        place.ts, place.drawn, place.changes = "", "", max(1, place.changes)
        place.lost += 1

    def _closed(self, book: Book, talk: Talk, held: Work, job: Job, outcome: Outcome) -> None:
        """The channel cannot be written to: the conversation goes on in another one, and says so."""
        place = talk.place
        name = job.channel if job.what in ("parent", "pointer") else place.channel
        self.channels.learn(book, name, "", outcome.code)
        self.metrics.retried.labels("channel").inc()
        if job.what == "pointer":
            for line in talk.unsaid:
                if line.first == job.upto:
                    line.elsewhere = ""
            return
        if job.what != "parent":
            talk.c.earlier = self.link(place.id, place.ts)
            self._remember(place, Other(channel=place.channel, id=place.id, ts=place.ts, line=None, shown=""))
            place.ts, place.drawn, place.changes = "", "", max(1, place.changes)
        if self._home(book, talk) is None:
            held.tries += 1
            held.at = book.now + delay(held.tries, 5.0, 60.0, secrets.randbelow(1000) / 1000, "equal")
            self.trouble.nowhere(talk.key)

    def _later(self, book: Book, held: Work, job: Job, outcome: Outcome) -> Job | None:
        held.tries = max(1, held.tries) if outcome.kind == "limited" else held.tries + 1
        pause = max(outcome.seconds, delay(held.tries, 1.0, 60.0, secrets.randbelow(1000) / 1000, "equal"))
        if outcome.kind == "limited":
            pause = outcome.seconds
            bucket = self._rate(job)[0]
            book.block(bucket, book.now + pause)
            self._blocked[bucket] = book.now + pause
            self._shut[bucket] = self.clock.monotonic() + pause
        if outcome.kind == "down":
            pause = max(pause, outcome.seconds)
            self._paused_until = self.clock.now() + outcome.seconds
            self.trouble.refused(outcome.code)
        self.metrics.retried.labels(outcome.kind).inc()
        held.at = book.now + pause
        if job.doubtful:
            return job
        if job.looks:  # it was looked for and is to be sent again: should this attempt be lost, look again
            job.doubtful = False
        return job if job.looks else None

    def link(self, channel: str, ts: str) -> str:
        """Where a message is, for a browser; empty where that is not known."""
        base = self._workspace().rstrip("/")
        return f"{base}/archives/{channel}/p{ts.replace('.', '')}" if base and ts and channel else ""


def _correction(other: dict[str, Any], payload: Payload, shown: str) -> Job:
    return Job(_nonce(), "other", other["id"], payload, EDITS, other["ts"], drawn=shown)


def _state(talk: Talk) -> str:
    return "firing" if talk.c.open else "resolved"


def _nonce() -> str:
    return secrets.token_hex(12)


def _together(unsaid: Sequence[Line]) -> list[Line]:
    """The lines of the next reply: until one that another channel has to be told of first, or there are enough."""
    lines: list[Line] = []
    for line in unsaid:
        if lines and (line.elsewhere or len(lines) >= MAX_LINES):
            break
        lines.append(line)
    return lines


def _rest(unsaid: Sequence[Line], upto: int) -> list[Line]:
    """What is left after everything up to a number was said; of a line that grew meanwhile, its end."""
    left = [line for line in unsaid if line.last > upto]
    return [line if line.first > upto else replace(line, first=upto + 1) for line in left]

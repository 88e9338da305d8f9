"""What is wanted of Slack is done: claimed, written down, sent, confirmed; on doubt looked for before it is sent again.

Each piece of work is one row of the outbox, at most one of a kind for each conversation, so that replies stay in order
and edits coalesce: what is sent is drawn when its turn has come. A claim is a lease; whoever finds one that ran out
with a job in it does not know whether it was sent, and looks.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from autoheal.core.backoff import delay
from autoheal.core.threads import ThreadPolicy
from autoheal.engine.crash import crash_point
from autoheal.engine.ports import Clock, StoreUnavailable
from autoheal.store.threads import Book, Threads, Work
from autoheal.threader import talk as talks
from autoheal.threader.channels import OK, Channels
from autoheal.threader.conversation import Line
from autoheal.threader.job import Drawing, Job, Outcome, Payload
from autoheal.threader.metrics import ThreaderMetrics
from autoheal.threader.sending import Sender
from autoheal.threader.service import SlackState
from autoheal.threader.talk import EDITS, WEBHOOK, Talk

log = structlog.get_logger("threader")

LOOKS = "looks"
"""The bucket of what reads Slack's history."""
MAX_LINES = 15
"""Lines in one reply, at most."""
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
    how long a claim may wait for its turn in a bucket."""

    lease: float = 30.0
    settle: float = 3.0
    looks: int = 2
    poll: float = 0.25
    ahead: float = 1.0
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
        self._blocked: dict[str, float] = {}
        self._shut: dict[str, float] = {}
        self._paused_until = 0.0
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._busy: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
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

    def wake(self) -> None:
        """There is something to do; from any thread."""
        self._loop.call_soon_threadsafe(self._wake.set)

    async def stop(self) -> None:
        """Take nothing more; what is being sent is given a few seconds to be confirmed."""
        self._stopping = True
        self._wake.set()
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
                step, double = await asyncio.to_thread(self._end, step, outcome)
                crash_point("threader.confirmed")
                if double is not None:
                    await self.sender.remove(*double)
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
            if job is not None and job.what == "edit":
                job, talk.place.drawn = None, ""  # nobody knows what the parent shows: it is drawn and sent anew
            elif job is not None and job.sent_at and not job.resting:
                job.doubtful, job.looks = True, 0  # whoever had it is gone: nobody knows whether it was sent
            job = job or self._plan(book, talk, held.kind)
            talks.save(book, talk, self.policy(), self.stale_after, self.plain, but=work.kind)
            return self._launch(book, held, job)

    def _end(self, step: _Step, outcome: Outcome) -> tuple[_Step | None, tuple[str, str] | None]:
        """Confirm, and what is next; and a message of ours that is one too many."""
        work, job = step.work, step.job
        with self.threads.transaction() as book:
            stored = book.lock([work.key]).get(work.key)
            talk = talks.load(stored) if stored is not None else None
            held = book.work(work.key, work.kind)
            known = Job.load(held.job) if held is not None else None
            if talk is None or held is None or held.owner != self.owner or known is None or known.nonce != job.nonce:
                return None, self._late(talk, job, outcome)
            double = (outcome.channel, outcome.ts) if outcome.kind == "orphan" else None
            again = self._apply(book, talk, held, job, outcome)
            rests = held.at > book.now or self._stopping
            following = again if rests else again or self._plan(book, talk, held.kind)
            talks.save(book, talk, self.policy(), self.stale_after, self.plain, but=work.kind)
            if rests:
                self._release(book, held, again)
                return None, double
            return self._launch(book, held, following), double

    def _late(self, talk: Talk | None, job: Job, outcome: Outcome) -> tuple[str, str] | None:
        """Our claim was taken over while we sent. If the other one has posted the same, ours is one too many."""
        if talk is None or outcome.kind != "posted" or job.what == "plain":
            return None
        place = talk.place
        return (
            (outcome.channel, outcome.ts) if (place.last_nonce == job.nonce and place.last_ts != outcome.ts) else None
        )

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
        if job.what == "edit":
            return EDITS, spread, at_once
        return job.bucket, 1.0 / policy.posts_per_second, 1.0

    def _plan(self, book: Book, talk: Talk, kind: str) -> Job | None:
        c, place = talk.c, talk.place
        if kind == "edit":
            return self._edit(talk)
        if self.plain:
            return self._plain(talk)
        if not place.ts:
            return self._parent(book, talk)
        if not talk.unsaid:
            return None
        line = talk.unsaid[0]
        if line.elsewhere:
            payload = self.drawing.pointer(line, c, self.link(place.id, place.ts))
            bucket = f"post:{line.elsewhere}"
            return Job(_nonce(), "pointer", line.elsewhere, self._simple(talk, payload), bucket, upto=line.first)
        lines = _together(talk.unsaid)
        payload = self._simple(talk, self.drawing.reply(lines, c))
        covers = [[line.first, line.last] for line in lines]
        aloud = any(line.broadcast for line in lines)
        bucket = f"post:{place.channel}"
        return Job(_nonce(), "reply", place.id, payload, bucket, place.ts, aloud, covers, lines[-1].last)

    def _parent(self, book: Book, talk: Talk) -> Job | None:
        c, place, policy = talk.c, talk.place, self.policy()
        if not c.number:
            return None
        wanted = [c.channel, *policy.channels.values(), policy.fallback]
        name = self.channels.choose([c.channel, policy.fallback, *wanted], book.now) or c.channel
        note = ""
        if name != c.channel:
            note = f"This belongs to {c.channel}, which cannot be written to ({self.channels.why_not(c.channel)})."
        elif place.lost:
            note = "The first message of this conversation was deleted; it goes on here."
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

    def _plain(self, talk: Talk) -> Job | None:
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

    def _simple(self, talk: Talk, payload: Payload) -> Payload:
        return self.drawing.simpler(payload, talk.place.level) if talk.place.level else payload

    # ---- what came of it ---------------------------------------------------------------------------------------

    def _apply(self, book: Book, talk: Talk, held: Work, job: Job, outcome: Outcome) -> Job | None:
        """Take an outcome into the conversation; the job where it has to go on, with `held.at` set for when."""
        place, kind = talk.place, outcome.kind
        held.at = book.now
        if kind in ("posted", "edited"):
            held.tries = 0
            self._works()
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

    def _posted(self, book: Book, talk: Talk, job: Job, outcome: Outcome) -> None:
        place = talk.place
        place.last_nonce, place.last_ts = job.nonce, outcome.ts
        if job.what in ("parent", "pointer"):
            self.channels.learn(book, job.channel, outcome.channel, OK)
        if job.what == "pointer":
            for line in talk.unsaid:
                if line.first == job.upto:
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
            place.ts, place.drawn, place.changes = "", "", max(1, place.changes)
        policy = self.policy()
        if self.channels.choose([talk.c.channel, policy.fallback, *policy.channels.values()], book.now) is None:
            held.tries += 1
            held.at = book.now + delay(held.tries, 5.0, 60.0, secrets.randbelow(1000) / 1000, "equal")
            self.state.state, self.state.detail = "down", "no channel of the policy can be written to"

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
            self._down(outcome.code)
        self.metrics.retried.labels(outcome.kind).inc()
        held.at = book.now + pause
        if job.doubtful:
            return job
        if job.looks:  # it was looked for and is to be sent again: should this attempt be lost, look again
            job.doubtful = False
        return job if job.looks else None

    def _works(self) -> None:
        if self.state.state in ("down", "unknown"):
            self.state.state, self.state.detail, self.state.since = "ok", "", self.clock.now()

    def _down(self, code: str) -> None:
        if self.state.state != "down":
            log.error("slack_down", code=code)
            self.state.since = self.clock.now()
        self.state.state, self.state.detail = "down", f"Slack refuses us: {code}"

    def link(self, channel: str, ts: str) -> str:
        """Where a message is, for a browser; empty where that is not known."""
        base = self._workspace().rstrip("/")
        return f"{base}/archives/{channel}/p{ts.replace('.', '')}" if base and ts and channel else ""


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

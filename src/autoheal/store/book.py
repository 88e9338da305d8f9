"""One transaction on the conversations: lock, read, save, note what is to be done in Slack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from autoheal.engine.ports import StoreUnavailable
from autoheal.store.book_sql import Dialect, Link, Statement
from autoheal.store.order import CHANNELS, FREE, THREADS, WORK, Order, Place


@dataclass(slots=True)
class Stored:
    """A conversation's row. `data`, `unsaid` and `place` are texts that the store does not read, `lines` is how much
    there is in `unsaid`; `due`: when the time alone changes something. `Book.save` sets `updated`.

    `found`: whether there was something in it.
    """

    key: str
    data: str = ""
    unsaid: str = "[]"
    lines: int = 0
    place: str = ""
    open: bool = False
    due: float | None = None
    updated: float = 0.0
    found: bool = True


@dataclass(slots=True)
class Work:
    """Something to be done in Slack for one conversation: from `at` on, the smallest `rank` first, then what is wanted
    `since` longest. `owner` has it until `until`. `job`: what was about to be sent, so that the next owner can find out
    whether it was."""

    key: str
    kind: str
    bucket: str
    rank: int
    at: float
    owner: str | None = None
    until: float | None = None
    job: str | None = None
    tries: int = 0
    since: float = 0.0


@dataclass(slots=True)
class Channel:
    """What is known of a channel by its name: it has been in this `state` `since`, and was last asked for `checked`."""

    name: str
    id: str
    state: str
    detail: str
    since: float
    checked: float


class Stray(NamedTuple):
    """News of an alert that has no conversation: event `id` of the ledger, heard `at`."""

    fingerprint: str
    id: int
    data: str
    at: float


BUSY_SECONDS = 0.05
"""When to ask for a bucket again that another transaction has at this moment."""

MOST_AHEAD = 10.0
"""Nobody reserves of a bucket further ahead than this."""


class NotHeld(RuntimeError):
    """A row was to be written by a transaction that does not hold it."""


class Book:
    """A transaction (`store.threads` opens it). What is written goes out with the commit, or before a question that it
    could change: to lock, save and want is two round trips. Between two calls no more than 2 s may pass: the server
    gives up on who holds rows and is frozen.

    Rows are waited for in one order (`store.order`): conversations by key, then their work, then channels. Writes are
    put into that order; whoever locks against it waits for nobody: the transaction fails (StoreUnavailable) where
    somebody has the row. So several conversations are best locked by one `lock`. `claim`, `due`, `quiet`, `take`,
    `strays` and `cursor` pass over what somebody else holds, and may come at any time.
    """

    def __init__(self, dialect: Dialect, link: Link) -> None:
        self._sql = dialect.sql
        self._listed = dialect.listed
        self._link = link
        self._order = Order()
        self._kept: list[tuple[Place, str, Statement]] = []
        self._now: float | None = None
        self._cursor = False
        self._hasty = dialect.hasty
        self._haste = False
        self._blocks: dict[str, float] = {}

    @property
    def now(self) -> float:
        """Unix seconds by the database's clock (PostgreSQL) or the given one, read once: with the first question, after
        whatever that waited for."""
        if self._now is None:
            self._ask((), ())
        assert self._now is not None
        return self._now

    # ---- conversations ---------------------------------------------------------------------------------------------

    def lock(self, keys: Iterable[str]) -> dict[str, Stored]:
        """Hold these conversations, waiting for who has them; those that there are."""
        wanted = sorted(set(keys))
        if not wanted:
            return {}
        for key in wanted:
            self._wait((THREADS, key, ""))
        return self._hold(self._ask(("threads",), [self._of("lock", self._listed(wanted))])[0])

    def create(self, key: str) -> Stored:
        """Hold this conversation, and make it where there is none (`found` is False then)."""
        self._wait((THREADS, key, ""))
        for _ in range(3):
            questions = [self._of("create", key), self._of("lock", self._listed([key]))]
            rows = self._ask(("threads",), questions)[1]
            if rows:
                return self._hold(rows)[key]
        raise StoreUnavailable(f"conversation {key!r} is deleted whenever it is made")

    def save(self, stored: Stored, members: Mapping[str, str] | None = None) -> None:
        """Write back a conversation that is held. `members`: the name of each alert by fingerprint, which replace those
        that were there."""
        place = self._must_hold(stored.key)
        stored.updated = self.now
        values = (stored.data, stored.unsaid, stored.lines, stored.place, int(stored.open), stored.due, stored.updated)
        self._write(place, "threads", "save", *values, stored.key)
        if members is not None:
            self._write(place, "threads", "leave", stored.key, self._listed(members))
            if members:
                self._write(place, "threads", "join", stored.key, orjson.dumps(dict(members)).decode())

    def delete(self, key: str) -> None:
        """Forget a conversation that is held, and what was to be done for it."""
        place = self._must_hold(key)
        self._kept = [one for one in self._kept if one[0][:2] != (WORK, key)]
        self._write(place, "threads", "leave_all", key)
        self._write(place, "threads", "delete", key)
        self._write((WORK, key, ""), "work", "done_all", key)

    def keys_of(self, fingerprints: Iterable[str]) -> dict[str, list[str]]:
        """The open conversations about each of these alerts that has one."""
        found: dict[str, list[str]] = {}
        for fingerprint, key in self._ask(("threads",), [self._of("keys_of", self._listed(set(fingerprints)))])[0]:
            found.setdefault(fingerprint, []).append(key)
        return found

    def keys_named(self, alertname: str | None, limit: int = 2000) -> list[str]:
        """The open conversations about an alert of this name, or all open ones; the first `limit` by key."""
        if alertname is None:
            question = self._of("keys_open", limit)
        else:
            question = self._of("keys_named", alertname, limit)
        return [key for (key,) in self._ask(("threads",), [question])[0]]

    def due(self, limit: int) -> dict[str, Stored]:
        """Conversations whose time has come, the longest due first, and held; not those that somebody else has."""
        return self._hold(self._ask(("threads",), [self._of("due", limit)])[0])

    def quiet(self, before: float, limit: int) -> dict[str, Stored]:
        """Conversations that are closed, wait for nothing and were last saved before then; as `due`."""
        return self._hold(self._ask(("threads",), [self._of("quiet", before, limit)])[0])

    # ---- work ------------------------------------------------------------------------------------------------------

    def want(self, key: str, kind: str, bucket: str, rank: int, at: float) -> None:
        """Let this be done from `at` on. Where it is wanted already, the better rank and the earlier time count, except
        that what failed before, or has a job, keeps its time; where somebody has it, nothing is changed."""
        self._write((WORK, key, kind), "work", "want", key, kind, bucket, rank, at)

    def work(self, key: str, kind: str) -> Work | None:
        """What is wanted, held."""
        place = (WORK, key, kind)
        self._wait(place)
        rows = self._ask(("work",), [self._of("work", key, kind)])[0]
        if not rows:
            return None
        self._order.has(place)
        return Work(*rows[0])

    def put(self, work: Work) -> None:
        """Write it as it is given."""
        who = (work.owner, work.until, work.job, work.tries, work.since)
        values = (work.key, work.kind, work.bucket, work.rank, work.at, *who)
        self._write((WORK, work.key, work.kind), "work", "put", *values)

    def done(self, key: str, kind: str) -> None:
        """It is not wanted any more."""
        self._write((WORK, key, kind), "work", "done", key, kind)

    def claim(self, owner: str, lease: float, limit: int, skip_buckets: Iterable[str] = ()) -> list[Work]:
        """Take what may be done now and nobody has, the best first, for `lease` seconds."""
        found = []
        for *row, now in self._ask(("work",), [self._of("ready", self._listed(skip_buckets), limit)])[0]:
            work = Work(*row)
            work.owner, work.until = owner, now + lease
            self._order.has((WORK, work.key, work.kind))
            self.put(work)
            found.append(work)
        return found

    def holds(self, work: Work) -> bool:
        """Whether it is still as we claimed it or wrote it last: nobody else has had it since. It is held then."""
        found = self.work(work.key, work.kind)
        mine = (work.owner, work.until, work.job)
        return found is not None and (found.owner, found.until, found.job) == mine

    def waiting(self, kind: str) -> dict[str, int]:
        """How much of a kind of work there is, by bucket."""
        return {bucket: int(count) for bucket, count in self._ask(("work",), [self._of("waiting", kind)])[0]}

    # ---- rates -----------------------------------------------------------------------------------------------------

    def take(self, name: str, interval: float, burst: float) -> float | None:
        """Take one of a bucket that gets one every `interval` seconds and holds up to `burst` (at least 1): None where
        that was possible, otherwise when to ask again. What is taken is given back if the transaction fails."""
        taken, at = self.reserve(name, interval, burst, 0.0)
        return None if taken else at

    def reserve(self, name: str, interval: float, burst: float, ahead: float) -> tuple[bool, float]:
        """As `take`, but also what the bucket will hold at most `ahead` seconds (up to `MOST_AHEAD`) from now: (True,
        when it may be used), or (False, when to ask again).

        The generic cell rate algorithm (ITU-T I.371): `tat` is when the bucket would be full again.
        """
        rows = self._ask(("buckets",), [self._of("bucket", name)])[0]
        if not rows and self._link.bear(name):
            rows = self._ask(("buckets",), [self._of("bucket", name)])[0]
        if not rows:
            return False, self.now + BUSY_SECONDS
        tat, shut, now = rows[0]
        ahead = min(ahead, MOST_AHEAD)
        shut = max(shut, self._blocks.get(name, 0.0))
        room = (burst - 1) * interval
        latest = max(now, shut) + MOST_AHEAD + burst * interval
        if tat > latest:  # the clock was set back, or the rate changed
            tat = latest
            self._write((FREE, "", ""), "buckets", "fill", name, tat)
        free = max(tat - room, shut, now)
        if free > now + ahead:
            return False, float(free - ahead)
        self._write((FREE, "", ""), "buckets", "fill", name, max(tat, now, shut + room) + interval)
        return True, float(free)

    def block(self, name: str, until: float) -> None:
        """Let nothing be taken of a bucket until then; from then on it fills slowly, from one. Others know when this
        transaction has been committed."""
        self._blocks[name] = max(until, self._blocks.get(name, 0.0))

    def forget(self, prefix: str, limit: int = 1000) -> int:
        """Remove buckets whose names begin so, and that are full again and not blocked; how many. Not those that
        somebody else has at this moment."""
        names = [name for (name,) in self._ask(("buckets",), [self._of("over", f"{prefix}%", limit)])[0]]
        if names:
            self._write((FREE, "", ""), "buckets", "drop", self._listed(names))
        return len(names)

    # ---- channels, strays, cursor ----------------------------------------------------------------------------------

    def channel(self, name: str) -> Channel | None:
        rows = self._ask(("channels",), [self._of("channel", name)])[0]
        return Channel(*rows[0]) if rows else None

    def put_channel(self, channel: Channel) -> None:
        values = (channel.name, channel.id, channel.state, channel.detail, channel.since, channel.checked)
        self._write((CHANNELS, channel.name, ""), "channels", "put_channel", *values)

    def stray(self, fingerprint: str, id: int, data: str, at: float) -> None:
        """Keep news of an alert that has no conversation yet. For the cursor's holder."""
        self._write((FREE, "", ""), "strays", "stray", fingerprint, id, data, at)

    def strays(self, fingerprints: Iterable[str]) -> list[Stray]:
        """What was kept of these alerts, in order; it is removed."""
        rows = self._ask(("strays",), [self._of("strays", self._listed(set(fingerprints)))])[0]
        found = [Stray(*row) for row in rows]
        for one in found:
            self._write((FREE, "", ""), "strays", "unstray", one.fingerprint, one.id)
        return found

    def prune(self, before: float) -> int:
        """Remove the strays that were heard before then; how many."""
        rows = self._ask(("strays",), [self._of("old", before)])[0]
        for fingerprint, id in rows:
            self._write((FREE, "", ""), "strays", "unstray", fingerprint, id)
        return len(rows)

    def cursor(self) -> int | None:
        """The last event of the ledger that the conversations know, -1 before the first; held. None where another
        instance has it."""
        rows = self._ask(("cursor",), [self._of("cursor")])[0]
        self._cursor = bool(rows)
        return int(rows[0][0]) if rows else None

    def advance(self, id: int) -> None:
        """Move the cursor, which must be held."""
        if not self._cursor:
            raise NotHeld("the cursor is moved by who holds it")
        self._write((FREE, "", ""), "cursor", "advance", id)

    def end(self) -> None:
        """Send what is kept, and commit."""
        if self._now is None:
            if not self._kept and not self._blocks:
                return
            self._ask((), ())  # a connection that broke while nobody used it is noticed before anything hangs on it
        self._link.commit(self._due_writes(None), [self._of("block", *one) for one in sorted(self._blocks.items())])

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _of(self, name: str, *values: Any) -> Statement:
        return self._sql[name], values

    def _hold(self, rows: Iterable[Sequence[Any]]) -> dict[str, Stored]:
        found = {}
        for key, data, unsaid, lines, place, is_open, due, updated in rows:
            self._order.has((THREADS, key, ""))
            found[key] = Stored(key, data, unsaid, lines, place, bool(is_open), due, updated, found=bool(data))
        return found

    def _must_hold(self, key: str) -> Place:
        place = (THREADS, key, "")
        if not self._order.holds(place):
            raise NotHeld(f"conversation {key!r} is written by who holds it")
        return place

    def _write(self, place: Place, tables: str, name: str, *values: Any) -> None:
        self._kept.append((place, tables, (self._sql[name], values)))

    def _ask(self, tables: Sequence[str], questions: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """The questions' rows, after what was written to these tables. The first brings the time, too."""
        writes = self._due_writes(tables)
        if self._now is not None:
            return self._link.ask(writes, questions)
        *found, [(now,)] = self._link.ask(writes, [*questions, self._of("clock")])
        self._now = float(now)
        return found

    def _wait(self, place: Place) -> None:
        """Before something is locked that somebody else may have."""
        if self._hasty and not self._order.allows(place):
            self._haste = True

    def _due_writes(self, tables: Sequence[str] | None) -> list[Statement]:
        """What was kept for these tables, or all of it, in the order of waiting."""
        sent = [one for one in self._kept if tables is None or one[1] in tables]
        self._kept = [one for one in self._kept if tables is not None and one[1] not in tables]
        sent.sort(key=lambda one: one[0])
        for place, _, _ in sent:
            if place[0] != FREE:
                self._wait(place)
                self._order.has(place)
        found = [statement for _, _, statement in sent]
        if self._haste:
            found.insert(0, (self._hasty, ()))
            self._haste, self._hasty = False, ""
        return found

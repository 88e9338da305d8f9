"""The ledger's read side: events and remediations, on connections of its own, safe to share among threads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, select, union_all
from sqlalchemy.exc import SQLAlchemyError

from autoheal.core.remediation import FINAL, UNKNOWN
from autoheal.engine.ports import Fact, Head, RemediationRow, StoreUnavailable
from autoheal.store import connection as connections
from autoheal.store import timerange
from autoheal.store.schema import clock_steps, events, facts, number, remediations
from autoheal.store.schema import head as head_table
from autoheal.store.timeline import Timeline

HEARTBEAT = "heartbeat"

_PROBE = 2000
"""A filter that fewer events than this pass is walked to its end without looking at the clock."""
_FIRST_WINDOW = 4000


@dataclass(frozen=True, slots=True)
class Page:
    """The lines that match, oldest first. `partial`: time was up before the search came to an end; whoever wants
    more asks again with `before`, the id below which nothing was looked at yet."""

    lines: list[str]
    partial: bool = False
    before: int | None = None


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for: equality on columns, and conditions that no index helps with."""

    equal: dict[str, str]
    contains: str | None
    heartbeats: bool

    def condition(self, driving: str | None, substring: Callable[..., ColumnElement[int]]) -> ColumnElement[bool]:
        """All conditions; only `driving` may use its index (`coalesce` hides the others from the planner)."""
        parts: list[ColumnElement[bool]] = []
        for name in self.equal:
            column = events.c[name]
            parts.append((column if name == driving else func.coalesce(column, "")) == bindparam(name))
        if not self.heartbeats:
            parts.append(func.coalesce(events.c.kind, "") != HEARTBEAT)
        if self.contains is not None:
            parts.append(substring(events.c.line, bindparam("contains")) > 0)
        return and_(True, *parts)

    @property
    def values(self) -> dict[str, str]:
        return self.equal if self.contains is None else {**self.equal, "contains": self.contains}


class Reader:
    """Queries on the ledger at `url`. Every call may raise StoreUnavailable; none blocks the writer."""

    def __init__(self, url: str, pool_size: int = 4, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = connections.reader(url, pool_size)
        self._monotonic = monotonic
        self._substring = func.instr if self._engine.dialect.name == "sqlite" else func.strpos
        self.timeline = Timeline(self._connection, self._substring, monotonic)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        dbapi_errors = getattr(self._engine.dialect.dbapi, "Error", SQLAlchemyError)
        try:
            with self._engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, dbapi_errors) as error:
            said = connections.reason(error, self._engine.url)
            raise StoreUnavailable(f"the ledger cannot be read: {said}") from error

    # ---- events ----------------------------------------------------------------------------------------------

    def query(
        self,
        n: int = 100,
        *,
        kind: str | None = None,
        alertname: str | None = None,
        rule: str | None = None,
        remediation_id: str | None = None,
        since: float | None = None,
        until: float | None = None,
        contains: str | None = None,
        before: int | None = None,
        deadline: float = 0.4,
        include_heartbeats: bool = False,
    ) -> Page:
        """The newest `n` events that match, oldest first.

        `since` and `until` are Unix seconds, inclusive; `contains` is a case-sensitive part of the line; `before`
        takes only events with smaller ids; `deadline` (seconds) bounds a search that no index helps. Heartbeats
        are left out unless `kind` asks for them, or `include_heartbeats`.
        """
        given = {"remediation_id": remediation_id, "rule": rule, "alertname": alertname, "kind": kind}
        equal = {name: value for name, value in given.items() if value is not None}
        search = _Search(equal, contains or None, include_heartbeats or kind == HEARTBEAT)
        if not all(_storable(value) for value in search.values.values()):
            return Page([])
        ends = self._monotonic() + deadline
        with self._connection() as connection:
            ranges = timerange.id_ranges(connection, since, until, before)
            return self._collect(connection, search, ranges, n, ends)

    def _collect(
        self, connection: Connection, search: _Search, ranges: Iterator[tuple[int, int]], n: int, ends: float
    ) -> Page:
        found: list[str] = []
        for low, high in ranges:
            driving, sparse = self._driving(connection, search, low, high)
            statement = _newest(search.condition(driving, self._substring))
            alone = search.contains is None and len(search.equal) == 1
            window = high - low + 1 if sparse or alone else max(_FIRST_WINDOW, 2 * n)
            while high >= low and len(found) < n:
                began = self._monotonic()
                if began >= ends:
                    return Page(found[::-1], True, high + 1)
                bottom = max(low, high - window + 1)
                values = {**search.values, "low": bottom, "high": high, "n": n - len(found)}
                found.extend(row[0] for row in connection.execute(statement, values))
                high = bottom - 1
                window = timerange.next_window(window, self._monotonic() - began, ends - began)
            if len(found) >= n:
                break
        return Page(found[::-1])

    def _driving(self, connection: Connection, search: _Search, low: int, high: int) -> tuple[str | None, bool]:
        """Which filter's index to walk, and whether so few events pass it that no clock is needed.

        Each filter is asked for its 2,000th newest match, on the index alone: the one that reaches furthest back
        to find it passes the fewest.
        """
        furthest, driving = high + 1, None
        for name in search.equal:
            statement = _reach(name)
            values = {"value": search.equal[name], "low": low, "high": high}
            reach: int | None = connection.execute(statement, values).scalar()
            if reach is None:
                return name, True
            if reach < furthest:
                furthest, driving = reach, name
        return driving, False

    def lines_after(self, after: int, limit: int = 1000) -> list[tuple[int, str]]:
        """Up to `limit` (id, line) above `after`, in order: for whoever follows the ledger."""
        statement = select(events.c.id, events.c.line).where(events.c.id > after).order_by(events.c.id).limit(limit)
        with self._connection() as connection:
            return [(row.id, row.line) for row in connection.execute(statement)]

    def facts(self, space: str) -> list[Fact]:
        """One space of the state's facts."""
        statement = select(facts.c.space, facts.c.key, facts.c.data, facts.c.due).where(facts.c.space == space)
        with self._connection() as connection:
            return [Fact(*row) for row in connection.execute(statement)]

    def event(self, event_id: int) -> str | None:
        """The line of one event."""
        with self._connection() as connection:
            return connection.execute(select(events.c.line).where(events.c.id == event_id)).scalar()

    def first_id(self) -> int:
        """The id of the first event that is left, 0 where there is none."""
        with self._connection() as connection:
            return connection.execute(select(func.min(events.c.id))).scalar() or 0

    def count_kinds(self, kinds: Sequence[str], since: float) -> dict[str, int]:
        """How many events of these kinds there are from `since` (Unix seconds) on; kinds without any are left out."""
        inside = events.c.id.between(bindparam("low"), bindparam("high"))
        counted = select(events.c.kind, func.count()).where(events.c.kind.in_(kinds), inside).group_by(events.c.kind)
        found: Counter[str] = Counter()
        with self._connection() as connection:
            for low, high in timerange.id_ranges(connection, since, None, None):
                for kind, n in connection.execute(counted, {"low": low, "high": high}):
                    found[kind] += n
        return dict(found)

    def head(self) -> Head:
        """Where the ledger stands."""
        with self._connection() as connection:
            return Head(*connection.execute(select(head_table.c.id, head_table.c.hash, head_table.c.ts)).one())

    def clock_steps(self, limit: int = 100) -> list[tuple[int, float, float]]:
        """The newest events before which the clock went back: (id, ts, ts before), newest first."""
        statement = select(clock_steps).order_by(clock_steps.c.id.desc()).limit(limit)
        with self._connection() as connection:
            return [(row.id, row.ts, row.before) for row in connection.execute(statement)]

    # ---- remediations ----------------------------------------------------------------------------------------

    def remediations(
        self, state: str | None = None, rule: str | None = None, n: int = 100, alertname: str | None = None
    ) -> list[RemediationRow]:
        """The newest `n` remediations that match, newest first."""
        given = {"rule": rule, "alertname": alertname, "state": state}
        equal = {name: value for name, value in given.items() if value is not None}
        if not all(_storable(value) for value in equal.values()):
            return []
        statement = _remediation_rows().order_by(remediations.c.number.desc()).limit(n)
        for name, value in equal.items():
            statement = statement.where(remediations.c[name] == value)
        with self._connection() as connection:
            return [RemediationRow(*row) for row in connection.execute(statement)]

    def ended(self, n: int) -> list[RemediationRow]:
        """The newest `n` remediations that have ended, newest first."""
        with self._connection() as connection:
            return [RemediationRow(*row) for row in connection.execute(_ENDED, {"n": n})]

    def remediation(self, remediation_id: str) -> RemediationRow | None:
        """One remediation, None where there is no such."""
        try:
            wanted = number(remediation_id)
        except ValueError:
            return None
        if wanted >= 2**63:
            return None
        where = and_(remediations.c.number == wanted, remediations.c.id == remediation_id)
        with self._connection() as connection:
            row = connection.execute(_remediation_rows().where(where)).first()
            return None if row is None else RemediationRow(*row)


def _newest(condition: ColumnElement[bool]) -> Any:
    inside = events.c.id.between(bindparam("low"), bindparam("high"))
    return select(events.c.line).where(inside, condition).order_by(events.c.id.desc()).limit(bindparam("n"))


def _reach(name: str) -> Any:
    inside = events.c.id.between(bindparam("low"), bindparam("high"))
    matching = select(events.c.id).where(events.c[name] == bindparam("value"), inside)
    return matching.order_by(events.c.id.desc()).offset(_PROBE - 1).limit(1)


def _remediation_rows() -> Any:
    return select(*(remediations.c[name] for name in RemediationRow._fields))


def _newest_ended() -> Any:
    """By the index on states, each asked for its newest, so that those which have not ended cost nothing."""
    numbers = remediations.c.number
    parts = [
        select(
            select(numbers)
            .where(remediations.c.state == state)
            .order_by(numbers.desc())
            .limit(bindparam("n"))
            .subquery()
        )
        for state in sorted(FINAL | {UNKNOWN})
    ]
    among = union_all(*parts).subquery()
    newest = select(among.c.number).order_by(among.c.number.desc()).limit(bindparam("n"))
    return _remediation_rows().where(numbers.in_(newest)).order_by(numbers.desc())


_ENDED = _newest_ended()


def _storable(value: str) -> bool:
    """Whether the text can be in the ledger at all: NUL and lone surrogates are escaped before they come there."""
    try:
        return "\0" not in value and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False

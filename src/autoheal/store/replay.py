"""`audit verify`, the working state: fold every event anew and compare facts and remediations with what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, select

from autoheal.core.fold import fold
from autoheal.core.remediation import Remediation
from autoheal.core.state import Mode, State
from autoheal.store.chain import MAX_PROBLEMS, Problem, Wrong
from autoheal.store.schema import events, facts, number, remediations
from autoheal.store.verify import Reading, Report, before_rows, head_of

Progress = Callable[[int, int], None]
"""Called now and then with the events folded so far and the last one's id."""

SPACES = (
    "mode",
    "policy",
    "slot",
    "budget",
    "breaker",
    "deferred",
    "ack",
    "former",
    "cooldown",
    "escalation",
    "resolved",
)
"""The engine's facts that its events add up to, besides `start:…`; others belong to the ledger or to other products, or
are what the watch of our silences keeps beside the trail (`behind`, `receiver`)."""
_OLDER = {"ack": ("hides", "seen", "starts_at", "first")}
"""Fields that an older version wrote and this one does not, or the other way round."""

_BATCH = 2000
_LOOK_UP = 500
_SHOWN = 60
_ROW = ("id", "state", "rule", "alertname", "created_at", "ended_at")
_ABSENT = object()


def verify_state(url: str, progress: Progress = lambda done, last: None) -> Report:
    """Whether the database's facts and remediations are what its events add up to.

    The events themselves are taken as they are: verify them first. Works beside a running writer: all but the newest
    are read in short reads, what can still change in one snapshot. Memory holds the state and a number for each
    remediation. Raises StoreUnavailable where the database cannot be read.
    """
    with Reading(url) as connection:
        missing, _ = before_rows(connection)
        if missing:
            return not_replayed(f"the events up to {missing} are not there, so the state cannot be replayed")
        replay = _Replay(connection, progress)
        replay.fold_to(head_of(connection).id)
        with _snapshot(connection):
            replay.fold_to(head_of(connection).id)
            if not replay.stuck:
                replay.compare()
        return replay.report()


def not_replayed(why: str, ok: bool = True) -> Report:
    """The report of a state that was not compared."""
    return Report(ok, 0, None, None, "", [], 0, why, done=False)


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """All reads see one moment. The connection commits by itself otherwise."""
    begin = "BEGIN" if connection.dialect.name == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    connection.exec_driver_sql(begin)
    try:
        yield
    finally:
        connection.exec_driver_sql("ROLLBACK")


@dataclass(slots=True)
class _Replay:
    """The fold, and what it found. Remediations that have ended are compared on the way and forgotten: nothing but a
    later `marked` event changes their rows."""

    connection: Connection
    progress: Progress
    state: State = field(default_factory=State)
    at: int = 0
    stuck: bool = False
    problems: list[Problem] = field(default_factory=list)
    total: int = 0
    versions: dict[str, None] = field(default_factory=dict)
    ended: list[Remediation] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    marks: dict[str, str | None] = field(default_factory=dict)
    facts: int = 0

    # ---- folding ---------------------------------------------------------------------------------------------

    def fold_to(self, last: int) -> None:
        """Fold the events up to `last`; `stuck` where one of them cannot be."""
        batch = select(events.c.id, events.c.line).where(events.c.id > bindparam("after"), events.c.id <= last)
        batch = batch.order_by(events.c.id).limit(_BATCH)
        while self.at < last and not self.stuck:
            rows = self.connection.execute(batch, {"after": self.at}).all()
            if not rows:
                return  # the chain's verification says that the tail was cut
            for event_id, line in rows:
                if not self._fold(event_id, line):
                    return
            self.state.touched.clear()
            self.state.alarms.clear()
            self.progress(self.at, last)

    def _fold(self, event_id: int, line: str) -> bool:
        try:
            event = orjson.loads(line)
            self._note(event)
            fold(self.state, event)
        except Exception as error:  # whatever somebody, or another version, wrote
            self.stuck = True
            detail = f"event {event_id} cannot be applied to the state before it: {type(error).__name__}: {error}"
            self._report(f"row {event_id} of events", "not folded", detail, event_id)
            return False
        self.at = event_id
        if self.state.ended:
            self.ended.extend(self.state.ended.values())
            self.state.ended.clear()
            if len(self.ended) >= _LOOK_UP:
                self._settle()
        return True

    def _note(self, event: dict[str, Any]) -> None:
        if event["kind"] == "started":
            self.versions[str(event.get("version"))] = None
        elif event["kind"] == "marked" and event["remediation_id"] not in self.state.remediations:
            self.marks[event["remediation_id"]] = event["mark"]

    # ---- comparing -------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """What is left once all is folded; within one snapshot."""
        self._settle()
        self._open()
        self._marked()
        self._extra()
        self._facts()

    def _settle(self) -> None:
        ended, self.ended = self.ended, []
        for remediation, row in self._beside(ended):
            stored = self._remediation(remediation, row, but="marked")
            if stored is not None and stored["marked"] != remediation.marked:
                self.marks.setdefault(remediation.id, remediation.marked)

    def _open(self) -> None:
        for remediation, row in self._beside(list(self.state.remediations.values())):
            self._remediation(remediation, row)

    def _beside(self, found: Sequence[Remediation]) -> Iterator[tuple[Remediation, Any]]:
        """Each remediation and its row, None where there is none."""
        for start in range(0, len(found), _LOOK_UP):
            part = found[start : start + _LOOK_UP]
            numbers = [number(remediation.id) for remediation in part]
            self.seen.update(numbers)
            rows = self._rows(numbers)
            for remediation, wanted in zip(part, numbers, strict=True):
                yield remediation, rows.get(wanted)

    def _rows(self, numbers: Sequence[int]) -> dict[int, Any]:
        columns = [remediations.c[name] for name in ("number", *_ROW, "data")]
        found = self.connection.execute(select(*columns).where(remediations.c.number.in_(numbers)))
        return {row.number: row for row in found}

    def _remediation(self, remediation: Remediation, row: Any, but: str = "") -> dict[str, Any] | None:
        """Compare; the row's data, None where there is none that can be read."""
        place = f"remediation {remediation.id}"
        expected = _through_json(remediation.as_dict())
        if row is None:
            self._report(place, "missing", f"it has no row; the events make it {remediation.state}")
            return None
        columns = {name: getattr(row, name) for name in _ROW}
        wrong = _differences(columns, {name: expected[name] for name in _ROW}, "column ")
        stored = _whole(_parsed(row.data))
        if stored is None:
            wrong.append("its data is no remediation's JSON")
        else:
            wrong += [text for name, text in _fields(stored, expected) if name != but]
        if wrong:
            self._report(place, "differs", "; ".join(wrong))
        return stored

    def _marked(self) -> None:
        """Marks set after the end, read again: now no event about them is still to come."""
        by_number = {number(rid): (rid, mark) for rid, mark in self.marks.items()}
        wanted = list(by_number)
        for start in range(0, len(wanted), _LOOK_UP):
            for key, row in self._rows(wanted[start : start + _LOOK_UP]).items():
                rid, mark = by_number[key]
                stored = _whole(_parsed(row.data))
                if stored is not None and stored["marked"] != mark:
                    wrong = _differences({"marked": stored["marked"]}, {"marked": mark})
                    self._report(f"remediation {rid}", "differs", wrong[0])

    def _extra(self) -> None:
        for (found,) in self.connection.execute(select(remediations.c.number)):
            if found not in self.seen:
                self._report(f"row {found} of remediations", "extra", "no event made this remediation")

    def _facts(self) -> None:
        expected = {(space, key): data for space, key, data in self.state.snapshot() if _of_events(space)}
        if expected[("mode", "mode")] == asdict(Mode()):
            del expected[("mode", "mode")]  # never set, never saved
        if not expected[("policy", "policy")]:
            del expected[("policy", "policy")]
        for row in self.connection.execute(select(facts.c.space, facts.c.key, facts.c.data, facts.c.due)):
            if _of_events(row.space):
                self.facts += 1
                self._fact(row, expected.pop((row.space, row.key), _ABSENT))
        for space, key in expected:
            self._report(f"fact {space} {key}", "missing", "the events make it, the table does not have it")

    def _fact(self, row: Any, made: Any) -> None:
        place = f"fact {row.space} {row.key}"
        if made is _ABSENT:
            self._report(place, "extra", f"no event makes it: {_short(row.data)}")
            return
        stored, expected = _parsed(row.data), _through_json(made)
        due = expected["until"] if row.space == "deferred" else None
        wrong = _differences({"due": row.due}, {"due": due}, "column ")
        if isinstance(stored, dict) and isinstance(expected, dict):
            one_sided = stored.keys() ^ expected.keys()
            older = one_sided.intersection(_OLDER.get(row.space, ()))
            wrong += [text for name, text in _fields(stored, expected) if name not in older]
        else:
            wrong += _differences({"it": stored}, {"it": expected})
        if wrong:
            self._report(place, "differs", "; ".join(wrong))

    # ---- the result ------------------------------------------------------------------------------------------

    def _report(self, place: str, wrong: Wrong, detail: str, event_id: int | None = None) -> None:
        self.total += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(place, event_id, wrong, detail))

    def report(self) -> Report:
        ok = self.total == 0
        note = f"the {self.facts} facts and {len(self.seen)} remediations are what the events add up to"
        if not ok:
            wrote = ", ".join(self.versions)
            note = f"several versions wrote these events ({wrote})" if len(self.versions) > 1 else ""
            note += "; where they apply an event differently, a difference is theirs" if note else ""
        first = 1 if self.at else None
        return Report(ok, self.at, first, self.at or None, "", self.problems, self.total, note)


def _of_events(space: str) -> bool:
    return space in SPACES or space.startswith("start:")


def _through_json(value: Any) -> Any:
    """A value as it comes back from the disk: tuples are lists, a float is what its digits say."""
    return orjson.loads(orjson.dumps(value))


def _parsed(data: Any) -> Any:
    """A column's JSON; `_ABSENT` where it is none."""
    try:
        return orjson.loads(data)
    except (ValueError, TypeError):
        return _ABSENT


def _whole(stored: Any) -> dict[str, Any] | None:
    """A remediation's data, with what an older version did not know yet; None where it is no remediation's."""
    if not isinstance(stored, dict):
        return None
    try:
        known: dict[str, Any] = _through_json(Remediation.from_dict(stored).as_dict())
    except TypeError:
        return None
    return known | stored


def _fields(stored: dict[str, Any], expected: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """The fields that differ, each with what is to be said about it."""
    for name in [*expected, *(name for name in stored if name not in expected)]:
        ours, theirs = expected.get(name, _ABSENT), stored.get(name, _ABSENT)
        if ours != theirs:
            yield name, f"{name} is {_short(theirs)}, the events make it {_short(ours)}"


def _differences(stored: dict[str, Any], expected: dict[str, Any], what: str = "") -> list[str]:
    return [what + text for _, text in _fields(stored, expected)]


def _short(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = orjson.dumps(value, default=repr).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

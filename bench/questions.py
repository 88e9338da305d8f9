"""Queries by every column on a large ledger of either store: their times, and the indexes that they went by."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from autoheal.store.query import Reader
from bench.rig import console, percentile, table
from bench.trail import ALERTNAMES, EVERY, KINDS, PER_REMEDIATION, RARE, RULES, STATES

LIMIT = 50.0
"""Milliseconds that the 95th percentile may take, but for `contains`, which has a deadline."""
EXPLAINED = 3
NOWHERE = "no such text"

Ask = Callable[[Reader], object]
"""Asks once, with other values each time."""


@dataclass
class Answers:
    """Milliseconds, how many answers were partial, which indexes were used, and what was read from end to end."""

    times: list[float] = field(default_factory=list)
    partial: int = 0
    indexes: set[str] = field(default_factory=set)
    walked: set[str] = field(default_factory=set)

    @property
    def p95(self) -> float:
        return percentile(self.times, 0.95)


def questions(reader: Reader, draw: random.Random) -> dict[str, Ask]:
    """By name; the values are drawn from what `bench.trail` made, and from what it did not."""
    [first], count = reader.lines_after(0, 1), reader.head().id
    began = float(re.search(r'"ts":([\d.]+)', first[1])[1])  # type: ignore[index]

    def moment() -> float:
        return began + draw.uniform(0, count * EVERY)

    def remediation() -> str:
        return f"r{draw.randrange(1, count // PER_REMEDIATION) * PER_REMEDIATION}"

    def events(make: Callable[[], dict[str, Any]]) -> Ask:
        return lambda one: one.query(100, **make())

    def listed(make: Callable[[], dict[str, Any]]) -> Ask:
        return lambda one: one.remediations(**make())

    return {
        "newest 100": events(dict),
        "kind": events(lambda: {"kind": draw.choice(KINDS)}),
        "kind, of none": events(lambda: {"kind": "webhook_rejected"}),
        "alertname": events(lambda: {"alertname": draw.choice(ALERTNAMES)}),
        "alertname, rare": events(lambda: {"alertname": f"Alert{RARE}"}),
        "alertname, of none": events(lambda: {"alertname": f"Nobody{draw.random()}"}),
        "rule": events(lambda: {"rule": draw.choice(RULES)}),
        "rule, rare": events(lambda: {"rule": f"rule{RARE}"}),
        "rule, of none": events(lambda: {"rule": f"nobody{draw.random()}"}),
        "remediation_id": events(lambda: {"remediation_id": remediation()}),
        "remediation_id, of none": events(lambda: {"remediation_id": f"r{draw.randrange(10**12, 10**13)}"}),
        "kind, alertname": events(lambda: {"kind": "escalated", "alertname": draw.choice(ALERTNAMES)}),
        "kind, rare alertname": events(lambda: {"kind": "escalated", "alertname": f"Alert{RARE}"}),
        "since": events(lambda: {"since": moment()}),
        "until": events(lambda: {"until": moment()}),
        "since, until": events(lambda: {"since": (at := moment()), "until": at + 3600}),
        "until, kind": events(lambda: {"until": moment(), "kind": "escalated"}),
        "before": events(lambda: {"before": draw.randrange(1, count)}),
        "before, alertname": events(lambda: {"before": draw.randrange(1, count), "alertname": draw.choice(ALERTNAMES)}),
        "contains, found": events(lambda: {"contains": f"10.0.0.{draw.randrange(250)}:9100"}),
        "contains, rare": events(lambda: {"contains": f"Alert{RARE}"}),
        "contains, nowhere": events(lambda: {"contains": NOWHERE}),
        "contains, rule": events(lambda: {"contains": NOWHERE, "rule": f"rule{RARE}"}),
        "remediations, newest": listed(lambda: {"n": 100}),
        "remediations, state": listed(lambda: {"state": draw.choice(STATES)}),
        "remediations, state of none": listed(lambda: {"state": "expired"}),
        "remediations, rule": listed(lambda: {"rule": draw.choice((*RULES, f"rule{RARE}"))}),
        "remediations, alertname": listed(lambda: {"alertname": draw.choice((*ALERTNAMES, f"Alert{RARE}"))}),
        "remediations, rule and state": listed(lambda: {"rule": draw.choice(RULES), "state": draw.choice(STATES)}),
        "one remediation": lambda one: one.remediation(remediation()),
    }


def asked(url: str, rounds: int) -> dict[str, Answers]:
    """Every question `rounds` times, after a few whose plans are read; who looks for what is nowhere a tenth."""
    found: dict[str, Answers] = {}
    with closing(Reader(url)) as reader:
        for name, ask in questions(reader, random.Random(11)).items():
            answers = found[name] = Answers()
            with _explained(reader, answers):
                for _ in range(EXPLAINED):
                    ask(reader)
            for _ in range(max(5, rounds // 10) if "nowhere" in name else rounds):
                began = time.perf_counter()
                answer = ask(reader)
                answers.times.append((time.perf_counter() - began) * 1000)
                answers.partial += getattr(answer, "partial", False)
    return found


@contextmanager
def _explained(reader: Reader, answers: Answers) -> Iterator[None]:
    """Within it the plan of each statement that looks for events or remediations is taken down."""
    word = "EXPLAIN QUERY PLAN " if reader._engine.dialect.name == "sqlite" else "EXPLAIN "

    def explain(link: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool) -> None:
        if "line" not in statement and "remediations" not in statement:
            return  # the ends of the ledger, and the halving of a range of time
        with closing(cursor.connection.cursor()) as other:
            other.execute(word + statement, values)
            plan = "\n".join(str(row[-1]) for row in other.fetchall())
        answers.indexes |= {_index(name) for name in re.findall(r"(?i)using (?:covering )?(?:index )?(\w+)", plan)}
        answers.walked |= set(re.findall(r"Seq Scan on (\w+)|SCAN events(?! USING)", plan))

    event.listen(reader._engine, "before_cursor_execute", explain)
    try:
        yield
    finally:
        event.remove(reader._engine, "before_cursor_execute", explain)


def _index(name: str) -> str:
    """An index's columns, whichever partition it is of and whichever store named it."""
    name = re.sub(r"^(events|remediations)_(\d+_)?", "", name).removesuffix("_idx").removesuffix("_id")
    return "id" if name in ("INTEGER", "pkey") else name


def show(title: str, columns: dict[str, dict[str, Answers]]) -> None:
    """A row for each question, beside each other what each store took; the last is set against the first."""
    heads = [f"{name} {what}" for name in columns for what in ("p50 ms", "p95 ms")]
    last = [*columns][-1]
    shown = table(title, "filter", *heads, *(["ratio p95"] if len(columns) > 1 else []), f"index ({last})", "partial")
    for question in columns[last]:
        found = [answers[question] for answers in columns.values()]
        times = [f"{value:.2f}" for one in found for value in (percentile(one.times, 0.5), one.p95)]
        ratio = [f"{found[-1].p95 / found[0].p95:.1f}"] if len(found) > 1 else []
        shown.add_row(question, *times, *ratio, ", ".join(sorted(found[-1].indexes)), str(found[-1].partial))
    console.print(shown)
    for name, answers in columns.items():
        _judge(name, answers)


def _judge(name: str, answers: dict[str, Answers]) -> None:
    slow = [f"{what} {one.p95:.0f} ms" for what, one in answers.items() if one.p95 > LIMIT and "contains" not in what]
    walked = [f"{what}: {', '.join(sorted(one.walked))}" for what, one in answers.items() if one.walked]
    console.print(
        f"{name}: p95 over {LIMIT:.0f} ms: {'; '.join(slow) or 'none'}; tables walked: {'; '.join(walked) or 'none'}"
    )

"""A believable past: a day of incidents, decided by the real core at times of its own, written into a ledger."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from autoheal import __version__, actions
from autoheal.config.policy_file import load_policy
from autoheal.core.alert import Alert, fingerprint
from autoheal.core.events import GENESIS, seal
from autoheal.core.moves.acting import MayStart, Start
from autoheal.core.moves.people import Approve, Mark, SetMode
from autoheal.core.moves.service import Heartbeat, PolicyLoaded, Started, environment_of
from autoheal.engine.ports import Fact, Head, Row
from autoheal.store.sqlite import SqliteLedger
from tests.unit.core.make import Play

ORIGIN = "http://alertmanager:9093"
OUTPUT = {
    "docker restart crm-api": "crm-api\n",
    "scale-workers orders +2": "orders: 4 workers -> 6 workers\nwaiting for readiness ... ready in 3.1s\n",
    "vacuum-journal 1G": "Vacuuming done, freed 2.4G of archived journals from /var/log/journal.\n",
    "docker compose restart grafana prometheus": "Restarting grafana ... done\nRestarting prometheus ... done\n",
}


class Past:
    """Incidents are put on a time line first; `happen` plays all of it in order."""

    def __init__(self, policy_file: Path, until: float, hours: float) -> None:
        self.until, self.began = until, until - hours * 3600
        self.core = Play(load_policy(policy_file, {}, actions.KINDS), self.began)
        self._line: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._draw = random.Random(4)
        self._at(self.began, self._start)
        for at in range(int(self.began) + 60, int(until), 300):
            self._at(float(at), lambda: self.core.play(Heartbeat()))

    def _at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._line, (when, next(self._number), what))

    def _start(self) -> None:
        self.core.play(Started(__version__, True, False, "autoheal-1/4821"))
        self.core.play(PolicyLoaded(self.core.policy, "start"))
        self.core.play(SetMode(True, False, "maria", env=environment_of(True, False)))

    def _mode(self, dry_run: bool) -> None:
        self.core.play(SetMode(True, dry_run, "maria", env=environment_of(True, False)))

    def happen(self) -> Play:
        while self._line and self._line[0][0] < self.until:
            self.core.now, _, what = heapq.heappop(self._line)
            what()
        return self.core

    # ---- incidents -------------------------------------------------------------------------------------------

    def healed(self, ago: float, took: float = 0.0, **labels: str) -> None:
        """Acted once, and it helped."""
        self._incident(ago, [("ok", "healed", took or self._draw.uniform(14, 62))], labels)

    def second_try(self, ago: float, **labels: str) -> None:
        """The first step does not help, the second does."""
        self._incident(ago, [("ok", "failed", 121.0), ("ok", "healed", 31.0)], labels)

    def exhausted(self, ago: float, **labels: str) -> None:
        """Nothing helps; somebody is told, and the alert goes on for an hour."""
        self._incident(ago, [("fail", "", 3.2), ("ok", "failed", 121.0)], labels, fires=3600.0)

    def done(self, ago: float, **labels: str) -> None:
        self._incident(ago, [("ok", "", 0.0)], labels)

    def failed(self, ago: float, **labels: str) -> None:
        self._incident(ago, [("fail", "", 0.0)], labels)

    def interrupted(self, ago: float, **labels: str) -> None:
        """Started, and nobody saw the end."""
        self._incident(ago, [], labels, fires=1e9)

    def skipped(self, ago: float, times: int, every: float = 40.0, **labels: str) -> None:
        """An alert that no rule names, heard again and again."""
        for number in range(times):
            self._at(self.until - ago + number * every, lambda: self._hear(labels, self.until - ago))

    def approved(self, ago: float, actor: str, **labels: str) -> None:
        def ask() -> None:
            rid = self._hear(labels, self.core.now - 30)
            self._at(self.core.now + 94, lambda: self.core.play(Approve(rid, actor, "looked at it, go on")))
            self._at(self.core.now + 95, lambda: self._step(rid, [("ok", "healed", 41.0)]))
            self._at(self.core.now + 200, lambda: self._hear(labels, self.core.now, "resolved"))

        self._at(self.until - ago, ask)

    def dry_run(self, ago: float, *alerts: Mapping[str, str]) -> None:
        """Ten minutes of dry run, with these alerts in it."""
        self._at(self.until - ago, lambda: self._mode(dry_run=True))
        for number, labels in enumerate(alerts):
            self._at(
                self.until - ago + 40 + number * 35, lambda labels=labels: self._hear(labels, self.core.now, short=True)
            )
        self._at(self.until - ago + 600, lambda: self._mode(dry_run=False))

    def _incident(
        self, ago: float, steps: list[tuple[str, str, float]], labels: Mapping[str, str], fires: float = 300.0
    ) -> None:
        def begin() -> None:
            since = self.core.now - self._draw.uniform(20, 60)
            rid = self._hear(labels, since)
            self._at(self.core.now + 0.05, lambda: self._step(rid, steps))
            self._at(self.core.now + fires, lambda: self._hear(labels, since, "resolved"))

        self._at(self.until - ago, begin)

    def _step(self, rid: str, steps: list[tuple[str, str, float]]) -> None:
        start = self.core.play(MayStart(rid, None, "autoheal-1/4821"))
        if not isinstance(start, Start) or not steps:
            return
        (status, verdict, looked), rest = steps[0], steps[1:]
        took = self._draw.uniform(0.6, 4.5)

        def end() -> None:
            if status == "ok":
                self.core.outcome(start, "ok", rc=0, output=OUTPUT.get(start.cmd, "done\n"), duration=took)
            else:
                error = f"Error response from daemon: no such container: {start.cmd.rpartition(' ')[2]}\n"
                self.core.outcome(start, "fail", rc=1, output=error, duration=took)
                self._at(self.core.now + 0.1, lambda: self._step(rid, rest))

        def tell() -> None:
            answers = "3 good answers in a row" if verdict == "healed" else "200 was expected, 503 came; 24 times"
            self.core.verdict(start, verdict, answers)
            if verdict == "failed":
                self._at(self.core.now + 0.1, lambda: self._step(rid, rest))

        self._at(self.core.now + took, end)
        if verdict:
            self._at(self.core.now + took + looked, tell)

    def _hear(self, labels: Mapping[str, str], since: float, status: str = "firing", short: bool = False) -> str:
        given = dict(labels)
        notes = {
            "autoheal": "true",
            "summary": f"{given['alertname']} on {given.get('instance', given.get('service', 'the cluster'))}",
            "runbook_url": f"https://runbooks.example.org/{given['alertname'].lower()}",
        }
        alert = Alert(status, given, notes, since, fingerprint(given))
        [answer] = self.core.hear(alert, origin=ORIGIN)
        if short:
            self._at(self.core.now + 200, lambda: self._hear(labels, since, "resolved"))
        return str(answer.get("remediation_id") or "")

    def marked(self, ago: float, actor: str) -> None:
        """The newest that has ended then was a false positive, says somebody."""

        def mark() -> None:
            ended = [row for row in self.core.rows.values() if row.ended_at is not None]
            newest = max(ended, key=lambda row: row.ended_at or 0)
            known = None if newest.id in self.core.state.remediations else orjson.loads(newest.data)
            self.core.play(Mark(newest.id, actor, note="a probe of ours was slow", known=known))

        self._at(self.until - ago, mark)


def write(core: Play, data: Path) -> None:
    """Into a new SQLite ledger in the folder, as the head would have written it."""
    rows, digest = list[Row](), GENESIS
    for event in core.events:
        line, digest = seal(orjson.dumps(event), digest)
        about: list[Any] = [event.get(name) for name in ("alertname", "rule", "remediation_id")]
        rows.append(Row(event["id"], event["ts"], event["kind"], *about, line))
    facts = [Fact(space, key, text) for (space, key), text in core.facts.items()]
    data.mkdir(parents=True, exist_ok=True)
    with closing(SqliteLedger(data)) as ledger, ledger.transaction() as transaction:
        transaction.append(rows, Head(rows[-1].id, digest, rows[-1].ts))
        transaction.save(facts, list(core.rows.values()))

"""Limits under contention: heads on one PostgreSQL that all want the same at once get what is allowed, never more.

Each race is seeded, with alerts of its own. SEED=… runs others.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from autoheal import actions
from autoheal.config.policy_file import parse_policy, read_document
from autoheal.core.alert import FIRING, RESOLVED, Alert, fingerprint
from autoheal.core.errors import AutohealError
from autoheal.core.moves.acting import BUSY, MayStart, Outcome, Start
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import Approve, Cancel, SetMode
from autoheal.core.moves.service import PolicyLoaded, Wake
from autoheal.core.policy import Policy
from autoheal.core.turn import Move
from autoheal.engine import head as heads
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import StoreUnavailable
from autoheal.store.postgres import PostgresLedger
from autoheal.store.query import Reader
from autoheal.store.replay import verify_state
from autoheal.store.verify import verify_database
from autoheal.testing.clock import ManualClock
from tests.acceptance.service import Background, policy
from tests.databases import Postgres
from tests.scale.cluster import seed

MANY = 30
REPLICAS = pytest.mark.parametrize(
    ("replicas", "races"),
    [(2, 40), (3, 10), pytest.param(2, 200, marks=pytest.mark.soak), pytest.param(3, 50, marks=pytest.mark.soak)],
)


def rule(name: str, **more: Any) -> dict[str, Any]:
    """A rule for alerts with its name in label `kind`; its keys are alertname and instance."""
    usual = {"match": [f'kind="{name}"'], "opt_in": False, "cooldown": "1h", "cooldown_by": ["alertname", "instance"]}
    return {"name": name, "steps": [{"action": {"command": ["/bin/true"]}}]} | usual | more


def read(written: Mapping[str, Any], source: str = "races.yaml") -> Policy:
    return parse_policy(orjson.dumps(written), source, {}, actions.KINDS)


def alerts(kind: str, name: str, count: int = MANY, status: str = FIRING) -> list[Alert]:
    """So many alerts of one name, each of an instance of its own."""
    found = []
    for number in range(count):
        labels = {"alertname": name, "instance": f"i{number}", "kind": kind}
        found.append(Alert(status, labels, {}, 1_700_000_000.0, fingerprint(labels)))
    return found


@dataclass
class Replicas:
    """Several heads on one database; their clock stands still."""

    heads: list[HeadThread]
    clock: ManualClock
    chance: random.Random
    url: str

    def all_at_once(self, *moves: Move) -> list[Any]:
        """Every move at every head, at the same moment, in an order of its own; all answers, errors of ours too."""
        return self.at_once([(head, move) for head in self.heads for move in moves])

    def shared_out(self, *moves: Move) -> list[Any]:
        """Each move at one of the heads, at the same moment."""
        return self.at_once([(self.any, move) for move in moves])

    def at_once(self, moves: Sequence[tuple[HeadThread, Move]]) -> list[Any]:
        shuffled = self.chance.sample(moves, len(moves))
        heads.MAX_BATCH = self.chance.choice((1, 3, 10, 10, 2000, 2000))
        start = threading.Barrier(len(self.heads))
        futures: list[Future[Any]] = []

        def submit(head: HeadThread) -> None:
            start.wait(10)
            for one, move in shuffled:
                if one is head:
                    futures.append(head.submit(move))

        threads = [threading.Thread(target=submit, args=(head,)) for head in self.heads]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(futures) == len(moves)
        return [_answer(future) for future in futures]

    def play(self, move: Move, head: HeadThread | None = None) -> Any:
        return (head or self.any).submit(move).result(30)

    @property
    def any(self) -> HeadThread:
        return self.chance.choice(self.heads)

    def hear(self, kind: str, name: str, count: int = MANY) -> list[str]:
        """Alerts arrive here and there; the ids of the remediations, all accepted."""
        groups = alerts(kind, name, count)
        cut = self.chance.randrange(1, count) if count > 1 else count
        answers = self.shared_out(*(AlertsArrived(part) for part in (groups[:cut], groups[cut:]) if part))
        ids = [result["remediation_id"] for answer in answers for result in answer]
        assert None not in ids, answers
        return ids

    def start_all(self, ids: Sequence[str]) -> list[Start]:
        """Every head wants to start all of them at once."""
        answers = self.all_at_once(*(MayStart(name, instance="test") for name in ids))
        assert all(isinstance(one, Start) or one in (None, BUSY) for one in answers), answers
        return [one for one in answers if isinstance(one, Start)]

    def finish(self, started: Sequence[Start]) -> None:
        assert all(self.shared_out(*(Outcome(s.remediation_id, s.token, "ok", 0) for s in started)))

    def resolve(self, kind: str, name: str) -> None:
        """The alerts are over: what has not started is cancelled."""
        self.play(AlertsArrived(alerts(kind, name, status=RESOLVED)))

    def trail(self) -> list[dict[str, Any]]:
        reader, found = Reader(self.url), []
        try:
            while fresh := reader.lines_after(len(found), 10_000):
                found += [orjson.loads(line) for _, line in fresh]
        finally:
            reader.close()
        assert [event["id"] for event in found] == list(range(1, len(found) + 1))
        return found

    def started(self) -> Counter[str]:
        """How many starts are on record for each alert name."""
        return Counter(event["alertname"] for event in self.trail() if event["kind"] == "action_started")


def _answer(future: Future[Any]) -> Any:
    try:
        return future.result(30)
    except (AutohealError, StoreUnavailable) as error:
        return error


def adopt(document: str) -> Policy:
    return read_document(document, actions.KINDS)


def replica(url: str, clock: ManualClock, given: Policy) -> HeadThread:
    return HeadThread(PostgresLedger(url), clock, given, adopt=adopt)


Make = Callable[[int, Mapping[str, Any]], Replicas]


@pytest.fixture
def make(postgres_server: Postgres, postgres_template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Replicas under a policy, live; afterwards the trail must be whole and the state what the events come to."""
    monkeypatch.setattr(heads, "MAX_BATCH", heads.MAX_BATCH)
    made: list[Replicas] = []

    def make(count: int, written: Mapping[str, Any]) -> Replicas:
        url = postgres_server.create_database(template=postgres_template)
        clock, given = ManualClock(), read(written)
        replicas = Replicas([replica(url, clock, given) for _ in range(count)], clock, seed(7), url)
        made.append(replicas)
        for head in replicas.heads:
            head.start()
        replicas.play(PolicyLoaded(given, "test"))
        replicas.play(SetMode(True, False, "test"))
        return replicas

    yield make
    for replicas in made:
        for head in replicas.heads:
            head.stop()
            assert isinstance(head.ledger, PostgresLedger)
            head.ledger.close()
        report = verify_database(replicas.url)
        assert report.ok, report.problems
        state = verify_state(replicas.url)
        assert state.done and state.ok, state.problems


PLENTY = {"concurrent": 1000}


@REPLICAS
def test_a_budget_of_ten_is_ten(make: Make, replicas: int, races: int) -> None:
    limit = {"count": 10, "per": "24h", "by": ["alertname"]}
    them = make(replicas, policy(rule("budget", max_attempts=limit), limits=PLENTY))
    for race in range(races):
        ids = them.hear("budget", f"Budget{race}")
        started = them.start_all(ids)
        assert len(started) == 10, race
        them.finish(started)
    assert set(them.started().values()) == {10}


def test_a_budget_of_ten_is_ten_while_connections_are_cut(make: Make, postgres_server: Postgres) -> None:
    """Each answer may be lost, written or not; who asks again until it is answered gets no more than there is."""
    limit = {"count": 10, "per": "24h", "by": ["alertname"]}
    them = make(2, policy(rule("cut", max_attempts=limit), limits=PLENTY))
    database, lost = them.url.rpartition("/")[2], 0

    def cut() -> None:
        cutting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
        postgres_server.execute(cutting, database)

    with Background(cut, every=0.2):
        for race in range(50):
            name = f"Cut{race}"
            while not all(isinstance(one, list) for one in them.shared_out(AlertsArrived(alerts("cut", name)))):
                lost += 1
            while True:
                with them.any.reading() as (state, _):
                    ids = [r.id for r in state.remediations.values() if r.alertname == name]
                answers = them.all_at_once(*(MayStart(one, instance="test") for one in ids))
                if not any(isinstance(one, StoreUnavailable) for one in answers):
                    break
                lost += 1
    assert lost > 0
    assert set(them.started().values()) == {10}


@REPLICAS
def test_a_cooldown_lets_one_through(make: Make, replicas: int, races: int) -> None:
    them = make(replicas, policy(rule("cooldown", cooldown_by=["alertname"]), limits=PLENTY))
    for race in range(races):
        name = f"Cooldown{race}"
        answers = them.all_at_once(*(AlertsArrived([one]) for one in alerts("cooldown", name)))
        accepted = [r["remediation_id"] for [r] in answers if r["result"] == "accepted"]
        assert len(accepted) == 1, race
        started = them.start_all(accepted)
        assert len(started) == 1, race
        them.finish(started)
        again = them.shared_out(*(AlertsArrived([one]) for one in alerts("cooldown", name, 5)))
        assert {r["reason"] for [r] in again} == {"cooldown"}, race
    assert set(them.started().values()) == {1}


@REPLICAS
def test_a_blast_radius_of_ten_is_ten(make: Make, replicas: int, races: int) -> None:
    radius = {"actions": 10, "per": "1m"}
    them = make(replicas, policy(rule("blast"), limits={**PLENTY, "blast_radius": radius}))
    for race in range(races):
        name = f"Blast{race}"
        answers = them.shared_out(*(AlertsArrived([one]) for one in alerts("blast", name)))
        results = Counter(r["result"] for [r] in answers)
        assert (results["accepted"], results["hold"]) == (10, MANY - 10), race
        ids = [r["remediation_id"] for [r] in answers if r["remediation_id"]]
        started = them.start_all(ids)
        assert len(started) == 10, race
        them.all_at_once(Wake())
        assert them.start_all(ids) == [], race
        them.finish(started)
        them.resolve("blast", name)
        them.clock.advance(61)
    assert set(them.started().values()) == {10}


@REPLICAS
def test_two_people_approve_at_once_and_one_of_them_did(make: Make, replicas: int, races: int) -> None:
    them = make(replicas, policy(rule("approval", approval={"timeout": "15m"}), limits=PLENTY))
    for race in range(races):
        [rid] = them.hear("approval", f"Approval{race}", 1)
        answers = them.at_once([(head, Approve(rid, f"person {n}")) for n, head in enumerate(them.heads)])
        assert [one for one in answers if not isinstance(one, AutohealError)] == ["reserved"], race
        assert len(them.start_all([rid])) == 1, race
    approved = Counter(e["remediation_id"] for e in them.trail() if e["kind"] == "approved")
    assert (len(approved), set(approved.values())) == (races, {1})


@REPLICAS
def test_approved_here_and_cancelled_there(make: Make, replicas: int, races: int) -> None:
    """Both may win, in one order: what was cancelled never starts."""
    them = make(replicas, policy(rule("approval", approval={"timeout": "15m"}), limits=PLENTY))
    for race in range(races):
        [rid] = them.hear("approval", f"Approval{race}", 1)
        first, *others = them.chance.sample(them.heads, len(them.heads))
        wanted: list[tuple[HeadThread, Move]] = [(first, Approve(rid, "ann")), (others[0], Cancel(rid, "bob"))]
        them.at_once(wanted + [(head, MayStart(rid, instance="test")) for head in them.heads])
    ends: dict[str, list[str]] = {}
    for event in them.trail():
        if event["kind"] in ("cancelled", "action_started"):
            ends.setdefault(event["remediation_id"], []).append(event["kind"])
    assert {tuple(kinds) for kinds in ends.values()} <= {("cancelled",), ("action_started",)}


@REPLICAS
def test_four_at_once_are_four(make: Make, replicas: int, races: int) -> None:
    them = make(replicas, policy(rule("concurrent"), limits={"concurrent": 4}))
    for race in range(races):
        name = f"Concurrent{race}"
        ids = them.hear("concurrent", name)
        first = them.start_all(ids)
        assert len(first) == 4, race
        ends: list[Move] = [Outcome(s.remediation_id, s.token, "ok", 0) for s in first[:2]]
        wants: list[Move] = [MayStart(one, instance="test") for one in ids]
        then = them.at_once([(them.any, end) for end in ends] + [(head, w) for w in wants for head in them.heads])
        more = [one for one in then if isinstance(one, Start)]
        more += them.start_all(ids)
        assert len(more) == 2, race
        them.finish([*first[2:], *more])
        them.resolve("concurrent", name)
    running = 0
    for event in them.trail():
        running += {"action_started": 1, "action_ok": -1}.get(event["kind"], 0)
        assert running <= 4, event


@REPLICAS
def test_after_the_brake_is_answered_nobody_starts(make: Make, replicas: int, races: int) -> None:
    them = make(replicas, policy(rule("brake"), limits=PLENTY))
    for race in range(races):
        name = f"Brake{race}"
        ids = them.hear("brake", name)
        first, *others = them.chance.sample(them.heads, len(them.heads))
        moves: list[tuple[HeadThread, Move]] = [(first, SetMode(True, True, "ann"))]
        moves += [(head, MayStart(one, instance="test")) for one in ids for head in others]
        answers = them.at_once(moves)
        assert not any(isinstance(one, Start) for one in map(them.play, (MayStart(one) for one in ids[:3]))), race
        them.play(SetMode(True, False, "ann"))
        them.finish([one for one in answers if isinstance(one, Start)])
        them.resolve("brake", name)
    acts, seen = False, Counter[bool]()
    for event in them.trail():
        if event["kind"] == "mode_changed":
            acts = event["enabled"] and not event["dry_run"]
        elif event["kind"] == "action_started":
            assert acts, event
        seen[acts] += event["kind"] == "action_started"
    assert seen[True] > 0 and seen[False] == 0


@REPLICAS
def test_a_policy_is_in_force_everywhere_once_its_loading_was_answered(make: Make, replicas: int, races: int) -> None:
    them = make(replicas, policy(rule("first"), limits=PLENTY))
    for race in range(races):
        here, there = them.chance.sample(them.heads, 2)
        name = f"policy{race}"
        loaded = read(policy(rule(name, match=[f'alertname="Policy{race}"']), limits=PLENTY), f"{race}.yaml")
        answer = them.play(PolicyLoaded(loaded, "ann"), here)
        assert answer["digest"] == loaded.digest
        [result] = them.play(AlertsArrived(alerts("any", f"Policy{race}", 1)), there)
        assert result["result"] == "accepted", (race, result)
        start = them.play(MayStart(result["remediation_id"], instance="test"), them.any)
        assert isinstance(start, Start), race
    decided = [(e["alertname"].lower(), e["rule"]) for e in them.trail() if e["kind"] == "decision_act"]
    assert decided == [(f"policy{race}", f"policy{race}") for race in range(races)]


@REPLICAS
def test_all_come_to_the_same_state(make: Make, replicas: int, races: int) -> None:
    """After a storm of everything, what each head has in memory is what a new one reads."""
    limit = {"count": 10, "per": "24h", "by": ["alertname"]}
    them = make(replicas, policy(rule("mixed", max_attempts=limit), limits={"concurrent": 6}))
    for race in range(races // 5):
        ids = them.hear("mixed", f"Mixed{race}")
        wants: list[Move] = [MayStart(one, instance="test") for one in ids]
        more: list[Move] = [SetMode(True, them.chance.random() < 0.2, "ann"), Wake()]
        answers = them.all_at_once(*wants, *more)
        them.finish([one for one in answers if isinstance(one, Start)])
        them.play(SetMode(True, False, "ann"))
    states = []
    for head in them.heads:
        them.play(Wake(), head)
        with head.reading() as (state, _):
            states.append(sorted((space, key, orjson.dumps(data)) for space, key, data in state.snapshot()))
    assert all(state == states[0] for state in states)

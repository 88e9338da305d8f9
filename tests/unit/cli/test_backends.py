"""What `autoheal doctor` says of PostgreSQL and Redis: what is red, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from autoheal.cli import backends
from autoheal.cli.finding import Finding
from autoheal.core.errors import Permanent, Temporary
from autoheal.engine.ports import Head, Presence, StoreUnavailable
from autoheal.store import status
from autoheal.store.status import Server, Status

URL = "postgresql+psycopg://u:hush-hush@db:5432/ah"
ON = dict.fromkeys(status.DURABLE, "on")
SERVER = Server("15.4", 150004, "UTF8", ON, 97, 3, False, 0.1, 0.02)
HELD = Status("postgresql://u@db:5432/ah", "0002", "0002", "", Head(7, "h", 1.0), (1, 1.0), 10, 1.0)
OTHER = "postgresql://u@db:5432/ah, PostgreSQL "


def there(instance: str, left: float = 10.0, **data: Any) -> Presence:
    return Presence(instance, left, {"role": "remediator", "version": "1", "mode": [False, True], **data})


@dataclass
class Database:
    """What the store would say."""

    server: Server | Exception = SERVER
    held: Status | Exception = HELD
    processes: list[Presence] = field(default_factory=list)

    def look(self, monkeypatch: pytest.MonkeyPatch, pool: int = 4) -> dict[str, Finding]:
        def say(answer: Any) -> Any:
            def said(*args: object) -> Any:
                if isinstance(answer, Exception):
                    raise answer
                return answer

            return said

        monkeypatch.setattr(status, "server", say(self.server))
        monkeypatch.setattr(status, "status", say(self.held))
        monkeypatch.setattr(status, "processes", say(self.processes))
        found, processes = backends.check_database(URL, pool, lambda: 0.0)
        self.seen = processes
        assert "hush" not in repr(found)
        assert all(one.fix for one in found if one.state == "bad")
        assert not any(one.fix for one in found if one.state != "bad")
        return {one.check: one for one in found}


def test_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(processes=[there("a"), there("b")])
    found = database.look(monkeypatch)
    assert {one.state for one in found.values()} == {"ok"} and database.seen == database.processes
    assert found["database"].detail == OTHER + "15.4"
    assert found["schema"].detail == "0002, event 7"
    assert (
        "7 for each process (writer 1, claims 2, readers 4), 14 for 2; the server has 97" in found["connections"].detail
    )


@pytest.mark.parametrize(
    ("server", "check", "said", "fix"),
    [
        (replace(SERVER, version="13.9", number=130009), "database", OTHER + "13.9", "14 or newer"),
        (replace(SERVER, standby=True), "database", OTHER + "15.4, which only reads", "primary"),
        (replace(SERVER, encoding="LATIN1"), "encoding", "texts are kept as LATIN1", "UTF8"),
        (replace(SERVER, settings=ON | {"fsync": "off"}), "durable", "fsync: off", "set fsync = on"),
        (
            replace(SERVER, settings=ON | {"full_page_writes": "off", "synchronous_commit": "off"}),
            "durable",
            "full_page_writes, synchronous_commit: off",
            "set full_page_writes = on, synchronous_commit = on",
        ),
        (replace(SERVER, connections=6), "connections", "the server has 6", "AUTOHEAL_DATABASE_POOL"),
    ],
)
def test_a_server_that_does_not_do(
    server: Server, check: str, said: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Database(server).look(monkeypatch)
    assert [name for name, one in found.items() if one.state == "bad"] == [check]
    assert said in found[check].detail and fix in found[check].fix


def test_stronger_than_on_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    server = replace(SERVER, settings=ON | {"synchronous_commit": "remote_apply"})
    assert Database(server).look(monkeypatch)["durable"].state == "ok"


@pytest.mark.parametrize(
    ("ahead", "took", "said"),
    [
        (1.9, 0.0, "within 2 s of ours"),
        (-2.4, 1.0, "within 2 s of ours"),
        (300.2, 0.1, "300 s ahead of ours: harmless"),
        (-300.2, 0.1, "300 s behind ours: harmless"),
    ],
)
def test_another_clock_is_told_and_harmless(
    ahead: float, took: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Database(replace(SERVER, ahead=ahead, took=took)).look(monkeypatch)["database clock"]
    assert found.state == "ok" and said in found.detail


@pytest.mark.parametrize(
    ("error", "fix"), [(StoreUnavailable("gone"), "is DATABASE_URL right"), (Permanent("no driver"), "mend that")]
)
def test_nobody_there_is_the_one_finding(error: Exception, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(error)
    found = database.look(monkeypatch)
    assert list(found) == ["database"] and found["database"].state == "bad" and fix in found["database"].fix
    assert database.seen is None


def test_what_is_not_installed_is_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "needs its driver: pip install 'autoheal[scale]'"
    database = Database(Permanent(f"PostgreSQL {missing}")).look(monkeypatch)["database"]
    (redis,) = look(monkeypatch, Permanent("REDIS_URL needs celery and redis: pip install 'autoheal[scale]'"))
    for found in (database, redis):
        assert found.fix == "pip install 'autoheal[scale]'" and "pip" not in found.detail


def test_a_schema_that_does_not_fit_says_what_to_do_and_nobody_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    held = replace(HELD, misfit="the database's schema is 0001, this Autoheal needs 0002: run `autoheal db upgrade`")
    database = Database(held=held, processes=[there("a")])
    found = database.look(monkeypatch)
    assert found["schema"].detail == "the database's schema is 0001, this Autoheal needs 0002"
    assert found["schema"].fix == "run `autoheal db upgrade`"
    assert database.seen is None and "process" not in found


def test_tables_that_cannot_be_read_are_red(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Database(held=Permanent("refused: permission denied for table head")).look(monkeypatch)
    assert found["schema"].state == "bad" and "permission denied" in found["schema"].detail


def test_a_dead_process_is_red_only_where_nobody_does_its_work() -> None:
    dead = [there("r2", -7200), there("w1", -60, role="worker")]
    found = backends._processes([there("r1"), *dead])
    assert [(one.state, one.detail.split()[1].strip(",")) for one in found] == [
        ("ok", "r1"),
        ("off", "r2"),
        ("bad", "w1"),
    ]
    assert "gone for 2h" in found[1].detail and "others do its work" in found[1].detail
    assert found[2].fix


def test_a_process_that_cannot_decide_is_red_and_does_nobody_s_work() -> None:
    found = backends._processes([there("w1", role="worker", able=False), there("w2", -60, role="worker")])
    assert [one.state for one in found] == ["bad", "bad"]
    assert "worker w1 is there but cannot decide: it cannot read the policy in force" in found[0].detail


def test_nobody_on_the_ledger_is_not_red(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Database().look(monkeypatch)["processes"].state == "off"


def test_processes_that_were_started_in_two_modes_are_red(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [there("a"), there("b", mode=[True, False]), Presence("w", 9.0, {"role": "worker"})]
    found = Database(processes=both).look(monkeypatch)
    assert found["mode"].state == "bad" and "started in dry run and live" in found["mode"].detail
    gone = [both[0], replace(both[1], left=-1.0), there("c", mode=[True, True])]
    assert "mode" not in Database(processes=gone).look(monkeypatch)


# ---- Redis ----------------------------------------------------------------------------------------------------------


@dataclass
class Rule:
    name: str
    queue: str


@dataclass
class Policy:
    rules: tuple[Rule, ...]


@dataclass
class Report:
    version: str = "7.0.15"
    policy: str | None = "noeviction"
    depths: dict[str, int] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


def look(
    monkeypatch: pytest.MonkeyPatch,
    report: Report | Exception,
    rules: tuple[Rule, ...] = (),
    processes: list[Presence] | None = None,
) -> list[Finding]:
    broker = pytest.importorskip("autoheal.clients.broker")

    def inspect(url: str, queues: list[str]) -> Report:
        if isinstance(report, Exception):
            raise report
        read = (name for name in queues if name not in report.unread)
        return replace(report, depths={name: number for number, name in enumerate(read)})

    monkeypatch.setattr(broker, "inspect", inspect)
    policy: Any = Policy(rules) if rules else None
    found = backends.check_broker("redis://:hush-hush@h", policy, processes)
    assert all(one.fix for one in found if one.state == "bad") and "hush" not in repr(found)
    return found


WORKER = there("w", role="worker", queues=["autoheal", "eu"])


def test_a_broker_as_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(monkeypatch, Report(), (Rule("a", ""), Rule("b", "eu")), [WORKER])
    assert {one.state for one in found} == {"ok"}
    assert [one.detail for one in found] == [
        "version 7.0.15",
        "maxmemory-policy is noeviction",
        "waiting: autoheal 0, eu 1",
        "1 on queue autoheal",
        "1 on queue eu",
    ]


@pytest.mark.parametrize(
    ("policy", "state", "said"),
    [("allkeys-lru", "bad", "throws messages away"), ("volatile-lru", "bad", "volatile-lru"), (None, "off", "console")],
)
def test_a_redis_that_may_throw_messages_away(
    policy: str | None, state: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = [one for one in look(monkeypatch, Report(policy=policy)) if one.check == "eviction"]
    assert found.state == state and said in found.detail


@pytest.mark.parametrize(
    ("error", "fix"), [(Temporary("refused"), "AUTOHEAL_BROKER_DOWN"), (Permanent("NOAUTH"), "password in REDIS_URL")]
)
def test_a_broker_that_does_not_answer(error: Exception, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = look(monkeypatch, error)
    assert found.state == "bad" and fix in found.fix


def test_a_queue_that_no_living_worker_serves_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = (Rule("a", "us"), Rule("b", "eu"), Rule("c", "{labels.region}"))
    gone = replace(WORKER, left=-5.0, data={**WORKER.data, "queues": ["us"]})
    found = [one for one in look(monkeypatch, Report(), rules, [WORKER, gone]) if one.check == "workers"]
    assert [(one.state, one.detail) for one in found[:2]] == [
        ("ok", "1 on queue eu"),
        ("bad", "none on queue us: its actions wait"),
    ]
    assert "AUTOHEAL_WORKER_QUEUES=us" in found[1].fix
    assert found[2].state == "off" and "the queue of c depends on the alert" in found[2].detail


def test_a_worker_that_cannot_decide_serves_no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    unable = replace(WORKER, data={**WORKER.data, "able": False})
    (found,) = [one for one in look(monkeypatch, Report(), (), [unable]) if one.check == "workers"]
    assert found.state == "bad" and "none on queue autoheal" in found.detail


def test_a_queue_that_is_no_list_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(monkeypatch, Report(unread=("eu",)), (Rule("a", ""), Rule("b", "eu")), None)
    (red,) = [one for one in found if one.state == "bad"]
    assert red.check == "queues" and "autoheal:queue:eu" in red.fix


def test_where_the_database_is_away_nobody_claims_to_know_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.check for one in look(monkeypatch, Report(), (), None)} == {"Redis", "eviction", "queues"}

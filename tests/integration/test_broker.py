"""Doorbells through a real Redis to a real Celery worker, and all that goes wrong between them."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from autoheal.core.errors import Permanent, Temporary
from tests.databases import Redis, redis
from tests.needs import needs_module
from tests.servers import Process, free_port, wait_until

needs_module("celery", "scale")

from autoheal.clients import broker, celery_worker  # noqa: E402 - a laptop without Celery skips this file
from autoheal.clients.broker import CeleryBell, doorbell, key_of  # noqa: E402

SCRIPT = Path(__file__).with_name("broker_worker.py")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    with redis(tmp_path / "redis") as found:
        yield found


@pytest.fixture
def bell(server: Redis) -> Iterator[CeleryBell]:
    found = CeleryBell(server.url)
    yield found
    found.close()


class Worker:
    def __init__(self, process: Process, file: Path) -> None:
        self.process, self.file = process, file

    def said(self, word: str) -> list[str]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [rest for first, _, rest in (line.partition(" ") for line in lines) if first == word]

    def until(self, word: str, count: int = 1, timeout: float = 15.0) -> list[str]:
        def enough() -> list[str]:
            assert self.process.alive, self.process.text()
            found = self.said(word)
            return found if len(found) >= count else []

        return wait_until(enough, timeout, f"{count} × {word}")

    def log(self, message: str) -> list[dict[str, Any]]:
        lines = [line for line in self.process.text().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry["message"] == message]


Start = Callable[..., Worker]


@pytest.fixture
def start(server: Redis, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(
            *queues: str, seconds: float = 0.0, concurrency: int = 4, drain: float = 10.0, ready: bool = True
        ) -> Worker:
            number = len(list(tmp_path.glob("worker-*.txt")))
            file = tmp_path / f"worker-{number}.txt"
            file.touch()
            argv = [sys.executable, SCRIPT, server.url, file, str(seconds), str(concurrency), str(drain)]
            env = {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0", "PYTHONWARNINGS": "error"}
            context: AbstractContextManager[Process] = Process(
                [*argv, *(queues or ("autoheal",))], file.with_suffix(".log"), env
            )
            worker = Worker(stack.enter_context(context), file)
            if ready:
                worker.until("started")
            return worker

        yield begin


def keys(server: Redis) -> list[str]:
    return sorted(server.command("KEYS", "*"))


# ---- the way of a bell ----------------------------------------------------------------------------------------------


def test_a_bell_reaches_the_worker_of_its_queue_and_leaves_nothing_behind(
    server: Redis, bell: CeleryBell, start: Start
) -> None:
    bell.ring("eu", "r1")
    bell.ring("us", "r2")
    bell.ring("eu", "r3")
    assert bell.depths(["eu", "us", "none"]) == {"eu": 2, "us": 1, "none": 0}
    europe = start("eu", "asia")
    assert sorted(europe.until("end", 2)) == ["r1", "r3"]
    assert bell.depths(["eu", "us"]) == {"eu": 0, "us": 1}
    america = start("us")
    assert america.until("end") == ["r2"]
    assert europe.process.terminate() == america.process.terminate() == 0
    assert keys(server) == []  # no bindings, no unacked messages, no results


def test_many_bells_are_shared_among_workers_and_none_is_lost(bell: CeleryBell, start: Start) -> None:
    workers = [start(seconds=0.002, concurrency=2) for _ in range(2)]
    wanted = {f"r{number}" for number in range(1001, 2001)}
    for rid in wanted:
        bell.ring("autoheal", rid)
    wait_until(lambda: sum(len(worker.said("end")) for worker in workers) == 1000, 30, "a thousand")
    assert {rid for worker in workers for rid in worker.said("end")} == wanted
    assert all(len(worker.said("end")) > 100 for worker in workers)


def test_a_worker_takes_no_more_than_it_has_hands_for(bell: CeleryBell, start: Start) -> None:
    worker = start(seconds=60.0, concurrency=2, drain=0.0)
    for number in range(1, 8):
        bell.ring("autoheal", f"r{number}")
    worker.until("begin", 2)
    other = start(concurrency=1)
    assert len(other.until("end", 5)) == 5
    assert len(worker.said("begin")) == 2


def test_a_bell_is_heard_at_once(bell: CeleryBell, start: Start) -> None:
    worker = start(concurrency=1)
    took = []
    for number in range(1, 21):
        began = time.monotonic()
        bell.ring("autoheal", f"r{number}")
        wait_until(lambda: len(worker.said("end")) == number, what="the bell", every=0.002)  # noqa: B023
        took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.1


def test_a_failure_of_one_is_logged_and_the_next_is_done(bell: CeleryBell, start: Start) -> None:
    worker = start(concurrency=1)
    bell.ring("autoheal", "r666")
    bell.ring("autoheal", "r7")
    worker.until("end")
    [entry] = worker.log("doorbell_failed")
    assert entry["remediation_id"] == "r666" and "always fails" in entry["exception"]


# ---- the broker goes ------------------------------------------------------------------------------------------------


def test_a_killed_broker_comes_back_and_the_worker_goes_on_by_itself(
    server: Redis, bell: CeleryBell, start: Start
) -> None:
    worker = start()
    bell.ring("autoheal", "r1")
    worker.until("end")
    server.kill()
    worker.until("lost")
    with pytest.raises(Temporary, match="the broker"):
        bell.ring("autoheal", "r2")
    server.again()
    worker.until("started", 2, 10)
    bell.ring("autoheal", "r3")
    assert worker.until("end", 2) == ["r1", "r3"]
    assert len(worker.log("broker_lost")) == len(worker.log("broker_away")) == 1


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(server: Redis, bell: CeleryBell, start: Start) -> None:
    server.kill()
    worker = start(ready=False)
    worker.until("lost")
    server.again()
    worker.until("started", 1, 10)
    bell.ring("autoheal", "r1")
    worker.until("end")


def test_a_worker_that_never_reached_the_broker_ends_at_once(server: Redis, start: Start) -> None:
    server.kill()
    worker = start(ready=False)
    worker.until("lost")
    assert worker.process.terminate(8) == 0


def test_a_flushed_broker_is_only_empty(server: Redis, bell: CeleryBell, start: Start) -> None:
    worker = start(concurrency=1, seconds=0.3)
    for number in range(1, 6):
        bell.ring("autoheal", f"r{number}")
    worker.until("begin")
    server.flush()
    bell.ring("autoheal", "r9")
    wait_until(lambda: "r9" in worker.said("end"), what="the bell after the flush")
    assert len(worker.said("end")) <= 3 and worker.said("lost") == []


def test_a_key_of_another_type_is_the_matter_of_its_queue_alone(server: Redis, bell: CeleryBell, start: Start) -> None:
    server.command("SET", "autoheal:queue:mars", "x")
    with pytest.raises(Permanent, match="autoheal:queue:mars"):
        bell.ring("mars", "r1")
    bell.ring("venus", "r2")
    assert bell.depths(["mars", "venus"]) == {"venus": 1}
    assert broker.inspect(server.url, ["mars", "venus"]).depths == {"venus": 1}
    worker = start("mars", "autoheal", "eu")
    for number in range(3, 9):
        bell.ring("autoheal" if number % 2 else "eu", f"r{number}")
    worker.until("end", 6)
    assert [entry["queue"] for entry in worker.log("queue_broken")] == ["mars"]
    server.command("DEL", "autoheal:queue:mars")
    bell.ring("mars", "r9")
    assert "r9" in worker.until("end", 7)


def test_a_broker_that_hangs_is_noticed_by_whoever_rings(server: Redis, bell: CeleryBell) -> None:
    bell.ring("autoheal", "r1")
    server.process.send(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(Temporary):
        bell.ring("autoheal", "r2")
    with pytest.raises(Temporary):
        bell.depths(["autoheal"])
    assert time.monotonic() - began < 2 * broker.TIMEOUT + 2
    server.process.send(signal.SIGCONT)
    wait_until(lambda: rings(bell, "r3"), what="the broker to wake")


def test_a_broker_that_is_full_refuses(server: Redis, bell: CeleryBell) -> None:
    bell.ring("autoheal", "r1")
    server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Temporary, match="(?i)maxmemory|memory"):
        bell.ring("autoheal", "r2")
    server.command("CONFIG", "SET", "maxmemory", "0")
    bell.ring("autoheal", "r3")
    assert bell.depths(["autoheal"]) == {"autoheal": 2}


def rings(bell: CeleryBell, rid: str) -> bool:
    try:
        bell.ring("autoheal", rid)
    except Temporary:
        return False
    return True


def test_threads_share_one_bell(bell: CeleryBell) -> None:
    threads = [
        threading.Thread(target=lambda: [bell.ring("autoheal", f"r{n}") for n in range(1, 101)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert bell.depths(["autoheal"]) == {"autoheal": 800}


# ---- the worker goes ------------------------------------------------------------------------------------------------


def test_what_runs_is_drained_and_nothing_more_is_taken(bell: CeleryBell, start: Start) -> None:
    worker = start(seconds=2.0, concurrency=2, drain=10.0)
    for number in range(1, 6):
        bell.ring("autoheal", f"r{number}")
    worker.until("begin", 2)
    assert worker.process.terminate() == 0
    assert sorted(worker.said("end")) == sorted(worker.said("begin")) and len(worker.said("begin")) == 2
    assert worker.said("stopping") == [""] and worker.said("left") == ["0"]
    assert bell.depths(["autoheal"]) == {"autoheal": 3}


def test_the_drain_is_bounded(bell: CeleryBell, start: Start) -> None:
    worker = start(seconds=60.0, concurrency=2, drain=1.0)
    bell.ring("autoheal", "r1")
    worker.until("begin")
    began = time.monotonic()
    assert worker.process.terminate(8) == 0
    assert time.monotonic() - began < 5
    assert worker.said("left") == ["1"]


def test_a_second_signal_ends_the_drain(bell: CeleryBell, start: Start) -> None:
    worker = start(seconds=60.0, drain=60.0)
    bell.ring("autoheal", "r1")
    worker.until("begin")
    worker.process.send(signal.SIGINT)
    worker.until("stopping")
    assert worker.process.terminate(5) == 0
    assert worker.said("left") == ["1"]


def test_a_signal_while_the_broker_is_away_is_heard(server: Redis, bell: CeleryBell, start: Start) -> None:
    worker = start(seconds=3.0)
    bell.ring("autoheal", "r1")
    worker.until("begin")
    server.kill()
    worker.until("lost")
    assert worker.process.terminate(12) == 0
    assert worker.said("end") == ["r1"]


# ---- what strangers write -------------------------------------------------------------------------------------------


def message(**changed: Any) -> dict[str, Any]:
    return {**broker.message_of(broker.sample(), "autoheal", "r5"), **changed}


def body(value: Any) -> str:
    import base64

    return base64.b64encode(json.dumps(value).encode()).decode()


EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def stranger(**headers: Any) -> dict[str, Any]:
    sent = message()
    return {**sent, "headers": {**sent["headers"], **headers}}


GARBAGE: list[Any] = [
    "not json",
    "",
    "null",
    "[]",
    "{}",
    "[" * 100_000,
    '{"__type__": "uuid", "__value__": 3}',
    json.dumps({"properties": {}, "headers": {}}),
    json.dumps(message(**{"content-type": "application/x-python-serialize"})),
    json.dumps(message(body="%%%")),
    *(
        json.dumps(message(body=body(value)))
        for value in (
            [["r1; rm -rf /"], {}, EMBED],
            [["r0"], {}, EMBED],
            [["1"], {}, EMBED],
            [[1], {}, EMBED],
            [["r1", "r2"], {}, EMBED],
            [[], {}, EMBED],
            [["r1"], {"x": 1}, EMBED],
            "r1",
            7,
        )
    ),
    *(json.dumps(stranger(task=name)) for name in ("celery.chord_unlock", "celery.map", "os.system", None)),
]


def test_what_is_no_doorbell_is_dropped_and_the_worker_goes_on(server: Redis, bell: CeleryBell, start: Start) -> None:
    worker = start(concurrency=1)
    for junk in GARBAGE:
        server.command("LPUSH", key_of("autoheal"), junk)
    bell.ring("autoheal", "r9")
    assert worker.until("end") == ["r9"] and worker.said("lost") == []
    assert len(worker.log("message_dropped")) == len(GARBAGE)


def test_of_a_stranger_s_message_only_the_id_counts(server: Redis, start: Start) -> None:
    worker = start()
    sneaky = [
        stranger(eta="2999-01-01T00:00:00+00:00"),
        stranger(expires="nonsense", timelimit="nonsense", retries=[], stamped_headers=7),
        message(body=body([["r5"], {}, EMBED | {"callbacks": [{"task": "autoheal.start", "args": ["r6"]}]}])),
    ]
    for one in sneaky:
        server.command("LPUSH", key_of("autoheal"), json.dumps(one))
    assert worker.until("end", 3) == ["r5"] * 3
    assert keys(server) == []


def test_workers_cannot_be_commanded_over_the_broker(server: Redis, bell: CeleryBell, start: Start) -> None:
    from celery import Celery

    worker = start()
    with Celery("stranger", broker=server.url, set_as_current=False) as app:
        assert app.control.ping(timeout=1.0) == []
        app.control.shutdown()
        app.control.purge()
    bell.ring("autoheal", "r1")
    assert worker.until("end") == ["r1"]
    assert server.command("PUBSUB", "NUMPAT") == 0


def test_a_message_of_celery_s_own_making_is_understood(server: Redis, start: Start) -> None:
    from celery import Celery
    from kombu import Exchange, Queue

    worker = start("eu")
    with Celery("other", broker=server.url, set_as_current=False) as app:
        queue = Queue(key_of("eu"), Exchange("", type="direct"), routing_key=key_of("eu"))
        app.send_task("autoheal.start", args=["r4"], queue=queue, ignore_result=True)
    assert worker.until("end") == ["r4"]


def test_a_message_says_what_and_nothing_more(server: Redis, bell: CeleryBell) -> None:
    bell.ring("eu", "r12")
    [line] = server.command("LRANGE", key_of("eu"), "0", "-1")
    sent = json.loads(line)
    assert doorbell(sent) == "r12"
    headers = sent["headers"]
    assert (headers["task"], headers["eta"], headers["expires"], headers["retries"]) == (
        "autoheal.start",
        None,
        None,
        0,
    )
    assert headers["ignore_result"] is True


# ---- addresses ------------------------------------------------------------------------------------------------------


def test_inspect_tells_version_policy_and_depths(server: Redis, bell: CeleryBell) -> None:
    bell.ring("eu", "r1")
    found = broker.inspect(server.url, ["eu", "us"])
    assert (found.policy, found.depths) == ("noeviction", {"eu": 1, "us": 0}) and found.version[0].isdigit()


def test_inspect_tells_away_from_refused(tmp_path: Path) -> None:
    with pytest.raises(Temporary, match="the broker"):
        broker.inspect(f"redis://:geheim@127.0.0.1:{free_port()}/0", [])
    with redis(tmp_path) as server:
        server.command("CONFIG", "SET", "requirepass", "right")
        for url in (server.url, server.url.replace("://", "://:wrong@")):
            with pytest.raises(Permanent, match="refuses") as caught:
                broker.inspect(url, [])
            assert "wrong" not in str(caught.value)
            with pytest.raises(Temporary):
                CeleryBell(url).ring("autoheal", "r1")
        right = server.url.replace("://", "://:right@")
        assert broker.inspect(right, []).policy == "noeviction"
        CeleryBell(right).ring("autoheal", "r1")


def test_inspect_where_the_policy_may_not_be_asked(server: Redis) -> None:
    server.command("ACL", "SETUSER", "ops", "on", ">pw", "~*", "+@all", "-config")
    assert broker.inspect(server.url.replace("://", "://ops:pw@"), ["eu"]).policy is None


def test_a_socket_is_an_address_too(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with redis(tmp_path, unixsocket=path) as server, ExitStack() as stack:
        url = f"redis+socket://{path}?virtual_host=3"
        bell = CeleryBell(url)
        stack.callback(bell.close)
        bell.ring("autoheal", "r1")
        assert server.command("LLEN", key_of("autoheal")) == 0  # that is database 0
        file = tmp_path / "worker.txt"
        process = Process([sys.executable, SCRIPT, url, file, "0", "1", "1", "autoheal"], tmp_path / "worker.log")
        assert Worker(stack.enter_context(process), file).until("end") == ["r1"]


@pytest.mark.parametrize("url", ["redis://h:x/0", "http://h", "redis://h/0?no_such_option=1"])
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(Permanent, match="REDIS_URL"):
        CeleryBell(url)


def test_tls_looks_at_the_certificate_on_both_sides() -> None:
    assert celery_worker.address_of("rediss://h")["ssl"] == {"ssl_cert_reqs": "required"}
    assert celery_worker.address_of("rediss://h?ssl_cert_reqs=CERT_NONE")["ssl"] == {"ssl_cert_reqs": "none"}
    assert celery_worker.address_of("redis://h")["ssl"] is False

"""Celery's worker, cut down to what a doorbell needs: `clients.broker.work` runs it.

Off are the remote control, events, gossip, Celery's own tasks and its logging. Bounded are the end and every wait.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import Any

import structlog
from celery import Celery
from celery.concurrency.base import BasePool, apply_target
from celery.worker import WorkController
from celery.worker import state as worker_state
from celery.worker.consumer import Consumer
from kombu import Connection, Exchange, Queue
from kombu.transport import redis as kombu_redis
from redis import ResponseError, SSLConnection

from autoheal.clients.broker import (
    PREFIX,
    TASK,
    TIMEOUT,
    client_of,
    doorbell,
    key_of,
    message_of,
    of_one_queue,
    sample,
    text_of,
)
from autoheal.core.errors import AutohealError, Temporary

log = structlog.get_logger("broker")

RECONNECT_MAX = 5.0
"""Seconds between two attempts of a worker to reach the broker again, at most."""
ASIDE = 5.0
"""Seconds for which a queue that cannot be read is left aside before it is tried again."""
HEALTH_CHECK = 10
"""Seconds after which a broker that no longer answers, though its connection stands, counts as lost."""


@dataclass(slots=True)
class Shift:
    """What the parts of one worker share; see `clients.broker.work`."""

    drain: float
    started: Callable[[], None]
    stopping: Callable[[], None]
    lost: Callable[[], None]
    signals: int = 0
    running: int = 0


def run(
    redis_url: str,
    do: Callable[[str], None],
    queues: Sequence[str],
    concurrency: int,
    name: str,
    shift: Shift,
) -> int:
    """See `clients.broker.work`."""
    app = _application(redis_url, shift)

    @app.task(name=TASK, ignore_result=True, acks_late=False)  # type: ignore[untyped-decorator]
    def start(remediation_id: str) -> None:
        try:
            do(remediation_id)
        except AutohealError as error:
            log.warning("doorbell_failed", remediation_id=remediation_id, error=str(error))
        except Exception:
            log.exception("doorbell_failed", remediation_id=remediation_id)

    app.finalize()
    for other in [task for task in app.tasks if task != TASK]:  # Celery's own: nobody is to call them from outside
        app.tasks.unregister(other)
    app.conf.task_queues = [
        Queue(key_of(name), Exchange("autoheal", type="direct"), routing_key=key_of(name), no_declare=True)
        for name in dict.fromkeys(queues)
    ]
    for noisy in ("celery", "kombu"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    worker_state.should_stop = worker_state.should_terminate = None
    with _signals(shift):
        _Worker(app=app, hostname=f"autoheal@{name}", concurrency=concurrency, shift=shift).start()
    if not shift.signals:
        raise Temporary("the worker ended though nobody asked it to; its log says why")
    return shift.running


def _settings() -> dict[str, Any]:
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_detect_quorum_queues": False,
        "worker_cancel_long_running_tasks_on_connection_loss": True,  # only what is acknowledged late: nothing
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "task_create_missing_queues": True,
    }


def _application(redis_url: str, shift: Shift) -> Any:
    """Celery as the worker needs it; its broker is ours, whatever CELERY_BROKER_URL says."""
    options = {
        "socket_connect_timeout": TIMEOUT,
        "socket_timeout": TIMEOUT * 2,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK,
        "ack_emulation": False,
    }

    transport = type("Transport", (_Transport,), {"shift": shift, "sample": sample()})
    address = address_of(redis_url)
    host = address.pop("hostname")

    class Application(Celery):  # type: ignore[misc]
        def _connection(self, url: Any, **given: Any) -> Connection:
            connection = Connection(transport=transport, transport_options=options, **address)
            connection.hostname = host  # not handed in: a socket's path would be parsed
            return connection

    return Application("autoheal", set_as_current=False, changes=_settings())


def address_of(redis_url: str) -> dict[str, Any]:
    """The URL as redis-py reads it, so that whoever rings and whoever listens read the same.

    kombu, given a rediss:// URL, does not look at the server's certificate unless asked to.
    """
    pool = client_of(redis_url).connection_pool
    given = pool.connection_kwargs
    tls = issubclass(pool.connection_class, SSLConnection)
    options = {name: value for name, value in given.items() if name.startswith("ssl_")}
    path = given.get("path")
    return {
        "hostname": f"socket://{path}" if path else given.get("host", "localhost"),
        "port": given.get("port", 6379),
        "userid": given.get("username"),
        "password": given.get("password"),
        "virtual_host": str(given.get("db", 0)),
        "ssl": {"ssl_cert_reqs": "required", **options} if tls else False,
    }


@contextmanager
def _signals(shift: Shift) -> Iterator[None]:
    """The first one stops the worker at the next turn of its loop (within a second), another one ends the drain."""

    def caught(number: int, frame: FrameType | None) -> None:
        shift.signals += 1
        worker_state.should_stop = 0

    before = {number: signal.signal(number, caught) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Channel(kombu_redis.Channel):  # type: ignore[misc]
    """A queue in whose place something else is, is left aside for a while; the others are served on."""

    _aside: float = float("-inf")
    _broken: frozenset[str] = frozenset()

    @property
    def active_queues(self) -> list[str]:
        aside = self._broken if monotonic() < self._aside + ASIDE else ()
        return [name for name in super().active_queues if name not in aside]

    def _brpop_start(self, timeout: Any = None) -> None:
        if set(self._queue_cycle.items) != set(self.active_queues):
            self._update_queue_cycle()
        super()._brpop_start(timeout)

    def _leave_aside(self) -> bool:
        """Whether there is a broken queue, so that the others can be served without it."""
        broken = frozenset(filter(self._is_broken, super().active_queues))
        for name in sorted(broken - self._broken):
            log.error("queue_broken", queue=name.removeprefix(PREFIX), error="the broker holds something else there")
        self._aside, self._broken = monotonic(), broken
        return bool(broken)

    def _is_broken(self, queue: str) -> bool:
        with self.conn_or_acquire() as client:
            try:
                for step in self.priority_steps:
                    client.llen(self._q_for_pri(queue, step))
            except ResponseError as error:
                return of_one_queue(error)
        return False

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except ResponseError as error:
            if not of_one_queue(error) or not self._leave_aside():
                raise
            return True
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            log.warning("message_dropped", why="not a message at all", error=type(error).__name__)
            return True


class _Transport(kombu_redis.Transport):  # type: ignore[misc]
    """Lets in nothing but doorbells, and after the signal to stop puts even those back.

    Of what came only the id goes on, in a message of our own: no time limit, callback or date of a stranger's counts.
    """

    Channel = _Channel
    shift: Shift
    sample: dict[str, Any]

    def _deliver(self, message: Any, queue: str) -> None:
        remediation_id = doorbell(message)
        if remediation_id is None:
            log.warning("message_dropped", why="not a doorbell", queue=queue.removeprefix(PREFIX))
            return
        ours = message_of(self.sample, queue.removeprefix(PREFIX), remediation_id)
        if self.shift.signals:
            self.channels[0]._put(queue, ours)
        else:
            super()._deliver(ours, queue)


class _Pool(BasePool):  # type: ignore[misc]
    """Celery's `threads` pool with daemon threads and an end that is bounded: a stuck action does not hold up the exit.

    It wakes the loop when a thread gets free, or the next message would wait up to a second.
    """

    body_can_be_buffer = True
    signal_safe = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._jobs: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._wake: Callable[[], None] = lambda: None
        self.shift: Shift
        self.running = 0

    def on_start(self) -> None:
        for number in range(self.limit):
            self._threads.append(threading.Thread(target=self._run, name=f"worker-{number}", daemon=True))
            self._threads[-1].start()

    def register_with_event_loop(self, loop: Any) -> None:
        self._wake = lambda: loop.call_soon(_nothing)

    def on_apply(
        self,
        target: Any,
        args: Any = None,
        kwargs: Any = None,
        callback: Any = None,
        accept_callback: Any = None,
        **others: Any,
    ) -> None:
        self._jobs.put((target, args, kwargs, callback, accept_callback))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                self.running += 1
            try:
                apply_target(*job)
            except BaseException:
                log.exception("pool_failed")
            finally:
                with self._lock:
                    self.running -= 1
                self._wake()

    def on_stop(self) -> None:
        """What has not begun is left: its message goes back into the queue as the channel closes."""
        with suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
        for _ in self._threads:
            self._jobs.put(None)
        until = monotonic() + self.shift.drain
        for thread in self._threads:
            while thread.is_alive() and self.shift.signals < 2 and monotonic() < until:
                thread.join(0.05)
        self.shift.running = self.running

    on_terminate = on_stop


def _nothing() -> None:
    pass


class _Consumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, which comes back within seconds however long the broker was away, and says so once."""

    def ensure_connected(self, conn: Any) -> Any:
        told = False

        def failed(error: Exception, interval: float) -> None:
            nonlocal told
            if not told:
                told = True
                self.controller.shift.lost()
                log.warning("broker_away", error=text_of(error))

        conn.ensure_connection(
            failed,
            max_retries=None,
            interval_start=1,
            interval_step=1,
            interval_max=RECONNECT_MAX,
            callback=worker_state.maybe_shutdown,
        )
        self.first_connection_attempt = False
        return conn

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        self.controller.shift.lost()
        log.warning("broker_lost", error=text_of(exc))
        super().on_connection_error_after_connected(exc)

    def on_ready(self) -> None:
        super().on_ready()
        log.info("broker_reached", queues=[name.removeprefix(PREFIX) for name in self.app.amqp.queues.consume_from])
        self.controller.shift.started()


class _Worker(WorkController):  # type: ignore[misc]
    def __init__(self, *, shift: Shift, **given: Any) -> None:
        self.shift = shift
        quiet = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
        super().__init__(pool_cls=_Pool, consumer_cls=_Consumer, **quiet, **given)
        self.pool.shift = shift

    def on_close(self) -> None:
        super().on_close()
        self.shift.stopping()

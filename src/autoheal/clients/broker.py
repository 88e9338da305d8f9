"""The broker: Celery on Redis. A message is a doorbell; it says which remediation wants hands, and nothing else.

It may be lost, come twice or come late: the dispatcher's sweep rings for what still waits, and the start is decided at
the head. So messages are taken early (nothing is kept "unacked"), carry no time and no result, and are never retried.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from autoheal.core.errors import Permanent, Temporary

if TYPE_CHECKING:
    from redis import Redis

TASK = "autoheal.start"
PREFIX = "autoheal:queue:"
"""Before each queue's name in Redis, where other programs may have lists of their own."""
REMEDIATION = re.compile(r"r[1-9][0-9]{0,18}")
TIMEOUT = 2.0
"""Seconds for connecting, and for an answer."""


def installed() -> None:
    """Permanent, with what to do, where the libraries are missing. They are loaded only where they are used."""
    missing = [name for name in ("celery", "redis") if importlib.util.find_spec(name) is None]
    if missing:
        raise Permanent(f"REDIS_URL needs {' and '.join(missing)}: pip install 'autoheal[scale]'")


def key_of(queue: str) -> str:
    """The Redis list of a queue."""
    return PREFIX + queue


# ---- ringing ----------------------------------------------------------------------------------------------------


class CeleryBell:
    """`engine.ports.Doorbell`: publishes Celery messages over one pool of connections; safe to share among threads.

    The message is one that Celery itself wrote, with the id put in: a quarter of what `send_task` costs each time.
    """

    def __init__(self, redis_url: str) -> None:
        self._client = client_of(redis_url)
        self._errors = _errors()
        self._sample = sample()

    def ring(self, queue: str, remediation_id: str) -> None:
        message = json.dumps(message_of(self._sample, queue, remediation_id))
        with self._reached():
            try:
                self._client.lpush(key_of(queue), message)
            except self._errors as error:
                if not of_one_queue(error):
                    raise
                raise Permanent(f"the broker refuses {key_of(queue)}: {text_of(error)}") from error

    def depths(self, queues: Sequence[str]) -> dict[str, int]:
        with self._reached():
            return _depths(self._client, queues)

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            # after a restart of the broker no connection of the pool is good any more
            self._client.connection_pool.disconnect(inuse_connections=False)
            raise Temporary(f"the broker: {text_of(error)}") from error


def client_of(redis_url: str) -> Redis:
    """A client that has not connected yet; Permanent where the URL cannot be used."""
    installed()
    from redis import Redis, RedisError
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    url = re.sub(r"^redis\+socket:", "unix:", redis_url)
    url = re.sub(r"([?&])virtual_host=", r"\1db=", url)
    url = re.sub(r"([?&]ssl_cert_reqs=)CERT_(\w+)", lambda found: found[1] + found[2].lower(), url)
    timeouts: dict[str, Any] = {"socket_timeout": TIMEOUT}
    if not url.startswith("unix:"):
        timeouts |= {"socket_connect_timeout": TIMEOUT, "socket_keepalive": True}
    try:
        client = Redis.from_url(url, retry=Retry(NoBackoff(), 0), decode_responses=True, **timeouts)
        client.connection_pool.make_connection()
    except (ValueError, TypeError, RedisError) as error:
        raise Permanent(f"REDIS_URL: {error}") from None
    return client


def _errors() -> tuple[type[Exception], ...]:
    from redis import RedisError

    return RedisError, OSError


def text_of(error: BaseException) -> str:
    return str(error) or type(error).__name__


def of_one_queue(error: BaseException) -> bool:
    """Whether it is about one key: it holds no list, or we may not touch it. The broker itself is fine then."""
    from redis.exceptions import NoPermissionError, ResponseError

    said = str(error)
    if isinstance(error, NoPermissionError):
        return " key" in said
    return isinstance(error, ResponseError) and said.startswith("WRONGTYPE")


def _depths(client: Redis, queues: Sequence[str]) -> dict[str, int]:
    if not queues:
        return {}
    with client.pipeline(transaction=False) as pipe:
        for name in queues:
            pipe.llen(key_of(name))
        found = dict(zip(queues, pipe.execute(raise_on_error=False), strict=True))
    for answer in found.values():
        if isinstance(answer, Exception) and not of_one_queue(answer):
            raise answer
    return {name: answer for name, answer in found.items() if not isinstance(answer, Exception)}


def sample() -> dict[str, Any]:
    """A message as the Celery that is installed writes it, taken out of kombu's transport in memory."""
    from celery import Celery
    from kombu import Connection, Exchange, Queue

    app = Celery("autoheal", set_as_current=False, changes={"task_serializer": "json", "result_backend": None})
    channel_queue = f"sample-{uuid4()}"
    with Connection("memory://") as connection:
        target = Queue(channel_queue, Exchange("", type="direct"), routing_key=channel_queue)
        producer = connection.Producer(serializer="json")
        app.send_task(TASK, args=["r1"], queue=target, producer=producer, ignore_result=True, retry=False)
        channel = connection.default_channel
        message: dict[str, Any] = channel._get(channel_queue)
        channel.queue_delete(channel_queue)
    return message


def message_of(sample: dict[str, Any], queue: str, remediation_id: str) -> dict[str, Any]:
    uid = str(uuid4())
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([[remediation_id], {}, embed]).encode()
    shown = f"('{remediation_id}',)"
    return {
        **sample,
        "body": base64.b64encode(body).decode(),
        "headers": {**sample["headers"], "id": uid, "root_id": uid, "argsrepr": shown},
        "properties": {
            **sample["properties"],
            "correlation_id": uid,
            "delivery_tag": uid,
            "delivery_info": {"exchange": "", "routing_key": key_of(queue)},
        },
    }


# ---- looking ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BrokerReport:
    """`policy`: Redis' maxmemory-policy, None where it is not told to us; `depths`: messages in each queue."""

    version: str
    policy: str | None
    depths: dict[str, int]


def inspect(redis_url: str, queues: Sequence[str]) -> BrokerReport:
    """How the broker is; Temporary where it cannot be reached, Permanent where it does not let us in. A queue that
    cannot be counted has no depth."""
    client = client_of(redis_url)
    from redis.exceptions import AuthenticationError, NoPermissionError

    try:
        version = str(client.info("server")["redis_version"])
        return BrokerReport(version, _policy(client), _depths(client, queues))
    except (AuthenticationError, NoPermissionError) as error:
        raise Permanent(f"the broker refuses us: {text_of(error)}") from error
    except _errors() as error:
        refused = "NOAUTH" in str(error) or "WRONGPASS" in str(error)
        raise (Permanent if refused else Temporary)(f"the broker: {text_of(error)}") from error
    finally:
        client.close()


def _policy(client: Redis) -> str | None:
    from redis import ResponseError

    try:
        policy: str | None = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except ResponseError:  # CONFIG is often forbidden where Redis is a service
        return None
    return policy


# ---- working ----------------------------------------------------------------------------------------------------


def doorbell(message: Any) -> str | None:
    """The remediation that a message rings for; None where it is anything but a doorbell."""
    try:
        if message["content-type"] != "application/json" or message["properties"]["body_encoding"] != "base64":
            return None
        if message["headers"]["task"] != TASK:
            return None
        (remediation_id,), named, _ = json.loads(base64.b64decode(message["body"]))
        fits = isinstance(remediation_id, str) and REMEDIATION.fullmatch(remediation_id)
        return remediation_id if fits and not named else None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def work(
    redis_url: str,
    do: Callable[[str], None],
    queues: Sequence[str],
    concurrency: int,
    name: str,
    drain: float,
    started: Callable[[], None],
    stopping: Callable[[], None],
    lost: Callable[[], None] = lambda: None,
) -> int:
    """Serve `queues` in this process's main thread until SIGTERM or SIGINT; how many were still being done at the end.

    `do` gets ids of remediations in up to `concurrency` threads; what it raises is logged. `started` is called each
    time when the broker is reached, `lost` when it is no longer, `stopping` once. After the signal nothing more is
    taken, and what runs has `drain` seconds; a second signal ends that wait. The threads are daemons.
    """
    installed()
    from autoheal.clients import celery_worker

    shift = celery_worker.Shift(drain, started, stopping, lost)
    return celery_worker.run(redis_url, do, queues, concurrency, name, shift)

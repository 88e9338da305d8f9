"""Real programs for tests: started on loopback with ports of their own, logged to a file, ended with the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from tests.needs import needs

T = TypeVar("T")
STARTS = 5
"""A port that was free may be taken before the program binds it: it is then started anew on another one."""


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago; be ready to try again (see `STARTS`)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(predicate: Callable[[], T], timeout: float = 10.0, what: str = "", every: float = 0.02) -> T:
    """Ask until `predicate` answers something true, and return that; AssertionError after `timeout` seconds.

    What it raises as AssertionError, OSError or httpx.HTTPError counts as "not yet" and is told at the end.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer: object
        try:
            found = predicate()
            if found:
                return found
            answer = found
        except (AssertionError, OSError, httpx.HTTPError) as error:
            answer = repr(error)
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or 'it'} did not come within {timeout:g} s; the last answer: {answer}")
        time.sleep(every)


class Process:
    """A program in a session of its own; on leaving, it and what it has started are gone. `log` takes its output."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
    ) -> None:
        """`env` is added to the test's own environment; `user`: the numeric user and group that it runs as."""
        self.argv = [str(part) for part in argv]
        self.log = log
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd
        self._user = user
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
                **as_user(self._user),
            )
        return self

    @property
    def popen(self) -> subprocess.Popen[bytes]:
        assert self._popen is not None, f"{self.argv[0]} was never started"
        return self._popen

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def text(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, number: signal.Signals) -> None:
        """A signal to the program alone."""
        self.popen.send_signal(number)

    def wait(self, timeout: float = 15.0) -> int:
        """Its exit code; an AssertionError with its log where it does not end."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.argv[0]} still runs after {timeout:g} s\n{self.text()}") from None

    def terminate(self, timeout: float = 15.0) -> int:
        """SIGTERM, and its exit code."""
        if self.alive:
            self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to the program and to what it has started in its session."""
        if self._popen is None:
            return
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._popen.kill()
        self._popen.wait(10)

    def until(self, ready: Callable[[], object], timeout: float = 20.0, what: str = "") -> Self:
        """Wait until `ready`; at once an AssertionError with its log where the program ends before."""

        def ready_or_gone() -> object:
            return not self.alive or ready()

        wait_until(ready_or_gone, timeout, what or f"{Path(self.argv[0]).name} ready")
        if not self.alive:
            raise ExitedEarly(f"{self.argv[0]} ended with {self.popen.returncode}\n{self.text()}")
        return self

    def __enter__(self) -> Self:
        return self if self._popen is not None else self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.alive:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            try:
                self.popen.wait(2)
            except subprocess.TimeoutExpired:
                pass
        self.kill()


def as_user(user: int | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


class ExitedEarly(AssertionError):
    """The program ended before it was ready."""


def on_free_ports(start: Callable[[], T]) -> T:
    """Call `start`, which takes its ports from `free_port`, again where another program was quicker."""
    for attempt in range(STARTS):
        try:
            return start()
        except ExitedEarly as error:
            if "address already in use" not in str(error).lower() or attempt == STARTS - 1:
                raise
    raise AssertionError("unreachable")


# ---- Alertmanager ---------------------------------------------------------------------------------------------------


@dataclass
class Alertmanager:
    """A running Alertmanager; `url` is where it listens, `cluster` its gossip address ("" when single)."""

    url: str
    cluster: str
    process: Process

    def get(self, path: str, **params: Any) -> Any:
        answer = httpx.get(f"{self.url}/api/v2/{path}", params=params, timeout=5)
        answer.raise_for_status()
        return answer.json()

    def post(self, *alerts: Mapping[str, Any]) -> None:
        """Post alerts, each `{"labels": …, "annotations": …, "startsAt": …, "endsAt": …}`."""
        httpx.post(f"{self.url}/api/v2/alerts", json=list(alerts), timeout=5).raise_for_status()

    def fire(self, **labels: str) -> None:
        """An alert with these labels and the annotation that lets Autoheal act."""
        self.post({"labels": labels, "annotations": {"autoheal": "true"}})

    def resolve(self, **labels: str) -> None:
        """End the alert with these labels (to the second, as Alertmanager's API takes it)."""
        ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))
        self.post({"labels": labels, "annotations": {"autoheal": "true"}, "endsAt": ended})

    def alerts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("alerts")
        return found

    def silences(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("silences")
        return found

    def peers(self) -> int:
        """Members of the cluster that it sees, itself included; 0 when single."""
        return len(self.get("status")["cluster"].get("peers") or [])

    def again(self) -> None:
        """Start it again on the same ports and storage, after a kill."""
        self.process.start().until(lambda: self.get("status"))


def receiver_config(
    receiver_url: str,
    *,
    token: str | None = None,
    group_by: Sequence[str] = ("alertname",),
    group_wait: str = "50ms",
    group_interval: str = "1s",
    repeat_interval: str = "1h",
    send_resolved: bool = True,
) -> dict[str, Any]:
    """A configuration with one webhook receiver for everything (as JSON, which is YAML too)."""
    webhook: dict[str, Any] = {"url": receiver_url, "send_resolved": send_resolved}
    if token is not None:
        webhook["http_config"] = {"authorization": {"type": "Bearer", "credentials": token}}
    route = {
        "receiver": "autoheal",
        "group_by": list(group_by),
        "group_wait": group_wait,
        "group_interval": group_interval,
        "repeat_interval": repeat_interval,
    }
    return {"route": route, "receivers": [{"name": "autoheal", "webhook_configs": [webhook]}]}


@contextmanager
def alertmanager(
    folder: Path,
    receiver_url: str,
    *,
    cluster_peers: Sequence[str] | None = None,
    peer_timeout: str = "1s",
    config: Mapping[str, Any] | None = None,
    **route: Any,
) -> Iterator[Alertmanager]:
    """A running Alertmanager that sends everything to `receiver_url`.

    `cluster_peers`: None for a single one; else it gossips on loopback and joins these addresses (none: it is the
    first). `peer_timeout` is how long each further peer waits before it sends too (Alertmanager's default: 15s).
    `route` takes `receiver_config`'s options; `config` replaces it as a whole.
    """
    binary = needs("prometheus-alertmanager")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "alertmanager.yml"
    file.write_text(json.dumps(config or receiver_config(receiver_url, **route)))

    def start() -> Alertmanager:
        url = f"http://127.0.0.1:{free_port()}"
        cluster = "" if cluster_peers is None else f"127.0.0.1:{free_port()}"
        argv = [
            binary,
            f"--config.file={file}",
            f"--storage.path={folder / 'storage'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            f"--web.external-url={url}",
            f"--cluster.listen-address={cluster}",
            *(_gossip(cluster, cluster_peers or (), peer_timeout) if cluster else ()),
        ]
        process = Process(argv, folder / "alertmanager.log").start()
        found = Alertmanager(url, cluster, process)
        try:
            process.until(
                lambda: found.get("status")["cluster"]["status"] in ("ready", "disabled"), what="Alertmanager"
            )
        except BaseException:
            process.kill()
            raise
        return found

    found = on_free_ports(start)
    with found.process:
        yield found


def _gossip(address: str, peers: Sequence[str], peer_timeout: str) -> list[str]:
    return [
        f"--cluster.advertise-address={address}",
        *(f"--cluster.peer={peer}" for peer in peers),
        "--cluster.settle-timeout=1s",
        "--cluster.gossip-interval=20ms",
        "--cluster.pushpull-interval=1s",
        "--cluster.reconnect-interval=1s",
        f"--cluster.peer-timeout={peer_timeout}",
    ]


@contextmanager
def alertmanager_pair(folder: Path, receiver_url: str, **options: Any) -> Iterator[tuple[Alertmanager, Alertmanager]]:
    """Two that see each other; alerts must be posted to both, as Prometheus does. Options as for `alertmanager`."""
    with ExitStack() as stack:
        first = stack.enter_context(alertmanager(folder / "am-1", receiver_url, cluster_peers=(), **options))
        second = stack.enter_context(
            alertmanager(folder / "am-2", receiver_url, cluster_peers=(first.cluster,), **options)
        )
        wait_until(lambda: first.peers() == second.peers() == 2, 20, "the cluster of two")
        yield first, second


# ---- Prometheus -----------------------------------------------------------------------------------------------------


@dataclass
class Prometheus:
    """A running Prometheus."""

    url: str
    process: Process

    def get(self, path: str, **params: Any) -> Any:
        """`data` of an answer of its HTTP API."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=5)
        answer.raise_for_status()
        return answer.json()["data"]

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The result of an instant query: a vector's series."""
        found: list[dict[str, Any]] = self.get("query", query=promql)["result"]
        return found


@contextmanager
def prometheus(folder: Path, config: Mapping[str, Any], options: Sequence[str] = ()) -> Iterator[Prometheus]:
    """A running Prometheus; `config` is its configuration file as a mapping. Rule files lie beside it in `folder`.

    Targets and Alertmanagers are known to it about five seconds after its start.
    """
    binary = needs("prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(config))

    def start() -> Prometheus:
        url = f"http://127.0.0.1:{free_port()}"
        argv = [
            binary,
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            f"--web.external-url={url}",
            "--web.enable-lifecycle",
            *options,
        ]
        process = Process(argv, folder / "prometheus.log").start()
        try:
            process.until(lambda: httpx.get(f"{url}/-/ready", timeout=2).status_code == 200, 30, "Prometheus")
        except BaseException:
            process.kill()
            raise
        return Prometheus(url, process)

    found = on_free_ports(start)
    with found.process:
        yield found


# ---- a receiver of webhooks -----------------------------------------------------------------------------------------


@dataclass
class Receiver:
    """Keeps every webhook it gets, and answers `status`."""

    url: str
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def alerts(self, status: str | None = None) -> list[dict[str, Any]]:
        """Every alert received so far, or those with one status (`firing`, `resolved`)."""
        found = [alert for body in list(self.bodies) for alert in body["alerts"]]
        return [alert for alert in found if status in (None, alert["status"])]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A running receiver in a thread of this process, on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            found.headers.append(dict(self.headers))
            found.bodies.append(json.loads(body))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}/alert")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join(5)

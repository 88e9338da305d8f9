"""One short visit to PostgreSQL, for commands: its own connection, and errors that never show a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from autoheal.core.errors import Permanent
from autoheal.engine.ports import StoreUnavailable
from autoheal.store.connection import parsed_url, reason

CONNECT_SECONDS = 10
"""How long to wait for a server that does not answer."""

_UNLIMITED = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")


def place(url: str) -> str:
    """Where a URL leads, for people: no password, no options; an SQLite file by its path."""
    parts = parsed_url(url)
    if parts.get_backend_name() == "sqlite":
        return parts.database or ""
    host = parts.host or parts.query.get("host", "")
    host = host if isinstance(host, str) else ",".join(host)
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"postgresql://{user}{f'[{host}]' if ':' in host else host}{port}/{parts.database or ''}"


@contextmanager
def visit(url: str, seconds: int = CONNECT_SECONDS) -> Iterator[Connection]:
    """A connection to PostgreSQL on which each statement commits by itself.

    StoreUnavailable where the server cannot be reached or is lost on the way, Permanent where it refuses what is asked.
    """
    options = {"connect_timeout": str(seconds), "application_name": "autoheal command", "client_encoding": "UTF8"}
    with translated(url):
        try:
            engine = create_engine(
                parsed_url(url),
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                connect_args=options,
                hide_parameters=True,
            )
        except ModuleNotFoundError as error:
            raise Permanent("PostgreSQL needs its driver: pip install 'autoheal[scale]'") from error
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()


def unlimited(connection: Connection) -> None:
    """Lift the server's own timeouts for this connection: what it does may take as long as it takes."""
    for name in _UNLIMITED:
        connection.exec_driver_sql(
            f"SELECT set_config('{name}', '0', false) FROM pg_settings WHERE name = '{name}'"  # noqa: S608 - ours
        )


@contextmanager
def translated(url: str) -> Iterator[None]:
    """The driver's errors on the database at `url`, bare or in SQLAlchemy's dress, as the store's."""
    try:
        yield
    except Exception as error:
        bare = getattr(error, "orig", None) or error
        if not isinstance(error, SQLAlchemyError) and type(bare).__module__.partition(".")[0] != "psycopg":
            raise
        said = reason(error, parsed_url(url))
        if _refused(bare):
            primary = getattr(getattr(bare, "diag", None), "message_primary", None)  # the rest quotes what was sent
            raise Permanent(f"the database at {place(url)} refused: {primary or said}") from error
        raise StoreUnavailable(f"the database at {place(url)}: {said}") from error


def _refused(error: BaseException) -> bool:
    """Whether the server took the statement and said no. Classes 08 and 28 are about the connection, 3D is a database
    that is not there, 40 asks to try again, 53 is a server that is full, 57 one that goes down."""
    state = getattr(error, "sqlstate", None)
    return isinstance(state, str) and state[:2] not in ("08", "28", "3D", "40", "53", "57")

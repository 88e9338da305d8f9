"""The schema's version: read it cheaply, bring it up, refuse what this code does not know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from autoheal.core.errors import Permanent
from autoheal.engine.ports import StoreUnavailable
from autoheal.store import connection as connections
from autoheal.store.schema import VERSION

if TYPE_CHECKING:
    from alembic.config import Config


class SchemaMismatch(Permanent):
    """The database's schema is not the one that this Autoheal reads and writes."""


def current(connection: Connection) -> str | None:
    """The database's revision, None where it has none yet. A plain SELECT: Alembic is not imported."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])


def check(connection: Connection) -> None:
    """SchemaMismatch unless the schema is exactly this code's."""
    found = current(connection)
    if found == VERSION:
        return
    if found is not None and found not in _known():
        raise _ahead(found)
    raise SchemaMismatch(
        f"the database's schema is {found or 'empty'}, this Autoheal needs {VERSION}: run `autoheal db upgrade`"
    )


def bring_up(connection: Connection) -> bool:
    """Bring an empty or older schema up to this code's; whether anything was done. SchemaMismatch if ahead."""
    found = current(connection)
    if found == VERSION:
        return False
    if found is not None and found not in _known():
        raise _ahead(found)
    from alembic import command

    command.upgrade(_config(connection), VERSION)
    return True


def upgrade(url: str) -> bool:
    """`bring_up` on the database at `url`, committed as a whole or not at all.

    On PostgreSQL one at a time; StoreUnavailable where it cannot be reached, or is busy for seconds; Permanent where
    it refuses.
    """
    engine = connections.writer(url)
    try:
        return _bring_up_alone(engine)
    finally:
        engine.dispose()


def make_ready(engine: Engine) -> None:
    """For a start on PostgreSQL: an empty database gets the schema, every other must have exactly this code's.

    Several processes may start at once, so nothing older is upgraded here.
    """
    with _told(engine), engine.connect() as connection:
        found = current(connection)
        if found is not None:
            check(connection)
    if found is None:
        _bring_up_alone(engine)


def _bring_up_alone(engine: Engine) -> bool:
    with _told(engine), ExitStack() as stack, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            stack.enter_context(connections.unlimited(connection.connection.driver_connection))
            connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            connection.exec_driver_sql("SET LOCAL lock_timeout = '3s'")
        return bring_up(connection)


_LOCK = 0x6175746F6865616C
"""The advisory lock of who changes the schema: "autoheal" in ASCII."""


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    try:
        yield
    except ProgrammingError as error:
        raise Permanent(f"the database refused: {connections.reason(error, engine.url)}") from error
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the ledger cannot be opened: {connections.reason(error, engine.url)}") from error


def downgrade(connection: Connection, revision: str) -> None:
    """Take the schema back to `revision` ("base": empty), on the caller's transaction."""
    from alembic import command

    command.downgrade(_config(connection), revision)


def _known() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions()}


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "autoheal.store:migrations")
    config.attributes["connection"] = connection
    return config


def _ahead(found: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"the database's schema is {found}, newer than this Autoheal knows ({VERSION}): "
        "start the version that wrote it, or a newer one"
    )

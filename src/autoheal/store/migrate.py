"""The schema's version: read it cheaply, bring it up, refuse what this code does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from autoheal.core.errors import Permanent
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
    """`bring_up` on the database at `url`, committed as a whole or not at all."""
    engine = connections.writer(url)
    try:
        with engine.begin() as connection:
            return bring_up(connection)
    finally:
        engine.dispose()


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

"""Leases beside the ledger on PostgreSQL: who does what, and which processes are there, by the database's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.exc import SQLAlchemyError

from autoheal.engine.ports import Presence, StoreUnavailable
from autoheal.store import connection as connections

REMEMBERED = 86400
"""Seconds that a lease which ran out is kept: `processes` tells of who was here lately."""

_NOW = "extract(epoch FROM clock_timestamp())::float8"

# Rows are locked in the order of their keys, so that two processes never wait for each other.
_TAKE = text(f"""
    INSERT INTO claims (space, key, owner, until)
    SELECT 'duty', key, :owner, {_NOW} + :seconds FROM unnest(CAST(:keys AS text[])) AS key ORDER BY key COLLATE "C"
    ON CONFLICT (space, key) DO UPDATE SET owner = excluded.owner, until = {_NOW} + :seconds
    WHERE claims.owner = excluded.owner OR claims.until <= {_NOW}
    RETURNING key
""")  # noqa: S608 - no input stands in these texts
_ONCE = text(f"""
    INSERT INTO claims (space, key, owner, until) VALUES ('once', :key, '', {_NOW} + :seconds)
    ON CONFLICT (space, key) DO UPDATE SET until = excluded.until WHERE claims.until <= {_NOW}
    RETURNING key
""")  # noqa: S608
_RELEASE = text("""
    WITH mine AS (
        SELECT key FROM claims WHERE space = 'duty' AND owner = :owner AND key = ANY(:keys)
        ORDER BY key COLLATE "C" FOR UPDATE
    ) DELETE FROM claims USING mine WHERE space = 'duty' AND claims.key = mine.key
""")
_PRESENT = text(f"""
    INSERT INTO claims (space, key, owner, until, data) VALUES ('process', :owner, :owner, {_NOW} + :seconds, :data)
    ON CONFLICT (space, key) DO UPDATE SET until = excluded.until, data = excluded.data
    RETURNING {_NOW}
""")  # noqa: S608
_FORGET = text(f"""
    WITH old AS (SELECT space, key FROM claims WHERE until < {_NOW} - {REMEMBERED} FOR UPDATE SKIP LOCKED)
    DELETE FROM claims USING old WHERE claims.space = old.space AND claims.key = old.key
""")  # noqa: S608
_PROCESSES = text(f"""
    SELECT key, until - {_NOW}, data FROM claims
    WHERE space = 'process' AND until >= {_NOW} - {REMEMBERED} ORDER BY key COLLATE "C"
""")  # noqa: S608
_LEAVE = text("""
    WITH mine AS (SELECT space, key FROM claims WHERE owner = :owner ORDER BY space, key COLLATE "C" FOR UPDATE)
    DELETE FROM claims USING mine WHERE claims.space = mine.space AND claims.key = mine.key
""")


class PostgresClaims:
    """`engine.ports.Claims` in the table `claims`. Each call is a statement or two of its own, 3 s at most each."""

    alone = False

    def __init__(self, url: str, instance: str) -> None:
        self._instance = instance
        self._engine = connections.aside(url)

    @property
    def instance(self) -> str:
        return self._instance

    def take(self, keys: Sequence[str], seconds: float) -> set[str]:
        wanted = sorted(set(keys))
        if not wanted:
            return set()
        return {key for (key,) in self._run(_TAKE, keys=wanted, seconds=seconds)}

    def release(self, keys: Sequence[str]) -> None:
        if keys:
            self._run(_RELEASE, keys=sorted(set(keys)))

    def once(self, key: str, seconds: float) -> bool:
        return bool(self._run(_ONCE, key=key, seconds=seconds))

    def present(self, seconds: float, data: Mapping[str, Any]) -> float:
        self._run(_FORGET)
        return float(self._run(_PRESENT, seconds=seconds, data=orjson.dumps(data).decode())[0][0])

    def processes(self) -> list[Presence]:
        return [Presence(key, float(left), orjson.loads(data or "{}")) for key, left, data in self._run(_PROCESSES)]

    def leave(self) -> None:
        self._run(_LEAVE)

    def close(self) -> None:
        """Let go of the connections; what is claimed stays so until it runs out."""
        self._engine.dispose()

    def _run(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        try:
            with self._engine.connect() as connection:
                result = connection.execute(statement, {"owner": self._instance, **values})
                return result.all() if result.returns_rows else ()
        except SQLAlchemyError as error:
            said = connections.reason(error, self._engine.url)
            raise StoreUnavailable(f"the claims cannot be reached: {said}") from error

"""The fixtures that most tests of the store share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.databases import Postgres
from tests.unit.store.trail import Trail


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """What uses this, directly or not, runs on both."""
    return str(request.param)


@pytest.fixture
def new_trail(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], Trail]]:
    """Makes empty ledgers."""
    made: list[Trail] = []
    numbers = count()

    def make() -> Trail:
        directory = tmp_path / "trails" / str(next(numbers))
        if dialect == "sqlite":
            made.append(Trail(directory))
        else:
            server: Postgres = request.getfixturevalue("postgres_server")
            template: str = request.getfixturevalue("postgres_template")
            made.append(Trail(directory, server.create_database(template=template), server.drop_database))
        return made[-1]

    yield make
    for trail in made:
        trail.close()


@pytest.fixture
def trail(new_trail: Callable[[], Trail]) -> Trail:
    """An empty ledger."""
    return new_trail()

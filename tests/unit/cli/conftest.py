"""The fixtures that the command line's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.cli.stage import Stage, staged


@pytest.fixture(autouse=True)
def no_given_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-xdist tells its workers a width of 80 columns; a pipe has none."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as found:
        yield found

"""The fixtures that the command line's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.cli.stage import Stage, staged


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as found:
        yield found

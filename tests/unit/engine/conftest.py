"""No test of the engine waits for real seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.unit.engine.house import hurry


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture(autouse=True, scope="session")
def plain_logs() -> Iterator[None]:
    """Tracebacks without their local values: to paint a whole state takes seconds."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ]
    )
    yield
    structlog.reset_defaults()

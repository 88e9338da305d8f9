"""One open server on loopback for all tests of a file that do not need their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.http.live import Server, server


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("live")) as found:
        yield found

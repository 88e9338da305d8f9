"""What every test stands on: an environment without the machine's own settings, and Hypothesis' profiles."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.databases import Postgres, postgres
from tests.needs import on_build_machine

settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("quick"), derandomize=True, print_blob=True)
settings.load_profile("ci" if on_build_machine() else "quick")

OURS = ("AUTOHEAL_", "OIDC_", "SLACK_", "GITHUB_", "COOLDOWN_", "VAULT_", "ALERTMANAGER_", "PROMETHEUS_", "BOT_")
OURS_EXACTLY = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "LOG_LEVEL", "LOG_FORMAT", "PORT", "HOST", "THREADER_PORT")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> Iterator[None]:
    """No setting of the machine that runs the tests reaches them, nor a process that they start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OURS) or name in OURS_EXACTLY or name in PROXIES:
                patch.delenv(name)
        yield


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests (`@pytest.mark.anyio`) run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One PostgreSQL for all tests of a worker. Who stops it starts one of their own (`tests.databases.postgres`)."""
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def empty_postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """A PostgreSQL database of the test's own, without a schema."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Postgres) -> str:
    """The name of a database with the ledger's schema, to be copied (`create_database(template=…)`)."""
    from autoheal.store import migrate

    url = postgres_server.create_database("ledger_template")
    migrate.upgrade(url)
    return "ledger_template"


@pytest.fixture
def postgres_url(postgres_server: Postgres, postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database of the test's own, with the ledger's schema."""
    url = postgres_server.create_database(template=postgres_template)
    yield url
    postgres_server.drop_database(url)

"""What every test stands on: an environment without the machine's own settings, and Hypothesis' profiles."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

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

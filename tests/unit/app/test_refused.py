"""What `autoheal serve` does not start with."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from autoheal.app import logs, serve
from autoheal.config.settings import Settings
from autoheal.core.errors import Permanent


def test_every_reason_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure", lambda *about: None)
    given = {"AUTOHEAL_RATE_LIMIT_ENABLED": "1", "AUTOHEAL_PUBLIC_URL": "https://autoheal.example"}
    with pytest.raises(Permanent) as error:
        serve.main(Settings.from_env(given))
    limits, public = str(error.value).splitlines()
    assert limits.startswith("AUTOHEAL_RATE_LIMIT_ENABLED: ") and "proxy" in limits
    assert public.startswith("AUTOHEAL_ADMIN_TOKEN: needed because AUTOHEAL_PUBLIC_URL")
    assert "AUTOHEAL_ALLOW_INSECURE=true" in public


def test_on_loopback_a_short_token_is_only_told() -> None:
    settings = Settings.from_env({"AUTOHEAL_ADMIN_TOKEN": "guess-me", "AUTOHEAL_WEBHOOK_TOKEN": "w" * 16})
    with capture_logs() as told:
        serve.warn_of_short_tokens(settings)
    [line] = told
    assert (line["event"], line["variable"], line["log_level"]) == ("short_token", "AUTOHEAL_ADMIN_TOKEN", "warning")
    assert "guess-me" not in str(line)

"""Celery and Redis are an extra: nothing loads them until a broker is used, and their absence is told with its cure."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest

from autoheal.clients import broker
from autoheal.core.errors import Permanent


def test_what_is_missing_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "celery" else there(name))
    for call in (broker.CeleryBell, lambda url: broker.inspect(url, [])):
        with pytest.raises(Permanent, match=r"needs celery: pip install 'autoheal\[scale\]'"):
            call("redis://127.0.0.1:1/0")


@pytest.mark.parametrize("module", ["autoheal.app.serve", "autoheal.app.worker", "autoheal.cli.doctor"])
def test_nothing_loads_the_libraries_before_they_are_used(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in ('celery', 'kombu', 'redis') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def message(**changed: Any) -> dict[str, Any]:
    sent = {
        "content-type": "application/json",
        "headers": {"task": "autoheal.start"},
        "properties": {"body_encoding": "base64"},
        "body": "W1sicjciXSwge30sIHt9XQ==",  # [["r7"], {}, {}]
    }
    return sent | changed


def test_a_doorbell_is_known_by_its_form() -> None:
    assert broker.doorbell(message()) == "r7"
    for wrong in (message(headers={}), message(body=7), message(body="W1s="), [], None, message(properties=None)):
        assert broker.doorbell(wrong) is None

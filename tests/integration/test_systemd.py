"""The action `systemd` through a fake `systemctl` on PATH."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoheal.actions.systemd import SystemdAction
from autoheal.clients.process import Processes
from autoheal.clients.systemd import Systemctl
from autoheal.engine.ports import ActionResult, NotStarted
from autoheal.testing.systemd import FakeSystemd
from tests.integration.begin import Begin


@pytest.fixture
def systemd(tmp_path: Path) -> FakeSystemd:
    found = FakeSystemd(tmp_path / "systemd")
    found.add("crm.service")
    return found


@pytest.fixture
def action(systemd: FakeSystemd) -> Iterator[SystemdAction]:
    processes = Processes({"PATH": f"{systemd.path}:{os.environ['PATH']}"})
    yield SystemdAction(Systemctl(processes))
    processes.close()


def test_restart_waits_for_the_job(action: SystemdAction, systemd: FakeSystemd) -> None:
    systemd.add("crm.service", active=False)
    begin = Begin()
    assert action.run({"restart": "crm.service"}, 5, begin) == ActionResult("ok", 0)
    assert systemd.active("crm.service") and begin.calls == 1
    assert systemd.calls == ["--no-ask-password --no-pager restart -- crm.service"]


def test_the_other_verbs_and_a_name_without_its_suffix(action: SystemdAction, systemd: FakeSystemd) -> None:
    assert action.run({"stop": "crm"}, 5, Begin()).status == "ok"
    assert not systemd.active("crm.service")
    assert action.run({"reload": "crm"}, 5, Begin()).error == "crm.service is not active, cannot reload."
    assert action.run({"start": "crm"}, 5, Begin()).status == "ok"
    assert action.run({"reload": "crm"}, 5, Begin()).status == "ok"


def test_what_systemd_says_is_the_error(action: SystemdAction, systemd: FakeSystemd) -> None:
    result = action.run({"restart": "nothing"}, 5, Begin())
    assert (result.status, result.rc) == ("fail", 5)
    assert result.error == "Failed to restart nothing.service: Unit nothing.service not found."
    systemd.fault("crm.service", "broken")
    result = action.run({"restart": "crm"}, 5, Begin())
    assert result.status == "fail" and result.error.startswith("Job for crm.service failed")


def test_no_systemd_here(action: SystemdAction, systemd: FakeSystemd) -> None:
    systemd.switch_off()
    result = action.run({"restart": "crm"}, 5, Begin())
    assert result.status == "fail" and "has not been booted with systemd" in result.error


def test_no_systemctl_here(tmp_path: Path) -> None:
    processes = Processes({"PATH": str(tmp_path)})
    result = SystemdAction(Systemctl(processes)).run({"restart": "crm"}, 5, Begin())
    processes.close()
    assert result == ActionResult("fail", error="command not found: systemctl")


def test_a_timeout_is_unknown_since_the_job_goes_on(action: SystemdAction, systemd: FakeSystemd) -> None:
    systemd.fault("crm.service", "slow")
    result = action.run({"restart": "crm"}, 0.3, Begin())
    assert result.status == "unknown" and "may still be at it" in result.error


def test_a_lost_connection_is_unknown(action: SystemdAction, systemd: FakeSystemd) -> None:
    systemd.fault("crm.service", "lost")
    assert action.run({"restart": "crm"}, 5, Begin()).status == "unknown"


@pytest.mark.parametrize("unit", ["--help", "a b", "a/b", "", "a\nb", "x" * 256])
def test_a_rendered_name_stays_a_name(action: SystemdAction, systemd: FakeSystemd, unit: str) -> None:
    begin = Begin()
    assert "is no unit's name" in action.run({"restart": unit}, 5, begin).error
    assert begin.calls == 0 and systemd.calls == []


def test_the_brake(action: SystemdAction, systemd: FakeSystemd) -> None:
    with pytest.raises(NotStarted):
        action.run({"restart": "crm"}, 5, Begin(allow=False))
    assert systemd.calls == []

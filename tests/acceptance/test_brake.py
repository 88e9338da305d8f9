"""The emergency brake in the middle of a storm: once it is answered, nothing starts any more."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.service import Autoheal, alert, policy, rule
from tests.crash.storm import RUN
from tests.servers import wait_until

ALERTS = 1000
TICKS = 100
"""Clock ticks in a second, as /proc counts a process's start."""


@pytest.mark.parametrize("brake", [{"enabled": True, "dry_run": True}, {"enabled": False, "dry_run": False}])
def test_nothing_starts_after_the_answer(tmp_path: Path, brake: dict[str, bool]) -> None:
    runs, script = tmp_path / "runs", tmp_path / "run.sh"
    script.write_text(RUN + "sleep 0.05\n")
    command = {"run": ["sh", str(script), "{fingerprint}", "1"], "env": {"RUNS": str(runs)}}
    storm = rule("storm", "Storm", {"action": {"command": command}}, cooldown_by=["alertname", "instance"])
    with Autoheal(tmp_path / "autoheal", policy(storm, limits={"concurrent": 4})) as service:
        service.start()
        results = service.send(*(alert("Storm", instance=f"i{n}") for n in range(ALERTS)))
        assert {result["result"] for result in results} == {"accepted"}
        wait_until(lambda: runs.exists() and len(runs.read_text().splitlines()) >= 40, 30, "the storm")
        answer = service.post("/mode", brake)
        answered = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert answer.status_code == 200
        remediations = service.settled()
        events = service.events(kind="cancelled")
        service.stop()
    lines = [line.split() for line in runs.read_text().splitlines()]
    assert [line for line in lines if int(line[3]) / TICKS > answered] == []
    ran = Counter(line[0] for line in lines)
    assert set(ran.values()) == {1}
    states = {r["fingerprint"]: r["state"] for r in remediations}
    assert len(states) == ALERTS
    healed = {name for name, state in states.items() if state == "healed"}
    assert healed == set(ran)
    assert {state for name, state in states.items() if name not in ran} <= {"cancelled", "expired"}
    assert len(events) == ALERTS - len(ran) > 500
    wanted = "dry_run" if brake["enabled"] else "disabled"
    assert {event["reason"] for event in events} <= {wanted, "not_started"}
    service.assert_whole()

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


class Storm:
    """A thousand alerts under one rule, each with an action of its own that notes its start."""

    def __init__(self, folder: Path, seconds: str) -> None:
        self._runs = folder / "runs"
        script = folder / "run.sh"
        script.write_text(f"{RUN}sleep {seconds}\n")
        command = {"run": ["sh", str(script), "{fingerprint}", "1"], "env": {"RUNS": str(self._runs)}}
        storm = rule("storm", "Storm", {"action": {"command": command}}, cooldown_by=["alertname", "instance"])
        self.service = Autoheal(folder / "autoheal", policy(storm, limits={"concurrent": 4}))

    def runs(self) -> list[tuple[str, float]]:
        """[(fingerprint, when its process began, in seconds since the machine's start)]."""
        if not self._runs.exists():
            return []
        lines = (line.split() for line in self._runs.read_text().splitlines())
        return [(line[0], int(line[3]) / TICKS) for line in lines]

    def begin(self) -> None:
        """Hand it all in, and wait until it is well under way."""
        self.service.start()
        results = self.service.send(*(alert("Storm", instance=f"i{n}") for n in range(ALERTS)))
        assert {result["result"] for result in results} == {"accepted"}
        wait_until(lambda: len(self.runs()) >= 40, 30, "the storm")

    def brake(self, enabled: bool, dry_run: bool) -> float:
        """Pull it; when it was answered."""
        answer = self.service.post("/mode", {"enabled": enabled, "dry_run": dry_run})
        answered = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert answer.status_code == 200
        return answered

    def states(self) -> dict[str, str]:
        """The state of every alert's remediation, once all is at rest."""
        states = {r["fingerprint"]: r["state"] for r in self.service.settled()}
        assert len(states) == ALERTS
        return states


@pytest.mark.parametrize(
    ("enabled", "dry_run", "reason"),
    [(True, True, "dry_run"), pytest.param(False, False, "disabled", marks=pytest.mark.soak)],
)
def test_nothing_starts_after_the_answer(tmp_path: Path, enabled: bool, dry_run: bool, reason: str) -> None:
    storm = Storm(tmp_path, "0.05")
    with storm.service as service:
        storm.begin()
        answered = storm.brake(enabled, dry_run)
        states = storm.states()
        cancelled = service.events(kind="cancelled")
        service.stop()
    assert [run for run in storm.runs() if run[1] > answered] == []
    ran = Counter(name for name, _ in storm.runs())
    assert set(ran.values()) == {1}
    assert {name for name, state in states.items() if state == "healed"} == set(ran)
    assert {state for name, state in states.items() if name not in ran} <= {"cancelled", "expired"}
    assert len(cancelled) == ALERTS - len(ran) > 500
    assert {event["reason"] for event in cancelled} <= {reason, "not_started"}
    service.assert_whole()


def test_the_brake_holds_when_autoheal_dies_at_once_after_the_answer(tmp_path: Path) -> None:
    storm = Storm(tmp_path, "0.05")
    with storm.service as service:
        storm.begin()
        answered = storm.brake(True, True)
        service.kill()
        service.start()
        states = storm.states()
        service.stop()
    assert [run for run in storm.runs() if run[1] > answered] == []
    ran = {name for name, _ in storm.runs()}
    assert len(ran) == len(storm.runs())
    unknown = {name for name, state in states.items() if state == "unknown"}
    assert len(unknown) <= 4
    assert ran <= {name for name, state in states.items() if state == "healed"} | unknown
    service.assert_whole()


@pytest.mark.soak
def test_a_storm_goes_on_after_an_orderly_restart_and_each_action_runs_once(tmp_path: Path) -> None:
    storm = Storm(tmp_path, "0.01")
    with storm.service as service:
        storm.begin()
        assert service.stop() == 0
        cut = len(storm.runs())
        assert cut < ALERTS
        service.start()
        states = storm.states()
        service.stop()
    assert set(states.values()) == {"healed"}
    assert sorted(name for name, _ in storm.runs()) == sorted(states)
    service.assert_whole()

"""The process dies at a named point, comes back, and nothing is lost, doubled or left open."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from autoheal.engine.crash import POINTS
from tests.crash.storm import Storm, batch, healthy_target
from tests.servers import wait_until

AFTER = {
    "before_commit": (1, 4, 6, 9),
    "after_commit": (1, 4, 6, 9),
    "after_copy": (3, 5, 8),
    "before_spawn": (1, 4),
    "after_spawn": (1, 4),
    "before_outcome": (1, 4),
    "before_verdict": (1, 2),
}
"""At which pass of each point the process dies. The first three commits are the start's own."""

INTERRUPTS = {
    "before_spawn": "running",
    "after_spawn": "running",
    "before_outcome": "running",
    "before_verdict": "verifying",
}
"""In what state such a death surely leaves a remediation."""


def test_every_point_is_tried() -> None:
    assert set(AFTER) == set(POINTS)


@pytest.mark.parametrize(
    ("point", "after"),
    [
        pytest.param(point, after, marks=() if after in (times[0], times[-1]) else pytest.mark.soak)
        for point, times in AFTER.items()
        for after in times
    ],
)
def test_died_at(tmp_path: Path, point: str, after: int) -> None:
    with healthy_target() as healthy:
        storm = Storm(tmp_path, healthy)
        service, stop = storm.service, threading.Event()
        with service:
            service.launch(f"--crash={point}:{after}")
            sender = threading.Thread(target=send, args=(storm, stop), daemon=True)
            sender.start()
            wait_until(lambda: not service.process.alive, 30, "the crash")
            assert service.process.popen.returncode == -signal.SIGKILL, service.process.text()
            service.start()
            sender.join(20)
            stop.set()
            assert not sender.is_alive()
            service.settled()
            assert service.stop() == 0
    found = storm.assert_true()
    assert found["promised"] == 12
    if point in INTERRUPTS:
        assert found[f"interrupted {INTERRUPTS[point]}"] >= 1


def send(storm: Storm, stop: threading.Event) -> None:
    """Two batches, and both once more, as a repeating Alertmanager would."""
    for number in (1, 2, 1, 2):
        storm.deliver(*batch(number), stop=stop)

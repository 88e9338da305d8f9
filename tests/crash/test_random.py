"""SIGKILL at random moments under load: a short seeded loop always, a thousand kills by `make soak`."""

from __future__ import annotations

import itertools
import random
import threading
from pathlib import Path

import pytest

from tests.crash.storm import Storm, batch, healthy_target


def kills(folder: Path, count: int, seed: int) -> Storm:
    """Kill a service under load `count` times, let it settle, stop it."""
    chance = random.Random(seed)
    with healthy_target() as healthy:
        storm = Storm(folder, healthy)
        service, stop, numbers = storm.service, threading.Event(), itertools.count(1)

        def load() -> None:
            while not stop.is_set():
                alerts = batch(next(numbers))
                storm.deliver(*alerts, stop=stop)
                if chance.random() < 0.3:
                    storm.deliver(*alerts, stop=stop)
                stop.wait(0.02)

        with service:
            senders = [threading.Thread(target=load, daemon=True) for _ in range(2)]
            for sender in senders:
                sender.start()
            for _ in range(count):
                service.start()
                stop.wait(chance.uniform(0, 0.5))
                service.kill()
            stop.set()
            for sender in senders:
                sender.join(20)
            service.start()
            service.settled()
            assert service.stop() == 0
    return storm


def test_killed_at_random_moments_under_load(tmp_path: Path) -> None:
    storm = kills(tmp_path, 6, seed=20261121)
    found = storm.assert_true()
    assert found["starts"] >= 7
    assert found["promised"] > 0
    assert found["runs"] > 0


@pytest.mark.soak
def test_killed_a_thousand_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    total = 0
    for part in range(10):
        storm = kills(tmp_path / str(part), 100, seed=part)
        found = storm.assert_true()
        total += 100
        with capsys.disabled():
            print(f"\n{total} kills; this hundred: {dict(sorted(found.items()))}")

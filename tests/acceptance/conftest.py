"""What the acceptance tests share: a victim to be healed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance import victim as program
from tests.servers import free_port, wait_until


@dataclass
class Victim:
    """A small service; `step` is the policy's step that restarts it."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    @property
    def runs(self) -> int:
        """How often the restart script ran."""
        file = self.folder / "runs"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def healthy(self) -> bool:
        try:
            return httpx.get(self.url, timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def start(self) -> None:
        subprocess.run([sys.executable, program.__file__, "start", str(self.folder), str(self.port)], check=True)
        wait_until(self.healthy, what="the victim")

    def die(self) -> None:
        program.stop(self.folder)
        wait_until(lambda: not self.healthy(), what="the victim's end")

    def step(self, seconds: float = 0, **verify: Any) -> dict[str, Any]:
        script = [sys.executable, program.__file__, "restart", str(self.folder), str(self.port), str(seconds)]
        return {"action": {"command": script}, "verify": {"within": "60s", "every": "1s", "http": self.url, **verify}}


@pytest.fixture
def make_victim(tmp_path: Path) -> Iterator[Callable[[str], Victim]]:
    """Starts a victim of that name."""
    made: list[Victim] = []

    def make(name: str = "victim") -> Victim:
        folder = tmp_path / name
        folder.mkdir()
        found = Victim(folder, free_port())
        found.start()
        made.append(found)
        return found

    yield make
    for found in made:
        program.stop(found.folder)


@pytest.fixture
def victim(make_victim: Callable[[str], Victim]) -> Victim:
    return make_victim("victim")

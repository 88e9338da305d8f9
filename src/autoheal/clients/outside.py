"""What actions may need of the world, as configured; each kind takes its own part."""

from __future__ import annotations

from dataclasses import dataclass

from autoheal.clients.docker import DEFAULT_HOST
from autoheal.clients.process import Processes
from autoheal.engine.ports import Clock


@dataclass(frozen=True, slots=True)
class Outside:
    """`alertmanagers`: URLs of the members of one cluster, none where none is configured."""

    clock: Clock
    processes: Processes
    docker_host: str = DEFAULT_HOST
    alertmanagers: tuple[str, ...] = ()

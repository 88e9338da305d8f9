"""What can be done: the registry of action kinds. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from autoheal.actions.command import CommandAction
from autoheal.actions.docker import DockerAction
from autoheal.actions.http import HttpAction
from autoheal.actions.silence import SilenceAction
from autoheal.actions.systemd import SystemdAction
from autoheal.clients.docker import DEFAULT_HOST
from autoheal.clients.outside import Outside
from autoheal.clients.process import Processes
from autoheal.core.policy import ActionKind
from autoheal.engine.ports import Action, Clock


class Kind(ActionKind, Protocol):
    """One kind as the registry knows it: what the policy needs of it, its name, and the way to a runnable action."""

    @property
    def kind(self) -> str: ...

    def ready(self, outside: Outside) -> Action:
        """The action that runs with what is configured outside."""


KINDS: Mapping[str, Kind] = {
    "command": CommandAction,
    "docker": DockerAction,
    "systemd": SystemdAction,
    "http": HttpAction,
    "silence": SilenceAction,
}


def build(
    clock: Clock,
    environment: Mapping[str, str],
    docker_host: str = DEFAULT_HOST,
    alertmanagers: Sequence[str] = (),
) -> Mapping[str, Action]:
    """Every kind, ready to run. From `environment` commands get PATH, HOME, LANG and TZ, and nothing else.

    Invalid where `docker_host` or an Alertmanager's URL cannot be read.
    """
    outside = Outside(clock, Processes(environment), docker_host, tuple(alertmanagers))
    return {name: kind.ready(outside) for name, kind in KINDS.items()}

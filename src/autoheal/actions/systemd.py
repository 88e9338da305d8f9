"""The action `systemd`: restart, start, stop or reload a unit, and wait for its job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from autoheal.clients.outside import Outside
from autoheal.clients.systemd import Systemctl
from autoheal.core.errors import AutohealError, Invalid, Unknown
from autoheal.core.options import one_verb, text
from autoheal.core.policy import ActionSpec
from autoheal.core.template import placeholders
from autoheal.engine.ports import ActionResult, Begin

VERBS = ("restart", "start", "stop", "reload")
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,254}")


class SystemdAction:
    """Options: ``{restart: UNIT}``, or one of the other verbs."""

    kind: ClassVar[str] = "systemd"
    schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {verb: {"type": "string", "minLength": 1} for verb in VERBS},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }

    def __init__(self, systemctl: Systemctl) -> None:
        self._systemctl = systemctl

    @classmethod
    def ready(cls, outside: Outside) -> SystemdAction:
        return cls(Systemctl(outside.processes))

    @staticmethod
    def check(options: Any) -> ActionSpec:
        verb, name = one_verb(options, VERBS)
        unit = text(name, verb)
        if not placeholders(unit):
            _check_unit(unit, verb)
        return ActionSpec("systemd", {verb: unit}, ("systemctl", verb, unit))

    def run(self, options: Mapping[str, Any], timeout: float, begin: Begin) -> ActionResult:
        verb, unit = next(iter(options.items()))
        try:
            _check_unit(unit, verb)
            return self._systemctl.operate(verb, unit, timeout, begin)
        except Unknown as error:
            return ActionResult("unknown", error=str(error))
        except AutohealError as error:
            return ActionResult("fail", error=str(error))


def _check_unit(unit: str, verb: str) -> None:
    if not _UNIT.fullmatch(unit):
        raise Invalid(f"{unit[:80]!r} is no unit's name", verb)

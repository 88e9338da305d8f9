"""The action `docker`: restart, start or stop a container, or restart services of a compose project."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from autoheal.clients.docker import DockerEngine
from autoheal.clients.exchange import settle
from autoheal.clients.outside import Outside
from autoheal.core.errors import Invalid
from autoheal.core.options import one_verb, required, table, text, texts
from autoheal.core.policy import ActionSpec
from autoheal.core.template import placeholders
from autoheal.engine.ports import ActionResult, Begin

VERBS = ("restart", "start", "stop")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_SERVICES = {
    "type": "object",
    "properties": {
        "project": {"type": "string", "minLength": 1},
        "services": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    },
    "required": ["project", "services"],
    "additionalProperties": False,
}


class DockerAction:
    """Options: ``{restart: NAME}``, ``start``, ``stop``; or ``{compose_restart: {project: P, services: [A, B]}}``."""

    kind: ClassVar[str] = "docker"
    schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {verb: {"type": "string", "minLength": 1} for verb in VERBS} | {"compose_restart": _SERVICES},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine

    @classmethod
    def ready(cls, outside: Outside) -> DockerAction:
        return cls(DockerEngine(outside.docker_host))

    @staticmethod
    def check(options: Any) -> ActionSpec:
        verb, value = one_verb(options, (*VERBS, "compose_restart"))
        if verb == "compose_restart":
            return _check_compose(value)
        name = _check_name(text(value, verb), verb)
        return ActionSpec("docker", {verb: name}, ("docker", verb, name))

    def run(self, options: Mapping[str, Any], timeout: float, begin: Begin) -> ActionResult:
        verb, value = next(iter(options.items()))
        names = value["services"] if verb == "compose_restart" else [value]
        try:
            for name in names:
                _check_name(name, verb)
        except Invalid as error:
            return ActionResult("fail", error=str(error))

        def before() -> None:
            begin(lambda: None)

        if verb == "compose_restart":
            return settle(self._engine.restart_services(value["project"], names, timeout, before))
        return settle(self._engine.operate(verb, names, timeout, before))


def _check_compose(value: Any) -> ActionSpec:
    where = "compose_restart"
    written = table(value, ("project", "services"), where)
    try:
        project, services = required(written, "project"), required(written, "services")
    except Invalid as error:
        raise Invalid(error.detail, where) from error
    checked = {"project": text(project, f"{where}.project"), "services": texts(services, f"{where}.services")}
    for index, name in enumerate(checked["services"]):
        _check_name(name, f"{where}.services[{index}]")
    return ActionSpec("docker", {where: checked}, ("docker", "compose", "restart", *checked["services"]))


def _check_name(name: str, field: str) -> str:
    """A container's or service's name; one that holds a placeholder is looked at again once it is rendered."""
    if not placeholders(name) and not _NAME.fullmatch(name):
        raise Invalid(f"{name[:80]!r} is no container's name", field)
    return name

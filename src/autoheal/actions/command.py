"""The action `command`: a program with a list of arguments; never a shell."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from autoheal.clients.outside import Outside
from autoheal.clients.process import Ended, Processes
from autoheal.core.errors import Invalid, Permanent
from autoheal.core.options import required, table, text, text_map, texts
from autoheal.core.policy import ActionSpec
from autoheal.core.template import placeholders
from autoheal.engine.ports import ActionResult, Begin

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTERPRETER = re.compile(r"(?:python|perl|ruby|node|php|lua|pwsh|su|runuser)[0-9.]*")
_SCRIPT_FLAG = re.compile(r"-[A-Za-z]*[ce]|--command|--eval|--execute")
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "busybox"})
_LIST = {"type": "array", "items": {"type": "string"}, "minItems": 1}


class CommandAction:
    """Options: a list, the program and its arguments; or ``{run: [...], cwd: ..., env: {NAME: value}}``."""

    kind: ClassVar[str] = "command"
    schema: ClassVar[Mapping[str, Any]] = {
        "oneOf": [
            _LIST,
            {
                "type": "object",
                "properties": {
                    "run": _LIST,
                    "cwd": {"type": "string"},
                    "env": {"type": "object", "additionalProperties": {"type": "string"}},
                },
                "required": ["run"],
                "additionalProperties": False,
            },
        ]
    }

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    @classmethod
    def ready(cls, outside: Outside) -> CommandAction:
        return cls(outside.processes)

    @staticmethod
    def check(options: Any) -> ActionSpec:
        written = {"run": options} if isinstance(options, list | tuple) else table(options, ("run", "cwd", "env"))
        field = "run" if isinstance(options, Mapping) else ""
        argv = texts(required(written, "run"), field)
        _check_program(argv, field)
        checked: dict[str, Any] = {"run": argv}
        if written.get("cwd") is not None:
            checked["cwd"] = text(written["cwd"], "cwd")
        if written.get("env") is not None:
            checked["env"] = _check_env(written["env"])
        return ActionSpec("command", checked, tuple(argv))

    def run(self, options: Mapping[str, Any], timeout: float, begin: Begin) -> ActionResult:
        try:
            ended = self._processes.run(options["run"], timeout, begin, options.get("cwd"), options.get("env"))
        except Permanent as error:
            return ActionResult("fail", error=str(error))
        return _result(ended, timeout)


def _check_program(argv: list[str], field: str) -> None:
    """The policy names the program, not the alert; and no alert's text becomes part of a script."""
    program, *rest = argv
    if not program or placeholders(program):
        raise Invalid("the program is named by the policy, not by a placeholder", f"{field}[0]")
    for index, item in enumerate(rest, 1):
        if placeholders(item) and _is_script(argv[: index + 1]):
            raise Invalid(
                "a placeholder inside a script; hand it over as an argument: "
                """["sh", "-c", "restart \\"$1\\"", "-", "{labels.NAME}"]""",
                f"{field}[{index}]",
            )


def _is_script(words: list[str]) -> bool:
    """Whether the last word is a script: behind ``-c`` or ``-e`` of an interpreter, however it is reached
    (``env bash -c``, ``timeout 5 sh -c``), or text with blanks that ``ssh`` hands to a shell."""
    *before, last = words
    names = [os.path.basename(word) for word in before]
    if "ssh" in names:
        return " " in last
    runs = any(name in _SHELLS or _INTERPRETER.fullmatch(name) for name in names)
    return runs and _SCRIPT_FLAG.fullmatch(before[-1]) is not None


def _check_env(value: Any) -> dict[str, str]:
    env = text_map(value, "env")
    for name, item in env.items():
        if not _NAME.fullmatch(name) or "\0" in item:
            raise Invalid("is no name of an environment variable", f"env.{name}")
    return env


def _result(ended: Ended, timeout: float) -> ActionResult:
    if ended.timed_out and not ended.gone:
        return ActionResult("unknown", ended.rc, ended.output, f"timed out after {timeout:g}s; could not be killed")
    if ended.timed_out:
        return ActionResult("fail", ended.rc, ended.output, f"timed out after {timeout:g}s, killed")
    if ended.rc == 0:
        return ActionResult("ok", 0, ended.output)
    return ActionResult("fail", ended.rc, ended.output, f"ended with status {ended.rc}")

"""How a command ends: 0 fine, 1 the answer is no, 2 wrong use, 3 cannot reach; a failure is one line on stderr."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from autoheal.core.errors import AutohealError, Invalid, Temporary, Unknown
from autoheal.engine.ports import StoreUnavailable

NO = 1
WRONG_USE = 2
OUT_OF_REACH = 3


class Verbs(TyperGroup):
    """The group of all verbs: errors that Autoheal raises on purpose become a line and a code, others stay loud."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (AutohealError, StoreUnavailable, OSError) as error:
            code = code_of(error)
            if code is None:
                raise
            complain(_text(error))
            raise typer.Exit(code) from None


def code_of(error: BaseException) -> int | None:
    """The exit code that an error stands for; None where it is none of the expected ones."""
    from autoheal.config.mistakes import SettingsErrors

    if isinstance(error, Invalid | SettingsErrors):
        return WRONG_USE
    if isinstance(error, Temporary | Unknown | StoreUnavailable):
        return OUT_OF_REACH
    if isinstance(error, AutohealError):
        return NO
    return NO if isinstance(error, OSError) and error.filename is not None else None


def complain(text: str) -> None:
    """Tell on stderr what went wrong; what strangers wrote cannot steer the terminal."""
    from autoheal.cli.render import clean

    for line in text.splitlines() or [""]:
        print(f"autoheal: {clean(line)}", file=sys.stderr)


def _text(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror or error}"
    return str(error)

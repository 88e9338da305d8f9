"""Runs `autoheal serve` as a test wants it: with an armed crash point, or with shorter waits. Only tests start this.

python -m tests.crash.launcher [--crash POINT:AFTER] [--healed-over SECONDS] [--set MODULE:NAME=SECONDS]...
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from autoheal.config.settings import Settings
from autoheal.core.hysteresis import Streak
from autoheal.engine import crash


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say, then serve until told to stop; the exit code of the service."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crash")
    parser.add_argument("--healed-over", type=float)
    parser.add_argument("--set", action="append", default=[])
    chosen = parser.parse_args(arguments)
    for change in chosen.set:
        where, _, seconds = change.partition("=")
        _set(where, float(seconds))
    if chosen.healed_over is not None:
        _heal_over(chosen.healed_over)
    from autoheal.app.serve import main as serve  # after the changes, which it may copy

    if chosen.crash:
        point, _, after = chosen.crash.partition(":")
        crash.arm(point, int(after))
    return serve(Settings.from_env(dict(os.environ)))


def _set(where: str, seconds: float) -> None:
    """Change a module's constant; one that is not there is a mistake of the test."""
    name, _, constant = where.partition(":")
    module = importlib.import_module(name)
    assert isinstance(getattr(module, constant), float), where
    setattr(module, constant, seconds)


def _heal_over(seconds: float) -> None:
    """Let three good answers over `seconds` mean healed."""
    needed, over = Streak.__init__.__defaults__ or ()
    assert (needed, over) == (3, 10.0)
    Streak.__init__.__defaults__ = (needed, seconds)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

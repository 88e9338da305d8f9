"""Runs `autoheal serve` or `worker` as a test wants it: with an armed crash point, shorter waits, a wrong clock.

python -m tests.crash.launcher [--crash POINT:AFTER] [--freeze POINT:AFTER] [--healed-over SECONDS] [--skew SECONDS]
    [--set MODULE:NAME=SECONDS]... [--worker [OPTION]...]

Only tests start this. `--worker` ends the launcher's own options; what follows is the worker's.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say, then serve or work until told to stop; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crash")
    parser.add_argument("--freeze")
    parser.add_argument("--healed-over", type=float)
    parser.add_argument("--skew", type=float)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--worker", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    if chosen.skew:
        _skew(chosen.skew)  # before anything imports the clock
    for change in chosen.set:
        where, _, seconds = change.partition("=")
        _set(where, float(seconds))
    if chosen.healed_over is not None:
        _heal_over(chosen.healed_over)
    if chosen.crash or chosen.freeze:
        _arm(chosen.crash or chosen.freeze, freeze=not chosen.crash)
    return _serve() if chosen.worker is None else _work(chosen.worker)


def _serve() -> int:
    from autoheal.app.serve import main as serve  # after the changes, which it may copy
    from autoheal.config.settings import Settings

    return serve(Settings.from_env(dict(os.environ)))


def _work(options: Sequence[str]) -> int:
    from autoheal.cli.main import main as command

    sys.argv = ["autoheal", "worker", *options]
    return int(command() or 0)


def _skew(seconds: float) -> None:
    """This process' wall clock is wrong by so much; nothing else is."""
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + seconds
    time.time_ns = lambda: right_ns() + int(seconds * 1e9)


def _set(where: str, seconds: float) -> None:
    """Change a module's constant; one that is not there is a mistake of the test."""
    name, _, constant = where.partition(":")
    module = importlib.import_module(name)
    assert isinstance(getattr(module, constant), float), where
    setattr(module, constant, seconds)


def _heal_over(seconds: float) -> None:
    """Let three good answers over `seconds` mean healed."""
    from autoheal.core.hysteresis import Streak

    needed, over = Streak.__init__.__defaults__ or ()
    assert (needed, over) == (3, 10.0)
    Streak.__init__.__defaults__ = (needed, seconds)


def _arm(where: str, *, freeze: bool) -> None:
    """End at a named point, or with `freeze` stand still there, once, until SIGCONT."""
    from autoheal.engine import crash

    point, _, after = where.partition(":")
    crash.arm(point, int(after))
    if freeze:

        class Frozen:
            getpid = staticmethod(os.getpid)

            @staticmethod
            def kill(pid: int, number: int) -> None:
                crash._wanted = ""
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread goes no further

        crash.os = Frozen  # type: ignore[assignment]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""Runs `autoheal threader` as a test wants it: at another pace, with an armed crash point, with other constants.

python -m tests.threads.launcher [--pace NAME=SECONDS]... [--patience SECONDS] [--set MODULE:NAME=NUMBER]...
    [--crash POINT:AFTER]

`--patience`: how long an answer of Slack is waited for. Only tests start this.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say, then talk until told to stop; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pace", action="append", default=[])
    parser.add_argument("--patience", type=float)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--crash")
    chosen = parser.parse_args(arguments)
    from autoheal.app.threader import main as talk
    from autoheal.config.settings import Settings
    from autoheal.threader.poster import USUAL

    for change in chosen.set:
        _set(*change.rsplit("=", 1))
    if chosen.patience is not None:
        _patient(chosen.patience)
    if chosen.crash:
        from autoheal.engine import crash

        point, _, after = chosen.crash.partition(":")
        crash.arm(point, int(after))
    paces = dict(one.split("=") for one in chosen.pace)
    pace = replace(USUAL, **{name: type(getattr(USUAL, name))(value) for name, value in paces.items()})
    return talk(Settings.from_env(dict(os.environ)), pace)


def _set(where: str, number: str) -> None:
    """Change a module's constant; one that is not there is a mistake of the test."""
    name, _, constant = where.partition(":")
    module = importlib.import_module(name)
    assert isinstance(getattr(module, constant), float), where
    setattr(module, constant, float(number))


def _patient(seconds: float) -> None:
    """Wait this long for Slack instead of 10 s."""
    from autoheal.clients.slack import SlackClient

    assert SlackClient.__init__.__defaults__ == ("https://slack.com/api/", 10.0)
    SlackClient.__init__.__defaults__ = ("https://slack.com/api/", seconds)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

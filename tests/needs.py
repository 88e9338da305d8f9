"""What a test needs installed: a laptop without it skips the test and says why, a build machine (CI=true) fails."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from typing import NoReturn

import pytest

ALSO_CALLED = {"prometheus-alertmanager": "alertmanager"}
"""Debian's names, and what the project's own releases call the same program."""


def needs(binary: str, package: str | None = None) -> str:
    """The path of a program, or the test skips (under CI=true: fails). `package` is Debian's, if named otherwise."""
    for name in (binary, ALSO_CALLED.get(binary)):
        path = shutil.which(name) if name else None
        if path is not None:
            return path
    return missing(f"{binary} is not installed (Debian: apt-get install {package or binary})")


def needs_module(name: str, extra: str | None = None) -> None:
    """Like `needs`, for a Python module; `extra` is what of Autoheal brings it."""
    if importlib.util.find_spec(name) is None:
        missing(f"the module {name} is not installed" + (f" (pip install 'autoheal[{extra}]')" if extra else ""))


def needs_linux() -> None:
    if not sys.platform.startswith("linux"):
        missing(f"needs Linux, this is {sys.platform}")


def needs_root() -> None:
    if os.geteuid() != 0:
        missing("needs root")


def on_build_machine() -> bool:
    return os.environ.get("CI", "").lower() in ("true", "1")


def missing(reason: str) -> NoReturn:
    """Skip the running test, or under CI=true fail it."""
    if on_build_machine():
        pytest.fail(f"{reason}, and CI=true", pytrace=False)
    pytest.skip(reason)

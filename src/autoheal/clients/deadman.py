"""The hard limit that holds even when Autoheal dies: one small watchdog process for all commands."""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable

import structlog

from autoheal.clients import sessions

log = structlog.get_logger("deadman")


class Deadman:
    """Tells the watchdog what begins and ends; costs one small process, and a write of 40 bytes each time.

    The watchdog holds the other end of a pipe, so it outlives Autoheal and knows of its end.
    Tried instead: coreutils' `timeout` around each command halves the rate (1,580 to 800 commands/s on two cores).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._pipe: int | None = None
        self._close: Callable[[], object] = lambda: None
        self._running: dict[str, list[str]] = {}

    @property
    def pid(self) -> int:
        """The watchdog's process, 0 before the first command."""
        return self._pid

    def begins(self, mark: str, limit: float) -> None:
        """A command is about to start; in `limit` seconds at the latest it is ended by force."""
        with self._lock:
            line = f"> {mark} {time.monotonic() + limit:.3f}\n"
            self._running[mark] = [line]
            self._tell(line)

    def runs(self, mark: str, pid: int) -> None:
        """It has started: the leader of its session is `pid`."""
        with self._lock:
            line = f"+ {mark} {pid}\n"
            self._running[mark].append(line)
            self._tell(line)

    def ended(self, mark: str) -> None:
        with self._lock:
            self._running.pop(mark, None)
            self._tell(f"- {mark}\n")

    def close(self) -> None:
        """Let the watchdog go: it ends when everything that it was told of has ended."""
        with self._lock:
            self._close()
            self._pipe = None
            self._reap(0 if not self._running else os.WNOHANG)

    def _tell(self, line: str) -> None:
        if not self._write(line) and self._running:
            self._begin_anew()

    def _write(self, line: str) -> bool:
        """Whether the watchdog took the line; one that is stuck counts as gone."""
        if self._pipe is None:
            return False
        try:
            return os.write(self._pipe, line.encode()) == len(line)
        except OSError:
            return False

    def _begin_anew(self) -> None:
        """Start a watchdog and tell it all that runs; without one a command still has its ordinary limit."""
        self._close()
        self._pipe = None
        self._reap(os.WNOHANG)
        try:
            self._pid, self._pipe = _launch()
        except OSError as error:
            log.error("watchdog_not_started", error=str(error))
            return
        self._close = weakref.finalize(self, os.close, self._pipe)
        for lines in self._running.values():
            self._write("".join(lines))

    def _reap(self, how: int) -> None:
        try:
            if self._pid:
                os.waitpid(self._pid, how)
        except ChildProcessError:
            pass
        self._pid = 0


def _launch() -> tuple[int, int]:
    """The watchdog's pid, and the end of the pipe that it is told by."""
    theirs, ours = os.pipe()
    try:
        os.set_blocking(ours, False)
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", os.path.abspath(sessions.__file__)],
            {},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsid=True,
        )
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return pid, ours

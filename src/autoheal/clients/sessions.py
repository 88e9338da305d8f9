"""Finds and ends every process of a command: all of its session, and what left the session but carries its mark.

Standard library only: `clients/deadman.py` runs this file by itself, as the watchdog that outlives Autoheal.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator

MARK = "_AUTOHEAL_RUN"
"""The environment variable that a command's processes carry."""
_PAUSE = 0.02
_CLOCK_TICKS = 100


def members(session: int | None, mark: str) -> list[int]:
    """Living processes (zombies left out) of `session`, and those with `mark` in their first environment.

    On a system without /proc: the session's number where its process group still exists.
    """
    if not os.path.isdir("/proc/self"):
        return _group(session)
    sign = f"{MARK}={mark}".encode()
    own = os.getpid()
    return [pid for pid, of in _living() if pid != own and (of == session or _marked(pid, sign))]


def _group(session: int | None) -> list[int]:
    try:
        if session is not None:
            os.killpg(session, 0)
            return [session]
    except OSError:
        pass
    return []


def _living() -> Iterator[tuple[int, int]]:
    """Every process that is no zombie, as (pid, session)."""
    for name in os.listdir("/proc"):
        fields = _stat(int(name)) if name.isdigit() else None
        if fields is not None and fields[0] not in (b"Z", b"X"):
            yield int(name), int(fields[3])


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third (the state) on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def _marked(pid: int, sign: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return sign in file.read().split(b"\0")
    except OSError:
        return False


def born(pid: int) -> int | None:
    """When a process began, in clock ticks since boot: together with the pid it names the process for good."""
    fields = _stat(pid)
    return int(fields[19]) if fields is not None else None


def send(session: int | None, mark: str, number: int) -> None:
    """A signal to every process of the command; SIGCONT after it, so that a stopped one hears it."""
    for pid in members(session, mark):
        for each in (number, signal.SIGCONT):
            try:
                os.kill(pid, each) if os.path.isdir("/proc/self") else os.killpg(pid, each)
            except OSError:
                break


# ---- the watchdog -------------------------------------------------------------------------------------------------


class _Watched:
    """One command: when its hard limit is over (monotonic), and its leader as soon as that is known."""

    __slots__ = ("began", "limit", "pid")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.pid: int | None = None
        self.began: int | None = None

    @property
    def session(self) -> int | None:
        """The session's number, unless it has come to name another process."""
        return self.pid if self.pid is None or born(self.pid) in (self.began, None) else None


def watch(source: int) -> None:
    """Read what runs from `source` until all of it has ended; end by force what passes its hard limit.

    Lines: ``> MARK LIMIT`` before a start, ``+ MARK PID`` after it, ``- MARK`` at the end.
    """
    watched: dict[str, _Watched] = {}
    rest, alive = b"", True
    while alive or watched:
        nearest = min((one.limit for one in watched.values()), default=None)
        wait = None if nearest is None else max(0.0, nearest - time.monotonic())
        if alive and select.select([source], [], [], wait)[0]:
            time.sleep(_PAUSE)  # noqa: TID251 - many lines at once cost one waking
            data = os.read(source, 1 << 16)
            alive, rest = bool(data), _read(rest + data, watched)
        elif not alive and wait:
            time.sleep(min(wait, 1.0))  # noqa: TID251 - nothing is left to listen to
        _forget_and_end(watched, alive)


def _read(data: bytes, watched: dict[str, _Watched]) -> bytes:
    """Take in whole lines; what is left of the last one."""
    *lines, rest = data.split(b"\n")
    fresh = []
    for line in lines:
        word, mark, *value = line.decode("ascii", "replace").split(" ")
        if word == ">":
            watched[mark] = _Watched(float(value[0]))
        elif word == "+" and mark in watched:
            watched[mark].pid = int(value[0])
            fresh.append(mark)
        elif word == "-":
            watched.pop(mark, None)
    for mark in fresh:
        one = watched.get(mark)
        if one is not None and one.pid is not None:
            one.began = born(one.pid)
    return rest


def _forget_and_end(watched: dict[str, _Watched], alive: bool) -> None:
    """End what is over its limit; once Autoheal is gone also forget what has ended by itself."""
    now = time.monotonic()
    for mark, one in list(watched.items()):
        if one.limit <= now:
            send(one.session, mark, signal.SIGKILL)
            del watched[mark]
        elif not alive and not members(one.session, mark):
            del watched[mark]


if __name__ == "__main__":
    os.chdir("/")
    watch(0)
    sys.exit(0)

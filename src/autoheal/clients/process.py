"""Runs one command: own session, no shell, output always read, a limit that is enforced and confirmed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from autoheal.clients import sessions
from autoheal.clients.deadman import Deadman
from autoheal.core.errors import Permanent
from autoheal.engine.ports import Begin

KEPT = 32 * 1024
"""Bytes of output kept from the beginning, and as many from the end."""
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL, and again until an end by force counts as not confirmed."""
DRAIN = 0.1
"""Seconds for which output is still read after the command ended; a grandchild may hold it open for ever."""
MARGIN = 3 * GRACE
"""Seconds after the ordinary limit at which the watchdog steps in."""
PASSED_ON = ("PATH", "HOME", "LANG", "TZ")
_USUAL = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_CHUNK = 64 * 1024
_FLOOD = 1 << 20
"""Bytes after which output is read at 64 MB/s at most, so that a flood leaves the processor to others."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `rc`: its status, 128 + n after signal n as shells say it, None where it was not seen.

    `gone`: nothing of it is left; always so where it ended by itself (what it left in the background is its effect).
    """

    rc: int | None
    output: str
    timed_out: bool = False
    gone: bool = True


@dataclass(slots=True)
class Output:
    """The head and the tail of what a command wrote, and how much there was between."""

    total: int = 0
    _head: bytearray = field(default_factory=bytearray)
    _tail: bytes = b""

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = KEPT - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail = (self._tail + data)[-KEPT:]

    def text(self) -> str:
        """UTF-8, what is none replaced; a line in the middle says how much was left out."""
        left_out = self.total - len(self._head) - len(self._tail)
        middle = f"\n… {left_out} bytes left out …\n".encode() if left_out else b""
        return (bytes(self._head) + middle + self._tail).decode("utf-8", "replace")


class Processes:
    """Starts commands in the calling thread. `environment` is what may be passed on; never a secret of ours."""

    def __init__(self, environment: Mapping[str, str], deadman: Deadman | None = None) -> None:
        self._environment = _USUAL | {name: environment[name] for name in PASSED_ON if name in environment}
        self.deadman = deadman or Deadman()
        self._numbers = count(1)
        self._prefix = f"{os.getpid():x}{time.monotonic_ns():x}"

    def run(
        self,
        argv: Sequence[str],
        timeout: float,
        begin: Begin,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run `argv` for at most `timeout` seconds.

        Permanent where it could not be started (nothing happened); NotStarted where `begin` refused.
        """
        mark = f"{self._prefix}-{next(self._numbers)}"
        environment = {**self._environment, **(env or {}), sessions.MARK: mark}
        self.deadman.begins(mark, timeout + MARGIN)
        try:
            try:
                process = begin(lambda: _start(argv, cwd, environment))
            except (OSError, ValueError) as error:
                raise Permanent(_why_not(argv[0], error)) from error
            self.deadman.runs(mark, process.pid)
            return _Run(process, mark).until(time.monotonic() + timeout)
        finally:
            self.deadman.ended(mark)

    @property
    def watchdog(self) -> int:
        """Its process, 0 before the first command."""
        return self.deadman.pid

    def close(self) -> None:
        self.deadman.close()


def _start(argv: Sequence[str], cwd: str | None, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        close_fds=False,
        start_new_session=True,
        cwd=cwd,
        env=env,
    )


def _why_not(program: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"command not found: {error.filename or program}"
    if isinstance(error, OSError):
        return f"{error.filename or program}: {error.strerror or error}"
    return f"cannot be started: {error}"


class _Run:
    """One running command: reads its output, waits for its leader, ends it."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str) -> None:
        assert process.stdout is not None
        self._process = process
        self._stdout = process.stdout
        self._mark = mark
        self._output = Output()
        self._ended = False
        self._open = True
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        self._pidfd = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
        if self._pidfd is not None:
            self._poll.register(self._pidfd, select.POLLIN)

    def until(self, limit: float) -> Ended:
        """Wait for the end until `limit` (monotonic), end it by force after that."""
        try:
            while not self._ended and time.monotonic() < limit:
                self._turn(limit - time.monotonic())
            timed_out = not self._ended
            gone = not timed_out or self._end(signal.SIGTERM) or self._end(signal.SIGKILL)
            self._drain()
            return Ended(self._status(), self._output.text(), timed_out, gone)
        finally:
            self._stdout.close()
            if self._pidfd is not None:
                os.close(self._pidfd)

    def _turn(self, seconds: float) -> None:
        """Wait at most so long for output or the end, and take what there is."""
        most = seconds if self._pidfd is not None else min(seconds, 0.01)
        for descriptor, _ in self._poll.poll(max(most, 0.0) * 1000 + 1):
            if descriptor == self._pidfd:
                self._ended = True
                self._poll.unregister(descriptor)
            else:
                self._read()
        if self._pidfd is None:
            self._ended = self._process.poll() is not None

    def _read(self) -> None:
        data = os.read(self._stdout.fileno(), _CHUNK)
        self._output.add(data)
        if not data:
            self._open = False
            self._poll.unregister(self._stdout)
        elif self._output.total > _FLOOD:
            threading.Event().wait(0.001)

    def _end(self, number: int) -> bool:
        """Send the signal to all of it; whether nothing is left of it, after at most the grace."""
        limit = time.monotonic() + GRACE
        sessions.send(self._process.pid, self._mark, number)
        while time.monotonic() < limit:
            self._turn(0.02)
            if self._ended and not sessions.members(self._process.pid, self._mark):
                return True
            if number == signal.SIGKILL:
                sessions.send(self._process.pid, self._mark, number)
        return False

    def _drain(self) -> None:
        limit = time.monotonic() + DRAIN
        while self._open and (left := limit - time.monotonic()) > 0:
            self._turn(left)

    def _status(self) -> int | None:
        """What the shell would say; reaps the leader, which until now kept its number from being given away."""
        if not self._ended:
            return None
        status = self._process.wait()
        return status if status >= 0 else 128 - status

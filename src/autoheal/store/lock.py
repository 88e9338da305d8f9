"""The lock on a data directory: one Autoheal writes in it, a second is told who holds it."""

from __future__ import annotations

import os
from pathlib import Path

from autoheal.core.errors import Permanent

NAME = "autoheal.lock"


class DirectoryHeld(Permanent):
    """Another process holds the data directory."""


class DirectoryLock:
    """Held from construction to `release`, or to the end of the process however it ends (`flock`)."""

    def __init__(self, directory: Path) -> None:
        import fcntl

        self._fd = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            if not isinstance(error, BlockingIOError):
                raise Permanent(f"the data directory {directory} cannot be locked: {error.strerror}") from error
            who = f" (process {holder})" if holder else ""
            raise DirectoryHeld(
                f"the data directory {directory} is held by another Autoheal{who}: "
                "stop that one, or give this one a directory of its own (AUTOHEAL_DATA_DIR)"
            ) from None
        self._sign()

    def _sign(self) -> None:
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # a full disk does not keep us from holding the lock; only the message of the second one is poorer

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

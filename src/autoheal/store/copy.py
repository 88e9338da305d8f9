"""`audit.jsonl`: the faithful copy of the ledger's lines, for `tail -f`, for backups, for other eyes."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from autoheal.engine.ports import StoreUnavailable
from autoheal.store import lines as files

SEGMENT_BYTES = 64 * 2**20
_CHUNK = 1000
_INLINE = 5000
"""Lines that one `write` catches up at most, so that the head is never held for long."""


class Lines(Protocol):
    """Where the copy reads what it lacks: `store.query.Reader`."""

    def lines_after(self, after: int, limit: int = 1000) -> list[tuple[int, str]]: ...

    def event(self, event_id: int) -> str | None: ...


class AuditCopy:
    """`engine.ports.Copy` at `path` (0600). No line twice, none skipped, in order.

    Never raises: what cannot be written now (disk full) is remembered in `behind` and `error`, and caught up by a
    later `write`, or by `catch_up`, which any thread may call. A full file becomes the segment
    `audit-<first id>-<last id>.jsonl`. An outside logrotate is noticed at the next write. A file that does not
    hold what the ledger holds is set aside as `audit.jsonl.aside-N` and written anew from its first id.
    """

    def __init__(self, path: Path, ledger: Lines, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.path = path
        self.error = ""
        self._ledger = ledger
        self._bound = segment_bytes
        self._lock = threading.Lock()
        self._wanted = 0
        self._closing = False
        self._written = 0
        self._fd = -1
        self._inode = (0, 0)
        self._size = 0
        self._first = 0
        self._next = 0

    @property
    def behind(self) -> int:
        """How many lines, as far as known, the ledger has and the copy has not."""
        return max(0, self._wanted - self._written)

    @property
    def next_id(self) -> int:
        """The first event that the copy does not have yet, as far as known."""
        return self._written + 1

    def write(self, first_id: int, lines: Sequence[str]) -> None:
        """Append the lines of events `first_id`, `first_id` + 1, …, which the ledger holds already."""
        self._wanted = max(self._wanted, first_id + len(lines) - 1)
        if not self._lock.acquire(blocking=False):
            return  # somebody catches up: it looks at `_wanted` once more after it lets go
        try:
            self._ready()
            if self._next == first_id:
                self._append(lines)
            else:
                self._fill(_INLINE)
            self.error = ""
        except (OSError, StoreUnavailable) as error:
            self._fail(error)
        finally:
            self._lock.release()

    def catch_up(self) -> bool:
        """Write all that the ledger has and the file has not; whether that worked. Called at start, and when
        `behind` stays."""
        while True:
            with self._lock:
                try:
                    self._ready()
                    while not self._closing and self._fill(_CHUNK):
                        pass
                    self.error = ""
                except (OSError, StoreUnavailable) as error:
                    self._fail(error)
                    return False
            if self._closing or self._next > self._wanted:
                return not self._closing

    def close(self) -> None:
        self._closing = True  # a long catching up ends with its chunk; the next start goes on from there
        with self._lock:
            self._drop()

    # ---- inside: the lock is held, and OSError goes up to the two above -----------------------------------------

    def _fail(self, error: Exception) -> None:
        self.error = f"{self.path}: {getattr(error, 'strerror', None) or error}"
        self._drop()
        self._next = 0  # what reached the file is read again from the file

    def _drop(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError:
                pass  # nothing of ours hangs on it any more

    def _ready(self) -> None:
        """A file that is open, ours, and whose end we know."""
        if self._fd >= 0 and self._untouched():
            return
        known = self._next
        self._drop()
        self._attach(known)

    def _untouched(self) -> bool:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._inode and found.st_size == self._size

    def _attach(self, known: int) -> None:
        """Open the file and find the next id: after its last line, or what was `known`, or after what lies beside."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open()
        last = self._mend()
        if last:
            self._first, self._next, self._written = files.first_id(self.path) or last, last + 1, last
            return
        self._first = 0
        self._next = known or self._after_rotated()
        self._written = self._next - 1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        status = os.fstat(self._fd)
        self._inode, self._size = (status.st_dev, status.st_ino), status.st_size

    def _mend(self) -> int:
        """Cut a half-written last line; the id of the last line, 0 where the file is empty. A file whose last line
        is not the ledger's is set aside."""
        with os.fdopen(os.dup(self._fd), "rb") as file:
            line, end = files.tail(file)
        if end < self._size:
            os.ftruncate(self._fd, end)
            self._size = end
        if not end:
            return 0
        row = files.row_of(line)
        if row is not None and self._ledger.event(row.id) == row.line:
            return row.id
        first = files.first_id(self.path)
        self._set_aside()
        self._open()
        self._next = 0
        return self._restart(first)

    def _set_aside(self) -> None:
        self._drop()
        n = 1
        while (aside := self.path.with_name(f"{self.path.name}.aside-{n}")).exists():
            n += 1
        os.rename(self.path, aside)

    def _restart(self, first: int | None) -> int:
        """Write the first line of a file that was set aside, as the ledger has it; its id, 0 where it has none."""
        line = self._ledger.event(first) if first is not None else None
        if first is None or line is None:
            return 0
        self._put(line.encode() + b"\n")
        return first

    def _after_rotated(self) -> int:
        newest = 0
        for path in files.rotated(self.path):
            row = files.row_of(files.last_line(path))
            if row is not None and row.id > newest and self._ledger.event(row.id) == row.line:
                newest = row.id
        return newest + 1

    def _fill(self, limit: int) -> bool:
        """Append up to `limit` lines from the ledger; whether there may be more."""
        while limit > 0:
            found = self._ledger.lines_after(self._next - 1, _CHUNK)
            if not found:
                return False
            if not self._first:
                self._next = found[0][0]  # retention took what came before
            self._append([line for _, line in found], found[-1][0])
            limit -= len(found)
            if len(found) < _CHUNK:
                return False
        return True

    def _append(self, lines: Sequence[str], last: int | None = None) -> None:
        self._put(("\n".join(lines) + "\n").encode())
        self._first = self._first or self._next
        self._next = self._next + len(lines) if last is None else last + 1
        self._written = self._next - 1
        self._wanted = max(self._wanted, self._written)
        if self._size >= self._bound:
            self._rotate()

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _rotate(self) -> None:
        """Give the full file its final name; its lines are on disk before, for nobody mends a segment."""
        target = files.segment(self.path, self._first, self._next - 1)
        if target.exists():
            return
        os.fsync(self._fd)
        os.rename(self.path, target)
        self._drop()
        self._open()
        self._first = 0

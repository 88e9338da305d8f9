"""The copy's files: their names, their order, their lines; and the row that a line stands for."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import orjson

from autoheal.core.events import unseal
from autoheal.engine.ports import Row

_BLOCK = 65536


class Part(NamedTuple):
    """One file of the copy and the id of its first event."""

    first: int
    path: Path


def row_of(line: str | bytes) -> Row | None:
    """The row of an event's line, or None where it is no event. The columns are the line's fields of the same name."""
    try:
        event = orjson.loads(line)
        text = line if isinstance(line, str) else line.decode()
    except ValueError:
        return None
    if not isinstance(event, dict):
        return None
    event_id, ts, kind = event.get("id"), event.get("ts"), event.get("kind")
    if type(event_id) is not int or not 0 < event_id < 2**63 or not isinstance(kind, str):
        return None
    if isinstance(ts, bool) or not isinstance(ts, int | float):
        return None
    alertname, rule, remediation_id = (event.get(name) for name in ("alertname", "rule", "remediation_id"))
    if not all(value is None or isinstance(value, str) for value in (alertname, rule, remediation_id)):
        return None
    return Row(event_id, float(ts), kind, alertname, rule, remediation_id, text)


def parts(path: Path) -> list[Part]:
    """All files of the copy at `path` that hold events, oldest first: segments, what an outside logrotate left
    beside it (`audit.jsonl.1`, `audit.jsonl-20260101`, each also as `.gz`), and `path` itself."""
    found = []
    for candidate in [*rotated(path), path]:
        first = first_id(candidate)
        if first is not None:
            found.append(Part(first, candidate))
    return sorted(found, key=lambda part: (part.first, part.path == path))


def rotated(path: Path) -> list[Path]:
    """The files beside `path` that are, by name, parts of it."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    pattern = re.compile(rf"{stem}-\d+-\d+{suffix}(\.gz)?|{stem}{suffix}[.-]\d[\d.-]*(\.gz)?")
    try:
        return sorted(other for other in path.parent.iterdir() if pattern.fullmatch(other.name))
    except FileNotFoundError:
        return []


def segment(path: Path, first: int, last: int) -> Path:
    """What `path` is called once it is full."""
    return path.with_name(f"{path.stem}-{first}-{last}{path.suffix}")


def opened(path: Path) -> IO[bytes]:
    """A part for reading, gzip or not."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def first_id(path: Path) -> int | None:
    """The id of the first line that is an event; None where there is none, or no file."""
    try:
        with opened(path) as file:
            for raw in file:
                row = row_of(raw.rstrip(b"\n"))
                if row is not None:
                    return row.id
    except (FileNotFoundError, EOFError, gzip.BadGzipFile):
        return None
    return None


def last_line(path: Path) -> bytes:
    """The last complete line (without its end), empty where there is none."""
    if path.suffix == ".gz":
        last = b""
        with opened(path) as file:
            for raw in file:
                last = raw[:-1] if raw.endswith(b"\n") else last
        return last
    with path.open("rb") as file:
        return tail(file)[0]


def tail(file: IO[bytes]) -> tuple[bytes, int]:
    """The last complete line of a file and where what is complete ends (bytes); read from the end backwards."""
    at = file.seek(0, 2)
    held = b""
    while at > 0:
        step = min(_BLOCK, at)
        at -= step
        file.seek(at)
        held = file.read(step) + held
        end = held.rfind(b"\n")
        if end >= 0:
            begin = held.rfind(b"\n", 0, end)
            if begin >= 0 or at == 0:
                return held[begin + 1 : end], at + end + 1
    return b"", 0


def complete_lines(path: Path) -> Iterator[str]:
    """The lines of one part, without a half-written last one."""
    with opened(path) as file:
        for raw in file:
            if raw.endswith(b"\n"):
                yield raw[:-1].decode()


def hash_of(line: str | bytes) -> str:
    """The hash that a line states, empty where it states none."""
    parts_of = unseal(line)
    return "" if parts_of is None else parts_of[1]

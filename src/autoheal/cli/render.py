"""What is printed: text that cannot steer the terminal, local times with their age, tables, JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDE = 1000
"""Columns where nobody looks: a row stays one line for `grep`."""

_STEERS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""Control characters, what turns the direction of writing, what cannot be seen, lone surrogates."""
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def clean(value: object) -> str:
    """Text of strangers as it may stand on a terminal: what would act, hide or turn it is written out."""
    return _STEERS.sub(_written_out, str(value))


def _written_out(found: re.Match[str]) -> str:
    char = found.group()
    number = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def counted(count: object, noun: str) -> str:
    """``1 rule``, ``2 rules``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


# ---- times ------------------------------------------------------------------------------------------------------


def when(seconds: object, now: float) -> str:
    """A Unix time in local time: the clock where it is today, else the day too."""
    local, today = _local(seconds), _local(now)
    if local is None or today is None:
        return clean(seconds if seconds is not None else "-")
    return local.strftime("%H:%M:%S" if local.date() == today.date() else "%Y-%m-%d %H:%M:%S")


def age(seconds: object, now: float) -> str:
    """How long ago, or in how long: ``12s ago``, ``3h ago``, ``in 9m``."""
    if not isinstance(seconds, int | float) or _local(seconds) is None:
        return ""
    gap = now - seconds
    return f"{span(gap)} ago" if gap >= 0 else f"in {span(-gap)}"


def when_and_age(seconds: object, now: float) -> str:
    told = age(seconds, now)
    return when(seconds, now) + (f" ({told})" if told else "")


def span(seconds: float) -> str:
    """A length of time in the largest unit of which there are two."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"


def seconds_of(text: object) -> float | None:
    """Unix seconds of an RFC 3339 text, or of a number; None where it is neither."""
    if isinstance(text, int | float):
        return float(text)
    try:
        moment = datetime.fromisoformat(str(text))
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _local(seconds: object) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds).astimezone()
    except (OverflowError, ValueError, OSError):
        return None


# ---- the terminal -----------------------------------------------------------------------------------------------


def console(stderr: bool = False) -> Console:
    """Where people read: no markup is ever read out of text, no colour unless it is a terminal."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    width = None if file.isatty() or os.environ.get("COLUMNS", "").isdigit() else WIDE
    return Console(file=file, markup=False, emoji=False, highlight=False, width=width, soft_wrap=False)


def text(value: object, style: str = "") -> Text:
    """A cleaned, styled piece of a row."""
    from rich.text import Text

    return Text(clean(value), style=style)


def joined(parts: Iterable[Text | str], between: str = " ") -> Text:
    """Pieces in a row; plain strings are cleaned too, empty ones left out."""
    from rich.text import Text

    pieces = [part if isinstance(part, Text) else text(part) for part in parts]
    return Text(between).join(piece for piece in pieces if piece.plain)


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Text | str]],
    *,
    widths: Sequence[int | None] = (),
    show_header: bool = True,
) -> None:
    """Print rows under headers. The last column takes what is left and wraps; the others keep to one line.

    `widths` fixes columns, so that rows that are printed one by one stand below each other.
    """
    from rich.table import Table

    out = console()
    grid = Table(
        box=None, show_header=show_header, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim"
    )
    for index, header in enumerate(headers):
        last = index == len(headers) - 1
        width = widths[index] if index < len(widths) else None
        grid.add_column(header, no_wrap=not last, overflow="fold" if last else "ellipsis", width=width)
    for row in rows:
        grid.add_row(*(cell if not isinstance(cell, str) else text(cell) for cell in row))
    with out.capture() as captured:
        out.print(grid)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def pairs(items: Iterable[tuple[str, Text | str | None]]) -> None:
    """Print names and their values, one a line; those that are None or empty are left out."""
    table(("", ""), [(text(name, "dim"), value) for name, value in items if value], show_header=False)


def say(*parts: Text | str) -> None:
    """Print one line (which may wrap) for people."""
    console().print(joined(parts), soft_wrap=True)


def note(message: str) -> None:
    """A remark beside the result, on stderr."""
    console(stderr=True).print(text(message, "dim"), soft_wrap=True)


def heading(title: str) -> None:
    console().print(text(title, "bold"), soft_wrap=True)


def as_json(value: Any) -> None:
    """Print JSON for programs; ASCII only, so that it is safe on a terminal too."""
    print(json.dumps(value, indent=2, ensure_ascii=True))


def json_line(value: Any) -> None:
    """Print JSON on one line, at once."""
    print(json.dumps(value, ensure_ascii=True, separators=(",", ":")), flush=True)


def labels(given: object, without: Iterable[str] = ()) -> str:
    """Labels as Alertmanager writes them, cleaned."""
    if not isinstance(given, Mapping):
        return ""
    skipped = frozenset(without)
    return ", ".join(f'{clean(k)}="{clean(v)}"' for k, v in sorted(given.items()) if k not in skipped)

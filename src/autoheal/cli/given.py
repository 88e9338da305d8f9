"""What people give on the command line: labels and annotations as NAME=VALUE."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand

from autoheal.core.errors import Invalid

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LISTS = ("--labels", "--annotations")


class ManyEach(TyperCommand):
    """A command whose ``--labels`` and ``--annotations`` take every NAME=VALUE that follows."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args))


def spread(args: Iterable[str]) -> list[str]:
    """``--labels a=1 b=2`` as ``--labels a=1 --labels b=2``."""
    found: list[str] = []
    current, first = "", False
    for arg in args:
        if arg in _LISTS:
            current, first = arg, True
        elif current and not first and not arg.startswith("-") and "=" in arg:
            found.append(current)
        else:
            current = current if first else ""
            first = False
        found.append(arg)
    return found


def label_set(given: Iterable[str], name: str) -> dict[str, str]:
    """Labels from ``name=value`` (quotes around the value are taken off) or a JSON object; Invalid names `name`."""
    found: dict[str, str] = {}
    for item in given:
        parts = _object(item, name) if item.lstrip().startswith("{") else dict([_pair(item, name)])
        for label, value in parts.items():
            if found.get(label, value) != value:
                raise Invalid(f"{label} is given twice", name)
            found[label] = value
    return found


def _pair(item: str, name: str) -> tuple[str, str]:
    label, equals, value = item.partition("=")
    if not equals or not _NAME.fullmatch(label.strip()):
        raise Invalid(f"{item!r} is not NAME=VALUE", name)
    if value[:1] in ("~", "=") and len(value) > 1:
        raise Invalid(f"{item!r}: only NAME=VALUE is possible here, with the whole value", name)
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return label.strip(), value


def _object(item: str, name: str) -> dict[str, str]:
    try:
        found = json.loads(item)
    except ValueError as error:
        raise Invalid(f"is no JSON object: {error}", name) from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Invalid("must be a JSON object of texts", name)
    return found

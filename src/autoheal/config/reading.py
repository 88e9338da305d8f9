"""Typed reading of a tree: every reader tells a mistake at its place, gives None, and lets the rest be read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from autoheal.config.mistakes import did_you_mean
from autoheal.config.nodes import Broken, Mistakes, Node, Scalar, Sequence, Table
from autoheal.core.duration import format_duration, parse_seconds
from autoheal.core.errors import Invalid
from autoheal.core.template import ALERT_PLACEHOLDER

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
DAY = 86400.0
YEAR = 366 * DAY


def described(node: Node) -> str:
    """What stands there, in words."""
    if isinstance(node, Table):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    value = node.value if isinstance(node, Scalar) else None
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'


class Reader:
    """Reads values out of nodes; `what` names the place in messages."""

    def __init__(self, mistakes: Mistakes) -> None:
        self.mistakes = mistakes

    def wrong(self, node: Node, message: str) -> None:
        if not isinstance(node, Broken):
            self.mistakes.at(node, message)

    def _expected(self, node: Node, what: str, kind: str) -> None:
        self.wrong(node, f"{what}: expected {kind}, got {described(node)}")

    def table(self, node: Node, what: str, known: Collection[str], required: Collection[str] = ()) -> dict[str, Node]:
        """The values by key; unknown keys and missing ones are told. What is no mapping is empty."""
        if not isinstance(node, Table):
            self._expected(node, what, "a mapping")
            return {}
        found: dict[str, Node] = {}
        for key, value in node.entries:
            if key.text in known:
                found[key.text] = value
            else:
                self.wrong(key, f'{what}: unknown key "{key.text}"{did_you_mean(key.text, known)}')
        for name in required:
            if name not in found:
                self.wrong(node, f'{what}: key "{name}" is missing')
        return found

    def items(self, node: Node, what: str, least: int = 0, most: int = 1000) -> list[Node]:
        if not isinstance(node, Sequence):
            self._expected(node, what, "a list")
            return []
        if not least <= len(node.items) <= most:
            wanted = f"at least {least}" if len(node.items) < least else f"at most {most}"
            self.wrong(node, f"{what}: expected {wanted}, got {len(node.items)}")
            return []
        return node.items

    def text(self, node: Node, what: str) -> str | None:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            if node.value:
                return node.value
            self.wrong(node, f"{what}: is empty")
        elif isinstance(node, Scalar) and node.text and node.value is not None:
            self.wrong(node, f'{what}: expected text, got {described(node)}; put it in quotes: "{node.text}"')
        else:
            self._expected(node, what, "text")
        return None

    def boolean(self, node: Node, what: str) -> bool | None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool):
            return value
        self._expected(node, what, "true or false")
        return None

    def integer(self, node: Node, what: str, low: int, high: int) -> int | None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int):
            self._expected(node, what, "a whole number")
        elif not low <= value <= high:
            self.wrong(node, f"{what}: {value} is not between {low} and {high}")
        else:
            return value
        return None

    def number(self, node: Node, what: str, low: float, high: float) -> float | None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._expected(node, what, "a number")
        elif not low <= value <= high:
            self.wrong(node, f"{what}: {value:g} is not between {low:g} and {high:g}")
        else:
            return float(value)
        return None

    def duration(self, node: Node, what: str, low: float, high: float = YEAR, why: str = "") -> float | None:
        """Seconds between `low` and `high`; a plain number counts as seconds. `why` explains the lower bound."""
        if not isinstance(node, Scalar) or isinstance(node.value, bool | None):
            self._expected(node, what, "a duration such as 90s or 10m")
            return None
        try:
            seconds = parse_seconds(node.text)
        except Invalid as error:
            self.wrong(node, f"{what}: {error.detail}")
            return None
        if seconds < low:
            reason = f" ({why})" if why else ""
            self.wrong(node, f"{what}: {node.text} is less than {format_duration(low)}{reason}")
        elif seconds > high:
            self.wrong(node, f"{what}: {node.text} is more than {format_duration(high)}")
        else:
            return seconds
        return None

    def choice(self, node: Node, what: str, choices: Collection[str]) -> str | None:
        word = self.text(node, what)
        if word is None or word in choices:
            return word
        self.wrong(node, f'{what}: "{word}" is not one of {", ".join(choices)}{near(word, choices)}')
        return None

    def name(self, node: Node, what: str, taken: dict[str, Node]) -> str | None:
        """A name that is not in `taken` yet; it is put there."""
        word = self.text(node, what)
        if word is None:
            return None
        if not NAME.fullmatch(word):
            self.wrong(node, f'{what}: "{word[:80]}" is no name; letters, digits and _ . - up to 63, no sign in front')
        elif word in taken:
            self.wrong(node, f'{what}: "{word}" is taken by line {taken[word].line}')
        else:
            taken[word] = node
            return word
        return None

    def label_names(self, node: Node, what: str) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for item in self.items(node, what):
            word = self.text(item, what)
            if word is None:
                continue
            if not LABEL.fullmatch(word):
                self.wrong(item, f'{what}: "{word}" is no label name')
            elif word in names:
                self.wrong(item, f'{what}: "{word}" is there twice')
            names[word] = None
        return tuple(names)

    def text_map(self, node: Node, what: str, label: bool) -> dict[str, str]:
        """Names and texts; with `label`, the names must be label names."""
        found: dict[str, str] = {}
        if not isinstance(node, Table):
            self._expected(node, what, "a mapping")
            return found
        for key, value in node.entries:
            if label and not LABEL.fullmatch(key.text):
                self.wrong(key, f'{what}: "{key.text}" is no label name')
            found[key.text] = self.text(value, f"{what}.{key.text}") or ""
        return found

    def url(self, node: Node, what: str) -> str | None:
        """An http or https URL; what stands for a placeholder counts as text that fits."""
        word = self.text(node, what)
        if word is None or _PLACEHOLDER.match(word):
            return word
        try:
            parts = urlsplit(_filled(word))
            fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            fine = False
        if fine and not re.search(r"[\s\x00-\x20]", _filled(word)):
            return word
        self.wrong(node, f'{what}: "{word}" is no http:// or https:// URL')
        return None

    def host_port(self, node: Node, what: str) -> str | None:
        word = self.text(node, what)
        if word is None or (host_port_fits(_filled(word)) or _PLACEHOLDER.fullmatch(word)):
            return word
        self.wrong(node, f'{what}: "{word}" is no host:port')
        return None


_PLACEHOLDER = re.compile(r"\{[a-zA-Z_][a-zA-Z0-9_.-]*\}")
_HOST_PORT = re.compile(r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


def host_port_fits(text: str) -> bool:
    found = _HOST_PORT.fullmatch(text)
    return found is not None and 1 <= int(found.group(1)) <= 65535


def _filled(text: str) -> str:
    """Placeholders as a digit, which fits a host, a port and a path alike."""
    return _PLACEHOLDER.sub("1", text)


def near(word: str, choices: Collection[str]) -> str:
    """The one that was probably meant, in words; empty where none is near."""
    told = did_you_mean(word, choices)
    return told if told.startswith(" (did") else ""


def place(node: Node, path: str) -> Node:
    """The node at a path such as ``headers.X-Token`` or ``argv[2]`` below `node`, as far as the path leads."""
    for part in re.findall(r"[^.\[\]]+", path):
        below: Mapping[str, Node] = {}
        if isinstance(node, Table):
            below = {key.text: value for key, value in node.entries}
        elif isinstance(node, Sequence):
            below = {str(index): item for index, item in enumerate(node.items)}
        if part not in below:
            break
        node = below[part]
    return node


def texts(node: Node) -> list[Scalar]:
    """Every text in the tree below `node`, keys left out."""
    if isinstance(node, Scalar):
        return [node] if isinstance(node.value, str) else []
    below: list[Any] = node.items if isinstance(node, Sequence) else []
    if isinstance(node, Table):
        below = [value for _, value in node.entries]
    return [text for child in below for text in texts(child)]


def unquoted(node: Node) -> list[tuple[Node, str]]:
    """Placeholders that YAML read as mappings, because they stand without quotes."""
    if isinstance(node, Sequence):
        return [found for item in node.items for found in unquoted(item)]
    if not isinstance(node, Table):
        return []
    if len(node.entries) == 1:
        key, value = node.entries[0]
        text = f"{{{key.text}}}"
        if isinstance(value, Scalar) and value.value is None and ALERT_PLACEHOLDER.fullmatch(text):
            return [(node, text)]
    return [found for _, value in node.entries for found in unquoted(value)]


def broken(node: Node) -> bool:
    """Whether some place in the tree could not be read; its mistake has been told."""
    if isinstance(node, Table):
        return any(broken(value) for _, value in node.entries)
    if isinstance(node, Sequence):
        return any(broken(item) for item in node.items)
    return isinstance(node, Broken)

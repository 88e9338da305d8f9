"""YAML as a tree that knows where everything stands; bounded in size, depth and aliases, ``${NAME}`` filled in."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from autoheal.config.mistakes import MOST, Mistake, PolicyErrors
from autoheal.core.errors import Invalid

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 50_000
"""Nodes after every alias is followed."""
MAX_TEXT = 64 * 1024
"""Characters of one scalar after substitution."""

_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_COMMENTED = re.compile(r"[:,\[{][ \t]+#\w")
"""A value that is a comment, such as ``channel: #db``."""
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}(?:\.[0-9]{0,18})?)(?:[eE][-+]?[0-9]{1,2})?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Node:
    """`line` and `column` count from 1. `size` and `height` count what is below, itself included."""

    line: int
    column: int
    size: int = field(default=1, kw_only=True)
    height: int = field(default=1, kw_only=True)


@dataclass(slots=True)
class Scalar(Node):
    """`text` has its variables filled in; `plain`: written without quotes, so it may stand for a number."""

    text: str
    plain: bool

    @property
    def value(self) -> Any:
        """None, a boolean, a number or text, by the core schema of YAML 1.2: only true and false are booleans."""
        if not self.plain:
            return self.text
        if self.text in _WORDS:
            return _WORDS[self.text]
        if _INTEGER.fullmatch(self.text):
            return int(self.text)
        return float(self.text) if _FLOAT.fullmatch(self.text) else self.text


@dataclass(slots=True)
class Sequence(Node):
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Table(Node):
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)


@dataclass(slots=True)
class Broken(Node):
    """A place whose mistake has been told already; readers pass over it."""


def plain(node: Node) -> Any:
    """The tree as dictionaries, lists and scalars; a broken place is None."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    if isinstance(node, Table):
        return {key.text: plain(value) for key, value in node.entries}
    return None


class Mistakes:
    """Gathers the mistakes of one file; the same one is told once, however many aliases lead to it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[Mistake, None] = {}

    def add(self, line: int, column: int, message: str) -> None:
        self._found[Mistake(self.file, line, column, message)] = None

    def at(self, node: Node, message: str) -> None:
        self.add(node.line, node.column, message)

    def stop(self, line: int, column: int, message: str) -> PolicyErrors:
        """What cannot be read any further: an error with this mistake and those before it."""
        self.add(line, column, message)
        return self.errors()

    def errors(self) -> PolicyErrors:
        found = sorted(self._found)
        if len(found) > MOST:
            found = [*found[:MOST], Mistake(self.file, found[MOST].line, found[MOST].column, "and more; stopped here")]
        return PolicyErrors(found)

    def __bool__(self) -> bool:
        return bool(self._found)


def read_tree(data: bytes, mistakes: Mistakes, env: Mapping[str, str], secrets: Collection[str] = ()) -> Node:
    """The one document in `data`; raises PolicyErrors where there is none to read.

    Smaller mistakes (a variable that is not set, a key given twice, a tag) are added to `mistakes` instead, and the
    place becomes Broken. A variable named in `secrets` is refused: its value would show in the trail.
    """
    return _Builder(_text(data, mistakes), mistakes, env, secrets).document()


def _text(data: bytes, mistakes: Mistakes) -> str:
    if len(data) > MAX_BYTES:
        raise mistakes.stop(1, 1, f"the file is larger than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        line, column = _position(before)
        raise mistakes.stop(line, column, "the file is not UTF-8") from None


def _position(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what comes after `before`."""
    breaks = [found.end() for found in _BREAK.finditer(before)]
    return len(breaks) + 1, len(before) - (breaks[-1] if breaks else 0) + 1


class _Builder:
    def __init__(self, text: str, mistakes: Mistakes, env: Mapping[str, str], secrets: Collection[str]) -> None:
        self.text, self.mistakes, self.env, self.secrets = text, mistakes, env, secrets
        self.starts = [0, *(found.end() for found in _BREAK.finditer(text))]
        self.anchors: dict[str, Node | None] = {}
        self.events: Any = None
        self.depth = 0
        self.total = 0

    def document(self) -> Node:
        try:
            self.events = iter(yaml.parse(self.text, Loader=_LOADER))
            return self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            words = " ".join(filter(None, (error.context, error.problem)))
            raise self.mistakes.stop(*_mark(mark), f"not YAML: {words}{self._hint(mark)}") from None
        except yaml.reader.ReaderError as error:
            line, column = _position(self.text[: error.position] if isinstance(error.position, int) else "")
            raise self.mistakes.stop(line, column, f"not YAML: {error.reason}") from None

    def _hint(self, mark: Any) -> str:
        """What people often write that YAML reads in another way, where it stands at the mark or just before."""
        if "${" in self._line(mark):
            return "; between brackets put ${...} in quotes"
        if mark is None:
            return ""
        here = self._offset(mark)
        if self.text[here : here + 1] == "@":
            return "; put what begins with @ in quotes"
        before = self.text[self.starts[max(0, min(mark.line, len(self.starts) - 1) - 2)] : here]
        if _COMMENTED.search(before):
            return "; a # begins a comment: put a name that begins with it in quotes"
        return ""

    def _document(self) -> Node:
        root: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._stop(event, "a second document; a policy is one")
            elif not isinstance(event, yaml.StreamStartEvent | yaml.StreamEndEvent | yaml.DocumentEndEvent):
                root = self._node(event)
        if root is None:
            raise self.mistakes.stop(1, 1, "the file is empty")
        return root

    def _stop(self, event: Any, message: str) -> PolicyErrors:
        return self.mistakes.stop(*_mark(event.start_mark), message)

    def _node(self, event: Any) -> Node:
        line, column = _mark(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.anchor:
            self.anchors[event.anchor] = None
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        make = _MAKERS[type(event)]
        node = self._measured(make(self, event, line, column), event)
        if event.tag is not None and event.tag != "!":
            self.mistakes.at(node, f"tag {event.tag!r} is not supported")
            node = Broken(line, column)
        self.depth -= 1
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self.anchors:
            raise self._stop(event, f"alias *{event.anchor} has no anchor before it")
        node = self.anchors[event.anchor]
        if node is None:
            raise self._stop(event, f"alias *{event.anchor} contains itself")
        return node

    def _measured(self, node: Node, event: Any) -> Node:
        below = _below(node)
        node.size = 1 + sum(child.size for child in below)
        node.height = 1 + max((child.height for child in below), default=0)
        if node.size > MAX_NODES:
            raise self._stop(event, f"more than {MAX_NODES} values, aliases followed")
        if node.height > MAX_DEPTH:
            raise self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        return node

    def _sequence(self, event: Any, line: int, column: int) -> Node:
        node = Sequence(line, column)
        for inner in self.events:
            if isinstance(inner, yaml.SequenceEndEvent):
                break
            node.items.append(self._node(inner))
        return node

    def _table(self, event: Any, line: int, column: int) -> Node:
        node = Table(line, column)
        seen: set[str] = set()
        for inner in self.events:
            if isinstance(inner, yaml.MappingEndEvent):
                break
            key = self._key(inner)
            value = self._node(next(self.events))
            if key is None:
                continue
            if key.text in seen:
                self.mistakes.at(key, f'key "{key.text}" is given twice')
                continue
            seen.add(key.text)
            node.entries.append((key, value))
        return node

    def _key(self, event: Any) -> Scalar | None:
        if isinstance(event, yaml.ScalarEvent):
            text = event.value
            if text == "<<" and event.implicit[0]:
                self.mistakes.add(*_mark(event.start_mark), "merge keys are not supported")
                return None
            if event.anchor:
                self.anchors[event.anchor] = Scalar(0, 0, text, event.implicit[0])
            return Scalar(*_mark(event.start_mark), text, event.implicit[0])
        node = self._node(event)
        self.mistakes.at(node, "a key must be text")
        return None

    def _scalar(self, event: Any, line: int, column: int) -> Node:
        text = self._substituted(event) if "$" in event.value else event.value
        if text is None:
            return Broken(line, column)
        found = _CONTROL.search(text)
        if found:
            self.mistakes.add(line, column, f"holds the control character {found.group()!r}")
            return Broken(line, column)
        return Scalar(line, column, text, event.implicit[0])

    def _substituted(self, event: Any) -> str | None:
        """The scalar's text with its variables; None where one cannot be filled in, which is told."""
        fine = True
        cursor = self._offset(event.start_mark)
        end = self._offset(event.end_mark)

        def fill(found: re.Match[str]) -> str:
            nonlocal fine, cursor
            place = self.text.find(found.group(), cursor, end)
            cursor = place + len(found.group()) if place >= 0 else cursor
            try:
                return self._variable(found)
            except Invalid as error:
                fine = False
                line, column = _place(self.starts, place) if place >= 0 else _mark(event.start_mark)
                self.mistakes.add(line, column, error.detail)
                return ""

        text = _VARIABLE.sub(fill, event.value)
        if fine and len(text) > MAX_TEXT:
            self.mistakes.add(*_mark(event.start_mark), f"longer than {MAX_TEXT} characters once its variables are in")
            return None
        return text if fine else None

    def _variable(self, found: re.Match[str]) -> str:
        """What stands for one ``${…}`` or ``$$``; Invalid where nothing can."""
        name, default = found.groups()
        if name is None:
            if found.group() == "$$":
                return "$"
            raise Invalid("'${' begins no variable; write ${NAME} or ${NAME:-default}, and $${ for the text itself")
        if name in self.secrets:
            raise Invalid(f"${{{name}}} is a secret of Autoheal itself; it would show in the trail")
        value = self.env.get(name, "")
        if default is not None:
            return value or default
        if name not in self.env:
            raise Invalid(f"variable {name} is not set; set it, or give a default: ${{{name}:-default}}")
        return value

    def _line(self, mark: Any) -> str:
        start = self._offset(mark) - mark.column if mark is not None else 0
        return self.text[start:].partition("\n")[0]

    def _offset(self, mark: Any) -> int:
        start: int = self.starts[min(mark.line, len(self.starts) - 1)]
        return start + int(mark.column)


def _mark(mark: Any) -> tuple[int, int]:
    """Line and column from 1; a mark that is missing is the file's beginning."""
    if mark is None:
        return 1, 1
    return mark.line + 1, mark.column + 1


def _place(starts: list[int], offset: int) -> tuple[int, int]:
    line = bisect_right(starts, offset)
    return line, offset - starts[line - 1] + 1


def _below(node: Node) -> list[Node]:
    if isinstance(node, Sequence):
        return node.items
    return [value for _, value in node.entries] if isinstance(node, Table) else []


_MAKERS: dict[type, Callable[[_Builder, Any, int, int], Node]] = {
    yaml.ScalarEvent: _Builder._scalar,
    yaml.SequenceStartEvent: _Builder._sequence,
    yaml.MappingStartEvent: _Builder._table,
}

"""Alertmanager's label matchers: their syntax, and the test they make."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from autoheal.core.errors import Invalid

Test = Callable[[str], bool]
Compile = Callable[[str], Test]
"""Turns a regular expression into an anchored test, or raises Invalid; `config` passes one that runs in linear time."""

_SPACE = "\t\n\f\r "
"""What may surround the parts of a matcher; what surrounds a whole list may be any white space of Unicode."""
_ANY_SPACE = "".join(
    (_SPACE, "\v\x85\xa0\u1680", "".join(map(chr, range(0x2000, 0x200B))), "\u2028\u2029\u202f\u205f\u3000")
)
_HEAD = re.compile(r"[\t\n\f\r ]*([a-zA-Z_:][a-zA-Z0-9_:]*)[\t\n\f\r ]*(=~|!=|!~|=)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r'(?:[^"\\]|\\.)*\\?', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED = {"n": "\n", '"': '"', "\\": "\\"}


def python_regex(pattern: str) -> Test:
    """An anchored test with Python's `re`; for tests and for patterns that are our own."""
    try:
        compiled = re.compile(f"^(?:{pattern})\\Z")
    except (re.error, OverflowError, RecursionError) as error:
        raise Invalid(f"not a regular expression: {error}") from None
    return lambda value: compiled.search(value) is not None


@dataclass(frozen=True, slots=True)
class Matcher:
    """One matcher. `op` is ``=``, ``!=``, ``=~`` or ``!~``; a missing label counts as empty."""

    name: str
    op: str
    value: str
    test: Test = field(compare=False, repr=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        return self.test(labels.get(self.name, ""))

    def __str__(self) -> str:
        """Its canonical form, which parses to the same matcher."""
        value = self.value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        return f'{self.name}{self.op}"{value}"'


def matcher(name: str, op: str, value: str, compile: Compile = python_regex) -> Matcher:
    """A matcher from its parts; Invalid where a regular expression is none."""
    if op == "=":
        return Matcher(name, op, value, partial(operator.eq, value))
    if op == "!=":
        return Matcher(name, op, value, partial(operator.ne, value))
    try:
        test = compile(value)
    except Invalid as error:
        raise Invalid(f"in matcher {name}{op}{value!r}: {error.detail}") from None
    return Matcher(name, op, value, test if op == "=~" else lambda text: not test(text))


def parse_matcher(text: str, compile: Compile = python_regex) -> Matcher:
    """One matcher in the classic syntax of Alertmanager 0.25, such as ``service=~"crm-.*"``.

    A label's name, an operator, a value with or without double quotes. Escapes are ``\\"``, ``\\n`` and ``\\\\``;
    any other backslash stands for itself. Invalid where Alertmanager refuses it.
    """
    head = _HEAD.match(text)
    if head is None:
        raise Invalid(f'{text!r} is no matcher: expected a label name, one of = != =~ !~, and a value, as in a="b"')
    raw = text[head.end() :].strip(_SPACE)
    shape = _QUOTED if raw.startswith('"') else _BARE
    found = shape.fullmatch(raw)
    if found is None:
        raise Invalid(f"the value of matcher {text!r} has a double quote that is not escaped, or no closing one")
    value = _ESCAPE.sub(_unescape, found.group(1) if shape is _QUOTED else raw)
    return matcher(head.group(1), head.group(2), value, compile)


def _unescape(found: re.Match[str]) -> str:
    return _UNESCAPED.get(found.group(1), found.group())


def parse_matchers(text: str, compile: Compile = python_regex) -> list[Matcher]:
    """A list of matchers with commas between them, braces around it optional; an empty text gives none."""
    return [parse_matcher(part, compile) for part in _split(text.removeprefix("{").removesuffix("}"))]


def _split(text: str) -> list[str]:
    """Cut at the commas outside of quotes; a last part that is blank does not count."""
    parts: list[str] = []
    start = 0
    quoted = escaped = False
    for position, char in enumerate(text):
        if char == ",":
            if not quoted:
                parts.append(text[start:position])
                start = position + 1
        elif char == "\\":
            escaped = not escaped
        else:
            if char == '"' and not escaped:
                quoted = not quoted
            escaped = False
    last = text[start:].strip(_ANY_SPACE)
    return [*parts, last] if last else parts

"""Placeholders such as ``{labels.service}``: the only way from an alert's text into an action."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from autoheal.core.alert import Alert
from autoheal.core.errors import Invalid

DEFAULT_ALLOW = r"[A-Za-z0-9_.:/@-]{1,253}"

Allowed = Callable[[str], bool]

ALERT_PLACEHOLDER = re.compile(
    r"\{(labels\.[a-zA-Z_][a-zA-Z0-9_]*|annotations\.[a-zA-Z_][a-zA-Z0-9_.-]*|alertname|fingerprint)\}"
)
"""One placeholder; its group is its name."""
_ATTEMPT = re.compile(r"(?<!\$)\{\s*(?:[a-zA-Z_][a-zA-Z0-9_.-]*\s*\}|(?:labels?|annotations?)\s*[.\[])")
"""What was meant as a placeholder. Other braces, as in PromQL, JSON, awk or ${HOME}, stand for themselves."""


@lru_cache(maxsize=256)
def default_allowed(pattern: str = DEFAULT_ALLOW) -> Allowed:
    """A test for values, with Python's `re`; `config` builds the same with a linear-time engine."""
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def placeholders(text: str) -> list[str]:
    """The placeholders in `text`, such as ``["labels.service"]``; Invalid on what looks like one and is none."""
    for match in _ATTEMPT.finditer(text):
        if not ALERT_PLACEHOLDER.match(text, match.start()):
            shown = text[match.start() :].partition("}")
            raise Invalid(
                f"{''.join(shown[:2])[:60]!r} is no placeholder; "
                "there are {labels.NAME}, {annotations.NAME}, {alertname}, {fingerprint}"
            )
    return [match.group(1) for match in ALERT_PLACEHOLDER.finditer(text)]


def strings(tree: Any) -> Iterator[str]:
    """Every string in a tree of mappings and lists, keys left out."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from strings(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from strings(value)


def render(tree: Any, alert: Alert, allowed: Allowed) -> Any:
    """`tree` with every placeholder in every string filled from `alert`.

    A value that is missing, does not fit `allowed`, or begins with ``-`` raises Invalid and names its field:
    it never reaches an argument.
    """
    if isinstance(tree, str):
        return (
            ALERT_PLACEHOLDER.sub(lambda match: _value(match.group(1), alert, allowed), tree) if "{" in tree else tree
        )
    if isinstance(tree, Mapping):
        return {key: render(value, alert, allowed) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [render(value, alert, allowed) for value in tree]
    return tree


def _value(name: str, alert: Alert, allowed: Allowed) -> str:
    if name == "alertname":
        value: str | None = alert.alertname
    elif name == "fingerprint":
        value = alert.fingerprint
    else:
        where, _, key = name.partition(".")
        value = (alert.labels if where == "labels" else alert.annotations).get(key)
    if value is None:
        raise Invalid("the alert does not have it", name)
    if value.startswith("-"):
        raise Invalid("begins with '-', which a command could take for an option", name)
    if not allowed(value):
        raise Invalid("does not fit the allowed pattern", name)
    return value

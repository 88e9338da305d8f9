"""Reading what people wrote as an action's options: types, required keys, "did you mean"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from autoheal.core.errors import Invalid


def table(value: Any, allowed: Iterable[str], field: str = "") -> dict[str, Any]:
    """`value` as a mapping whose keys are all allowed; Invalid otherwise."""
    names = tuple(allowed)
    if not isinstance(value, Mapping):
        raise Invalid(f"expected a mapping with {', '.join(names)}", field)
    for key in value:
        if key not in names:
            raise Invalid(f"unknown option {str(key)!r}{nearest(str(key), names)}", below(field, str(key)))
    return dict(value)


def one_verb(value: Any, verbs: Iterable[str]) -> tuple[str, Any]:
    """The single entry of `value`, such as ``("restart", "crm-api")``."""
    names = tuple(verbs)
    options = table(value, names)
    if len(options) != 1:
        raise Invalid(f"expected exactly one of {', '.join(names)}, got {len(options)}")
    return next(iter(options.items()))


def required(options: Mapping[str, Any], name: str) -> Any:
    if options.get(name) is None:
        raise Invalid(f"{name!r} is missing")
    return options[name]


def text(value: Any, field: str = "") -> str:
    """`value` as text that is not empty and holds no NUL."""
    if not isinstance(value, str):
        raise Invalid(f"expected text, got {_named(value)}{_quote_it(value)}", field)
    if not value or "\0" in value:
        raise Invalid("is empty" if not value else "holds a NUL character", field)
    return value


def texts(value: Any, field: str = "", least: int = 1) -> list[str]:
    """`value` as a list of texts; single ones may be empty, the list must hold at least `least`."""
    if not isinstance(value, list | tuple):
        raise Invalid(f"expected a list, got {_named(value)}", field)
    if len(value) < least:
        raise Invalid("the list is empty" if not value else f"expected at least {least} entries", field)
    return [item if item == "" else text(item, f"{field}[{index}]") for index, item in enumerate(value)]


def text_map(value: Any, field: str = "") -> dict[str, str]:
    """`value` as a mapping of names to texts; a text may be empty."""
    if not isinstance(value, Mapping):
        raise Invalid(f"expected a mapping, got {_named(value)}", field)
    return {
        text(name, field): item if item == "" else text(item, below(field, str(name))) for name, item in value.items()
    }


def one_of(value: Any, allowed: Iterable[str], field: str) -> str:
    names = tuple(allowed)
    if value not in names:
        raise Invalid(f"{value!r} is unknown{nearest(str(value), names)}", field)
    return str(value)


def nearest(word: str, names: Iterable[str]) -> str:
    """``; did you mean 'restart'?`` or the names there are; with a separator in front."""
    known = {name.lower(): name for name in names}
    near = get_close_matches(word.lower(), known, n=1)
    return f"; did you mean {known[near[0]]!r}?" if near else f"; there are: {', '.join(known.values())}"


def below(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _named(value: Any) -> str:
    if value is None:
        return "nothing"
    return {bool: "a yes/no value", int: "a number", float: "a number", str: "text", list: "a list"}.get(
        type(value), "a mapping" if isinstance(value, Mapping) else type(value).__name__
    )


def _quote_it(value: Any) -> str:
    return "; put it in quotes" if isinstance(value, bool | int | float) else ""

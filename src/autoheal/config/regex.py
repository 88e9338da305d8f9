"""Regular expressions as Alertmanager has them: RE2's syntax, anchored, in time linear to the text."""

from __future__ import annotations

import re
from typing import Any

import re2

from autoheal.core.errors import Invalid
from autoheal.core.matcher import Test

MAX_PATTERN = 4096
"""Characters."""

_TOKEN = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\]|\(\?<|.", re.DOTALL)
"""Just enough of the syntax to tell a real ``(?<`` or ``\\C`` from one that is quoted or in a class."""
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    return options


def compile_regex(pattern: str) -> Test:
    """A test whether a whole text fits `pattern`; Invalid where it is none.

    As in Alertmanager, the pattern is set between ``^(?:`` and ``)$``, and a dot does not match a line feed.
    """
    if len(pattern) > MAX_PATTERN:
        raise Invalid(f"the regular expression is longer than {MAX_PATTERN} characters")
    for token in _TOKEN.finditer(pattern):
        if token.group() in ("(?<", r"\C"):
            raise Invalid(f"not a regular expression (RE2): {token.group()} is not supported")
    try:
        compiled = re2.compile(f"^(?:{pattern})$".encode(), _options())
    except UnicodeEncodeError:
        raise Invalid("not a regular expression: it is no valid text") from None
    except re2.error as error:
        raise Invalid(f"not a regular expression (RE2): {_text(error)}") from None
    search = compiled.search
    return lambda value: search(_bytes(value)) is not None


def _text(error: Exception) -> str:
    given = error.args[0] if error.args else ""
    return given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)


def _bytes(value: str) -> bytes:
    """Lone surrogates become U+FFFD, as they do where Go reads them."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", value).encode()

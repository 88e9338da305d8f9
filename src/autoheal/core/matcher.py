"""Alertmanager's label matchers: name, operator, value, and the test they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Test = Callable[[str], bool]
Compile = Callable[[str], Test]
"""Turns a regular expression into an anchored test; `config` passes one that runs in linear time."""


def python_regex(pattern: str) -> Test:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda value: compiled.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Matcher:
    """One matcher. `op` is ``=``, ``!=``, ``=~`` or ``!~``; a missing label counts as empty."""

    name: str
    op: str
    value: str
    test: Test = field(compare=False, repr=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        return self.test(labels.get(self.name, ""))

"""Mistakes in what people write: each with its place, all told at once, with "did you mean"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from autoheal.core.errors import Permanent
from autoheal.core.nearest import did_you_mean as did_you_mean

MOST = 200
"""Mistakes that are told; a file with more is not what it was meant to be."""


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake; line and column count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class PolicyErrors(Permanent):
    """The policy file cannot be used. `mistakes` holds every one, in the order of the file."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class SettingsErrors(Permanent):
    """The environment cannot be used. `mistakes` holds every one as a sentence that names its variable."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


def is_slip_of(word: str, meant: str) -> bool:
    """Whether `word` is most likely `meant` with a slip of the hand, and not a longer name made of it on purpose."""
    word = word.upper()
    if word.endswith(f"_{meant}") or word.startswith(f"{meant}_"):
        return False
    same_letters = sorted(word.replace("_", "")) == sorted(meant.replace("_", ""))
    return same_letters or SequenceMatcher(None, word, meant).ratio() >= 0.8

"""Reading what `/metrics` shows: which families there are, and single values."""

from __future__ import annotations

from collections.abc import Iterator


def families(text: str) -> set[str]:
    """The names of the series, those that have no sample yet too."""
    return {name for name, _ in _lines(text)}


def value_of(text: str, name: str) -> float | None:
    """The first sample of `name`; None where there is none."""
    for found, value in _lines(text):
        if found == name and value:
            try:
                return float(value)
            except ValueError:
                return None
    return None


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Name and value of each sample; each `# TYPE` as a name without a value."""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            yield line.split()[2], ""
        elif line.strip() and not line.startswith("#"):
            after = line.rpartition("}")[2] if "{" in line else line.partition(" ")[2]
            yield line.partition("{")[0].split()[0], (after.split() or [""])[0]

"""The shipped rule files as tests see them: read, taken apart, and made quick."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring"
CONFIG = MONITORING / "prometheus-config.yml"
RECORDING = MONITORING / "prometheus-recording-rules.yml"
ALERTS = MONITORING / "prometheus-alerts.yml"
LOKI = MONITORING / "loki" / "rules" / "autoheal.yml"
CASES = sorted((MONITORING / "tests").glob("*.yml"))

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = r"\d+(?:ms|[smhd])"
WORDS = frozenset("and or unless by on without group_left group_right ignoring offset bool".split())


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def rules(path: Path) -> Iterator[dict[str, Any]]:
    """Every rule of a file."""
    for group in read(path)["groups"]:
        yield from group["rules"]


def named(path: Path, kind: str) -> dict[str, dict[str, Any]]:
    """The rules of one kind, `alert` or `record`, by name."""
    return {rule[kind]: rule for rule in rules(path) if kind in rule}


# ---- PromQL, as far as these rules use it ---------------------------------------------------------------------------


def metrics_of(expr: str) -> set[str]:
    """The names of all metrics in an expression."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\w*\s*\()", bare)
    return {name for name in names if name not in WORDS}


def values_of(expr: str) -> Iterator[tuple[str, str, str]]:
    """Each value of a label that an expression asks a metric for: metric, label, value."""
    for metric, matchers in re.findall(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}", expr):
        for label, operator, text in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
            for value in text.split("|") if "~" in operator else [text]:
                yield metric, label, value


# ---- the same rules, quicker ----------------------------------------------------------------------------------------


def seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+)(ms|[smhd])", duration)
    assert found is not None, duration
    return int(found[1]) * UNITS[found[2]]


def quicker(duration: str, factor: float, least: float = 0.0) -> str:
    return f"{max(1, round(max(least, seconds(duration) / factor) * 1000))}ms"


def scaled(source: Mapping[str, Any], factor: float, shortest_range: float = 1.0) -> dict[str, Any]:
    """A rule file in which time runs `factor` times as fast.

    Divided are each `for`, `interval`, range and offset, and each number of 60 or more that something is compared
    with: those are thresholds in seconds. Rates, shares and counts stay what they are. No range is made shorter than
    `shortest_range` seconds, so that a few scrapes fall into it.
    """
    found = copy.deepcopy(dict(source))
    for group in found["groups"]:
        if "interval" in group:
            group["interval"] = quicker(group["interval"], factor)
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = quicker(rule["for"], factor)
            rule["expr"] = _scaled(rule["expr"], factor, shortest_range)
    return found


def _scaled(expr: str, factor: float, shortest_range: float) -> str:
    expr = re.sub(rf"\[({DURATION})\]", lambda m: f"[{quicker(m[1], factor, shortest_range)}]", expr)
    expr = re.sub(rf"\boffset ({DURATION})", lambda m: f"offset {quicker(m[1], factor)}", expr)
    return re.sub(r"([<>]=?) (\d{2,})\b(?!\.)", lambda m: f"{m[1]} {_threshold(int(m[2]), factor):g}", expr)


def _threshold(number: int, factor: float) -> float:
    return number / factor if number >= 60 else number

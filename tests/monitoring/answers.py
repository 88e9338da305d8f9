"""Whether a real Prometheus answers every query of a dashboard, and with what its panels count on."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from monitoring.grafana.schema import LogQuery, Mark, Panel, PromQuery
from tests.monitoring.viewer import Answer, Viewer, seconds
from tests.servers import wait_until


@dataclass(frozen=True)
class Expected:
    """By the panel's title. `may_be_zero`: in which 0 is the truth, and why. `must_show`: series that are not 0.
    `truth`: between what the big numbers lie. `matrix`: the columns that a table of a matrix may have. `absent`: names
    that panels give colours to, and that this run does not bring about."""

    may_be_zero: Mapping[str, str]
    must_show: Mapping[str, Collection[str]]
    truth: Mapping[str, tuple[float, float]]
    matrix: Collection[str] = ()
    absent: Mapping[str, Collection[str]] = field(default_factory=dict)


def await_answers(viewer: Viewer, expected: Expected, timeout: float = 20.0) -> None:
    """Ask until each panel and each annotation has what it needs."""
    left = list(viewer.dashboard.every_panel())
    problems: dict[str, list[str]] = {}

    def all_answered() -> bool:
        for panel in left:
            problems[panel.title] = _problems(viewer, panel, expected)
        left[:] = [panel for panel in left if problems[panel.title]]
        marks = [mark.name for mark in viewer.dashboard.annotations.items if not _marked(viewer, mark)]
        problems["annotations"] = marks
        return not left and not marks

    try:
        wait_until(all_answered, timeout, every=0.5)
    except AssertionError:
        said = "\n".join(f"{title}: {'; '.join(found)}" for title, found in problems.items() if found)
        raise AssertionError(f"not answered:\n{said}") from None


def _problems(viewer: Viewer, panel: Panel, expected: Expected) -> list[str]:
    """What is wrong with what a panel gets."""
    found: list[str] = []
    legends: dict[str, float] = {}
    fields = {"Time", *(f"Time {n}" for n in range(1, len(panel.targets) + 1))}
    for target in panel.targets:
        if isinstance(target, LogQuery):
            continue
        answer = viewer.ask(target, panel.interval, time.time())
        found += _empty(answer, target, panel.title in expected.may_be_zero)
        legends |= {_legend(target, labels): max(values) for labels, values in answer}
        fields |= {name for labels, _ in answer for name in labels} | {"Value", f"Value #{target.refId}"}
        found += [f"no label for {target.legendFormat} in {name}" for name in legends if "{{" in name]
    found += [f"{name} is 0" for name in expected.must_show.get(panel.title, ()) if not legends.get(name)]
    if panel.title in expected.truth and not found:
        low, high = expected.truth[panel.title]
        found += [f"{value} is not in {low}..{high}" for value in legends.values() if not low <= value <= high]
    absent = expected.absent.get(panel.title, ())
    return found + [
        f"nothing is called {one}" for one in _misnamed(panel, legends, fields, expected) if one not in absent
    ]


def _empty(answer: Answer, target: PromQuery, may_be_zero: bool) -> list[str]:
    values = [value for _, series in answer for value in series if math.isfinite(value)]
    if not values:
        return [f"{target.refId} is empty"]
    return [f"{target.refId} is 0"] if not may_be_zero and not any(values) else []


def _legend(target: PromQuery, labels: dict[str, str]) -> str:
    """The name that a series gets; a label that is not there is left standing."""
    return re.sub(r"\{\{(\w+)\}\}", lambda hit: labels.get(hit[1], hit[0]), target.legendFormat)


def _misnamed(panel: Panel, legends: dict[str, float], fields: set[str], expected: Expected) -> set[str]:
    """Names that the panel gives looks to, and that nothing in it has."""
    named = set(legends)
    for change in panel.transformations:
        if change.id == "groupingToMatrix":
            row, column = change.options["rowField"], change.options["columnField"]
            fields = {rf"{row}\{column}", *expected.matrix} if {row, column} <= fields else set()
        elif change.id == "organize":
            wanted = set(change.options["renameByName"]) | set(change.options["excludeByName"])
            named = set(change.options["renameByName"].values())
            if wanted - fields:
                return wanted - fields
    return {override.matcher.options for override in panel.fieldConfig.overrides} - named


def _marked(viewer: Viewer, mark: Mark) -> bool:
    if mark.target is None or mark.expr is None:
        return True
    answer = viewer.over_time(viewer.replaced(mark.expr), seconds(mark.target.interval), time.time())
    return any(value > 0 for _, values in answer for value in values)

"""Asks what Grafana would ask: variables are filled in and replaced as Grafana does it for Prometheus."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from monitoring.grafana.schema import Asked, Dashboard, PromQuery, Variable
from tests.servers import Prometheus

Answer: TypeAlias = list[tuple[dict[str, str], list[float]]]
"""Series: labels and values."""

NAME = re.compile(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})")
SPECIAL = re.compile(r"[\\$^*{}\[\]'+?.()|]")
UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]


@dataclass
class Viewer:
    """Somebody who looks at a dashboard. `scrape` is the data source's `timeInterval`, `range` what is shown."""

    dashboard: Dashboard
    prometheus: Prometheus
    scrape: int
    range: int
    chosen: dict[str, list[str]] = field(default_factory=dict)
    """Variable → what was chosen of it; what is not here shows All."""
    known: dict[str, list[str]] = field(default_factory=dict)
    """Variable → what it offered."""

    def fill(self) -> None:
        """Ask for what each variable offers, in their order: later ones use earlier ones."""
        for variable in self.dashboard.templating.items:
            if isinstance(variable.query, Asked):
                self.known[variable.name] = self._offered(variable, variable.query.query)

    def _offered(self, variable: Variable, asked: str) -> list[str]:
        call = re.fullmatch(r"(label_values|query_result)\((.*)\)", asked, re.DOTALL)
        assert call is not None, asked
        if call[1] == "label_values":
            series, _, label = call[2].rpartition(",")
            found = self.prometheus.get(f"label/{label.strip()}/values", **{"match[]": self.replaced(series)})
            return [str(value) for value in found]
        texts = [_as_text(one) for one in self.prometheus.query(self.replaced(call[2]))]
        wanted = re.compile(variable.regex.strip("/"))
        return sorted({hit[1] for hit in map(wanted.search, texts) if hit})

    def replaced(self, expr: str, interval: str | None = None) -> str:
        """A query with all variables replaced; `interval` is the panel's smallest one."""
        step = max(seconds(interval or "1s"), self.scrape)
        own = {
            "__interval": f"{step}s",
            "__rate_interval": f"{max(step + self.scrape, 4 * self.scrape)}s",
            "__range": f"{self.range}s",
        }

        def value(hit: re.Match[str]) -> str:
            name = hit[1] or hit[2]
            if name.isdigit():
                return hit[0]  # label_replace's $1 names no variable
            return own[name] if name in own else self._value(name)

        return NAME.sub(value, expr)

    def _value(self, name: str) -> str:
        """What stands for a variable in a query: All as it is defined, else the values, safe in a regex."""
        [variable] = [one for one in self.dashboard.templating.items if one.name == name]
        if name not in self.chosen and variable.allValue is not None:
            return variable.allValue
        values = [SPECIAL.sub(r"\\\\\g<0>", value) for value in self.chosen.get(name, self.known.get(name, []))]
        return values[0] if len(values) == 1 else f"({'|'.join(values)})"

    def ask(self, query: PromQuery, interval: str | None, end: float) -> Answer:
        """What a panel's query answers."""
        expr = self.replaced(query.expr, interval)
        if query.instant:
            found = self.prometheus.get("query", query=expr, time=end)
            return [(one["metric"], [float(one["value"][1])]) for one in found["result"]]
        return self.over_time(expr, max(seconds(interval or "1s"), self.scrape), end)

    def over_time(self, expr: str, step: int, end: float) -> Answer:
        start = end - self.range // step * step
        found = self.prometheus.get("query_range", query=expr, start=start, end=end, step=step)
        return [(one["metric"], [float(value) for _, value in one["values"]]) for one in found["result"]]


def _as_text(one: dict[str, Any]) -> str:
    """A series as Grafana hands it to a variable's pattern."""
    labels = dict(one["metric"])
    name = labels.pop("__name__", "")
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    moment, value = one["value"]
    return f"{name}{{{inside}}} {value} {moment * 1000:.0f}"

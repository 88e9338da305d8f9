"""Small builders of Grafana's JSON: a query, a panel of each kind, and rows that place themselves on the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""Thresholds: from this value on, this colour; the first value is None, for everything below."""

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
LOKI = {"type": "loki", "uid": "${logs}"}
WIDTH = 24
PLUGIN_VERSION = "10.4.0"
"""Grafana migrates what an older version wrote; without a version it takes a panel for an ancient one."""

NEUTRAL: Steps = [(None, "blue")]
PERCENTILES = {"p50": "green", "p95": "orange", "p99": "red"}


def query(expr: str, legend: str = "", form: str = "time_series", instant: bool = False, ref: str = "A") -> Json:
    """A PromQL query; `form` is time_series | table | heatmap."""
    return {
        "refId": ref,
        "datasource": PROMETHEUS,
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend or "__auto",
        "format": form,
        "instant": instant,
        "range": not instant,
    }


def now(expr: str, legend: str = "", form: str = "time_series", ref: str = "A") -> Json:
    """A query that is asked once, for the end of the time range."""
    return query(expr, legend, form, True, ref)


def logql(expr: str, legend: str = "", ref: str = "A") -> Json:
    """A LogQL query."""
    asked = {"refId": ref, "datasource": LOKI, "editorMode": "code", "expr": expr, "queryType": "range"}
    return asked | ({"legendFormat": legend} if legend else {})


def percentiles(buckets: str, over: str, of: Sequence[int] = (50, 95, 99)) -> list[Json]:
    """Percentiles of a histogram over a window; `buckets` is its `_bucket` series with selector."""
    return [
        query(f"histogram_quantile({p / 100:g}, sum by (le) (rate({buckets}[{over}])))", f"p{p}", ref="ABC"[at])
        for at, p in enumerate(of)
    ]


# ---- how values look ------------------------------------------------------------------------------------------------


def field(
    unit: str,
    steps: Steps = NEUTRAL,
    *,
    decimals: int | None = None,
    low: float | None = None,
    high: float | None = None,
    says: Mapping[int, tuple[str, str]] | None = None,
    nothing: str | None = None,
    custom: Json | None = None,
    by_steps: bool = True,
) -> Json:
    """`fieldConfig.defaults`. `says`: value → (text, colour). `nothing`: what stands there where no data is."""
    words = {
        str(value): {"text": text, "color": hue, "index": at}
        for at, (value, (text, hue)) in enumerate((says or {}).items())
    }
    found: Json = {
        "unit": unit,
        "color": {"mode": "thresholds" if by_steps else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]},
        "mappings": [{"type": "value", "options": words}] if words else [],
    }
    optional = {"decimals": decimals, "min": low, "max": high, "noValue": nothing, "custom": custom}
    return found | {name: value for name, value in optional.items() if value is not None}


def colored(names: Mapping[str, str]) -> list[Json]:
    """Overrides that give series their own colours, so that red means the same everywhere."""
    return [override(name, {"color": {"mode": "fixed", "fixedColor": color}}) for name, color in names.items()]


def override(name: str, properties: Mapping[str, Any]) -> Json:
    """What is different for one field."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


# ---- kinds of panels ------------------------------------------------------------------------------------------------


def panel(kind: str, title: str, why: str, size: tuple[int, int], targets: Sequence[Json], **more: Any) -> Json:
    """What all kinds share; `size` is width and height on the grid, `why` the description that a person reads."""
    return {
        "type": kind,
        "title": title,
        "description": why,
        "datasource": targets[0]["datasource"],
        "gridPos": {"w": size[0], "h": size[1]},
        "pluginVersion": PLUGIN_VERSION,
        "targets": list(targets),
        **more,
    }


def stat(
    title: str, why: str, size: tuple[int, int], target: Json, shown: Json, *, sparkline: bool = False, **more: Any
) -> Json:
    """One big value, coloured by its thresholds."""
    options = {
        "colorMode": "background" if shown["mappings"] else "value",
        "graphMode": "area" if sparkline else "none",
        "justifyMode": "center",
        "textMode": "value",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    config = {"defaults": shown, "overrides": []}
    return panel("stat", title, why, size, [target], fieldConfig=config, options=options, **more)


def gauge(title: str, why: str, size: tuple[int, int], target: Json, shown: Json) -> Json:
    """One value between its `min` and `max`."""
    options = {
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("gauge", title, why, size, [target], fieldConfig={"defaults": shown, "overrides": []}, options=options)


def lines(
    title: str,
    why: str,
    size: tuple[int, int],
    targets: Sequence[Json],
    unit: str,
    *,
    limit: float | None = None,
    colors: Mapping[str, str] | None = None,
    points: bool = False,
    stacked: bool = False,
    steps: bool = False,
    **more: Any,
) -> Json:
    """Values over time. `limit` draws a red line; `points` for what is seldom there; `steps` for counts."""
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter" if steps else "linear",
        "lineWidth": 2,
        "fillOpacity": 25 if stacked else 8,
        "showPoints": "always" if points else "never",
        "pointSize": 5,
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off" if limit is None else "dashed"},
        "axisSoftMin": 0,
    }
    drawn = NEUTRAL if limit is None else [(None, "transparent"), (limit, "red")]
    shown = field(unit, drawn, custom=custom, by_steps=False, low=0, decimals=0 if steps else None)
    return _over_time(title, why, size, targets, shown, colors, ["lastNotNull", "max"], **more)


def bars(
    title: str,
    why: str,
    size: tuple[int, int],
    targets: Sequence[Json],
    *,
    colors: Mapping[str, str] | None = None,
    nothing: str = "none in this time",
    **more: Any,
) -> Json:
    """Counts over time, stacked; never finer than a minute, so that a single event is a bar that can be seen.

    $__rate_interval is longer than a bar by one scrape, so that none is missed: a bar may count its neighbour's last.
    """
    custom = {
        "drawStyle": "bars",
        "lineWidth": 0,
        "fillOpacity": 90,
        "showPoints": "never",
        "stacking": {"mode": "normal", "group": "A"},
        "thresholdsStyle": {"mode": "off"},
        "axisSoftMin": 0,
    }
    shown = field("short", custom=custom, by_steps=False, low=0, decimals=0, nothing=nothing)
    return _over_time(title, why, size, targets, shown, colors, [], interval="1m", **more)


def _over_time(
    title: str,
    why: str,
    size: tuple[int, int],
    targets: Sequence[Json],
    shown: Json,
    colors: Mapping[str, str] | None,
    sums: Sequence[str],
    **more: Any,
) -> Json:
    wide = size[0] >= WIDTH // 2
    legend = {"displayMode": "table" if wide and sums else "list", "placement": "right" if wide else "bottom"}
    options = {
        "legend": {**legend, "showLegend": True, "calcs": list(sums) if wide else []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    config = {"defaults": shown, "overrides": colored(colors or {})}
    return panel("timeseries", title, why, size, targets, fieldConfig=config, options=options, **more)


def heatmap(title: str, why: str, size: tuple[int, int], buckets: str, unit: str) -> Json:
    """How often which time was taken; `buckets` is a histogram's `_bucket` series with selector."""
    target = query(f"sum by (le) (increase({buckets}[$__rate_interval]))", "{{le}}", "heatmap")
    scheme = {"mode": "scheme", "scheme": "Oranges", "scale": "exponential", "exponent": 0.5, "steps": 64}
    options = {
        "calculate": False,
        "color": {**scheme, "fill": "dark-orange", "reverse": False},
        "cellGap": 1,
        "cellValues": {"decimals": 0},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"show": True, "mode": "single", "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    config = {"defaults": {"custom": {"scaleDistribution": {"type": "linear"}}}, "overrides": []}
    return panel("heatmap", title, why, size, [target], fieldConfig=config, options=options, interval="1m")


def table(
    title: str,
    why: str,
    size: tuple[int, int],
    targets: Sequence[Json],
    transformations: Sequence[Json],
    *,
    shown: Json,
    overrides: Sequence[Json] = (),
    sort: str | None = None,
    down: bool = True,
) -> Json:
    """Rows and columns; `sort` is the column that orders them."""
    options: Json = {"showHeader": True, "cellHeight": "sm"}
    options |= {"footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""}}
    options |= {"sortBy": [{"displayName": sort, "desc": down}]} if sort else {}
    config = {"defaults": shown, "overrides": list(overrides)}
    changed = list(transformations)
    return panel("table", title, why, size, targets, fieldConfig=config, options=options, transformations=changed)


def console(title: str, seen: str) -> Json:
    """A panel's link into the console, to a view of the same time range."""
    url = f"${{console:raw}}/console?{seen}&since=${{__from:date:seconds}}&until=${{__to:date:seconds}}"
    return {"title": title, "url": url, "targetBlank": True}


def columns(names: Mapping[str, str], hidden: Sequence[str] = ("Time",)) -> Json:
    """The transformation that orders, renames and hides columns; `names`: as they come → as they are shown."""
    options = {
        "excludeByName": dict.fromkeys(hidden, True),
        "indexByName": {name: at for at, name in enumerate(names)},
        "renameByName": dict(names),
    }
    return {"id": "organize", "options": options}


def timeline(title: str, why: str, size: tuple[int, int], target: Json, shown: Json) -> Json:
    """States over time, as a coloured band."""
    options = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.9,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    config = {"defaults": shown | {"custom": {"fillOpacity": 80, "lineWidth": 0}}, "overrides": []}
    return panel("state-timeline", title, why, size, [target], fieldConfig=config, options=options)


def logs(title: str, why: str, size: tuple[int, int], expr: str) -> Json:
    """Lines of a log, the newest first."""
    options = {
        "showTime": True,
        "showLabels": False,
        "showCommonLabels": False,
        "wrapLogMessage": True,
        "prettifyLogMessage": False,
        "enableLogDetails": True,
        "sortOrder": "Descending",
        "dedupStrategy": "none",
    }
    config: Json = {"defaults": {}, "overrides": []}
    return panel("logs", title, why, size, [logql(expr)], fieldConfig=config, options=options)


# ---- the grid -------------------------------------------------------------------------------------------------------


def rows(*titled: tuple[str, Sequence[Json], bool]) -> list[Json]:
    """Rows of panels, each (title, panels, collapsed), placed from left to right; ids by row and place."""
    found: list[Json] = []
    top = 0
    for number, (title, panels, collapsed) in enumerate(titled, 1):
        header: Json = {
            "id": number * 100,
            "type": "row",
            "title": title,
            "collapsed": collapsed,
            "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
            "panels": [],
        }
        end = _place(panels, number * 100, top + 1)
        if collapsed:
            header["panels"] = list(panels)
        found += [header] if collapsed else [header, *panels]
        top = top + 1 if collapsed else end
    return found


def _place(panels: Sequence[Json], first: int, top: int) -> int:
    """Give each panel its id and place; where the next row begins."""
    x, y, height = 0, top, 0
    for number, one in enumerate(panels, 1):
        size = one["gridPos"]
        if x + size["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        one["id"] = first + number
        one["gridPos"] = {"x": x, "y": y, "w": size["w"], "h": size["h"]}
        x, height = x + size["w"], max(height, size["h"])
    return y + height

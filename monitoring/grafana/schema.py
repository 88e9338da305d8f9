"""What Grafana 10 to 12 require of a dashboard, as far as ours use it; strict: a field that is not named is refused.

Written after Grafana's own definitions of dashboards and panels (schemaVersion 39). It does not know everything that
Grafana would take, and Grafana itself is not asked.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count: TypeAlias = Annotated[int, Field(ge=0)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Unit: TypeAlias = Literal["short", "none", "string", "s", "ops", "wps", "reqps", "percentunit", "dateTimeFromNow"]
Color: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^((super-light-|light-|dark-|semi-dark-)?"
        r"(green|red|orange|yellow|blue|purple)|transparent|#[0-9a-f]{6}|rgba?\(.+\))$"
    ),
]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Place(Strict):
    x: Count
    y: Count
    w: Annotated[int, Field(ge=1, le=24)]
    h: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        assert self.x + self.w <= 24, "wider than the grid of 24 columns"
        return self

    def meets(self, other: Place) -> bool:
        """Whether they overlap."""
        beside = self.x + self.w <= other.x or other.x + other.w <= self.x
        return not beside and self.y < other.y + other.h and other.y < self.y + self.h


class Prometheus(Strict):
    type: Literal["prometheus"]
    uid: Literal["${datasource}"]


class Loki(Strict):
    type: Literal["loki"]
    uid: Literal["${logs}"]


class BuiltIn(Strict):
    type: Literal["grafana"]
    uid: Literal["-- Grafana --"]


# ---- queries --------------------------------------------------------------------------------------------------------


class PromQuery(Strict):
    refId: Annotated[str, Field(pattern="^[A-Z]$")]
    datasource: Prometheus
    editorMode: Literal["code", "builder"]
    expr: Text
    legendFormat: Text
    format: Literal["time_series", "table", "heatmap"]
    instant: bool
    range: bool

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        assert self.instant != self.range, "either instant or range"
        return self


class LogQuery(Strict):
    refId: Annotated[str, Field(pattern="^[A-Z]$")]
    datasource: Loki
    editorMode: Literal["code", "builder"]
    expr: Text
    queryType: Literal["range", "instant"]
    legendFormat: Text | None = None


# ---- how values look ------------------------------------------------------------------------------------------------


class Step(Strict):
    value: float | int | None
    color: Color


class Thresholds(Strict):
    mode: Literal["absolute", "percentage"]
    steps: Annotated[list[Step], Field(min_length=1)]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        first, *rest = [step.value for step in self.steps]
        numbers = [value for value in rest if value is not None]
        assert first is None and len(numbers) == len(rest) and numbers == sorted(set(numbers)), "steps must ascend"
        return self


class Words(Strict):
    text: Text | None = None
    color: Color | None = None
    index: Count | None = None


class Mapping(Strict):
    type: Literal["value"]
    options: Annotated[dict[str, Words], Field(min_length=1)]


class ColorMode(Strict):
    mode: Literal["thresholds", "palette-classic"]


class Defaults(Strict):
    unit: Unit | None = None
    color: ColorMode | None = None
    thresholds: Thresholds | None = None
    mappings: list[Mapping] = []
    decimals: Annotated[int, Field(ge=0, le=6)] | None = None
    min: float | int | None = None
    max: float | int | None = None
    noValue: Text | None = None
    custom: dict[str, Any] = {}


class Matcher(Strict):
    id: Literal["byName"]
    options: Text


class Property(Strict):
    id: Literal["color", "unit", "links", "mappings", "custom.cellOptions"]
    value: Any


class Override(Strict):
    matcher: Matcher
    properties: Annotated[list[Property], Field(min_length=1)]


class FieldConfig(Strict):
    defaults: Defaults
    overrides: list[Override]


class Link(Strict):
    title: Text
    url: Annotated[str, Field(pattern=r"^(\$\{console:raw\}/|/alerting/)")]
    targetBlank: bool


# ---- panels ---------------------------------------------------------------------------------------------------------

OPTIONS: dict[str, set[str]] = {
    "stat": {"colorMode", "graphMode", "justifyMode", "textMode", "orientation", "reduceOptions"},
    "gauge": {"showThresholdLabels", "showThresholdMarkers", "orientation", "reduceOptions"},
    "timeseries": {"legend", "tooltip"},
    "state-timeline": {"mergeValues", "showValue", "alignValue", "rowHeight", "legend", "tooltip"},
    "table": {"showHeader", "cellHeight", "footer", "sortBy"},
    "heatmap": set("calculate color cellGap cellValues exemplars filterValues legend rowsFrame showValue".split())
    | {"tooltip", "yAxis"},
    "logs": set("showTime showLabels showCommonLabels wrapLogMessage prettifyLogMessage enableLogDetails".split())
    | {"sortOrder", "dedupStrategy"},
}
"""The kinds of panels that we use, none of them deprecated, and what each takes."""
CUSTOM: dict[str, set[str]] = {
    "timeseries": set("drawStyle lineInterpolation lineWidth fillOpacity showPoints pointSize spanNulls".split())
    | {"stacking", "thresholdsStyle", "axisSoftMin"},
    "state-timeline": {"fillOpacity", "lineWidth"},
    "heatmap": {"scaleDistribution"},
}


class Transformation(Strict):
    id: Literal["organize", "joinByField", "groupingToMatrix"]
    options: dict[str, Any]


class Panel(Strict):
    id: Annotated[int, Field(ge=1)]
    type: Literal["stat", "gauge", "timeseries", "state-timeline", "table", "heatmap", "logs"]
    title: Text
    description: Annotated[str, Field(min_length=20)]
    datasource: Prometheus | Loki
    gridPos: Place
    pluginVersion: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    targets: Annotated[list[PromQuery | LogQuery], Field(min_length=1)]
    fieldConfig: FieldConfig
    options: dict[str, Any]
    transformations: list[Transformation] = []
    interval: Annotated[str, Field(pattern=r"^\d+[smh]$")] | None = None
    links: list[Link] = []

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        assert self.options.keys() <= OPTIONS[self.type], f"not of a {self.type}: {self.options.keys()}"
        custom = self.fieldConfig.defaults.custom.keys()
        assert custom <= CUSTOM.get(self.type, set()), f"not of a {self.type}: {custom}"
        assert self.type == "logs" or self.type == "heatmap" or self.fieldConfig.defaults.unit, "without a unit"
        refs = [target.refId for target in self.targets]
        assert len(set(refs)) == len(refs), f"refIds twice: {refs}"
        assert all(target.datasource == self.datasource for target in self.targets), "another source than its panel's"
        assert self.type not in ("stat", "gauge", "table") or all(getattr(t, "instant", True) for t in self.targets)
        return self


class Row(Strict):
    id: Annotated[int, Field(ge=1)]
    type: Literal["row"]
    title: Text
    collapsed: bool
    gridPos: Place
    panels: list[Panel]

    @model_validator(mode="after")
    def _folded(self) -> Self:
        assert self.gridPos.w == 24 and self.gridPos.h == 1 and self.gridPos.x == 0
        assert bool(self.panels) == self.collapsed, "a folded row holds its panels, an open one is followed by them"
        return self


# ---- around the panels ----------------------------------------------------------------------------------------------


class Current(Strict):
    text: str | list[str]
    value: str | list[str]
    selected: bool | None = None


class Asked(Strict):
    qryType: Literal[1, 3]
    query: Text
    refId: Literal["PrometheusVariableQueryEditor-VariableQuery"]


class Variable(Strict):
    type: Literal["datasource", "query", "textbox"]
    name: Annotated[str, Field(pattern="^[a-z]+$")]
    label: Text
    query: str | Asked
    current: Current
    options: list[Current]
    hide: Literal[0, 1, 2]
    skipUrlSync: bool
    datasource: Prometheus | None = None
    definition: str | None = None
    regex: str = ""
    refresh: Literal[0, 1, 2] = 0
    sort: Literal[0, 1] = 0
    multi: bool = False
    includeAll: bool = False
    allValue: str | None = None

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        assert (self.type == "query") == isinstance(self.query, Asked) == (self.datasource is not None)
        assert not isinstance(self.query, Asked) or self.definition == self.query.query
        return self


class MarkTarget(Strict):
    refId: Text
    expr: Text
    interval: Text


class Mark(Strict):
    name: Text
    datasource: Prometheus | BuiltIn
    enable: bool
    hide: bool
    iconColor: Color
    builtIn: Literal[1] | None = None
    type: Literal["dashboard"] | None = None
    expr: Text | None = None
    step: Text | None = None
    titleFormat: str | None = None
    textFormat: str | None = None
    tagKeys: str | None = None
    useValueForTime: bool | None = None
    target: MarkTarget | None = None

    @model_validator(mode="after")
    def _same_query(self) -> Self:
        assert self.builtIn or (self.target and self.target.expr == self.expr and self.target.interval == self.step)
        return self


class PageLink(Strict):
    type: Literal["link", "dashboards"]
    title: Text
    url: str
    tooltip: str
    icon: Literal["bolt", "doc", "external link", "info", "question", "cloud", "dashboard"]
    tags: list[str]
    asDropdown: bool
    includeVars: bool
    keepTime: bool
    targetBlank: bool


class Marks(Strict):
    items: Annotated[list[Mark], Field(alias="list")]


class Variables(Strict):
    items: Annotated[list[Variable], Field(alias="list")]


class Period(Strict):
    from_: Annotated[str, Field(alias="from")]
    to: str


class Picker(Strict):
    refresh_intervals: list[str]


class Dashboard(Strict):
    """The whole file."""

    id: None
    uid: Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,40}$")]
    title: Text
    description: Text
    tags: list[str]
    schemaVersion: Annotated[int, Field(ge=39, le=41)]
    version: Count
    editable: bool
    graphTooltip: Literal[0, 1, 2]
    timezone: Literal["browser", "utc"]
    time: Period
    refresh: str
    fiscalYearStartMonth: Count
    weekStart: Literal["", "monday", "saturday", "sunday"]
    timepicker: Picker
    links: list[PageLink]
    annotations: Marks
    templating: Variables
    panels: list[Annotated[Row | Panel, Field(discriminator="type")]]

    def every_panel(self) -> Iterator[Panel]:
        """Panels that show something, those of folded rows too."""
        for one in self.panels:
            yield from one.panels if isinstance(one, Row) else [one]

    @model_validator(mode="after")
    def _once(self) -> Self:
        ids = [one.id for one in self.panels] + [inner.id for row in self._rows() for inner in row.panels]
        assert len(set(ids)) == len(ids), "ids twice"
        titles = [panel.title for panel in self.every_panel()]
        assert len(set(titles)) == len(titles), "titles twice"
        names = [variable.name for variable in self.templating.items]
        assert len(set(names)) == len(names), "variables twice"
        return self

    @model_validator(mode="after")
    def _neat(self) -> Self:
        """Nothing overlaps, no line has a hole, nothing floats."""
        groups: list[Sequence[Row | Panel]] = [self.panels, *(row.panels for row in self._rows() if row.panels)]
        for group in groups:
            places = [one.gridPos for one in group]
            for one, other in itertools.combinations(places, 2):
                assert not one.meets(other), f"overlap: {one} {other}"
            bottom = max(place.y + place.h for place in places)
            area = sum(place.w * place.h for place in places)
            assert area == 24 * (bottom - min(place.y for place in places)), "a hole in the grid"
        return self

    def _rows(self) -> Iterator[Row]:
        return (one for one in self.panels if isinstance(one, Row))

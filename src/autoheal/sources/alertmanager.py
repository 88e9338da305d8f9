"""Alertmanager's webhook, version 4, and the minimal form: bytes in, alerts and refusals out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec

from autoheal.core.alert import FIRING, RESOLVED, Alert, fingerprint
from autoheal.core.errors import Invalid
from autoheal.core.moves.intake import Refused

MAX_ALERT = 256 * 1024
"""Characters that the labels and annotations of one alert may have in all: annotations are cut to it."""
CUT = " … (cut)"
"""At the end of an annotation that was longer."""

_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_ESCAPED = re.compile(rb"\\[uU](?:0000|[dD][89a-fA-F])")
"""Begins with one literal, which `re` finds by memchr; two would be walked byte by byte."""
_MAX_TEXT = 1000
_MAX_GROUPED = 50
_MAX_LEFT_OUT = 1_000_000
_LINK = re.compile(r"https?://[^/?#\s\x00-\x20\x7f][^\s\x00-\x20\x7f]{0,1990}")
"""Of a bounded length: a link that is cut leads nowhere, so a longer one is none."""
_BAD = re.compile("[\x00\ud800-\udfff]")


class _WireAlert(msgspec.Struct):
    labels: dict[str, str]
    status: str = FIRING
    annotations: dict[str, str] = {}
    startsAt: str = ""
    endsAt: str = ""
    fingerprint: str = ""
    generatorURL: str = ""


class _Wire(msgspec.Struct):
    alerts: list[_WireAlert]
    version: str = "4"
    receiver: str = ""
    groupKey: str = ""
    externalURL: str = ""
    groupLabels: dict[str, str] = {}
    truncatedAlerts: int = 0


_decode = msgspec.json.Decoder(_Wire).decode


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook call: its alerts in order (those that could not be read as Refused) and who sent it.

    What only conversations need is read from `rest` when it is asked for: the remediator alone does not pay for it.
    """

    alerts: list[Alert | Refused]
    origin: str = ""
    receiver: str = ""
    group_key: str = ""
    rest: _Wire | Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def group_labels(self) -> dict[str, str]:
        """What the sender grouped by, bounded; what is no text is left out."""
        given = self._given("groupLabels")
        pairs = given.items() if isinstance(given, Mapping) else ()
        texts = ((name, text) for name, text in pairs if name and isinstance(text, str))
        return {_text(name): _text(text) for name, text in islice(texts, _MAX_GROUPED)}

    @property
    def truncated(self) -> int:
        """How many alerts the sender left out."""
        given = self._given("truncatedAlerts")
        return min(max(given, 0), _MAX_LEFT_OUT) if type(given) is int else 0

    @property
    def urls(self) -> dict[str, str]:
        """By fingerprint, where an alert's expression can be seen; only what is an http or https URL."""
        told = zip(self.alerts, self._given("alerts") or (), strict=False)
        links = ((one.fingerprint, _link(item)) for one, item in told if isinstance(one, Alert))
        return {fingerprint: url for fingerprint, url in links if url}

    def _given(self, name: str) -> Any:
        return self.rest.get(name) if isinstance(self.rest, Mapping) else getattr(self.rest, name)


def _link(item: Any) -> str:
    url = item.get("generatorURL") if isinstance(item, Mapping) else item.generatorURL
    return url if isinstance(url, str) and _LINK.fullmatch(url) and not _BAD.search(url) else ""


def parse(body: bytes, now: float) -> Delivery:
    """Read one delivery; `now` (Unix seconds) stands in for a missing start.

    Invalid where nothing of it is usable; a bad alert among good ones becomes a Refused in its place. NUL and lone
    surrogates, which no database and no UTF-8 can hold, are kept as visible escapes.
    """
    if not _ESCAPED.search(body):
        try:
            wire = _decode(body)
            _check_version(wire.version)
            if wire.alerts and (len(body) <= MAX_ALERT or all(map(_fits, wire.alerts))):
                alerts: list[Alert | Refused] = [_quick(item, now) for item in wire.alerts]
                return Delivery(
                    alerts, wire.externalURL[:_MAX_TEXT], wire.receiver[:_MAX_TEXT], wire.groupKey[:_MAX_TEXT], wire
                )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Invalid):
            pass  # the careful way finds out what is wrong, and with which alert
    return _carefully(body, now)


def _fits(item: _WireAlert) -> bool:
    return _size(item.labels) + _size(item.annotations) <= MAX_ALERT


def _size(pairs: Mapping[str, str]) -> int:
    return sum(map(len, pairs)) + sum(map(len, pairs.values()))


def _quick(item: _WireAlert, now: float) -> Alert:
    labels = item.labels
    if item.status not in (FIRING, RESOLVED) or not labels or "" in labels or "" in item.annotations:
        raise Invalid("needs a closer look")
    return Alert(
        item.status,
        labels,
        item.annotations,
        _time(item.startsAt) or now,
        _identity(item.fingerprint, labels),
        _time(item.endsAt),
    )


def _carefully(body: bytes, now: float) -> Delivery:
    data = _json(body)
    if not isinstance(data, dict):
        raise Invalid("must be an object with a list `alerts`", "body")
    _check_version(data.get("version", "4"))
    items = data.get("alerts")
    if not isinstance(items, list):
        raise Invalid("must be a list of alerts", "alerts")
    if not items:
        raise Invalid("must hold at least one alert", "alerts")
    alerts = [_one(index, item, now) for index, item in enumerate(items)]
    if all(isinstance(alert, Refused) for alert in alerts):
        first = next(alert for alert in alerts if isinstance(alert, Refused))
        more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
        raise Invalid(first.problem + more, f"alerts[{first.index}].{first.field}".rstrip("."))
    origin, receiver, group = (_text(data.get(name)) for name in ("externalURL", "receiver", "groupKey"))
    return Delivery(alerts, origin, receiver, group, data)


def _json(body: bytes) -> Any:
    def constant(name: str) -> Any:
        raise Invalid(f"is not JSON: {name} is no number", "body")

    try:
        return json.loads(body.decode("utf-8"), parse_constant=constant)
    except UnicodeDecodeError as error:
        raise Invalid(f"is not UTF-8 at byte {error.start}", "body") from error
    except json.JSONDecodeError as error:
        raise Invalid(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}", "body") from error
    except RecursionError as error:
        raise Invalid("is nested too deeply", "body") from error
    except ValueError as error:
        raise Invalid("is not JSON that can be read: a number is too long", "body") from error


def _check_version(version: Any) -> None:
    if version not in ("4", 4) or isinstance(version, bool):
        raise Invalid(f'must be "4", Alertmanager\'s webhook version, not {str(version)[:40]!r}', "version")


def _text(value: Any) -> str:
    return visible(value)[:_MAX_TEXT] if isinstance(value, str) else ""


def _one(index: int, item: Any, now: float) -> Alert | Refused:
    labels: dict[str, str] = {}
    try:
        if not isinstance(item, dict):
            raise Invalid("must be an object")
        status = item.get("status", FIRING)
        if status not in (FIRING, RESOLVED):
            raise Invalid(f'must be "firing" or "resolved", not {str(status)[:40]!r}', "status")
        labels = _pairs(item.get("labels"), "labels")
        if not labels:
            raise Invalid("must hold at least one label", "labels")
        given = item.get("annotations")
        annotations = {} if given is None else _pairs(given, "annotations")
        size = _size(labels)
        if size > MAX_ALERT:
            raise Invalid(f"holds {size} characters; {MAX_ALERT} are allowed in one alert", "labels")
        annotations = _shortened(annotations, MAX_ALERT - size)
        starts_at = _moment(item.get("startsAt"), "startsAt") or now
        ends_at = _moment(item.get("endsAt"), "endsAt")
        return Alert(status, labels, annotations, starts_at, _identity(item.get("fingerprint"), labels), ends_at)
    except Invalid as error:
        return Refused(index, error.field, error.detail, labels.get("alertname", "")[:200])


def _pairs(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Invalid("must be an object of strings", where)
    pairs = {}
    for name, text in value.items():
        if not name:
            raise Invalid("has an empty name", where)
        if not isinstance(text, str):
            raise Invalid(f"must be a string, not {_kind(text)}", f"{where}.{visible(name)[:100]}")
        pairs[visible(name)] = visible(text)
    return pairs


def _shortened(pairs: dict[str, str], room: int) -> dict[str, str]:
    """The longest are cut to one length, so that all of it fits; those whose names alone are too long are left out."""
    if _size(pairs) <= room:
        return pairs
    kept: dict[str, str] = {}
    by_size = sorted(pairs.items(), key=lambda pair: len(pair[0]) + len(pair[1]))
    for left, (name, text) in zip(range(len(by_size), 0, -1), by_size, strict=True):
        share = room // left - len(name)
        if len(text) > share >= len(CUT):
            text = text[: share - len(CUT)] + CUT
        if len(text) <= share:
            kept[name] = text
            room -= len(name) + len(text)
    return {name: kept[name] for name in pairs if name in kept}


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "null")


def visible(text: str) -> str:
    """The text with NUL and lone surrogates written out as ``\\u0000`` and the like."""
    return _BAD.sub(lambda match: f"\\u{ord(match.group()):04x}", text) if _BAD.search(text) else text


def _identity(given: Any, labels: Mapping[str, str]) -> str:
    if given is None or given == "":
        return fingerprint(labels)
    if not isinstance(given, str) or not _FINGERPRINT.fullmatch(given):
        raise Invalid("must be 16 hexadecimal digits, or be left out", "fingerprint")
    return given


def _moment(value: Any, where: str) -> float | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Invalid("must be a time such as 2026-11-21T03:06:04.119Z", where)
    try:
        return _time(value)
    except Invalid as error:
        raise Invalid(error.detail, where) from error


@lru_cache(maxsize=4096)
def _time(text: str) -> float | None:
    """RFC 3339 to Unix seconds; None for nothing and for the year 1, Alertmanager's way to say so."""
    if not text or text.startswith("0001-"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"must be a time such as 2026-11-21T03:06:04.119Z, not {visible(text)[:40]!r}") from error
    if moment.tzinfo is None:
        raise Invalid("must be a time with its zone, such as 2026-11-21T03:06:04.119Z")
    try:
        seconds = moment.timestamp()
    except (OverflowError, ValueError) as error:
        raise Invalid("is a time out of range") from error
    return seconds if seconds > 0 else None

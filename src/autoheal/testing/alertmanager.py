"""A fake Alertmanager, API v2, as strict as 0.25: it passes the same contract suite as the real one."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from autoheal.core.alert import fingerprint
from autoheal.core.errors import Invalid
from autoheal.core.matcher import Matcher, matcher, parse_matcher
from autoheal.testing.http_fake import Answer, FakeServer, Request, as_json

RESOLVE_AFTER = 300.0
"""Seconds until an alert without an end resolves."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATORS = {(True, False): "=", (False, False): "!=", (True, True): "=~", (False, True): "!~"}


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer


@dataclass
class _Alert:
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    ends_at: float
    updated_at: float
    generator_url: str


@dataclass
class _Silence:
    id: str
    raw: list[dict[str, Any]]
    matchers: list[Matcher]
    starts_at: float
    ends_at: float
    created_by: str
    comment: str
    updated_at: float

    def state(self, now: float) -> str:
        return "expired" if now >= self.ends_at else ("pending" if now < self.starts_at else "active")


class FakeAlertmanager(FakeServer):
    """`now` answers Unix seconds. `inhibited` holds fingerprints that something inhibits.

    `started_at`: when it came up; None is just now. `restart` is an orderly one: silences are kept, alerts are not.
    `receiver`: where it says that it sends every alert to.
    """

    def __init__(self, now: Callable[[], float], started_at: float | None = None, receiver: str = "fake") -> None:
        self._now = now
        self.receiver = receiver
        self.started_at = now() if started_at is None else started_at
        self._alerts: dict[str, _Alert] = {}
        self._silences: dict[str, _Silence] = {}
        self.inhibited: set[str] = set()
        super().__init__()

    def restart(self) -> None:
        with self.lock:
            self._alerts.clear()
            self.started_at = self._now()

    def handle(self, request: Request) -> Answer:
        if request.path in ("/-/ready", "/-/healthy"):
            return Answer(200, b"OK")
        routes = {
            ("GET", "/api/v2/status"): self._status,
            ("GET", "/api/v2/alerts"): self._list_alerts,
            ("POST", "/api/v2/alerts"): self._post_alerts,
            ("GET", "/api/v2/silences"): self._list_silences,
            ("POST", "/api/v2/silences"): self._post_silence,
        }
        route = routes.get((request.method, request.path))
        if request.path.startswith("/api/v2/silence/") and request.method in ("GET", "DELETE"):
            route = self._one_silence
        if route is None:
            known = any(path == request.path for _, path in routes)
            word = f"method {request.method} is not allowed" if known else f"path {request.path} was not found"
            return _coded(405 if known else 404, word)
        try:
            return route(request)
        except _Refused as refused:
            return refused.answer

    def _status(self, request: Request) -> Answer:
        shown = {
            "cluster": {"status": "disabled", "peers": []},
            "uptime": _text(self.started_at),
            "versionInfo": {"version": "0.25.0"},
        }
        return as_json(200, shown, Date=formatdate(self._now(), usegmt=True))

    # ---- alerts ----------------------------------------------------------------------------------------------

    def _post_alerts(self, request: Request) -> Answer:
        """Good ones are taken, then the last complaint about bad ones is the answer, as in 0.25."""
        items = _body(request, list)
        for index, item in enumerate(items):
            if not isinstance(item, dict) or not isinstance(item.get("labels"), dict):
                raise _Refused(_coded(422, f"{index}.labels in body is required", 602))
        complaints = [complaint for item in items if (complaint := self._take(item))]
        return as_json(400, complaints[-1]) if complaints else Answer(200)

    def _take(self, item: dict[str, Any]) -> str | None:
        now = self._now()
        labels = {name: value for name, value in item["labels"].items() if value != ""}
        starts, ends = item.get("startsAt"), item.get("endsAt")
        starts_at = _time(starts) if starts else None
        ends_at = _time(ends) if ends else None
        if starts_at is None:
            starts_at = now if ends_at is None or ends_at > now else ends_at
        ends_at = now + RESOLVE_AFTER if ends_at is None else ends_at
        if not labels:
            return "at least one label pair required"
        bad = next((name for name in labels if not _LABEL.fullmatch(name)), None)
        if bad is not None:
            return f'invalid label set: invalid name "{bad}"'
        if ends_at < starts_at:
            return "start time must be before end time"
        name = fingerprint(labels)
        old = self._alerts.get(name)
        if old is not None and old.ends_at > now:
            starts_at = min(starts_at, old.starts_at)
        url = item.get("generatorURL", "")
        self._alerts[name] = _Alert(labels, item.get("annotations") or {}, starts_at, ends_at, now, url)
        return None

    def _list_alerts(self, request: Request) -> Answer:
        now, found = self._now(), []
        wanted = _filters(request)
        for name, alert in sorted(self._alerts.items()):
            if alert.ends_at <= now or not all(one.matches(alert.labels) for one in wanted):
                continue
            by = sorted(s.id for s in self._silences.values() if s.state(now) == "active" and _hides(s, alert))
            inhibited = name in self.inhibited
            silenced_out = bool(by) and request.one("silenced", "true") != "true"
            inhibited_out = inhibited and request.one("inhibited", "true") != "true"
            active_out = not by and not inhibited and request.one("active", "true") != "true"
            if not (silenced_out or inhibited_out or active_out):
                found.append(_shown(name, alert, by, ["inhibitor"] if inhibited else [], self.receiver))
        return as_json(200, found)

    # ---- silences --------------------------------------------------------------------------------------------

    def _list_silences(self, request: Request) -> Answer:
        wanted, now = _filters(request), self._now()
        found = []
        for silence in self._silences.values():
            labels = {m["name"]: m["value"] for m in silence.raw}
            if all(one.matches(labels) for one in wanted):
                found.append(_shown_silence(silence, now))
        return as_json(200, found)

    def _post_silence(self, request: Request) -> Answer:
        body = _body(request, dict)
        now = self._now()
        raw, matchers = _matchers(body)
        for name in ("startsAt", "endsAt", "createdBy", "comment"):
            if not isinstance(body.get(name), str):
                raise _Refused(_coded(422, f"{name} in body is required", 602))
        starts_at, ends_at = max(_time(body["startsAt"]), now), _time(body["endsAt"])
        if ends_at < now:
            raise _Refused(as_json(400, "Failed to create silence: end time can't be in the past"))
        if ends_at < starts_at:
            raise _Refused(as_json(400, "Failed to create silence: start time must be before end time"))
        if all(one.matches({}) for one in matchers):
            raise _Refused(as_json(400, "silence invalid: at least one matcher must not match the empty string"))
        old = self._silences.get(body.get("id") or "")
        if body.get("id") and old is None:
            raise _Refused(as_json(404, "silence not found"))
        if old is not None and _can_update(old, raw, _time(body["startsAt"]), now):
            old.ends_at, old.updated_at = ends_at, now
            old.created_by, old.comment = body["createdBy"], body["comment"]
            return as_json(200, {"silenceID": old.id})
        if old is not None and old.state(now) != "expired":
            old.starts_at, old.ends_at, old.updated_at = min(old.starts_at, now), now, now
        made = _Silence(str(uuid.uuid4()), raw, matchers, starts_at, ends_at, body["createdBy"], body["comment"], now)
        self._silences[made.id] = made
        return as_json(200, {"silenceID": made.id})

    def _one_silence(self, request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        try:
            uuid.UUID(name)
        except ValueError:
            return _coded(422, f'silenceID in path must be of type uuid: "{name}"', 601)
        found, now = self._silences.get(name), self._now()
        if request.method == "GET":
            return Answer(404) if found is None else as_json(200, _shown_silence(found, now))
        if found is None:
            return as_json(500, "silence not found")
        if found.state(now) != "expired":
            found.starts_at, found.ends_at, found.updated_at = min(found.starts_at, now), now, now
        return Answer(200)


def _can_update(old: _Silence, raw: list[dict[str, Any]], starts_at: float, now: float) -> bool:
    """Whether it stays the same silence: its matchers in their order, and its start to the second once it has begun."""
    if raw != old.raw or old.state(now) == "expired":
        return False
    return starts_at >= now if old.state(now) == "pending" else int(starts_at) == int(old.starts_at)


def _body(request: Request, kind: type) -> Any:
    content = request.headers.get("Content-Type", "")
    if not content.startswith("application/json"):
        allowed = "only [application/json] are allowed"
        raise _Refused(_coded(415, f'unsupported media type "{content}", {allowed}'))
    try:
        data = json.loads(request.body)
    except ValueError as error:
        raise _Refused(_coded(400, f'parsing body from "" failed, because {error}')) from error
    if not isinstance(data, kind):
        raise _Refused(_coded(400, 'parsing body from "" failed, because json: cannot unmarshal'))
    return data


def _matchers(body: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Matcher]]:
    """The matchers as sent (isEqual is true where it is missing), and as tests."""
    raw = body.get("matchers")
    if not isinstance(raw, list):
        raise _Refused(_coded(422, "matchers in body is required", 602))
    if not raw:
        raise _Refused(_coded(422, "matchers in body should have at least 1 items", 612))
    for index, item in enumerate(raw):
        for name in ("isRegex", "name", "value"):
            if name not in item:
                raise _Refused(_coded(422, f"matchers.{index}.{name} in body is required", 602))
        if not _LABEL.fullmatch(item["name"]):
            raise _Refused(
                as_json(400, f'silence invalid: invalid label matcher {index}: invalid label name "{item["name"]}"')
            )
    whole = [{"isEqual": True, **item} for item in raw]
    try:
        return whole, [matcher(m["name"], _OPERATORS[m["isEqual"], m["isRegex"]], m["value"]) for m in whole]
    except Invalid as error:
        raise _Refused(as_json(400, f"silence invalid: invalid label matcher: {error}")) from error


def _filters(request: Request) -> list[Matcher]:
    try:
        return [parse_matcher(text) for text in request.query.get("filter", [])]
    except Invalid as error:
        raise _Refused(as_json(400, f"bad matcher format: {error}")) from error


def _hides(silence: _Silence, alert: _Alert) -> bool:
    return all(one.matches(alert.labels) for one in silence.matchers)


def _shown(name: str, alert: _Alert, silenced_by: list[str], inhibited_by: list[str], receiver: str) -> dict[str, Any]:
    state = "suppressed" if silenced_by or inhibited_by else "active"
    return {
        "annotations": alert.annotations,
        "endsAt": _text(alert.ends_at),
        "fingerprint": name,
        "receivers": [{"name": receiver}],
        "startsAt": _text(alert.starts_at),
        "status": {"inhibitedBy": inhibited_by, "silencedBy": silenced_by, "state": state},
        "updatedAt": _text(alert.updated_at),
        "generatorURL": alert.generator_url,
        "labels": alert.labels,
    }


def _shown_silence(silence: _Silence, now: float) -> dict[str, Any]:
    return {
        "id": silence.id,
        "status": {"state": silence.state(now)},
        "updatedAt": _text(silence.updated_at),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": _text(silence.ends_at),
        "matchers": silence.raw,
        "startsAt": _text(silence.starts_at),
    }


def _coded(status: int, message: str, code: int | None = None) -> Answer:
    return as_json(status, {"code": code or status, "message": message})


def _time(text: Any) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError) as error:
        raise _Refused(_coded(400, f'parsing body from "" failed, because parsing time "{text}"')) from error


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Alertmanager's API v2, over all configured members of one cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from autoheal.clients.exchange import Place, Reply, client, exchange, place
from autoheal.clients.rfc3339 import to_seconds, to_text
from autoheal.core.errors import AutohealError, Invalid, NotFound, Permanent, Temporary, Unknown
from autoheal.engine.ports import Active, OutgoingAlert, Seen, Silence

T = TypeVar("T")
Before = Callable[[], object]
_ID = re.compile(r"[A-Za-z0-9-]{1,100}")

SETTLED = 150.0
"""Seconds after its start until an Alertmanager has heard of everything that fires: it keeps alerts in memory only, and
Prometheus sends them again every minute (`--rules.alert.resend-delay`), at its next evaluation."""


class AlertmanagerCluster:
    """The members are asked in order; reading takes the first answer, `timeout` seconds each.

    A URL may carry user and password; they are sent as basic authorization and shown nowhere. `settled_after`: seconds
    after a member's start until an alert that it does not have counts as gone (default `SETTLED`).
    """

    def __init__(self, urls: Sequence[str], timeout: float = 5.0, settled_after: float | None = None) -> None:
        self._places = {found.url: found for found in map(place, urls)}
        if not self._places:
            raise Permanent("no Alertmanager is configured")
        self._timeout = timeout
        self._settled_after = SETTLED if settled_after is None else settled_after
        self._web = client(keep=False)

    @property
    def urls(self) -> Sequence[str]:
        """The members' base URLs, without secrets."""
        return list(self._places)

    async def aclose(self) -> None:
        await self._web.aclose()

    # ---- reading ---------------------------------------------------------------------------------------------

    async def alerts(self, matchers: Sequence[str] = ()) -> Active:
        """Alerts firing now, silenced and inhibited ones included. Permanent: a matcher is not understood."""
        everything = dict.fromkeys(("active", "silenced", "inhibited", "unprocessed"), "true")
        params = [*everything.items(), *(("filter", text) for text in matchers)]
        member, answer = await self._first("GET", "/api/v2/alerts", params=params)
        found = _items(answer, "/api/v2/alerts", _seen)
        complete = await self._settled(member)
        if any(alert.silenced_by for alert in found):
            ends = {silence.id: silence.ends_at for silence in await self.silences()}
            found = [replace(alert, silenced_until=_latest(alert.silenced_by, ends)) for alert in found]
        return Active(found, complete)

    async def _settled(self, member: Place) -> bool:
        """Whether what `member` has just answered was all: asked after it, so that no restart falls between.

        Its start and its own Date are by one clock, its own, so that ours may be wrong. What cannot be told is no.
        """
        try:
            answer = await self._ask(member, "GET", "/api/v2/status")
            started = to_seconds(answer.json()["uptime"])
            age = parsedate_to_datetime(answer.headers["Date"]).timestamp() - started
        except (AutohealError, KeyError, TypeError, ValueError):
            return False
        return age >= self._settled_after

    async def silences(self) -> list[Silence]:
        """All that Alertmanager still remembers, expired ones included."""
        _, answer = await self._first("GET", "/api/v2/silences")
        return _items(answer, "/api/v2/silences", _silence)

    # ---- silences --------------------------------------------------------------------------------------------

    async def create_silence(
        self,
        labels: Mapping[str, str],
        starts_at: float,
        ends_at: float,
        created_by: str,
        comment: str,
        before: Before | None = None,
    ) -> str:
        """Exact-match silence on the first member that answers (the cluster spreads it); its id.

        When an answer was lost the silence is looked for before the next member is asked, so that none is made
        twice where that can be seen; where it cannot, Unknown. `before`: see `exchange`.
        """
        body = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in labels.items()
            ],
            "startsAt": to_text(starts_at),
            "endsAt": to_text(ends_at),
            "createdBy": created_by,
            "comment": comment,
        }
        try:
            _, answer = await self._first("POST", "/api/v2/silences", before=before, json=body)
        except Unknown:
            found = await self._made(body, ends_at)
            if found is None:
                raise
            return found
        return _silence_id(answer)

    async def extend_silence(self, silence_id: str, ends_at: float, created_by: str, comment: str) -> str:
        """Let a silence end at another time; its id. NotFound: there is none, or it is over.

        Alertmanager keeps the id where it can; where not, it has ended the old silence and made a new one. Doing it
        twice changes nothing. When an answer was lost it is looked for; where that cannot be seen, Unknown.
        """
        if not _ID.fullmatch(silence_id):
            raise Invalid(f"{silence_id[:80]!r} is no silence's id")
        _, answer = await self._first("GET", f"/api/v2/silence/{silence_id}")
        try:
            found = answer.json()
            over = found["status"]["state"] == "expired"
            kept = {name: found[name] for name in ("id", "matchers", "startsAt")}
        except (KeyError, TypeError) as error:
            raise Temporary(f"something else than Alertmanager answered: {error!r}") from error
        if over:
            raise NotFound(f"silence {silence_id} is over")
        body = {**kept, "endsAt": to_text(ends_at), "createdBy": created_by, "comment": comment}
        try:
            _, answer = await self._first("POST", "/api/v2/silences", json=body)
        except Unknown:
            made = await self._made(body, ends_at)
            if made is None:
                raise
            return made
        return _silence_id(answer)

    async def _made(self, body: Mapping[str, Any], ends_at: float) -> str | None:
        """The id of the silence that a lost answer would have named, if one can be seen."""
        wanted = {(m["name"], m["value"]) for m in body["matchers"]}
        try:
            silences = await self.silences()
        except AutohealError:
            return None
        for silence in silences:
            same = {(m["name"], m["value"]) for m in silence.matchers} == wanted
            ours = (silence.created_by, silence.comment) == (body["createdBy"], body["comment"])
            if same and ours and silence.state != "expired" and abs(silence.ends_at - ends_at) < 0.01:
                return silence.id
        return None

    async def expire_silence(self, silence_id: str) -> None:
        """End a silence; one that has ended or that nobody knows is fine. Doing it twice changes nothing."""
        if not _ID.fullmatch(silence_id):
            raise Invalid(f"{silence_id[:80]!r} is no silence's id")
        try:
            await self._first("DELETE", f"/api/v2/silence/{silence_id}")
        except NotFound:
            return
        except Unknown as error:
            raise Temporary(str(error)) from error

    # ---- alerts ----------------------------------------------------------------------------------------------

    async def post_alerts(self, url: str, alerts: Sequence[OutgoingAlert]) -> None:
        """Send to the member at `url` (one of `urls`). Sending again is harmless, so a lost answer is Temporary."""
        member = self._places.get(url.rstrip("/"))
        if member is None:
            raise Permanent(f"{url} is none of the configured Alertmanagers")
        body = [_posted(alert) for alert in alerts]
        try:
            await self._ask(member, "POST", "/api/v2/alerts", json=body)
        except Unknown as error:
            raise Temporary(str(error)) from error

    # ---- asking ----------------------------------------------------------------------------------------------

    async def _first(self, method: str, path: str, before: Before | None = None, **request: Any) -> tuple[Place, Reply]:
        """The first answer and whose it is; what one refuses another would, only those out of reach are passed over."""
        once = _once(before)
        errors: list[str] = []
        for member in self._places.values():
            try:
                return member, await self._ask(member, method, path, before=once, **request)
            except Unknown as error:
                if method == "POST":
                    raise
                errors.append(str(error))
            except Temporary as error:
                errors.append(str(error))
        raise Temporary("; ".join(errors))

    async def _ask(self, member: Place, method: str, path: str, **request: Any) -> Reply:
        try:
            answer = await exchange(
                self._web, method, member.url + path, timeout=self._timeout, auth=member.auth, **request
            )
        except AutohealError as error:
            raise type(error)(f"Alertmanager {member.url}: {error}") from error
        if not answer.ok:
            raise _refusal(member.url, answer)
        return answer


def _once(before: Before | None) -> Before | None:
    """`before`, called for the first member that is sent to and for no other."""
    if before is None:
        return None
    pending = [before]
    return lambda: pending.pop()() if pending else None


def _refusal(url: str, answer: Reply) -> AutohealError:
    """What an error status means. 0.25 answers 500 "silence not found" where later versions answer 404."""
    message = _message(answer)
    text = f"Alertmanager {url} answered {answer.status}: {message}"
    if answer.status == 404 or "silence not found" in message or "must be of type uuid" in message:
        return NotFound(text)
    return Temporary(text) if answer.status >= 500 or answer.status in (408, 429) else Permanent(text)


def _message(answer: Reply) -> str:
    try:
        data = answer.json()
    except Temporary:
        return answer.text[:300]
    return str(data.get("message", data) if isinstance(data, dict) else data)[:300]


def _items(answer: Reply, path: str, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
    try:
        return [read(item) for item in answer.json()[:]]
    except (KeyError, TypeError, AttributeError) as error:
        raise Temporary(f"something else than Alertmanager answered {path}: {error!r}") from error


def _seen(alert: Mapping[str, Any]) -> Seen:
    status = alert["status"]
    by, inhibited_by = tuple(status["silencedBy"]), tuple(status["inhibitedBy"])
    return Seen(
        alert["fingerprint"],
        alert["labels"],
        to_seconds(alert["startsAt"]),
        by,
        inhibited_by,
        annotations=alert.get("annotations") or {},
        receivers=tuple(receiver["name"] for receiver in alert.get("receivers") or ()),
    )


def _silence_id(answer: Reply) -> str:
    try:
        return str(answer.json()["silenceID"])
    except (KeyError, TypeError, Temporary) as error:
        raise Unknown(f"answered {answer.text[:200]!r}, which names no silence") from error


def _latest(silences: Sequence[str], ends: Mapping[str, float]) -> float | None:
    return max((ends[silence] for silence in silences if silence in ends), default=None)


def _silence(item: Mapping[str, Any]) -> Silence:
    return Silence(
        item["id"],
        tuple(item["matchers"]),
        to_seconds(item["startsAt"]),
        to_seconds(item["endsAt"]),
        item["createdBy"],
        item["comment"],
        item["status"]["state"],
    )


def _posted(alert: OutgoingAlert) -> dict[str, Any]:
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": to_text(alert.starts_at),
        "endsAt": to_text(alert.ends_at),
        "generatorURL": alert.generator_url,
    }

"""What Alertmanager and Prometheus say of themselves: reach, version, clock, and whether they know of us."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from autoheal.cli.finding import Finding, bad, ok
from autoheal.core.errors import AutohealError, Temporary

if TYPE_CHECKING:
    from autoheal.clients.exchange import Reply

TIMEOUT = 5.0
"""Seconds for each neighbour's answer."""
MOST_SKEW = 5.0
"""Seconds that clocks may differ; `Date` is exact to one."""
_LIMIT = 16 * 1024 * 1024
_WEBHOOK = re.compile(r"^[\s-]*url:\s*[\"']?([^\s\"']+)", re.MULTILINE)

Found = list[Finding]
More = Callable[[str, Any], Awaitable[Found]]
"""Further findings, from the URL and from what was answered."""


async def ask(url: str, path: str, timeout: float = TIMEOUT, **params: str) -> Reply:
    """A neighbour's good answer; an AutohealError says why there is none. `url` may hold name and password."""
    from autoheal.clients.exchange import client, exchange, place

    web = client(keep=False)
    try:
        where = place(url)
        answer = await exchange(
            web, "GET", where.url + path, timeout=timeout, auth=where.auth, limit=_LIMIT, params=params
        )
    finally:
        await web.aclose()
    if not answer.ok:
        raise Temporary(f"answered {answer.status}")
    return answer


async def ask_json(url: str, path: str, timeout: float = TIMEOUT, **params: str) -> Any:
    return (await ask(url, path, timeout, **params)).json()


def shown(url: str) -> str:
    """The URL without name and password."""
    from autoheal.clients.exchange import place

    return place(url).url


def check_neighbours(alertmanagers: Sequence[str], prometheus: str | None) -> Found:
    """Ask every Alertmanager and Prometheus at once."""
    return asyncio.run(_neighbours(alertmanagers, prometheus))


async def _neighbours(alertmanagers: Sequence[str], prometheus: str | None) -> Found:
    asked = [_neighbour("Alertmanager", url, "/api/v2/status", _alertmanager, _routes) for url in alertmanagers]
    if prometheus is not None:
        asked.append(
            _neighbour("Prometheus", prometheus, "/api/v1/status/buildinfo", _prometheus, _knows_us(alertmanagers))
        )
    found = [finding for findings in await asyncio.gather(*asked) for finding in findings]
    if not alertmanagers:
        missing = "ALERTMANAGER_URL is not set: no acknowledgements, no escalations, no `resolved` checks"
        found.insert(0, Finding("Alertmanager", "off", missing))
    if prometheus is None:
        found.append(Finding("Prometheus", "off", "PROMETHEUS_URL is not set: no `promql` checks"))
    return found


async def _neighbour(name: str, url: str, path: str, read: Callable[[Any], str], more: More) -> Found:
    began = time.time()
    try:
        answer = await ask(url, path)
        ended = time.time()
        body = answer.json()
        told = f"{shown(url)}, {read(body)}"
    except (AutohealError, KeyError, TypeError) as error:
        why = str(error) if isinstance(error, AutohealError) else "answers, but not as expected"
        return [bad(name, f"{url}: {why}", f"is {name.upper()}_URL right, and does it run?")]
    return [ok(name, told), *skew(name, answer, began, ended), *await more(url, body)]


def _alertmanager(found: Any) -> str:
    cluster = found["cluster"]
    peers = len(cluster.get("peers") or [])
    state = f", cluster {cluster['status']}" + (f" of {peers}" if peers else "")
    return f"version {found['versionInfo']['version']}{state}"


def _prometheus(found: Any) -> str:
    return f"version {found['data']['version']}"


async def _routes(url: str, found: Any) -> Found:
    """Only a hint: newer Alertmanagers show no webhook's URL, and a proxy may stand in between."""
    config = found.get("config")
    text = str(config.get("original", "")) if isinstance(config, dict) else ""
    webhooks = _WEBHOOK.findall(text)
    ours = [one for one in webhooks if urlsplit(one).path.rstrip("/").endswith(("/alert", "/webhook"))]
    if ours:
        return [ok("routes", f"it sends webhooks to {', '.join(dict.fromkeys(ours))}")]
    if "<secret>" in webhooks:
        return [Finding("routes", "off", "it does not show where its webhooks go; `webhooks` above says what arrived")]
    said = "no webhook of its configuration ends in /alert: does it send to us? (autoheal provision --only receiver)"
    return [Finding("routes", "off", said)]


def _knows_us(alertmanagers: Sequence[str]) -> More:
    async def more(url: str, found: Any) -> Found:
        from autoheal.cli.prometheus_checks import check_prometheus

        return await check_prometheus(url, alertmanagers)

    return more


def skew(name: str, answer: Reply, began: float, ended: float) -> Found:
    """How far our clock is from theirs, which is somewhere in the second that `Date` names."""
    try:
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return []
    gap = theirs - ended if theirs > ended else min(0.0, theirs + 1 - began)
    if abs(gap) <= MOST_SKEW:
        return [ok("clock", f"within {MOST_SKEW:.0f} s of {name}'s")]
    side = "ahead of" if gap > 0 else "behind"
    fix = "set both clocks by NTP: silences and cooldowns go by the clock"
    return [bad("clock", f"{name} is {abs(gap):.0f} s {side} us", fix)]

"""Looks at a target once: HTTP, TCP, or a query to Prometheus."""

from __future__ import annotations

import asyncio

from autoheal.clients.exchange import client, exchange
from autoheal.clients.prometheus import PrometheusClient
from autoheal.core.errors import AutohealError, Permanent
from autoheal.engine.ports import Look


class Prober:
    """Fulfils `engine.ports.Probes`. Every look opens a connection of its own: that is part of what is asked."""

    def __init__(self, prometheus: PrometheusClient | None = None) -> None:
        self._prometheus = prometheus
        self._web = client(keep=False)

    async def aclose(self) -> None:
        await self._web.aclose()

    async def look(self, kind: str, target: str, timeout: float) -> Look:
        """Ask once, within `timeout` seconds.

        http: GET answered 200 to 399 is good (redirects are not followed). tcp: a connection is good. All that
        fails on the way to the target is bad, since reaching it is the question; a target that cannot be read,
        and a Prometheus that gives no answer, are none.
        """
        if kind == "http":
            return await self._http(target, timeout)
        if kind == "tcp":
            return await _tcp(target, timeout)
        if kind == "promql":
            if self._prometheus is None:
                return Look("none", "no Prometheus is configured (PROMETHEUS_URL)")
            return await self._prometheus.look(target, timeout)
        return Look("none", f"there is no probe {kind!r}")

    async def _http(self, url: str, timeout: float) -> Look:
        try:
            answer = await exchange(self._web, "GET", url, timeout=timeout, limit=0)
        except Permanent as error:
            return Look("none", f"{url}: {error}")
        except AutohealError as error:
            return Look("bad", str(error))
        return Look("good" if 200 <= answer.status < 400 else "bad", f"answered {answer.status}")


async def _tcp(target: str, timeout: float) -> Look:
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        return Look("none", f"{target!r} is not host:port")
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        return Look("bad", f"no connection within {timeout:g}s")
    except (OSError, UnicodeError) as error:
        return Look("bad", f"no connection: {error}")
    writer.transport.abort()
    return Look("good", "connected")

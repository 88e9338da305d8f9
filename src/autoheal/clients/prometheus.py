"""Prometheus' instant query, read as one answer: good, bad, or none."""

from __future__ import annotations

import math
from typing import Any

from autoheal.clients.exchange import client, exchange, place
from autoheal.core.errors import AutohealError
from autoheal.engine.ports import Look

MAX_BODY = 4 * 1024 * 1024


class PrometheusClient:
    """One Prometheus, or what speaks its API. Its URL may carry user and password; they are shown nowhere."""

    def __init__(self, url: str) -> None:
        self._place = place(url)
        self._web = client(keep=False)

    @property
    def url(self) -> str:
        """The base URL, without secrets."""
        return self._place.url

    async def aclose(self) -> None:
        await self._web.aclose()

    async def look(self, query: str, timeout: float) -> Look:
        """No sample: none. Any sample 0 or NaN: bad. All others: good. No answer, or an error: none."""
        path = "/api/v1/query"
        asked = {"query": query, "timeout": f"{timeout:g}s"}
        try:
            answer = await exchange(
                self._web,
                "POST",
                self.url + path,
                timeout=timeout,
                limit=MAX_BODY,
                data=asked,
                auth=self._place.auth,
            )
            return _read(answer.json())
        except AutohealError as error:
            return Look("none", f"Prometheus: {error}")


def _read(answer: Any) -> Look:
    try:
        if answer["status"] != "success":
            return Look("none", f"Prometheus: {answer['error']}")
        return _judge(answer["data"]["resultType"], answer["data"]["result"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return Look("none", f"Prometheus answered with something unexpected: {error!r}")


def _judge(kind: str, result: Any) -> Look:
    if kind not in ("vector", "scalar"):
        return Look("none", f"the query gives a {kind}, not a vector or a scalar")
    samples = [({}, result[1])] if kind == "scalar" else [(item["metric"], item["value"][1]) for item in result]
    if not samples:
        return Look("none", "no data")
    for metric, text in samples:
        value = float(text)
        if value == 0 or math.isnan(value):
            return Look("bad", f"{_name(metric)} is {text}")
    return Look("good", f"{_name(samples[0][0])} is {samples[0][1]}" + _more(len(samples) - 1))


def _more(others: int) -> str:
    return f", and {others} more" if others else ""


def _name(metric: dict[str, str]) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in metric.items() if name != "__name__")
    return (metric.get("__name__", "") + (f"{{{labels}}}" if labels else "")) or "the value"

"""`/health`: ready means that alerts can be taken, which is the store's matter; Slack's state is told beside it."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.responses import JSONResponse

from autoheal.engine.ports import StoreUnavailable
from autoheal.store.threads import Figures
from autoheal.threader.service import Threader
from autoheal.web.problems import Problem, answers, public

log = structlog.get_logger("threader")

EVERY = 1.0
"""Seconds between two questions to the store, however many ask."""
PATIENCE = 3.0
"""Seconds after which a store that does not answer counts as away."""
TROUBLED = ("limited", "down")
NO_STORE = {"Cache-Control": "no-store"}


class Health:
    """What one process says of itself."""

    def __init__(self, threader: Threader) -> None:
        self._threader = threader
        self._asking: asyncio.Task[Figures] | None = None
        self._known: Figures | None = None
        self._why = "the store was not asked yet"
        self._asked = float("-inf")

    async def figures(self) -> tuple[Figures | None, str]:
        """What waits, or None and why the store cannot be used; asked once for all who want to know."""
        if self._threader.stopping:
            return None, "stopping"
        now = self._threader.clock.monotonic()
        if now - self._asked >= EVERY:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(asyncio.to_thread(self._read), name="health")
                self._asking.add_done_callback(_heard)
            await asyncio.wait({self._asking}, timeout=PATIENCE)
            self._conclude(self._asking, now)
        return self._known, self._why

    def _read(self) -> Figures:
        """What can be read, but not written to, takes no alerts either."""
        self._threader.threads.writable()
        return self._threader.threads.figures()

    def _conclude(self, asked: asyncio.Task[Figures], now: float) -> None:
        if not asked.done():
            self._not_ready(f"the store does not answer within {PATIENCE:g} s")
            return
        self._asked = now
        error = asked.exception()
        if error is None:
            self._known, self._why = asked.result(), ""
            return
        why = public(str(error)) if isinstance(error, StoreUnavailable) else "the store cannot be read"
        self._not_ready(why, str(error))

    def _not_ready(self, why: str, error: str = "") -> None:
        """In the log once, not with each question."""
        if why != self._why:
            log.warning("not_ready", reason=why, error=error)
        self._known, self._why = None, why

    async def told(self) -> tuple[int, dict[str, Any]]:
        """The status code and everything that `/health` says."""
        figures, why = await self.figures()
        threader, slack = self._threader, self._threader.slack
        state = "limited" if slack.state == "ok" and slack.notes else slack.state
        status = "unready" if figures is None else "degraded" if state in TROUBLED or slack.notes else "ok"
        found: dict[str, Any] = {"status": status, "version": threader.version}
        if figures is None:
            found["reason"] = why
        found["slack"] = {
            "state": state,
            "detail": slack.detail,
            "since": slack.since or None,
            "team": slack.team,
            "notes": dict(slack.notes),
        }
        if figures is not None:
            age = 0.0 if figures.oldest is None else max(0.0, threader.clock.now() - figures.oldest)
            found["queue"] = {
                "depth": sum(figures.depth.values()),
                "posts": figures.depth.get("post", 0),
                "edits": figures.depth.get("edit", 0),
                "oldest_seconds": round(age, 3),
                "unsaid": figures.unsaid,
            }
            found["conversations"] = figures.open
        found["dropped"] = _dropped(threader)
        return (503 if figures is None else 200), found


def _heard(asked: asyncio.Task[Figures]) -> None:
    """An answer that nobody waits for any more is no news."""
    if not asked.cancelled():
        asked.exception()


def _dropped(threader: Threader) -> int:
    found = threader.metrics.dropped.collect()
    return int(sum(one.value for metric in found for one in metric.samples if one.name.endswith("_total")))


def install(app: FastAPI, threader: Threader) -> Health:
    """`GET` and `HEAD` of `/health`, `/health/live`, `/health/ready`."""
    health = Health(threader)

    async def whole() -> JSONResponse:
        """The store, Slack and what waits. 503 only where alerts cannot be taken."""
        status, found = await health.told()
        return JSONResponse(found, status, NO_STORE)

    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    async def ready() -> JSONResponse:
        """Alerts can be taken; Slack has no say in this."""
        figures, why = await health.figures()
        if figures is None:
            raise Problem(503, why, {"Retry-After": "5", **NO_STORE})
        return JSONResponse({"status": "ready"}, headers=NO_STORE)

    for path, endpoint, codes in (
        ("/health", whole, (503,)),
        ("/health/live", live, ()),
        ("/health/ready", ready, (503,)),
    ):
        app.get(path, tags=["health"], response_model=None, responses=answers(*codes))(endpoint)
        app.head(path, include_in_schema=False, response_model=None)(endpoint)
    return health

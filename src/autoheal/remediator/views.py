"""The console's views: `/overview`, `/timeline`, `/rules` and `/ack/preview`, each cheap enough to be asked often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import orjson
from fastapi import FastAPI, Query, Request, Response

from autoheal.core.cooldowns import cooldown_of, override_of
from autoheal.core.errors import Invalid
from autoheal.core.events import Event
from autoheal.core.policy import Rule
from autoheal.core.state import Breaker
from autoheal.engine.ports import StoreUnavailable
from autoheal.remediator import ack, bodies, figures, overview
from autoheal.remediator.figures import FAILURE_WINDOW, OVER, Measured, Results
from autoheal.remediator.moments import moment
from autoheal.remediator.service import Remediator
from autoheal.store.timeline import MAX_BUCKETS
from autoheal.web.access import OPS, Caller
from autoheal.web.problems import answers, public

T = TypeVar("T")
FRESH = 5.0
"""Seconds for which figures that are read from the store are told again."""
PATIENCE = 0.25
"""Seconds that one look at the rules may read; then a rule whose figures are known keeps them until the next look."""
QUICK = 50
"""Remediations that the figures of a rule are taken over at first, where there was no time for more."""
SPAN = 6 * 3600.0
MAX_PREVIEW = 100
PROTECTED = answers(400, 401, 403, 431, 503)
Time = Annotated[str | None, Query(max_length=1000, description="Unix seconds or RFC 3339")]
_SETTLES = frozenset(
    {
        "action_ok",
        "action_fail",
        "action_unknown",
        "verify_ok",
        "verify_fail",
        "cancelled",
        "rejected",
        "settled",
        "marked",
    }
)
"""Kinds after which a rule's figures may have changed."""


class Fresh(Generic[T]):
    """One value that is made again when it is older than `seconds`, by one caller for all who wait."""

    def __init__(self, make: Callable[[], Awaitable[T]], now: Callable[[], float], seconds: float) -> None:
        self._make, self._now, self._seconds = make, now, seconds
        self._at = float("-inf")
        self._lock = asyncio.Lock()
        self._value: T

    async def get(self) -> T:
        async with self._lock:
            if self._now() - self._at >= self._seconds:
                self._value = await self._make()
                self._at = self._now()
            return self._value


class Views:
    """The views of one service with what they remember. `follow` is called by the head with every event."""

    def __init__(self, service: Remediator) -> None:
        self._service = service
        self._rules: dict[str, Results] = {}
        self._dirty: set[str] = set()
        monotonic = service.head.clock.monotonic
        self._figures = Fresh(lambda: asyncio.to_thread(self._read_figures), monotonic, FRESH)
        self._results = Fresh(lambda: asyncio.to_thread(self._read_results), monotonic, FRESH)
        self._one_counts = asyncio.Lock()

    def follow(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        self._dirty.update(event["rule"] for event in events if event["kind"] in _SETTLES and event.get("rule"))

    # ---- overview --------------------------------------------------------------------------------------------

    async def overview(self, caller: Caller) -> dict[str, Any]:
        first, failures, actions, results = await self._figures.get()
        service = self._service
        now = service.head.clock.now()
        found, last_ts = await asyncio.to_thread(self._from_state, now)
        age = max(0.0, now - last_ts) if found["last_event_id"] else None
        measured = Measured(age, failures, actions, service.metrics.write_p95(), results)
        return {
            "now": now,
            "version": service.version,
            "public_url": service.public_url,
            "first_event_id": first,
            "me": {"name": caller.name, "role": caller.role},
            "ready": ready(service),
            "slos": figures.slos(measured),
            **found,
        }

    def _from_state(self, now: float) -> tuple[dict[str, Any], float]:
        with self._service.head.reading() as (state, policy):
            found = overview.of_state(state)
            last_ts, lane, slots = state.last_ts, state.mode.lane, overview.Slots.of(state)
            overrides = dict(state.cooldowns)
        running, found["cooldowns_total"] = overview.cooldowns(slots, policy, lane, now, overrides)
        found["cooldowns"] = running
        return found, last_ts

    def _read_figures(self) -> tuple[int | None, int, int, Results]:
        """(the first event's id, actions that failed lately, actions that ended lately, results); without the store
        there is no data, and the rest of the overview is still told."""
        reader, since = self._service.reader, self._service.head.clock.now() - FAILURE_WINDOW
        try:
            counted = reader.count_kinds(("action_ok", "action_fail"), since)
            failures = counted.get("action_fail", 0)
            return reader.first_id(), failures, sum(counted.values()), figures.results(reader.ended(OVER))
        except StoreUnavailable:
            return None, 0, 0, Results()

    # ---- timeline --------------------------------------------------------------------------------------------

    async def timeline(self, since: float | None, until: float | None, buckets: int) -> dict[str, Any]:
        until = self._service.head.clock.now() if until is None else until
        since = until - SPAN if since is None else since
        if since >= until:
            raise Invalid("must be before `until`", "since")
        async with self._one_counts:  # the others wait here, where they hold no thread, and find it counted
            counts = await asyncio.to_thread(self._service.reader.timeline.count, since, until, buckets)
        return {
            "since": counts.since,
            "until": counts.until,
            "step": counts.step,
            "outcomes": list(counts.counts),
            "counts": counts.counts,
            "partial": counts.partial,
            "from": counts.counted_from,
        }

    # ---- rules -----------------------------------------------------------------------------------------------

    async def rules(self) -> dict[str, Any]:
        results = await self._results.get()
        return {"rules": await asyncio.to_thread(self._describe, results), "over": OVER}

    def _read_results(self) -> dict[str, Results]:
        """Figures of every rule in force. Those of a rule that no event has touched are known; the others are read
        again, those first that were read the longest ago, for as long as `PATIENCE` lasts. What is not known at all
        when it is over is read in small, and in full by a later look."""
        reader, clock = self._service.reader, self._service.head.clock
        names = [rule.name for rule in self._service.head.policy.rules]
        ends = clock.monotonic() + PATIENCE
        known = {name: results for name, results in self._rules.items() if name in set(names)}
        stale = [name for name, results in known.items() if name in self._dirty or results.over < OVER]
        for name in [*(name for name in names if name not in known), *stale]:
            over = OVER if clock.monotonic() < ends else QUICK
            if over == QUICK and name in known:
                break
            self._dirty.discard(name)
            known.pop(name, None)  # so that it comes to the end
            known[name] = figures.results(reader.remediations(rule=name, n=over), over)
        self._rules = known
        return known

    def _describe(self, results: dict[str, Results]) -> list[dict[str, Any]]:
        now = self._service.head.clock.now()
        with self._service.head.reading() as (state, policy):
            lane, slots, breakers = state.mode.lane, overview.Slots.of(state), dict(state.breakers)
            overrides = dict(state.cooldowns)
        started = overview.by_rule(slots, policy, lane, now, overrides)
        return [
            _rule(rule, overrides)
            | {
                "stats": results.get(rule.name, Results()).as_dict()
                | {"last_started_at": started.get(rule.name, (0, None))[1]},
                "breaker": _breaker(breakers.get(f"live|{rule.name}")),
                "cooling": started.get(rule.name, (0, None))[0],
            }
            for rule in policy.rules
        ]


def ready(service: Remediator) -> dict[str, Any]:
    """Whether it can persist and decide, and why not."""
    if service.stopping:
        return {"ok": False, "reason": "autoheal is stopping"}
    if service.head.healthy:
        return {"ok": True, "reason": ""}
    said = public(service.head.error)  # the rest is in the log: anybody can ask `/readyz`
    return {"ok": False, "reason": "the ledger cannot be written" if said.startswith("the ledger") else said}


def _rule(rule: Rule, overrides: overview.Overrides) -> dict[str, Any]:
    """`cooldown` is the one that holds; `cooldown_set`: who has set it, when, and what the policy says instead."""
    budget, override = rule.max_attempts, override_of(rule, overrides)
    return {
        "name": rule.name,
        "match": [str(matcher) for matcher in rule.match],
        "alertnames": list(rule.alertnames),
        "cooldown": cooldown_of(rule, overrides) if override else rule.cooldown,
        "cooldown_set": {"by": override.by, "since": override.since, "policy": rule.cooldown} if override else None,
        "cooldown_by": list(rule.cooldown_by),
        "opt_in": rule.opt_in,
        "approval": rule.approval_timeout,
        "max_attempts": {"count": budget.count, "per": budget.per, "by": list(budget.by)} if budget else None,
        "queue": rule.queue,
        "never_during": [window.text for window in rule.never_during],
        "steps": [
            {
                "cmd": " ".join(step.action.words),
                "timeout": step.timeout,
                "verify": {"kind": step.verify.kind, "target": step.verify.target, "within": step.verify.within}
                if step.verify
                else None,
            }
            for step in rule.steps
        ],
    }


def _breaker(breaker: Breaker | None) -> dict[str, Any] | None:
    return {"failures": breaker.failures, "open_until": breaker.open_until} if breaker else None


def install(app: FastAPI, service: Remediator) -> None:
    """Add the routes, and follow the ledger for what they remember."""
    views = Views(service)
    service.head.followers.append(views.follow)

    def allowed(request: Request) -> Caller:
        return service.access.require(request.headers, OPS, changes=False)

    @app.get("/overview", tags=["console"], responses=PROTECTED)
    async def get_overview(request: Request) -> Response:
        """What runs, what waits for a person, what is held back, and how the targets stand."""
        return _json(await views.overview(allowed(request)))

    @app.get("/timeline", tags=["console"], responses=PROTECTED)
    async def timeline(
        request: Request,
        since: Time = None,
        until: Time = None,
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS)] = 120,
    ) -> Response:
        """How many remediations ended with which outcome, over time; by default over the last 6 hours."""
        allowed(request)
        return _json(await views.timeline(moment(since, "since"), moment(until, "until"), buckets))

    @app.get("/rules", tags=["console"], responses=PROTECTED)
    async def rules(request: Request) -> Response:
        """The policy in force, and what each rule has come to over its newest 1,000 remediations."""
        allowed(request)
        return _json(await views.rules())

    @app.get(
        "/ack/preview",
        tags=["silences"],
        openapi_extra=bodies.PREVIEW_PARAMETERS,
        responses={**PROTECTED, **answers(409)},
    )
    async def preview(request: Request) -> Response:
        """What a silence would hide now; changes nothing."""
        allowed(request)
        labels = ack.read_labels(request.query_params.get("labels"))
        duration = request.query_params.get("duration", "2h")
        seconds = ack.read_duration(duration)
        ack.need_alertmanager(service)
        matching = await ack.matching(service, labels)
        return _json(
            {
                "labels": labels,
                "duration": duration,
                "ends_at": service.head.clock.now() + seconds,
                "known": matching is not None,
                "matching": [dict(one) for one in (matching or ())[:MAX_PREVIEW]],
                "matching_total": len(matching or ()),
            }
        )


def _json(data: Any) -> Response:
    return Response(orjson.dumps(data), media_type="application/json", headers={"Cache-Control": "no-store"})

"""What `autoheal smoke` does: one check after the other; what it made is taken away again."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from autoheal.cli.finding import Finding, bad, ok, skip
from autoheal.cli.prom_text import families
from autoheal.cli.render import counted
from autoheal.core.errors import AutohealError, Invalid, NotFound, Temporary

if TYPE_CHECKING:
    from autoheal.clients.autoheal import AutohealClient

ALERT = "AutohealSmokeTest"
"""No rule can match it: alerts whose names begin with Autoheal match none, whatever the policy says."""
RUN = "smoke_run"
"""The label that names one run; no real alert has it."""
FIELDS = {"status": str, "enabled": bool, "dry_run": bool, "actions": list, "public_base_url": str, "version": str}
SERIES = (
    "autoheal_enabled autoheal_dry_run autoheal_build_info autoheal_config_last_reload_successful "
    "autoheal_actions_total autoheal_action_last_timestamp autoheal_cooldown_remaining_seconds autoheal_event_total "
    "autoheal_action_failures_total autoheal_last_event_timestamp autoheal_last_webhook_timestamp "
    "autoheal_audit_write_seconds autoheal_action_duration_seconds autoheal_time_to_heal_seconds "
    "autoheal_alert_to_action_seconds autoheal_heals_total autoheal_false_positives_total autoheal_remediations "
    "autoheal_rejected_total autoheal_sse_clients autoheal_sse_dropped_total"
).split()
NO_ACCESS = "needs access, see above"
POLL = 0.2

Found = Iterator[Finding]


class Run:
    """One run against one Autoheal. `door`: the same, with what opens /alert. `timeout`: seconds to wait for things."""

    def __init__(
        self,
        client: AutohealClient,
        door: AutohealClient,
        alertmanagers: Sequence[str],
        prometheus: str | None,
        timeout: float,
    ) -> None:
        self.client, self.door, self.timeout = client, door, timeout
        self.alertmanagers, self.prometheus = alertmanagers, prometheus
        self.run = secrets.token_hex(6)
        self.labels = {"alertname": ALERT, RUN: self.run}
        self.mode = "dry run"
        self.since: float | None = None
        self.did: set[str] = set()
        """Kinds of the events that must be in the trail for what was done here."""

    def everything(self) -> list[Finding]:
        """All findings. Temporary where there is no Autoheal at the URL."""
        return list(self._checks())

    def _checks(self) -> Found:
        home = self._home()
        yield self._service(home)
        yield self._ready()
        yield self._metrics()
        access = self._access()
        yield access
        if access.state == "ok":
            yield from self._with_access(home)
        else:
            names = ("cooldowns", "decision", "test alert", "stream", "resume", "silence", "audit")
            yield from (skip(name, NO_ACCESS) for name in names)
        yield from self._prometheus()

    def _with_access(self, home: dict[str, Any]) -> Found:
        from autoheal.cli.smoke.alert import check_alert_and_stream
        from autoheal.cli.smoke.policy import check_cooldowns, check_decision
        from autoheal.cli.smoke.silence import check_silence

        rules = self._rules()
        yield check_cooldowns(rules, home)
        yield check_decision(self.client, rules, home, self.mode)
        yield from check_alert_and_stream(self)
        yield check_silence(self)
        yield self._audit()

    # ---- without access --------------------------------------------------------------------------------------

    def _home(self) -> dict[str, Any]:
        try:
            found = self.client.get("/")
        except (Invalid, Temporary):
            raise
        except AutohealError as error:
            raise Temporary(f"what answers at {self.client.url} is not Autoheal: {error}") from None
        if "enabled" not in found or "dry_run" not in found:
            raise Temporary(f"what answers at {self.client.url} is not Autoheal: is the URL right?")
        self.mode = "dry run" if found["dry_run"] else "live" if found["enabled"] else "off"
        return found

    def _service(self, home: dict[str, Any]) -> Finding:
        wrong = [name for name, kind in FIELDS.items() if not isinstance(home.get(name), kind)]
        if wrong or home.get("status") != "ok":
            said = f"GET / lacks {', '.join(wrong)}" if wrong else f"its status is {home.get('status')!r}"
            return bad("service", said, "is it another version? autoheal doctor says which")
        names = counted(len(home["actions"]), "alert name")
        return ok("service", f"{self.client.url}, version {home['version']}, {self.mode}, has an answer to {names}")

    def _ready(self) -> Finding:
        try:
            self.client.get("/readyz")
        except AutohealError as error:
            return bad("ready", str(error), "see its log; most often its disk is full or its database away")
        return ok("ready", "able to persist and to decide")

    def _metrics(self) -> Finding:
        try:
            there = families(self.client.text("/metrics"))
        except AutohealError as error:
            return bad("metrics", str(error), "see its log")
        missing = [name for name in SERIES if name not in there and f"{name}_count" not in there]
        if missing:
            return bad("metrics", f"missing: {', '.join(missing)}", "is it another version, or does a proxy cut it?")
        return ok("metrics", f"all {len(SERIES)} series are there")

    # ---- with access -----------------------------------------------------------------------------------------

    def _access(self) -> Finding:
        try:
            newest = self.client.get("/audit", {"n": 1}).get("events", [])
        except Temporary as error:
            return bad("access", str(error), "see its log: the ledger cannot be read")
        except AutohealError as error:
            return bad("access", str(error), "give --token, or set AUTOHEAL_ADMIN_TOKEN as the service has it")
        self.since = float(newest[-1]["ts"]) if newest else None
        return ok("access", "the token is good, or none is needed")

    def _rules(self) -> list[dict[str, Any]] | None:
        """The rules of the policy in force; None where this Autoheal does not tell them."""
        try:
            return list(self.client.get("/rules").get("rules", []))
        except NotFound:
            return None

    def _audit(self) -> Finding:
        """Whether all that was done here stands in the trail."""
        from autoheal.cli.follow import Wanted, history

        if not self.did:
            return skip("audit", "nothing was done that could be in the trail")
        try:
            found = history(self.client, Wanted(since=self.since, contains=self.run), 1000)
        except AutohealError as error:
            return bad("audit", str(error), "autoheal audit --follow, and see its log")
        missing = sorted(self.did - {event["kind"] for event in found})
        if missing:
            return bad("audit", f"not in the trail: {', '.join(missing)}", "autoheal audit verify, and see its log")
        return ok("audit", f"the trail has it all: autoheal audit --contains {self.run}")

    # ---- Prometheus ------------------------------------------------------------------------------------------

    def _prometheus(self) -> Found:
        from autoheal.cli.prometheus_checks import NO_TARGET, NOT_YET, check_rules, check_scrape

        if self.prometheus is None:
            for name in ("recording rules", "alert rules", "scrape"):
                yield skip(name, "no Prometheus named: give --prometheus, or set PROMETHEUS_URL")
            return
        url = self.prometheus
        yield from asyncio.run(check_rules(url))
        found: list[Finding] = []

        def scraped() -> bool:
            found[:] = asyncio.run(check_scrape(url))
            return not any(word in found[0].detail for word in (NOT_YET, NO_TARGET))

        self.until(scraped)  # a Prometheus that has just started knows its targets after some seconds
        yield from found

    def until(self, done: Callable[[], bool]) -> bool:
        """Ask again and again, until it is done or the time is over; whether it is."""
        deadline = time.monotonic() + self.timeout
        while not done():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True

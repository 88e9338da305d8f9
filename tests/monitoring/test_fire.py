"""Each alert fires by a real fault: a real Prometheus, the shipped rules with time made quick, a live Autoheal.

The one that cannot be made to fire this way is in `NOT_FIRED`, with its reason.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from autoheal.store.sqlite import database_path
from tests.acceptance.service import Autoheal, Background, alert, policy, rule
from tests.monitoring.rules import ALERTS, CONFIG, RECORDING, named, quicker, read, scaled
from tests.servers import Alertmanager, Prometheus, Receiver, alertmanager, prometheus, receiver, wait_until

FACTOR = 200.0
"""So many times as fast: ten minutes are three seconds, a heartbeat comes each 0.3 s."""
DAY = 86400.0 / 4
"""For what looks over a whole day: four seconds."""
HEARTBEAT = {"AUTOHEAL_HEARTBEAT_SEC": "0.3"}
IMPATIENT = ("--set=autoheal.store.connection:BUSY_SECONDS=0.1",)
"""For the launcher: a ledger whose lock is held counts as not to be written after a tenth of a second."""
SCRAPE = "200ms"
RESEND = "--rules.alert.resend-delay=200ms"
"""Usually a minute: so long Prometheus would wait after it has told nobody, for lack of a known Alertmanager."""

DIES = {
    "AutohealServiceDown",
    "AutohealHeartbeatSLOBreach",
    "AutohealNoEvents15m",
    "AutohealAvailabilityBurnFast",
    "AutohealAvailabilityBurnSlow",
}
WORKS_BADLY = {
    "AutohealActionFailureSpike",
    "AutohealFailureRateSLOBreach",
    "AutohealFailureRatio",
    "AutohealRejectedWebhooks",
    "AutohealReloadFailed",
    "AutohealAuditWriteLatencySLOBreach",
    "AutohealReplicaDown",
}
NOT_FIRED = {"AutohealBackupUnproven": "there are no backups yet, and so no metric: promtool cases only"}
SHAKY = DIES | {"AutohealReplicaDown", "AutohealAuditWriteLatencySLOBreach"}
"""What a machine that is busy with other tests may bring about for a moment, at this speed."""


def test_every_alert_is_made_to_fire_in_this_file() -> None:
    alone = {"AutohealNotReady", "AutohealUnsettled", "AutohealStuck", "AutohealNoWebhooks", "Watchdog"}
    here = DIES | WORKS_BADLY | alone
    ours = {name for name in named(ALERTS, "alert") if not name.startswith("Threader")}
    assert here | set(NOT_FIRED) == ours, "those about threads are in test_fire_threads.py"


@pytest.mark.soak
def test_it_cannot_write_then_dies_in_the_middle_of_an_action_and_comes_back(tmp_path: Path) -> None:
    slow = policy(rule("slow", "Slow", {"action": {"command": ["sleep", "2"]}, "timeout": "30s"}))
    with (
        Autoheal(tmp_path / "autoheal", slow, env=HEARTBEAT, options=IMPATIENT) as service,
        watched(tmp_path, [service]) as (prom, _, _),
    ):
        quiet(prom, evaluations=40)
        with locked(service):
            fires(prom, {"AutohealNotReady"})
        service.send(alert("Slow"))
        service.await_event("action_started")
        service.kill()
        fires(prom, DIES)
        service.start()
        fires(prom, {"AutohealUnsettled"})
        ends(prom, {"AutohealServiceDown", "AutohealHeartbeatSLOBreach", "AutohealNoEvents15m"})
        only(prom, {"AutohealNotReady", "AutohealUnsettled", "AutohealNoWebhooks"})


@pytest.mark.soak
def test_it_works_badly(tmp_path: Path) -> None:
    failing = rule(
        "failing", "Failing", {"action": {"command": ["false"]}}, cooldown="30s", cooldown_by=["alertname", "instance"]
    )
    limits = {"concurrent": 20, "blast_radius": {"actions": 1000, "per": "1m"}}
    bad = policy(failing, limits=limits)
    with (
        Autoheal(tmp_path / "a", bad, env=HEARTBEAT) as service,
        Autoheal(tmp_path / "b", bad, env=HEARTBEAT) as other,
        watched(tmp_path, [service, other]) as (prom, _, _),
    ):
        quiet(prom)
        other.kill()
        service.write_policy("rules: [")
        assert service.post("/policy/reload").status_code == 400
        with Background(Sender(service), every=0.05), slow_disk(service):
            fires(prom, WORKS_BADLY)
        only(prom, WORKS_BADLY)


@pytest.mark.soak
def test_it_waits_for_people_and_then_hears_nothing(tmp_path: Path) -> None:
    asks = policy(rule("asks", "Asks", {"action": {"command": ["true"]}}, approval={"timeout": "1h"}))
    with (
        Autoheal(tmp_path / "autoheal", asks, env=HEARTBEAT) as service,
        watched(tmp_path, [service], over_a_day=("AutohealStuck",)) as (prom, am, people),
    ):
        quiet(prom)
        with Background(lambda: service.send(alert("Asks")), every=0.2):
            fires(prom, {"AutohealStuck"})
        wait_until(lambda: told(people, "AutohealStuck"), what="Alertmanager's word to people")
        am.process.kill()
        fires(prom, {"AutohealNoWebhooks"})
        only(prom, {"AutohealStuck", "AutohealNoWebhooks"})


# ---- faults ---------------------------------------------------------------------------------------------------------


class Sender:
    """Alertmanager's part, badly: alerts whose action fails, and beside them some that are none."""

    def __init__(self, service: Autoheal) -> None:
        self._service = service
        self._sent = 0

    def __call__(self) -> None:
        names = range(self._sent, self._sent + 4)
        self._sent += 4
        good = [alert("Failing", instance=f"i{number}") for number in names]
        answer = self._service.post("/alert", {"version": "4", "alerts": [*good, 7, {"labels": "none"}]})
        assert answer.status_code == 200, answer.text


@contextmanager
def locked(service: Autoheal) -> Iterator[None]:
    """Something else holds the ledger's lock."""
    link = sqlite3.connect(database_path(service.data), isolation_level=None, timeout=10)
    link.execute("BEGIN IMMEDIATE")
    yield
    link.execute("ROLLBACK")
    link.close()
    wait_until(service.ready, what="a ledger that can be written")


@contextmanager
def slow_disk(service: Autoheal) -> Iterator[None]:
    """Something else holds the ledger's lock most of the time, so that each write waits for it."""
    link = sqlite3.connect(database_path(service.data), isolation_level=None, check_same_thread=False, timeout=10)
    held = time.monotonic()

    def hold() -> None:
        nonlocal held
        link.execute("BEGIN IMMEDIATE")
        held = time.monotonic()
        wait_until(lambda: time.monotonic() - held > 0.4, 5)
        link.execute("ROLLBACK")

    with Background(hold, every=0.12):
        yield
    link.close()


# ---- who watches ----------------------------------------------------------------------------------------------------


@contextmanager
def watched(
    folder: Path, services: Sequence[Autoheal], over_a_day: Sequence[str] = ()
) -> Iterator[tuple[Prometheus, Alertmanager, Receiver]]:
    """Starts these, a Prometheus with the shipped configuration and rules, quick, that scrapes them, and an
    Alertmanager that brings Watchdog to the first of them, and what is about Autoheal to people.

    `over_a_day`: alerts for which time runs faster still.
    """
    config = read(CONFIG)
    every = quicker(config["global"]["evaluation_interval"], FACTOR)
    config["global"] = {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": every}
    targets = [f"127.0.0.1:{service.port}" for service in services]
    config["scrape_configs"] = [{"job_name": "autoheal", "static_configs": [{"targets": targets}]}]
    inside = folder / "prometheus"
    inside.mkdir()
    config["rule_files"] = list(quick_rules(over_a_day))
    for name, content in quick_rules(over_a_day).items():
        (inside / name).write_text(json.dumps(content))
    for service in services:
        service.launch()
    with ExitStack() as stack:
        people = stack.enter_context(receiver())
        am = stack.enter_context(alertmanager(folder / "am", "", config=roads(services[0], people)))
        config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [am.url.removeprefix("http://")]}]
        prom = stack.enter_context(prometheus(inside, config, [RESEND]))
        for service in services:
            service.process.until(service.ready, 30, "Autoheal")
        yield prom, am, people


def quick_rules(over_a_day: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    recording, alerts = read(RECORDING), read(ALERTS)
    some = [one for group in alerts["groups"] for one in group["rules"] if one["alert"] in over_a_day]
    for group in alerts["groups"]:
        group["rules"] = [one for one in group["rules"] if one["alert"] not in over_a_day]
    found: dict[str, Mapping[str, Any]] = {
        RECORDING.name: scaled(recording, FACTOR),
        ALERTS.name: scaled(alerts, FACTOR),
    }
    if some:
        found["day.yml"] = scaled({"groups": [{"name": "autoheal.day", "rules": some}]}, DAY)
    return found


def roads(service: Autoheal, people: Receiver) -> dict[str, Any]:
    """Alertmanager's configuration: Watchdog to Autoheal, what is about Autoheal to people."""
    quick = {"group_wait": "50ms", "group_interval": "500ms", "repeat_interval": "500ms"}
    return {
        "route": {
            "receiver": "people",
            "group_by": ["alertname"],
            **quick,
            "routes": [
                {"matchers": ['alertname="Watchdog"'], "receiver": "autoheal", **quick},
                {"matchers": ['alertname=~"Autoheal.*"'], "receiver": "people", "repeat_interval": "1h"},
            ],
        },
        "receivers": [
            {"name": "autoheal", "webhook_configs": [{"url": f"{service.url}/alert"}]},
            {"name": "people", "webhook_configs": [{"url": people.url}]},
        ],
    }


def firing(prom: Prometheus) -> dict[str, dict[str, Any]]:
    return {one["labels"]["alertname"]: one for one in prom.get("alerts")["alerts"] if one["state"] == "firing"}


def fires(prom: Prometheus, names: set[str], timeout: float = 30.0) -> None:
    """Wait until each of them has fired; what they say is complete."""
    seen: dict[str, dict[str, Any]] = {}

    def all_of_them() -> bool:
        seen.update(firing(prom))
        return names <= set(seen)

    wait_until(all_of_them, timeout, f"{sorted(names)}", 0.1)
    for name in names:
        notes = seen[name]["annotations"]
        text = notes["summary"] + notes["description"]
        assert "<" not in text and "NaN" not in text, f"{name} says {text}"


def ends(prom: Prometheus, names: set[str]) -> None:
    wait_until(lambda: not names & set(firing(prom)), 20, f"the end of {sorted(names)}", 0.1)


def quiet(prom: Prometheus, evaluations: int = 10) -> None:
    """Nothing is wrong: only Watchdog has fired so far, over so many quarters of a minute of this quick time."""
    fires(prom, {"Watchdog"})
    wait_until(lambda: prom.query(f"count_over_time(autoheal:live[1h]) >= {evaluations}"), 20, "evaluations", 0.1)
    only(prom, set())


def only(prom: Prometheus, names: set[str]) -> None:
    """No other alert has ever fired here."""
    fired = {one["metric"]["alertname"] for one in prom.query('count_over_time(ALERTS{alertstate="firing"}[1h])')}
    assert fired - SHAKY - {"Watchdog"} <= names


def told(people: Receiver, name: str) -> bool:
    return any(one["labels"]["alertname"] == name for one in people.alerts("firing"))

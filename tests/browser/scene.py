"""The scene that is photographed: a day of history, and a present in which something runs and something waits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.service import Autoheal, alert, policy, rule
from tests.browser.past import Past, write
from tests.servers import alertmanager

SLOW = ("rebuild-index", "rotate-replicas")
"""Programs that take their time; the others answer at once."""
QUICK = ("scale-workers", "vacuum-journal", "renew-certificate", "failover-crm", "promote-replica")


def rules() -> dict[str, Any]:
    """The rules of a small shop."""
    per = {"cooldown_by": ["alertname", "instance"]}
    crm = {"verify": {"within": "2m", "http": "http://crm-api:8000/health"}}
    grafana = {"verify": {"within": "5m", "http": "http://grafana:3000/api/health"}}
    docker = {"action": {"docker": {"restart": "crm-api"}}} | crm
    compose = {"docker": {"compose_restart": {"project": "monitoring", "services": ["grafana", "prometheus"]}}}
    return policy(
        rule("crm-api-tcp-down", "TcpEndpointDownFast", docker, _run("failover-crm", "{labels.region}") | crm, **per),
        rule("crm-metrics-scrape-stale", "CrmMetricsScrapeStale", docker),
        rule("uptime-probe-failing", "UptimeProbeFailing", {"action": compose} | grafana, **per),
        rule("orders-backlog", "OrdersQueueBacklog", _run("scale-workers", "orders", "+2") | crm, cooldown="5m", **per),
        rule("disk-almost-full", "DiskAlmostFull", _run("vacuum-journal", "1G"), **per),
        rule("certificate", "CertificateExpiresSoon", _run("renew-certificate", "{labels.host}")),
        rule("search-index", "SearchIndexStale", _run("rebuild-index", "{labels.index}") | {"timeout": "9m"} | crm),
        rule(
            "postgres-primary",
            "PostgresPrimaryDown",
            _run("promote-replica", "{labels.cluster}") | crm,
            approval={"timeout": "30m"},
            **per,
        ),
        rule("cache-replicas", "CacheReplicaLag", _run("rotate-replicas", "{labels.instance}") | {"timeout": "4m"}),
        limits={"concurrent": 4, "blast_radius": {"actions": 60, "per": "10m"}},
    ) | {"version": 1}


def _run(*words: str) -> dict[str, Any]:
    return {"action": {"command": list(words)}}


def programs(folder: Path) -> str:
    """A folder with the policy's programs, and the PATH on which it comes first."""
    folder.mkdir()
    for name in (*SLOW, *QUICK):
        script = folder / name
        script.write_text(f'#!/bin/sh\necho "{name} $*"\n' + ("exec sleep 500\n" if name in SLOW else ""))
        script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


NOBODY = "http://127.0.0.1:9/alert"
"""Alertmanager tells nobody: what Autoheal hears is told by the scene."""

CRM = {"alertname": "TcpEndpointDownFast", "service": "crm-api", "region": "eu-1", "severity": "critical"}
STALE = {"alertname": "CrmMetricsScrapeStale", "service": "crm-api", "job": "crm", "severity": "warning"}
PROBE = {"alertname": "UptimeProbeFailing", "target": "https://grafana.example.org", "severity": "critical"}
QUEUE = {"alertname": "OrdersQueueBacklog", "queue": "orders", "severity": "warning"}
DISK = {"alertname": "DiskAlmostFull", "severity": "warning"}
POSTGRES = {"alertname": "PostgresPrimaryDown", "cluster": "crm", "severity": "critical"}
NOISE = {"alertname": "HighRequestLatency", "service": "checkout", "severity": "warning"}
INDEX = {"alertname": "SearchIndexStale", "index": "products", "service": "search", "severity": "warning"}
LAG = {"alertname": "CacheReplicaLag", "instance": "redis-3", "severity": "warning"}


def past(policy_file: Path, until: float) -> Past:
    """A day: a quiet night, a bad morning, a busy last hour."""
    day = Past(policy_file, until, 26)
    for hour in range(2, 25):
        busy = 1 if hour > 9 else 2
        for number in range(busy):
            day.healed(hour * 3600 - number * 1500, instance=f"crm-api-{1 + hour % 3}:8000", **CRM)
            day.healed(hour * 3600 - 700 - number * 1500, instance=f"queue-{1 + hour % 2}", **QUEUE)
        day.skipped(hour * 3600 - 400, 2 + hour % 3, 45.0, instance=f"checkout-{hour % 4}", **NOISE)
    for hour in (4, 7, 11, 16, 21):
        day.healed(hour * 3600 - 1800, instance="crm", **STALE)
        day.done(hour * 3600 - 2000, instance=f"node-{hour}", **DISK)
    day.second_try(5 * 3600 + 900, instance="crm-api-2:8000", **CRM)
    day.exhausted(6 * 3600 + 300, instance="crm-api-3:8000", **CRM)
    day.approved(9 * 3600 + 800, "maria", instance="pg-1", **POSTGRES)
    day.failed(13 * 3600, instance="node-7", **DISK)
    day.dry_run(18 * 3600, {**PROBE, "instance": "a"}, {**STALE, "instance": "b"}, {**DISK, "instance": "c"})
    _last_hour(day)
    return day


def _last_hour(day: Past) -> None:
    for minute, name in ((57, "1"), (46, "2"), (33, "3"), (21, "1"), (12, "2")):
        day.healed(minute * 60.0, instance=f"crm-api-{name}:8000", **CRM)
        day.healed(minute * 60.0 - 20, instance=f"crm-api-{6 + int(name)}:8000", **CRM)
    for minute in (58, 52, 45, 40, 36, 29, 23, 17, 11, 6, 3):
        day.healed(minute * 60.0 + 12, instance=f"queue-{1 + minute % 2}", **QUEUE)
        if minute % 2:
            day.healed(minute * 60.0 - 8, instance=f"queue-{4 + minute % 3}", **QUEUE)
    for minute in (55, 49, 38, 31, 24, 14, 8):
        day.skipped(minute * 60.0, 1 + minute % 3, 25.0, instance=f"checkout-{minute % 4}", **NOISE)
    day.done(43 * 60, instance="node-4", **DISK)
    day.failed(26 * 60, instance="node-9", **DISK)
    day.healed(35 * 60, 48.0, instance="grafana", **PROBE)
    day.second_try(19 * 60 + 30, instance="crm-api-4:8000", **CRM)
    day.marked(15 * 60, "maria")
    day.exhausted(10 * 60, instance="crm-api-5:8000", **CRM)
    day.interrupted(4 * 60 + 20, instance="node-2", **DISK)


@contextmanager
def scene(folder: Path) -> Iterator[Autoheal]:
    """A live Autoheal with the past written, and the present on its way."""
    service = Autoheal(folder, rules())
    core = past(service.policy_file, time.time() - 45).happen()
    write(core, service.data)
    service.env["PATH"] = programs(folder / "bin")
    with alertmanager(folder / "alertmanager", NOBODY) as neighbour, service:
        service.env["ALERTMANAGER_URL"] = neighbour.url
        service.start()
        present(service, neighbour.fire)
        yield service


def present(service: Autoheal, fire: Any) -> None:
    """Two that run, one that is looked at, one that waits for leave, one acknowledged."""
    queue = QUEUE | {"instance": "queue-3"}
    for labels in (INDEX, LAG, POSTGRES | {"instance": "pg-2"}, queue):
        fire(**labels)
        newest = hear(service, labels)
    service.await_event("approval_requested", alertname="PostgresPrimaryDown")
    service.await_event("action_started", alertname="SearchIndexStale")
    service.await_event("action_started", alertname="CacheReplicaLag")
    service.await_event("action_ok", remediation_id=newest)
    answer = service.post(
        "/ack",
        {"labels": NOISE | {"instance": "checkout-1"}, "duration": "2h", "comment": "new release, being looked at"},
    )
    assert answer.status_code == 200, answer.text


def hear(service: Autoheal, labels: dict[str, str]) -> str:
    """Deliver one alert that must be taken; its remediation's id."""
    given = {name: value for name, value in labels.items() if name != "alertname"}
    [result] = service.send(alert(labels["alertname"], **given))
    assert result["remediation_id"], result
    return str(result["remediation_id"])

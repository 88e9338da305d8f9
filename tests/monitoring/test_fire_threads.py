"""Each alert about threads fires by a real fault: the shipped rules, made quick, a live threader, a fake Slack."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoheal.store.threads import FILE
from autoheal.testing.slack import FakeSlack
from tests.monitoring.rules import ALERTS, CONFIG, RECORDING, named, quicker, read, scaled
from tests.monitoring.test_fire import FACTOR, SCRAPE, ends, fires
from tests.monitoring.threads import QUICK, held, trouble, webhook
from tests.servers import Prometheus, prometheus, wait_until
from tests.threads.talker import CRITICAL, Talker

NOT_FIRED = {"ThreaderDropped": "nothing drops a line: promtool cases only"}
FIRED = {
    "ThreaderInstanceDown",
    "ThreaderErrorRate",
    "ThreaderHealthCheckFailed",
    "ThreaderSlackDown",
    "ThreaderQueueOld",
}


def test_every_alert_about_threads_is_made_to_fire_in_this_file() -> None:
    assert FIRED | set(NOT_FIRED) == {name for name in named(ALERTS, "alert") if name.startswith("Threader")}


def test_a_threader_dies_cannot_write_and_is_refused_by_slack(tmp_path: Path) -> None:
    with (
        FakeSlack(time.time, posts_per_second=100.0, burst=50) as slack,
        Talker(tmp_path / "threader", slack, None) as talker,
        watched(tmp_path, talker) as prom,
    ):
        talker.send(webhook("First", trouble("First", "a")))
        wait_until(lambda: slack.channel(CRITICAL).messages, 20, "the first thread")
        wait_until(lambda: prom.query("count_over_time(threader_slack_up[1h]) > 10"), 20, "scrapes")
        only(prom, set())

        talker.kill()
        fires(prom, {"ThreaderInstanceDown"})
        talker.start(*QUICK)
        ends(prom, {"ThreaderInstanceDown"})
        only(prom, {"ThreaderInstanceDown"})

        store = Path(talker.env["AUTOHEAL_DATA_DIR"]) / FILE
        with held(store):
            firing: set[str] = set()

            def refused_again() -> bool:
                talker.web.post("/alert", json=webhook("Refused", trouble("Refused", "a")))
                firing.update(found(prom))
                return {"ThreaderErrorRate"} <= firing

            wait_until(refused_again, 30, "ThreaderErrorRate", 0.1)
        ends(prom, {"ThreaderErrorRate"})

        with away(store):
            fires(prom, {"ThreaderHealthCheckFailed"})
        ends(prom, {"ThreaderHealthCheckFailed"})

        slack.limit(60.0, CRITICAL)
        talker.send(webhook("Waits", trouble("Waits", "a")))
        fires(prom, {"ThreaderQueueOld"})

        slack.revoke()
        talker.send(webhook("Other", {**trouble("Other", "a"), "labels": {"alertname": "Other", "severity": "info"}}))
        fires(prom, {"ThreaderSlackDown"})
        ends(prom, {"ThreaderQueueOld"})


@contextmanager
def away(database: Path) -> Iterator[None]:
    """The store's table has another name for a while, so that nothing can be read."""
    link = sqlite3.connect(database, isolation_level=None, timeout=10)
    link.execute("ALTER TABLE thread_work RENAME TO elsewhere")
    try:
        yield
    finally:
        link.execute("ALTER TABLE elsewhere RENAME TO thread_work")
        link.close()


def found(prom: Prometheus) -> set[str]:
    return {one["labels"]["alertname"] for one in prom.get("alerts")["alerts"] if one["state"] == "firing"}


def only(prom: Prometheus, names: set[str]) -> None:
    """No other alert about threads has ever fired here."""
    query = 'count_over_time(ALERTS{alertstate="firing",alertname=~"Threader.*"}[1h])'
    assert {one["metric"]["alertname"] for one in prom.query(query)} <= names


@contextmanager
def watched(folder: Path, talker: Talker) -> Iterator[Prometheus]:
    """Starts it, and a Prometheus that scrapes it as one of the shipped jobs, with the shipped rules, quick."""
    config: dict[str, Any] = read(CONFIG)
    [job] = [one["job_name"] for one in config["scrape_configs"] if one["job_name"].startswith("alert_threader_")]
    every = quicker(config["global"]["evaluation_interval"], FACTOR)
    inside = folder / "prometheus"
    inside.mkdir()
    for path in (RECORDING, ALERTS):
        (inside / path.name).write_text(json.dumps(scaled(read(path), FACTOR)))
    config = {
        "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": every},
        "rule_files": [RECORDING.name, ALERTS.name],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{talker.port}"]}]}],
    }
    talker.start(*QUICK)
    with prometheus(inside, config) as prom:
        yield prom

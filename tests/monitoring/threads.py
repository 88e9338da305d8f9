"""Threads for dashboard and alerts: a threader by itself, one in a remediator, and a Slack that makes trouble."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from autoheal.store.threads import FILE
from autoheal.testing.slack import FakeSlack
from tests.acceptance.service import Autoheal, policy, rule
from tests.servers import Prometheus, prometheus, wait_until
from tests.threads.talker import CRITICAL, Talker

IMPATIENT = "--set=autoheal.store.connection:BUSY_SECONDS=0.1"
"""For the launcher: a store whose lock is held counts as not to be written after a tenth of a second."""
JOB = "alert_threader_a"
QUICK = (IMPATIENT, "--pace=settle=0.2")
BOLD = {"limits": {"posts_per_second": 100, "edits_per_minute": 3000}}
"""More than Slack takes, so that it says no now and then."""


@dataclass
class Site:
    """What runs. Both write into the same workspace, and know nothing of each other."""

    alone: Talker
    inside: Autoheal
    slack: FakeSlack
    prometheus: Prometheus

    def scraped(self, promql: str) -> bool:
        return bool(self.prometheus.query(promql))


@contextmanager
def site(folder: Path, rule_files: list[Path]) -> Iterator[Site]:
    """Everything started and scraped at least once; nothing has happened yet."""
    with ExitStack() as stack:
        slack = stack.enter_context(FakeSlack(time.time, posts_per_second=20.0, burst=5, speed=20.0))
        alone = stack.enter_context(Talker(folder / "alone", slack, None, BOLD))
        alone.start(*QUICK)
        env = {name: alone.env[name] for name in alone.env if name.startswith("SLACK_")}
        usual = policy(rule("one", "One", {"action": {"command": ["true"]}}))
        inside = stack.enter_context(Autoheal(folder / "inside", usual, env=env))
        inside.start()
        targets = {JOB: alone.port, "autoheal": inside.port}
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(file) for file in rule_files],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                for job, port in targets.items()
            ],
        }
        watcher = stack.enter_context(prometheus(folder / "prometheus", config))
        found = Site(alone, inside, slack, watcher)
        wait_until(lambda: found.scraped("count(up == 1) == 2"), 30, "two targets that answer")
        yield found


def webhook(group: str, *alerts: Mapping[str, Any]) -> dict[str, Any]:
    """What Alertmanager sends of one group."""
    told = [{"status": "firing", "annotations": {}, "startsAt": "2026-11-21T03:07:05Z", **one} for one in alerts]
    return {
        "version": "4",
        "receiver": "slack",
        "groupKey": group,
        "groupLabels": {"alertname": group},
        "externalURL": "http://alertmanager:9093",
        "status": "firing",
        "alerts": told,
    }


def trouble(group: str, instance: str, **more: Any) -> dict[str, Any]:
    return {"labels": {"alertname": group, "instance": instance, "severity": "critical"}, **more}


# ---- what happens ---------------------------------------------------------------------------------------------------


def happen(on: Site) -> None:
    """Everything, each at least once; what is counted grows over several scrapes. At the end Slack refuses both."""
    assert on.inside.post("/alert", webhook("Inside", trouble("Inside", "a"))).status_code == 200
    _talk(on, "Begins")
    _restart(on.alone)
    for turn in range(3):
        _talk(on, f"Limited{turn}")
        _answer_lost(on, turn)
        _not_arrived(on, turn)
        _strangers(on.alone)
        _locked(on.alone)
        _scraped_again(on)
    on.slack.revoke()
    for count in (1, 2):
        on.alone.send(webhook("Late", *(trouble("Late", f"i{n}") for n in range(count))))
    assert on.inside.post("/alert", webhook("Late", trouble("Late", "a"))).status_code == 200
    wait_until(lambda: on.scraped("sum(threader_slack_up) == 0"), 20, "a Slack that refuses both")


def _talk(on: Site, group: str) -> None:
    """It fires; then, while Slack wants no more for a moment, more fires and some resolves, so that edits coalesce."""
    on.alone.send(webhook(group, trouble(group, "i0")))
    wait_until(on.alone.idle, 30, "the first message")
    for where in ({"channel": CRITICAL}, {"method": "chat.update"}):
        on.slack.limit(10.0, **where)  # half a second at this speed
    for count in range(2, 6):
        on.alone.send(webhook(group, *(trouble(group, f"i{n}") for n in range(count))))
    on.alone.send(webhook(group, trouble(group, "i0", status="resolved", endsAt="2026-11-21T03:09:05Z")))
    wait_until(on.alone.idle, 30, "rest")


def _answer_lost(on: Site, turn: int) -> None:
    """A message is posted and its answer lost; it is looked for and found."""
    on.slack.chaos(lost=1.0, seed=turn)
    on.alone.send(webhook(f"Lost{turn}", trouble(f"Lost{turn}", "a")))
    wait_until(lambda: _stands(on, f"Lost{turn}"), 20, "the post")
    on.slack.chaos()
    wait_until(on.alone.idle, 30, "a look")


def _not_arrived(on: Site, turn: int) -> None:
    """A message does not arrive, which nobody can know; it is looked for, is not there, and is posted again."""
    before = on.slack.refusals["dropped"]
    on.slack.chaos(dropped=1.0, seed=turn)
    on.alone.send(webhook(f"Gone{turn}", trouble(f"Gone{turn}", "a")))
    wait_until(lambda: on.slack.refusals["dropped"] > before, 20, "the post")
    on.slack.chaos()
    wait_until(lambda: on.alone.idle() and _stands(on, f"Gone{turn}"), 30, "the second post")


def _stands(on: Site, name: str) -> bool:
    return any(name in one.shown for one in on.slack.channel(CRITICAL).messages)


def _strangers(talker: Talker) -> None:
    assert talker.web.post("/alert", json={"alerts": "none"}).status_code == 400
    assert talker.web.post("/slack/interactive", content=b"payload=%7B%7D").status_code == 401


def _locked(talker: Talker) -> None:
    with held(Path(talker.env["AUTOHEAL_DATA_DIR"]) / FILE):
        wait_until(lambda: _refused(talker), 10, "a refusal")


def _refused(talker: Talker) -> bool:
    return talker.web.post("/alert", json=webhook("Refused", trouble("Refused", "a"))).status_code == 503


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Something else holds the store's lock."""
    link = sqlite3.connect(database, isolation_level=None, timeout=10)
    link.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        link.execute("ROLLBACK")
        link.close()


def _restart(talker: Talker) -> None:
    talker.stop()
    talker.start(*QUICK)


def _scraped_again(on: Site) -> None:
    """Another scrape of both, at least."""
    began = time.time()
    query = f"count(timestamp(up == 1) > {began}) == 2"
    wait_until(lambda: on.scraped(query), 15, "a scrape")


def exposed(on: Site) -> str:
    return "".join(httpx.get(f"{url}/metrics", timeout=10).text for url in (on.alone.url, on.inside.url))

"""A remediator without Slack and two threaders on one PostgreSQL: one thread, whoever hears, heals or posts."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from autoheal.testing.slack import FakeSlack, Message
from tests.acceptance.service import QUICK, ROOT, Autoheal, policy, rule
from tests.servers import Alertmanager, Process, alertmanager, free_port, wait_until

DOWN = {"alertname": "TcpEndpointDownFast", "severity": "critical", "instance": "a"}
LIMITS = {"posts_per_second": 20, "edits_per_minute": 1000}


class Threader:
    """`autoheal threader` in a process of its own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.env = {
            **env,
            "THREADER_PORT": str(port),
            "AUTOHEAL_DATA_DIR": str(folder),
            "PYTHONPATH": str(ROOT / "src"),
        }
        self._folder = folder

    def process(self) -> Process:
        return Process([sys.executable, "-m", "autoheal", "threader"], self._folder / "log", self.env, ROOT)

    def until_ready(self) -> None:
        wait_until(lambda: self.health()["slack"]["state"] == "ok", 30, "the threader")

    def health(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = httpx.get(f"{self.url}/health", timeout=5).json()
        return found


def test_a_remediator_and_two_threaders_hold_one_conversation(tmp_path: Path, empty_postgres_url: str) -> None:
    ran = tmp_path / "ran"
    with FakeSlack(time.time, speed=25.0) as slack:
        step = {"action": {"command": ["touch", str(ran)]}}
        admin = slack.person("root")["id"]
        rules = policy(rule("touch", DOWN["alertname"], step)) | {"threader": {"limits": LIMITS, "admins": [admin]}}
        env = {
            "DATABASE_URL": empty_postgres_url,
            "SLACK_BOT_TOKEN": slack.token,
            "SLACK_SIGNING_SECRET": slack.signing_secret,
            "SLACK_API_URL": slack.api_url,
            "LOG_FORMAT": "json",
        }
        shared = {"DATABASE_URL": empty_postgres_url}
        with ExitStack() as stack:
            healer = stack.enter_context(Autoheal(tmp_path / "autoheal", rules, options=QUICK, env=shared))
            first, second = Threader(tmp_path / "one", env), Threader(tmp_path / "two", env)
            hooks = [{"url": f"{who.url}/alert", "send_resolved": True} for who in (healer, first, second)]
            route = {"receiver": "all", "group_by": ["alertname"], "group_wait": "50ms", "group_interval": "1s"}
            config = {"route": route, "receivers": [{"name": "all", "webhook_configs": hooks}]}
            one = stack.enter_context(alertmanager(tmp_path / "am", "", config=config))
            healer.env["ALERTMANAGER_URL"] = one.url
            healer.start()
            for threader in (first, second):
                threader.env["ALERTMANAGER_URL"] = one.url
                stack.enter_context(threader.process())
                threader.until_ready()
            _play(slack, one, healer, second)
            assert ran.exists()
        assert not slack.violations and not slack.twice()


def _play(slack: FakeSlack, one: Alertmanager, healer: Autoheal, asked: Threader) -> None:
    def thread() -> Message:
        (found,) = slack.channel("#alerts-critical").messages
        return found

    def reply(words: str) -> Message:
        def found() -> Message | None:
            return next((one for one in thread().replies if words in one.text.lower()), None)

        told = wait_until(found, 30, f"{words} in {slack.transcript('#alerts-critical')}", 0.05)
        assert told is not None
        return told

    one.fire(**DOWN)
    wait_until(lambda: slack.channel("#alerts-critical").messages, 20, "the parent")
    reply("touch")  # by the remediator, which knows nothing of Slack

    assert slack.click(thread(), "ack:30m").post(f"{asked.url}/slack/interactive")[0] == 200
    reply("acknowledged")
    assert [event["labels"] for event in healer.events(kind="ack")] == [DOWN]

    status, body = slack.slash("/autoheal", "cooldown touch 5m", user="root").post(f"{asked.url}/slack/interactive")
    assert status == 200, body
    changed = healer.await_event("cooldown_changed")
    assert (changed["rule"], changed["cooldown"]) == ("touch", 300.0)
    assert "root" in changed["actor"]

    status, body = slack.slash("/autoheal", "mode dry-run", user="eve").post(f"{asked.url}/slack/interactive")
    assert status == 200 and healer.get("/mode").json()["dry_run"] is False
    status, body = slack.slash("/autoheal", "mode dry-run", user="root").post(f"{asked.url}/slack/interactive")
    wait_until(lambda: healer.get("/mode").json()["dry_run"], 20, f"the brake; {body!r}")
    assert healer.get("/mode").json()["source"] == "slack"

"""A real Alertmanager, Autoheal and a strict fake Slack: one thread for one trouble, through everything that comes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoheal.testing.slack import FakeSlack, Message
from tests.acceptance.service import QUICK, Autoheal, policy, rule
from tests.servers import Alertmanager, alertmanager, wait_until

TROUBLE = "TcpEndpointDownFast"
SOON = (
    "--set=autoheal.engine.acks:GONE_FOR=2",
    "--set=autoheal.engine.acks:EVERY=0.5",
    "--set=autoheal.clients.alertmanager:SETTLED=0",
    "--set=autoheal.threader.follow:LOOK_EVERY=0.5",
)
LIMITS = {"threader": {"limits": {"posts_per_second": 20, "edits_per_minute": 1000}}}


@dataclass
class Scene:
    """Everything of one test; `thread` is the one thread that there may be."""

    slack: FakeSlack
    service: Autoheal
    one: Alertmanager
    started: dict[str, str] = field(default_factory=dict)

    @property
    def thread(self) -> Message:
        found = [parent for channel in self.slack.channels.values() for parent in channel.messages]
        assert len(found) == 1, self.slack.transcript("#alerts-critical")
        return found[0]

    def reply(self, words: str, after: int = 0, timeout: float = 30.0) -> Message:
        """The first reply from the `after`-th on that says this, once it is there."""

        def found() -> Message | None:
            return next((one for one in self.thread.replies[after:] if words in one.text.lower()), None)

        message = wait_until(found, timeout, f"a reply with {words!r} in\n{self.transcript}", 0.05)
        assert message is not None
        return message

    def shows(self, *words: str) -> None:
        """Wait until the parent says all of these."""
        wait_until(
            lambda: all(word in self.thread.shown.lower() for word in words), 30, f"{words} in\n{self.transcript}", 0.05
        )

    def fire(self, **labels: str) -> None:
        """As Prometheus sends it: with its start."""
        self.started[labels["instance"]] = _text(time.time())
        self._post(labels)

    def resolve(self, **labels: str) -> None:
        self._post(labels, endsAt=_text(time.time()))

    def _post(self, labels: dict[str, str], **more: str) -> None:
        notes = {
            "autoheal": "true",
            "summary": f"{labels['instance']} does not answer",
            "runbook_url": "https://wiki.example/tcp",
        }
        self.one.post({"labels": labels, "annotations": notes, "startsAt": self.started[labels["instance"]], **more})

    @property
    def transcript(self) -> str:
        return "\n".join(self.slack.transcript(name) for name in ("#alerts-critical", "#alerts-warning"))

    def click(self, action: str, user: str = "ann", **options: Any) -> None:
        status, body = self.slack.click(self.thread, action, user, **options).post(
            f"{self.service.url}/slack/interactive"
        )
        assert status == 200, body


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def scene(tmp_path: Path, *rules: dict[str, Any], **section: Any) -> Iterator[Scene]:
    with FakeSlack(time.time, speed=25.0) as slack:
        written = policy(*rules) | {"threader": LIMITS["threader"] | section}
        with Autoheal(tmp_path / "autoheal", written, options=(*QUICK, *SOON)) as service:
            service.env |= {
                "SLACK_BOT_TOKEN": slack.token,
                "SLACK_SIGNING_SECRET": slack.signing_secret,
                "SLACK_API_URL": slack.api_url,
            }
            with alertmanager(tmp_path / "am", f"{service.url}/alert") as one:
                service.env["ALERTMANAGER_URL"] = one.url
                service.start()
                wait_until(lambda: service.get("/health").json()["slack"]["state"] == "ok", what="Slack")
                yield Scene(slack, service, one)
                assert not slack.violations and not slack.twice()
                assert service.get("/health").json()["dropped"] == 0
                service.stop()
            service.assert_whole()


def test_one_thread_through_everything(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        one, labels = it.one, {"alertname": TROUBLE, "severity": "critical"}
        it.fire(**labels, instance="a")
        wait_until(lambda: it.slack.channel("#alerts-critical").messages, 20, "the parent")
        it.shows("1 firing", "instance=a")
        it.fire(**labels, instance="b")
        it.reply("1 more alert")
        it.shows("2 firing")
        it.resolve(**labels, instance="b")
        it.reply("1 alert resolved")
        it.shows("1 resolved")

        it.click("ack:2h")
        acked = it.reply("acknowledged")
        assert "ann" in acked.text
        (silence,) = one.silences()
        assert {m["name"]: m["value"] for m in silence["matchers"]} == {**labels, "instance": "a"}
        it.shows("acknowledged", "ann")

        it.resolve(**labels, instance="a")
        it.reply("resolved")
        wait_until(lambda: one.silences()[0]["status"]["state"] == "expired", 30, "the silence's end")
        it.reply("over")
        it.shows("— resolved")

        count = len(it.thread.replies)
        it.fire(**labels, instance="a")
        again = it.reply("again", count)
        assert again.broadcast
        it.shows("1 firing")

        count = len(it.thread.replies)
        answer = it.service.post("/ack", {"labels": {**labels, "instance": "a"}, "duration": "4s"})
        assert answer.status_code == 200
        it.reply("acknowledged", count)
        over = it.reply("still fires", count)
        assert over.broadcast
        it.resolve(**labels, instance="a")
        it.shows("— resolved")
        print(it.transcript)


def test_healing_is_told_in_the_same_thread(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with scene(tmp_path) as it:
        verify = {"within": "30s", "every": "100ms", "http": f"{it.service.url}/healthz"}
        step = {"action": {"command": ["touch", str(ran)]}, "verify": verify}
        it.service.write_policy(policy(rule("touch", TROUBLE, step)) | LIMITS)
        reloaded = it.service.post("/policy/reload")
        assert reloaded.status_code == 200, reloaded.text
        it.fire(alertname=TROUBLE, severity="critical", instance="a")
        wait_until(lambda: it.slack.channel("#alerts-critical").messages, 20, "the parent")
        it.reply("touch")
        it.reply("healed")
        it.shows("healed")
        assert ran.exists()
        it.resolve(alertname=TROUBLE, severity="critical", instance="a")
        it.shows("— resolved")
        print(it.transcript)


def test_undo_extend_and_a_resolve_that_beats_an_acknowledgement(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        one, labels = it.one, {"alertname": TROUBLE, "severity": "critical", "instance": "a"}
        it.fire(**labels)
        wait_until(lambda: it.slack.channel("#alerts-critical").messages, 20, "the parent")
        it.click("ack:30m")
        it.shows("acknowledged")
        wait_until(lambda: "extend:2h" in it.thread.buttons, 20, "the buttons")
        before = one.silences()[0]["endsAt"]
        it.click("extend:2h", "bob")
        it.reply("bob")
        wait_until(lambda: any(s["endsAt"] > before for s in one.silences()), 20, "the longer silence")
        it.click("undo", "bob")
        wait_until(lambda: all(s["status"]["state"] == "expired" for s in one.silences()), 20, "the undo")
        wait_until(lambda: "ack:30m" in it.thread.buttons, 20, "the buttons again")
        count = len(one.silences())
        it.resolve(**labels)
        it.shows("— resolved")
        late = it.slack.click(it.thread, "ack:30m", stale=True)
        status, _ = late.post(f"{it.service.url}/slack/interactive")
        assert status == 200
        wait_until(lambda: it.slack.responses, 20, "the answer")
        assert "resolved" in str(it.slack.responses[-1].payload).lower()
        assert len(one.silences()) == count


def test_more_than_the_group_is_asked_about_first(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        one, labels = it.one, {"alertname": TROUBLE, "severity": "critical"}
        it.fire(**labels, instance="a")
        it.fire(**labels, instance="b")
        wait_until(lambda: it.slack.channel("#alerts-critical").messages, 20, "the parent")
        it.shows("2 firing")
        it.click("ack:2h")
        it.shows("acknowledged")
        (silence,) = one.silences()
        assert {m["name"]: m["value"] for m in silence["matchers"]} == {"alertname": TROUBLE}

"""A running `autoheal threader` that talks to a fake Slack whose clock, and ours, run faster by the same factor."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from autoheal.engine.clock import SystemClock
from autoheal.store.threads import Threads, threads_url
from autoheal.testing.slack import FakeSlack
from tests.servers import Process, free_port

ROOT = Path(__file__).resolve().parents[2]
REAL_POSTS, REAL_EDITS, REAL_AT_ONCE = 1.0, 50.0, 10
"""Slack's limits: messages a second in a channel, edits a minute, and how many of those at once."""
CRITICAL, WARNING, INFO = "#alerts-critical", "#alerts-warning", "#alerts-info"


@dataclass(frozen=True)
class Haste:
    """Slack's limits pass `speed` times as fast; the threader uses `share` of what is allowed then.

    A pause of this machine is `speed` times as long for them, and what was to be sent meanwhile comes at once: where
    `speed` is large, `burst` has to be more than Slack's few.
    """

    speed: float = 100.0
    share: float = 0.4
    burst: int = 3
    lease: float = 6.0
    settle: float = 0.2
    ahead: float = 0.01

    def limits(self) -> dict[str, float]:
        """For the policy file."""
        each = self.speed * self.share
        return {"posts_per_second": REAL_POSTS * each, "edits_per_minute": REAL_EDITS * each}

    def options(self) -> list[str]:
        """For the launcher: what is counted in messages or in Slack's seconds goes with the speed."""
        at_once = (REAL_AT_ONCE - 2) / self.limits()["edits_per_minute"]
        paces = {"lease": self.lease, "settle": self.settle, "poll": 0.05, "ahead": self.ahead}
        return [
            f"--patience={self.lease / 3}",
            f"--set=autoheal.threader.poster:BURST={min(at_once, 0.2)}",
            f"--set=autoheal.threader.sending:MARGIN={max(60 / self.speed, 1.0)}",
            *(f"--pace={name}={seconds}" for name, seconds in paces.items()),
        ]

    def slack(self, now: Any) -> FakeSlack:
        return FakeSlack(now, posts_per_second=REAL_POSTS, burst=self.burst, speed=self.speed)


REAL = Haste(speed=1.0, share=1.0, lease=30.0, settle=3.0, ahead=1.0)
"""As it is installed, against Slack as it is."""


def policy(**threader: Any) -> dict[str, Any]:
    return {"version": 1, "rules": [], "threader": threader}


class Talker:
    """`autoheal threader` with a port and a data directory of its own; started and killed as often as a test likes.

    `counted` adds up the metrics of all its lives, as far as they were read: `stop` and `kill` do so before.
    """

    def __init__(
        self,
        folder: Path,
        slack: FakeSlack,
        haste: Haste | None,
        threader: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`haste` of None starts the command as its users do."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.haste = folder, haste
        limits = {} if haste is None else {"limits": haste.limits()}
        (folder / "policy.json").write_text(json.dumps(policy(**limits, **(threader or {}))))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "AUTOHEAL_DATA_DIR": str(folder / "data"),
            "AUTOHEAL_POLICY_FILE": str(folder / "policy.json"),
            "THREADER_PORT": str(self.port),
            "SLACK_BOT_TOKEN": slack.token,
            "SLACK_SIGNING_SECRET": slack.signing_secret,
            "SLACK_API_URL": slack.api_url,
            "SECRET_KEY": "k" * 32,
            "LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT / "src"),
            **(env or {}),
        }
        self.web = httpx.Client(base_url=self.url, timeout=20)
        self.counted: Counter[str] = Counter()
        self._threads: Threads | None = None
        self.process = self._process()

    def _process(self, *more: str) -> Process:
        command = ["-m", "autoheal", "threader"]
        if self.haste is not None or more:
            command = ["-m", "tests.threads.launcher", *(self.haste.options() if self.haste else ()), *more]
        return Process([sys.executable, *command], self.folder / "threader.log", self.env, ROOT)

    # ---- life ------------------------------------------------------------------------------------------------

    def launch(self, *more: str) -> None:
        """Start, with further options of the launcher, and do not wait."""
        self.process = self._process(*more).start()

    def start(self, *more: str) -> None:
        """Start, and wait until it is ready."""
        self.launch(*more)
        self.process.until(self.ready, 40, "the threader")

    def ready(self) -> bool:
        return self.web.get("/health/ready").status_code == 200

    def kill(self) -> None:
        """SIGKILL, after its metrics were read."""
        self.count()
        self.process.send(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.count()
        return self.process.terminate(40)

    def __enter__(self) -> Talker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.web.close()
        if self._threads is not None:
            self._threads.close()

    # ---- talking ---------------------------------------------------------------------------------------------

    def send(self, body: Mapping[str, Any] | bytes) -> dict[str, Any]:
        """Deliver a webhook; the answer, which must be 200."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.web.post("/alert", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.web.get("/health").json()
        return found

    def idle(self) -> bool:
        """Whether nothing is to be told or drawn, as the store has it at this moment."""
        if self._threads is None:
            database = self.env.get("DATABASE_URL")
            self._threads = Threads(database or threads_url(Path(self.env["AUTOHEAL_DATA_DIR"])), SystemClock())
        found = self._threads.figures()
        return found.depth == {} and found.unsaid == 0

    def mistakes(self) -> list[str]:
        """What its log has of errors of our own making."""
        return [line for line in self.process.text().splitlines() if '"exception"' in line or "Traceback" in line]

    def count(self) -> None:
        """Add what this life has counted so far to `counted`; to be done once in a life."""
        try:
            text = self.web.get("/metrics").text
        except httpx.TransportError:
            return
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if family.type == "counter" and sample.name.endswith("_total"):
                    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                    self.counted[f"{sample.name}{{{labels}}}"] += int(sample.value)


def counted(talkers: list[Talker], name: str, labels: str = "") -> int:
    """The sum of a counter over all lives of all of them; `labels`: a part of them, such as ``method=look``."""
    totals: Counter[str] = sum((one.counted for one in talkers), Counter())
    return sum(value for key, value in totals.items() if key.startswith(f"{name}{{") and labels in key)

"""A running Autoheal as the tests see it: its own process, data directory, port and policy."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson

from autoheal.store import lines
from autoheal.store.replay import verify_state
from autoheal.store.sqlite import database_url
from autoheal.store.verify import Report, verify_pair
from tests.servers import Process, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--healed-over=0.2", "--set=autoheal.config.rules:MIN_VERIFY=0.5")
"""For the launcher: a verdict takes tenths of a second. What heals, and why, stays as it is."""
MOVING = ("reserved", "running", "verifying", "held")


class Autoheal:
    """`autoheal serve`, live unless `env` says otherwise. Started, stopped and killed as often as a test likes."""

    def __init__(
        self,
        folder: Path,
        policy: Mapping[str, Any],
        *,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] | None = None,
    ) -> None:
        """`options` are the test launcher's; None starts the command as its users do."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.data = folder, folder / "data"
        self.policy_file = folder / "policy.yaml"
        self.write_policy(policy)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = options
        self.env = {
            "AUTOHEAL_ENABLED": "true",
            "AUTOHEAL_DRY_RUN": "false",
            "AUTOHEAL_DATA_DIR": str(self.data),
            "AUTOHEAL_POLICY_FILE": str(self.policy_file),
            "AUTOHEAL_PORT": str(self.port),
            "AUTOHEAL_PUBLIC_URL": self.url,
            "LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT / "src"),
            **(env or {}),
        }
        self.web = httpx.Client(base_url=self.url, timeout=20)
        self.process = self._process()

    def _process(self, *more: str) -> Process:
        command = ["-m", "autoheal", "serve"]
        if self.options is not None or more:
            command = ["-m", "tests.crash.launcher", *(self.options or ()), *more]
        env = {name: value for name, value in self.env.items() if value}
        return Process([sys.executable, *command], self.folder / "autoheal.log", env, ROOT)

    # ---- life ------------------------------------------------------------------------------------------------

    def write_policy(self, policy: Mapping[str, Any] | str) -> None:
        self.policy_file.write_text(policy if isinstance(policy, str) else json.dumps(policy))

    def launch(self, *more: str) -> None:
        """Start, with further options of the launcher, and do not wait."""
        self.process = self._process(*more).start()

    def start(self, *more: str) -> None:
        """Start, and wait until it is ready."""
        self.launch(*more)
        self.process.until(self.ready, 30, "Autoheal")

    def ready(self) -> bool:
        return self.get("/readyz").status_code == 200

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self.process.terminate(40)

    def kill(self) -> None:
        """SIGKILL to Autoheal alone: a command that runs goes on as an orphan."""
        self.process.send(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Autoheal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.web.close()

    # ---- talking ---------------------------------------------------------------------------------------------

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.web.get(path, params=params)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.web.post(path, json=body)

    def send(self, *alerts: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Deliver alerts; the results."""
        answer = self.post("/alert", {"version": "4", "alerts": list(alerts)})
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def events(self, **filters: Any) -> list[dict[str, Any]]:
        """The newest 10,000 events, oldest first, heartbeats left out."""
        answer = self.get("/audit", **{"n": 10_000, **filters})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["events"]
        return found

    def kinds(self, **filters: Any) -> list[str]:
        return [event["kind"] for event in self.events(**filters)]

    def await_event(self, kind: str, timeout: float = 30.0, **fields: Any) -> dict[str, Any]:
        """The first event of a kind with these fields, once it is there."""

        def found() -> dict[str, Any] | None:
            matching = (e for e in self.events(kind=kind) if all(e.get(k) == v for k, v in fields.items()))
            return next(matching, None)

        event = wait_until(found, timeout, f"{kind} {fields}", 0.1)
        assert event is not None
        return event

    def remediations(self, **filters: Any) -> list[dict[str, Any]]:
        answer = self.get("/remediations", n=10_000, **filters)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["remediations"]
        return found

    def settled(self, timeout: float = 60.0) -> list[dict[str, Any]]:
        """All remediations, once none of them moves any more and every unknown end was told."""

        def at_rest() -> list[dict[str, Any]] | None:
            found = self.remediations()
            told = {e.get("remediation_id") for e in self.events(kind="escalated")}
            moving = [r for r in found if r["state"] in MOVING]
            untold = [r for r in found if r["state"] == "unknown" and r["id"] not in told]
            return None if moving or untold else found or [{}]

        found = wait_until(at_rest, timeout, "rest", 0.1)
        return [remediation for remediation in found or () if remediation]

    # ---- what is on disk, while it is stopped ---------------------------------------------------------------------

    def verify(self) -> tuple[Report, Report]:
        """What `audit verify` says of the database and of the copy beside it."""
        return verify_pair(self.files(), database_url(self.data))

    def files(self) -> list[Path]:
        copy = self.data / "audit.jsonl"
        return [*lines.rotated(copy), copy]

    def trail(self) -> list[dict[str, Any]]:
        """Every event, heartbeats too, out of the copy."""
        return [orjson.loads(line) for path in self.files() for line in path.read_bytes().splitlines()]

    def assert_whole(self) -> None:
        """The chain holds in database and copy, and they are the same."""
        database, copy = self.verify()
        assert database.ok, database.problems
        assert copy.ok, copy.problems
        assert (database.checked, database.last_hash) == (copy.checked, copy.last_hash)
        state = verify_state(database_url(self.data))
        assert state.done and state.ok, state.problems


class Background:
    """Calls `work` in a thread again and again until the test leaves; an error of it fails the test."""

    def __init__(self, work: Callable[[], object], every: float = 0.0) -> None:
        self._work, self._every = work, every
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._work()
                self._over.wait(self._every)
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        if self._error is not None and kind is None:
            raise self._error


def alert(alertname: str, status: str = "firing", **labels: str) -> dict[str, Any]:
    """An alert as a webhook carries it, without fingerprint and times."""
    return {"status": status, "labels": {"alertname": alertname, **labels}, "annotations": {"autoheal": "true"}}


def rule(name: str, alertname: str, *steps: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A rule of a policy for one alertname."""
    usual = {"name": name, "match": [f'alertname="{alertname}"'], "cooldown": "10m", "steps": list(steps)}
    return usual | more


def policy(*rules: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": 1, "rules": list(rules), **more}

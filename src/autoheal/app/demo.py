"""`autoheal demo`: a service dies, and is healed before your eyes. Everything is real but the service."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
from rich.console import Console

from autoheal.app import victim
from autoheal.config.environment import environment
from autoheal.engine.clock import SystemClock

PATIENCE = 90.0
"""Seconds that one act of the play may take before the demo gives up."""

_POLICY = """\
version: 1
defaults: {{timeout: 30s}}
rules:
  - name: restart-demo
    match: ['alertname="DemoDown"']
    opt_in: false
    cooldown: 30s
    steps:
      - action: {{command: ["{script}"]}}
        verify: {{within: 1m, http: "http://127.0.0.1:{port}/health", every: 2s}}
    on_exhausted: {{escalate: critical}}
"""
_PROBES = """\
probes:
  - {{name: demo, http: "http://127.0.0.1:{port}/health", every: 1s, timeout: 1s, down_after: 2, alertname: DemoDown}}
"""
_PROMETHEUS = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]}}]}}
rule_files: [rules.yml]
scrape_configs: [{{job_name: demo, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""
_RULES = """\
groups:
  - name: demo
    rules: [{alert: DemoDown, expr: 'up{job="demo"} == 0', for: 1s, labels: {severity: critical}}]
"""
_ALERTMANAGER = """\
route: {{receiver: autoheal, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: autoheal, webhook_configs: [{{url: "http://127.0.0.1:{autoheal}/alert", send_resolved: true}}]}}]
"""


class Failed(Exception):
    """The play cannot go on; the text says why."""


class Demo:
    """The stage: a folder, the service, what watches it, and Autoheal."""

    def __init__(self, folder: Path, port: int | None, console: Console) -> None:
        self.folder = folder
        self.console = console
        self.clock = SystemClock()
        self.port = port or _free_port()
        self.service_port = _free_port()
        self.pid_file = folder / "service.pid"
        self.url = f"http://127.0.0.1:{self.port}"
        self.children: list[subprocess.Popen[bytes]] = []
        self.web = httpx.Client(base_url=self.url, timeout=5)
        self.broken_at = 0.0
        self.last_id = 0
        self.source = ""
        self._pause = threading.Event()

    # ---- the stage -------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        real = self._monitoring()
        script = self.folder / "restart-service"
        argv = [sys.executable, "-m", "autoheal.app.victim", "restart", str(self.service_port), str(self.pid_file)]
        script.write_text(f"#!/bin/sh\nexec {shlex.join(argv)}\n")
        script.chmod(0o755)
        names = {"port": self.service_port, "script": script}
        policy = _POLICY.format(**names) + ("" if real else _PROBES.format(**names))
        (self.folder / "policy.yml").write_text(policy)
        if victim.start(self.service_port, self.pid_file):
            raise Failed("the demo service does not start")
        self.say("service", f"a small service answers at http://127.0.0.1:{self.service_port}/health")
        extra = {"ALERTMANAGER_URL": f"http://127.0.0.1:{self.alertmanager_port}"} if real else {}
        self._spawn("autoheal", [sys.executable, "-m", "autoheal", "serve"], self._settings() | extra)
        self._wait(self._ready, 30, "Autoheal did not become ready")
        if real:
            self._start_monitoring()
            self.say("watch", "the real Prometheus and Alertmanager of this machine watch it")
        else:
            self.say("watch", "Autoheal's own prober watches it (no Prometheus and Alertmanager on this machine)")
        self.say("autoheal", f"{self.url}/console shows all of this live")

    def _settings(self) -> dict[str, str]:
        inherited = {k: v for k, v in environment().items() if not k.startswith(("AUTOHEAL_", "ALERTMANAGER_"))}
        return inherited | {
            "AUTOHEAL_ENABLED": "true",
            "AUTOHEAL_DRY_RUN": "true",
            "AUTOHEAL_DATA_DIR": str(self.folder / "data"),
            "AUTOHEAL_POLICY_FILE": str(self.folder / "policy.yml"),
            "AUTOHEAL_PORT": str(self.port),
            "AUTOHEAL_PUBLIC_URL": self.url,
            "LOG_FORMAT": "json",
        }

    def _monitoring(self) -> bool:
        self.prometheus = shutil.which("prometheus")
        self.alertmanager = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        self.alertmanager_port, self.prometheus_port = _free_port(), _free_port()
        return bool(self.prometheus and self.alertmanager)

    def _start_monitoring(self) -> None:
        ports = {"alertmanager": self.alertmanager_port, "port": self.service_port, "autoheal": self.port}
        (self.folder / "rules.yml").write_text(_RULES)
        (self.folder / "prometheus.yml").write_text(_PROMETHEUS.format(**ports))
        (self.folder / "alertmanager.yml").write_text(_ALERTMANAGER.format(**ports))
        self._spawn(
            "alertmanager",
            [
                str(self.alertmanager),
                f"--config.file={self.folder / 'alertmanager.yml'}",
                f"--storage.path={self.folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{self.alertmanager_port}",
                "--cluster.listen-address=",
            ],
        )
        self._spawn(
            "prometheus",
            [
                str(self.prometheus),
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{self.prometheus_port}",
            ],
        )
        query = f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?query=up%7Bjob%3D%22demo%22%7D"
        self._wait(lambda: '"1"' in httpx.get(query, timeout=2).text, 30, "Prometheus does not scrape the service")

    def _spawn(self, name: str, argv: list[str], env: Mapping[str, str] | None = None) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        self.children.append(child)

    def _ready(self) -> bool:
        return self.web.get("/readyz").status_code == 200

    def _wait(self, done: Callable[[], bool], seconds: float, otherwise: str) -> None:
        ends = self.clock.monotonic() + seconds
        while self.clock.monotonic() < ends:
            with contextlib.suppress(httpx.HTTPError):
                if done():
                    return
            self._pause.wait(0.1)
        raise Failed(f"{otherwise} within {seconds:.0f} s; logs are in {self.folder}")

    def tear_down(self) -> None:
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
        victim.stop(self.pid_file)
        self.web.close()

    # ---- the play --------------------------------------------------------------------------------------------

    def dry_run(self) -> None:
        self.console.print("\n[bold]Act 1: dry run.[/] The service dies; Autoheal says what it would do.")
        self._break("/die", "the service was killed")
        self._follow({"action_dry_run"})
        self.say("you", "nothing was touched; the service is brought back by hand")
        victim.start(self.service_port, self.pid_file)
        self._follow({"resolved"})

    def live(self) -> bool:
        self.console.print("\n[bold]Act 2: live.[/] The service hangs; Autoheal heals it and checks.")
        self.web.post("/mode", json={"enabled": True, "dry_run": False}).raise_for_status()
        self.say("you", "autoheal mode live")
        self._break("/hang", "the service hangs: it takes connections and never answers")
        end = self._follow({"verify_ok", "verify_fail", "verify_inconclusive", "action_unknown", "escalated"})
        with contextlib.suppress(httpx.HTTPError):
            answers = httpx.get(f"http://127.0.0.1:{self.service_port}/health", timeout=2).status_code == 200
            return end["kind"] == "verify_ok" and answers
        return False

    def _break(self, path: str, text: str) -> None:
        self.last_id = self.web.get("/readyz").json()["last_event_id"]
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"http://127.0.0.1:{self.service_port}{path}", timeout=2)
        self.broken_at = self.clock.now()
        self.say("fault", text, "red")

    def _follow(self, until: set[str]) -> dict[str, Any]:
        """Print each event as it comes; the one that ends this act."""
        ends = self.clock.monotonic() + PATIENCE
        for event in self._events():
            self.tell(event)
            name = "resolved" if event.get("reason") == "resolved" else event["kind"]
            if name in until:
                return event
            if self.clock.monotonic() > ends:
                break
        raise Failed(f"nothing came of it within {PATIENCE:.0f} s; logs are in {self.folder}")

    def _events(self) -> Iterator[dict[str, Any]]:
        timeout = httpx.Timeout(5, read=PATIENCE)
        with self.web.stream("GET", f"/events?last_event_id={self.last_id}", timeout=timeout) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    event = orjson.loads(line[6:])
                    self.last_id = event["id"]
                    yield event

    def tell(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        story = _STORY.get(kind)
        if kind == "webhook_received":
            self.source = event["source"]
        elif kind == "decision_skip" and event["reason"] == "resolved":
            story = ("resolved", "green", lambda e: "the alert has resolved")
        elif kind in ("decision_act", "action_dry_run"):
            self.say("detected", f"{event['alertname']} fires, heard from {self.source}", "yellow", at=event["ts"])
        if story is not None:
            title, colour, text = story
            self.say(title, text(event), colour, at=event["ts"])

    def say(self, who: str, text: str, colour: str = "cyan", at: float | None = None) -> None:
        since = f"+{at - self.broken_at:5.1f} s" if at is not None and self.broken_at else ""
        self.console.print(f"[dim]{since:>9}[/]  [{colour}]{who:<9}[/]  ", end="")
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def written(self) -> None:
        """What stays: the trail, counted and verified."""
        trail = self.folder / "data" / "audit.jsonl"
        count = len(trail.read_bytes().splitlines())
        self.console.print(f"\n[bold]Written:[/] {count} events in {trail}", highlight=False, soft_wrap=True)
        argv = [sys.executable, "-m", "autoheal", "audit", "verify"]
        check = subprocess.run(argv, env=self._settings(), capture_output=True, text=True, timeout=30, check=False)
        verdict = "[green]the chain holds[/]" if check.returncode == 0 else f"[red]{check.stdout}{check.stderr}[/]"
        self.console.print(f"[bold]Verified:[/] {verdict}")


_STORY: dict[str, tuple[str, str, Callable[[dict[str, Any]], str]]] = {
    "decision_act": ("decided", "cyan", lambda e: f"rule {e['rule']}: all {len(e['trace'])} gates passed → {e['cmd']}"),
    "action_dry_run": ("dry run", "yellow", lambda e: f"rule {e['rule']}: would run: {e['cmd']}"),
    "action_started": ("started", "cyan", lambda e: f"{e['cmd']}"),
    "action_ok": ("acted", "cyan", lambda e: f"rc {e.get('rc')} after {e['duration_seconds']:.2f} s; now verifying"),
    "action_fail": ("failed", "red", lambda e: str(e.get("error") or e.get("output", ""))),
    "action_unknown": ("unknown", "red", lambda e: str(e.get("error") or e.get("reason"))),
    "verify_ok": (
        "healed",
        "bold green",
        lambda e: f"verified healed, {e['time_to_heal_seconds']:.1f} s after the alert",
    ),
    "verify_fail": ("verify", "red", lambda e: f"it did not help: {e.get('detail')}"),
    "verify_inconclusive": ("verify", "red", lambda e: f"cannot be seen: {e.get('detail')}"),
    "escalated": ("person", "red", lambda e: e["summary"]),
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(once: bool, port: int | None, console: Console | None = None) -> int:
    """Play it; 0 only if the service was healed and that was verified. Without `once` it stays on."""
    console = console or Console(highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="autoheal-demo-"))
    demo = Demo(folder, port, console)
    healed = False
    try:
        console.print("[bold]Autoheal demo[/]: something breaks → heard, judged, healed, checked, written down.\n")
        demo.set_up()
        demo.dry_run()
        healed = demo.live()
        demo.written()
        if not once:
            _stay(demo)
    except Failed as error:
        console.print(f"[red]{error}[/]")
    except KeyboardInterrupt:
        console.print("\nstopping…")
    finally:
        demo.tear_down()
        if healed:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if healed else 1


def _stay(demo: Demo) -> None:
    base = f"http://127.0.0.1:{demo.service_port}"
    demo.console.print(
        f"\n[bold]Your turn.[/] Break it again:  curl -X POST {base}/die   (or /hang; its cooldown is 30 s)\n"
        f"Look:  {demo.url}/console   Ctrl-C ends the demo and removes its files.\n",
        soft_wrap=True,
    )
    for event in demo._events():
        demo.tell(event)

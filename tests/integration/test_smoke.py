"""From nothing: `autoheal provision`, a real Prometheus with its rules, a real Alertmanager, and `autoheal smoke`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import ROOT, Autoheal, policy, rule
from tests.needs import needs_linux
from tests.proxy import Proxy
from tests.servers import Alertmanager, Prometheus, alertmanager, prometheus, wait_until

ADMIN, WEBHOOK = "admin-of-the-smoke-test", "webhook-of-the-smoke-test"


@dataclass
class Site:
    """What runs, and how the command is run against it."""

    folder: Path
    autoheal: Autoheal
    alertmanager: Alertmanager
    prometheus: Prometheus
    touched: Path
    """The file that the policy's only action would make."""

    @property
    def env(self) -> dict[str, str]:
        return {
            "AUTOHEAL_PUBLIC_URL": self.autoheal.url,
            "AUTOHEAL_ADMIN_TOKEN": ADMIN,
            "ALERTMANAGER_URL": self.alertmanager.url,
            "PROMETHEUS_URL": self.prometheus.url,
            "PYTHONPATH": str(ROOT / "src"),
        }

    def run(self, *args: str, **env: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """The command with ``--json``: its exit code, and its findings by name."""
        done = command(*args, "--json", env=self.env | env)
        checks = json.loads(done.stdout)["checks"] if done.stdout else []
        return done.returncode, {one["check"]: one for one in checks}

    def assert_nothing_happened(self) -> None:
        """No action ran, no remediation began, no silence holds."""
        assert not self.touched.exists()
        assert self.autoheal.remediations() == []
        assert {one["status"]["state"] for one in self.alertmanager.silences()} <= {"expired"}
        assert {event["alertname"] for event in self.autoheal.events(kind="decision_skip")} == {"AutohealSmokeTest"}


def command(*args: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "autoheal", *args]
    return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, cwd=ROOT)


def red(found: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, one in found.items() if one["state"] in ("red", "bad")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    needs_linux()
    folder = tmp_path_factory.mktemp("site")
    done = command("provision", str(folder / "prometheus"), "--only", "rules", env={"PYTHONPATH": str(ROOT / "src")})
    assert done.returncode == 0, done.stderr
    touched = folder / "touched"
    rules = policy(rule("touch", "TcpEndpointDownFast", {"action": {"command": ["touch", str(touched)]}}))
    autoheal = Autoheal(folder / "autoheal", rules)
    autoheal.web.headers["Authorization"] = f"Bearer {ADMIN}"
    with autoheal, alertmanager(folder / "am", f"{autoheal.url}/alert", token=WEBHOOK) as am:
        more = {"AUTOHEAL_ADMIN_TOKEN": ADMIN, "AUTOHEAL_WEBHOOK_TOKEN": WEBHOOK, "ALERTMANAGER_URL": am.url}
        autoheal.env |= more
        autoheal.process = autoheal._process()
        autoheal.start()
        with prometheus(folder / "prometheus", scraping(autoheal, am)) as prom:
            wait_until(lambda: prom.query("autoheal_build_info"), 20, "the first scrape")
            yield Site(folder, autoheal, am, prom, touched)


def scraping(autoheal: Autoheal, am: Alertmanager) -> dict[str, Any]:
    """Prometheus' configuration, in seconds instead of quarters of a minute."""
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["prometheus-recording-rules.yml", "prometheus-alerts.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [am.url.removeprefix("http://")]}]}]},
        "scrape_configs": [
            {"job_name": "autoheal", "static_configs": [{"targets": [f"127.0.0.1:{autoheal.port}"]}]},
        ],
    }


@pytest.mark.parametrize("mode", ["live", "dry-run", "off"])
def test_everything_is_green_in_every_mode_and_nothing_is_done(site: Site, mode: str) -> None:
    assert command("mode", mode, env=site.env).returncode == 0
    code, found = site.run("smoke")
    assert {one["state"] for one in found.values()} == {"green"}, found
    assert code == 0 and len(found) == 14
    assert site.alertmanager.url in found["silence"]["detail"]
    assert mode.replace("-", " ") in found["test alert"]["detail"]
    site.assert_nothing_happened()


def test_the_doctor_sees_them_all(site: Site) -> None:
    code, found = site.run("doctor", AUTOHEAL_DATA_DIR=str(site.autoheal.data))
    assert red(found) <= {"console", "fsync"}, found
    assert code == (1 if red(found) else 0)
    assert "chain head" in found["trail"]["detail"] and found["audit copy"]["state"] == "ok"
    assert "version 0." in found["Alertmanager"]["detail"] and "version" in found["Prometheus"]["detail"]
    assert site.autoheal.url in found["routes"]["detail"]
    for name in ("recording rules", "alert rules", "scrape", "sends"):
        assert found[name]["state"] == "ok"


def test_a_wrong_token_is_red_and_wrong_addresses_are_out_of_reach(site: Site) -> None:
    code, found = site.run("smoke", AUTOHEAL_ADMIN_TOKEN="wrong")
    assert code == 1 and red(found) == {"access"}
    for url in (site.prometheus.url, site.alertmanager.url, "http://127.0.0.1:1"):
        done = command("smoke", "--url", url, env=site.env)
        assert done.returncode == 3 and done.stdout == "" and url in done.stderr, done.stderr


def test_a_prometheus_without_our_rules_is_red(site: Site, tmp_path: Path) -> None:
    with prometheus(tmp_path / "other", {"scrape_configs": []}) as other:
        code, found = site.run("smoke", "--prometheus", other.url, "--timeout", "1")
    assert code == 1 and red(found) == {"recording rules", "alert rules", "scrape"}
    assert "provision --only rules" in found["recording rules"]["fix"]


@contextmanager
def holding_the_stream(port: int) -> Iterator[str]:
    """A proxy that swallows whatever comes on a connection once `/events` was asked for on it."""
    with Proxy(port) as proxy:
        proxy.on_request = lambda data: proxy.hold_answers() if b"GET /events" in data else proxy._open.set()
        yield f"http://127.0.0.1:{proxy.port}"


def test_a_blocked_stream_is_red(site: Site) -> None:
    with holding_the_stream(site.autoheal.port) as url:
        code, found = site.run("smoke", "--url", url, "--timeout", "1")
    assert code == 1 and red(found) == {"stream"}, found
    assert "buffer" in found["stream"]["fix"]


def test_control_c_leaves_nothing_behind(site: Site) -> None:
    """Interrupted while it waits for the stream, once the alert is sent."""
    before = len(site.autoheal.events(kind="decision_skip"))
    assert command("mode", "dry-run", env=site.env).returncode == 0
    with Proxy(site.autoheal.port) as proxy:
        sent: list[bytes] = []

        def look(data: bytes) -> None:
            if b'"status": "firing"' in data and not sent:
                sent.append(data)
                proxy.hold_answers()
            elif b'"status": "resolved"' in data:
                proxy._open.set()

        proxy.on_request = look
        argv = [sys.executable, "-m", "autoheal", "smoke", "--url", f"http://127.0.0.1:{proxy.port}"]
        with subprocess.Popen(argv, env={**os.environ, **site.env}, stderr=subprocess.PIPE, cwd=ROOT) as process:
            wait_until(lambda: sent, 20, "the test alert")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) != 0
    skips = wait_until(lambda: site.autoheal.events(kind="decision_skip")[before:][1:], 5, "the resolved alert")
    assert skips[-1]["reason"] == "resolved"
    site.assert_nothing_happened()


def test_a_dead_alertmanager_is_red(site: Site) -> None:
    site.alertmanager.process.kill()
    try:
        code, found = site.run("smoke", "--timeout", "1")
    finally:
        site.alertmanager.again()
    assert code == 1 and red(found) == {"silence"}
    assert "autoheal doctor" in found["silence"]["fix"]
    site.assert_nothing_happened()

"""What the documents show works as it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from prometheus_client import CollectorRegistry

from autoheal.actions import KINDS
from autoheal.config.policy_file import parse_policy
from autoheal.config.secrets import SECRET_NAMES
from autoheal.config.settings import Settings
from autoheal.store.threads import Figures
from autoheal.testing.clock import ManualClock
from autoheal.threader.metrics import ThreaderMetrics
from tests.needs import needs

ROOT = Path(__file__).parents[2]


def _block(document: str, name: str) -> str:
    """The YAML block of a document whose first line is a comment that begins with `name`."""
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / document).read_text(), re.DOTALL):
        if block.startswith(f"# {name}"):
            return str(block)
    raise AssertionError(f"{document} has no block {name}")


def test_the_readmes_policy_is_a_policy() -> None:
    policy = parse_policy(_block("README.md", "my-policy.yml").encode(), "README.md", {}, KINDS)
    assert [rule.name for rule in policy.rules] == ["crm-api-tcp-down"]


def test_the_readmes_alertmanager_configuration_is_accepted(tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text(_block("README.md", "alertmanager.yml"))
    checked = subprocess.run([needs("amtool"), "check-config", str(config)], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr + checked.stdout
    for alertname, receivers in (("DiskFull", "autoheal,people"), ("AutohealEscalation", "people")):
        argv = [needs("amtool"), "config", "routes", "test", f"--config.file={config}"]
        argv += [f"--verify.receivers={receivers}", f"alertname={alertname}"]
        routed = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        assert routed.returncode == 0, routed.stderr + routed.stdout


THREADER = (ROOT / "docs" / "threader.md").read_text()


def test_the_variables_of_the_threaders_page_are_known() -> None:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", THREADER, re.DOTALL))
    named = set(re.findall(r"^(?:export )?([A-Z][A-Z_]+)=", blocks, re.MULTILINE))
    assert len(named) >= 8
    assert named <= {*Settings.NAMES, *(f"{name}_FILE" for name in SECRET_NAMES)}


def test_the_threaders_page_names_every_metric_and_no_other() -> None:
    registry = CollectorRegistry()
    ThreaderMetrics(registry, lambda: Figures({}, None, 0, 0), lambda: True, ManualClock(0.0), lambda: True)
    counters = {f"{one.name}_total" for one in registry.collect() if one.type == "counter"}
    known = counters | {one.name for one in registry.collect() if one.type != "counter"}
    [row] = [line for line in THREADER.splitlines() if line.startswith("| `GET /metrics`")]
    assert set(re.findall(r"`((?:threader|http)_\w+)", row)) == known


def test_the_threaders_page_names_every_alert_about_threads() -> None:
    rules = "".join(
        (ROOT / "monitoring" / name).read_text() for name in ("prometheus-alerts.yml", "loki/rules/autoheal.yml")
    )
    assert set(re.findall(r"alert: (Threader\w+)", rules)) == set(re.findall(r"`(Threader[A-Z]\w+)`", THREADER))


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"

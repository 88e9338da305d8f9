"""What the documents show works as it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from autoheal.actions import KINDS
from autoheal.config.policy_file import parse_policy
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


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"

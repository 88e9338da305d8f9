"""While a wheel or an editable install is made: the web console is built into it, the monitoring stack comes along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
SCRIPT = ROOT / "scripts" / "console"
STACK = ("*.yml", "*.tmpl", "grafana/dashboards/*", "grafana/provisioning/*/*", "loki/**/*")
"""What `autoheal provision` writes. Nobody's secrets are among it, nor what generates and tests it."""


class Console(BuildHookInterface[Any]):
    """Runs `scripts/console build`, with Node from PyPI where this machine has none."""

    def dependencies(self) -> list[str]:
        said = subprocess.run([sys.executable, SCRIPT, "needs"], capture_output=True, text=True, check=True).stdout
        return said.split()

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        if subprocess.run([sys.executable, SCRIPT, "build"], check=False).returncode != 0:
            raise RuntimeError("the web console could not be built, see above; NO_CONSOLE=1 leaves it out")
        if version == "standard":
            for pattern in STACK:
                for path in (ROOT / "monitoring").glob(pattern):
                    if path.is_file():
                        build_data["force_include"][str(path)] = f"autoheal/{path.relative_to(ROOT).as_posix()}"

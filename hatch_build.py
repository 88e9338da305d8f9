"""While a wheel or an editable install is made, the web console is built into the package."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SCRIPT = Path(__file__).resolve().parent / "scripts" / "console"
LEFT_OUT = "AUTOHEAL_NO_CONSOLE"
"""Set to anything, the console is left out: for machines without a way to npm's packages."""


class Console(BuildHookInterface[Any]):
    """Runs `scripts/console build`, with Node from PyPI where this machine has none."""

    def dependencies(self) -> list[str]:
        loader = SourceFileLoader("console_script", str(SCRIPT))
        spec = spec_from_loader(loader.name, loader)
        assert spec is not None
        script = module_from_spec(spec)
        loader.exec_module(script)
        return [] if LEFT_OUT in os.environ or script.own_npm() else [f"{script.PACKAGE}>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if LEFT_OUT in os.environ or self.target_name != "wheel":
            return
        if subprocess.run([sys.executable, SCRIPT, "build"], check=False).returncode != 0:
            raise RuntimeError(f"the web console could not be built, see above; {LEFT_OUT}=1 leaves it out")

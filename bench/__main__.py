"""`make bench`: all of it, or the parts that are named: intake, acting, ledger, scale. `--quick` for a short look."""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

from bench import acting, intake, ledger, scale
from bench.rig import console


def main(argv: list[str]) -> None:
    quick = "--quick" in argv
    parts = [name for name in argv if not name.startswith("-")] or ["intake", "acting", "ledger", "scale"]
    console.print(f"Python {platform.python_version()}, {platform.machine()}; one run, same machine, nothing else\n")
    with tempfile.TemporaryDirectory(prefix="autoheal-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if "intake" in parts:
            intake.main(folder, 3 if quick else 10)
        if "acting" in parts:
            acting.main(folder, 2 if quick else 10)
        if "ledger" in parts:
            ledger.main(folder, (100_000,) if quick else (1_000_000, 10_000_000))
        if "scale" in parts:
            sizes = (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000, 10_000_000)
            scale.main(folder, 3 if quick else 10, 500 if quick else 5000, sizes)


if __name__ == "__main__":
    main(sys.argv[1:])

"""`make bench`: all of it, or the parts that are named: intake, acting, stream, browser, ledger, scale, threads.

`--quick` for a short look; `--dir FOLDER` for what is written meanwhile (scale fills 20 GB, and clears them away).
"""

from __future__ import annotations

import argparse
import platform
import signal
import sys
import tempfile
from pathlib import Path

from bench import acting, browser, intake, ledger, scale, stream, threads
from bench.rig import console

PARTS = ("intake", "acting", "stream", "browser", "ledger", "scale", "threads")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; none: all of them")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--dir", type=Path, help="where to make the temporary folder")
    given = parser.parse_args(argv)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if given.dir is not None:
        given.dir.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(given.dir.absolute())  # PostgreSQL's too, which makes its own
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all is cleared away
    console.print(f"Python {platform.python_version()}, {platform.machine()}; one run, same machine, nothing else\n")
    with tempfile.TemporaryDirectory(prefix="autoheal-bench-", ignore_cleanup_errors=True) as name:
        _run(given.parts or PARTS, Path(name), given.quick)


def _run(parts: list[str] | tuple[str, ...], folder: Path, quick: bool) -> None:
    if "intake" in parts:
        intake.main(folder, 3 if quick else 10)
    if "acting" in parts:
        acting.main(folder, 2 if quick else 10)
    if "stream" in parts:
        stream.main(folder, 5 if quick else 30)
    if "browser" in parts:
        browser.main(folder, 40 if quick else 200)
    if "ledger" in parts:
        ledger.main(folder, (100_000,) if quick else (1_000_000, 10_000_000))
    if "scale" in parts:
        sizes = (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000, 10_000_000)
        scale.main(folder, 3 if quick else 10, 500 if quick else 5000, sizes, 30 if quick else 200)
    if "threads" in parts:
        threads.main(folder, quick)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(130)

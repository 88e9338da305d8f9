"""npm's `emulate`, a Slack emulator by other people, installed as pinned beside it and started on loopback."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import runpy
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.needs import missing
from tests.servers import Process, free_port, on_free_ports

HERE = Path(__file__).parent / "emulate"
ROOT = Path(__file__).parents[2]
TIMEOUT = 300


def installed(cache: Path) -> tuple[Path, str]:
    """The program and the PATH that has its Node; installed into `cache` once, whoever comes first."""
    script = runpy.run_path(str(ROOT / "scripts" / "console"))
    found = script["own_npm"]() or script["npm_of_package"]()
    if found is None:
        missing("emulate needs Node 20.19 or newer with npm")
    command, path = found
    cache.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package-lock.json").read_text()
    stamp = cache / "installed.json"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, cache / name)
            argv = [*command, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            done = subprocess.run(
                argv, cwd=cache, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL, timeout=TIMEOUT,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                missing(f"npm could not install emulate: {done.stderr.strip()[-500:]}")
            stamp.write_text(wanted)
    return cache / "node_modules" / "emulate" / "dist" / "index.js", path


@contextlib.contextmanager
def emulated(cache: Path, folder: Path, seed: Mapping[str, Any]) -> Iterator[str]:
    """A running Slack of emulate's with this `slack` seed; its base URL."""
    program, path = installed(cache)
    file = folder / "seed.json"
    file.write_text(json.dumps({"slack": seed}))

    def start() -> tuple[str, Process]:
        port = free_port()
        argv = ["node", program, "start", "--service", "slack", "--port", str(port), "--seed", file]
        process = Process(argv, folder / "emulate.log", {"PATH": path, "PORT": "", "EMULATE_PORT": ""}, folder).start()
        url = f"http://127.0.0.1:{port}"
        try:
            process.until(lambda: httpx.post(f"{url}/api/auth.test", timeout=2).status_code == 200, what="emulate")
        except BaseException:
            process.kill()
            raise
        return url, process

    url, process = on_free_ports(start)
    with process:
        yield url

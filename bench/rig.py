"""What the benchmarks share: a real Autoheal in a process of its own, wrk as load, percentiles, a table."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)

LUA = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local i = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function() i = i %% #bodies + 1; return wrk.format(nil, nil, nil, bodies[i]) end
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running server; `pid` for its memory."""

    url: str
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return bytes(answer.read())

    def post(self, path: str, data: object) -> bytes:
        request = urllib.request.Request(
            self.url + path, json.dumps(data).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def resident_mb(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        return int(found.group(1)) / 1024 if found else float("nan")


@contextlib.contextmanager
def server(argv: Sequence[str], port: int, path: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start it, wait until `path` answers, end it."""
    with open(os.devnull, "wb") as quiet:
        process = subprocess.Popen(argv, stdout=quiet, stderr=quiet, env={**os.environ, **(env or {})})
    one = Server(f"http://127.0.0.1:{port}", process)
    try:
        wait_for(lambda: bool(one.get(path)), 60)
        yield one
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(done: object, seconds: float) -> None:
    assert callable(done)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if done():
                return
        time.sleep(0.005)
    raise TimeoutError(f"not within {seconds} s")


@contextlib.contextmanager
def autoheal(folder: Path, policy: str, live: bool = False, more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`autoheal serve` on its embedded default, unless `more` of the environment says otherwise."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yml").write_text(policy)
    env = {
        "AUTOHEAL_ENABLED": "true",
        "AUTOHEAL_DRY_RUN": "false" if live else "true",
        "AUTOHEAL_DATA_DIR": str(folder / "data"),
        "AUTOHEAL_POLICY_FILE": str(folder / "policy.yml"),
        "AUTOHEAL_PORT": str(port),
        "LOG_LEVEL": "ERROR",
        **(more or {}),
    }
    with server([sys.executable, "-m", "autoheal", "serve"], port, "/readyz", env) as one:
        yield one


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests per second, latency in ms, answers that were not 2xx or 3xx."""

    rate: float
    p50: float
    p99: float
    bad: int


def wrk(url: str, bodies: Sequence[bytes], connections: int, seconds: int, folder: Path) -> Load:
    """POST `bodies` in turn from one thread."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bodies").write_bytes(b"\n".join(bodies) + b"\n")
    (folder / "post.lua").write_text(LUA % (folder / "bodies"))
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(folder / "post.lua"), url]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return Load(
        float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        _ms(_find(r"(?m)^ +50% +(\S+)", text)),
        _ms(_find(r"(?m)^ +99% +(\S+)", text)),
        int(_find(r"Non-2xx or 3xx responses: (\d+)", text) or 0),
    )


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}[unit]


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; `share` from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left", title_style="bold")
    for position, column in enumerate(columns):
        made.add_column(column, justify="left" if position == 0 else "right")
    return made


def have(*names: str) -> bool:
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        console.print(f"left out: {', '.join(missing)} not installed (scripts/components bench)")
    return not missing

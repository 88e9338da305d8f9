"""The demo's small service: it answers, until it is told to hang or to die. Restarted by `restart`, as a real one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_HANGING = threading.Event()
_FOREVER = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if _HANGING.is_set():
            _FOREVER.wait()
        self._answer(b"demo_requests_total 1\n" if self.path == "/metrics" else b"ok\n")

    def do_POST(self) -> None:
        self._answer(b"as you wish\n")
        if self.path == "/hang":
            _HANGING.set()
        elif self.path == "/die":
            os._exit(1)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the demo tells the story."""


def serve(port: int, pid_file: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    pid_file.write_text(str(os.getpid()))
    server.serve_forever()


def stop(pid_file: Path) -> None:
    """End the running one, if there is one; returns when it is gone."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    gone = threading.Event()
    for _ in range(100):
        if not _alive(pid):
            return
        gone.wait(0.05)


def _alive(pid: int) -> bool:
    """Whether it runs; one that has ended and was not yet collected does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(port: int, pid_file: Path) -> int:
    """Start a new one in a session of its own and wait until it answers: 0, or 1 where it does not."""
    argv = [sys.executable, "-m", "autoheal.app.victim", "serve", str(port), str(pid_file)]
    quiet = subprocess.DEVNULL
    subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    pause = threading.Event()
    for _ in range(100):
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
            return 0
        pause.wait(0.1)
    return 1


def main(argv: list[str]) -> int:
    verb, port, pid_file = argv[0], int(argv[1]), Path(argv[2])
    if verb == "serve":
        serve(port, pid_file)
        return 0
    stop(pid_file)
    if start(port, pid_file):
        sys.stdout.write("the demo service does not answer\n")
        return 1
    sys.stdout.write(f"demo service restarted, pid {pid_file.read_text()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The service that is broken and healed: a tiny HTTP server of its own process, and the script that restarts it.

python victim.py serve FOLDER PORT   answers 200 to every GET, and writes its number to FOLDER/pid
python victim.py start FOLDER PORT   starts one in a session of its own
python victim.py restart FOLDER PORT [SECONDS]   counts the run, kills what runs, starts anew (after so many seconds)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(folder: Path, port: int) -> None:
    server = HTTPServer(("127.0.0.1", port), Answer)
    (folder / "pid").write_text(str(os.getpid()))
    server.serve_forever()


def stop(folder: Path) -> None:
    """End what runs, if something does."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


def start(folder: Path, port: int) -> None:
    """Start it in a session of its own, as an init system would."""
    command = [sys.executable, __file__, "serve", str(folder), str(port)]
    null = subprocess.DEVNULL
    subprocess.Popen(command, start_new_session=True, stdin=null, stdout=null, stderr=null)


def restart(folder: Path, port: int, seconds: float) -> None:
    with (folder / "runs").open("a") as runs:
        runs.write(f"{os.getpid()}\n")
    threading.Event().wait(seconds)
    stop(folder)
    start(folder, port)


def main(verb: str, folder: str, port: str, seconds: str = "0") -> None:
    if verb == "serve":
        serve(Path(folder), int(port))
    elif verb == "start":
        start(Path(folder), int(port))
    else:
        restart(Path(folder), int(port), float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])

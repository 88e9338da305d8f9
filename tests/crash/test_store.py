"""The disk is full, or broken: nothing is done without a record, and it comes back by itself."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.service import Autoheal
from tests.crash.storm import Storm, batch, healthy_target
from tests.needs import missing, needs, needs_linux, needs_root
from tests.servers import Process, wait_until

FILES = ("ledger.db", "ledger.db-wal", "audit.jsonl")


@contextmanager
def faults(service: Autoheal, folder: Path, inject: str, names: Sequence[str] = FILES) -> Iterator[None]:
    """While it lasts, the named system calls on these files of its data directory fail in the running service."""
    paths = [option for name in names for option in ("-P", str(service.data / name))]
    argv = [needs("strace"), "-f", "-p", str(service.process.pid), *paths, "-e", f"inject={inject}"]
    with Process(argv, folder / "strace.log") as strace:
        strace.until(lambda: "attached" in strace.text(), what="strace")
        yield
        strace.terminate()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of that size."""
    needs_linux()
    needs_root()
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    tried = subprocess.run(mount, capture_output=True, text=True)
    if tried.returncode:
        missing(f"cannot mount a small disk: {tried.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def assert_refuses(storm: Storm) -> None:
    """503 to Alertmanager, ready red, alive green, and no command starts."""
    service = storm.service
    before = len(storm.runs())
    body = {"version": "4", "alerts": batch(2)}
    answer = service.post("/alert", body)
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"]
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert service.get("/readyz").status_code == 503
    assert service.get("/healthz").status_code == 200
    assert service.post("/alert", body).status_code == 503
    assert len(storm.runs()) == before


def assert_is_back(storm: Storm) -> None:
    """Ready by itself; the alerts that were refused are taken and acted on; all of it in the trail."""
    service = storm.service
    wait_until(service.ready, 20, "ready by itself")
    assert storm.deliver(*batch(2), stop=threading.Event())
    service.settled()
    assert service.stop() == 0
    found = storm.assert_true()
    assert found["promised"] == 6
    assert found["runs"] == 8


@pytest.mark.parametrize(
    "inject",
    [
        "pwrite64,write:error=ENOSPC",
        pytest.param("pwrite64,write:error=EIO", marks=pytest.mark.soak),
        "fdatasync,fsync:error=EIO",
        pytest.param("fdatasync,fsync:error=ENOSPC", marks=pytest.mark.soak),
    ],
)
def test_writes_that_fail(tmp_path: Path, inject: str) -> None:
    needs_linux()
    with healthy_target() as healthy:
        storm = Storm(tmp_path, healthy)
        with storm.service as service:
            service.start()
            storm.deliver(*batch(1), stop=threading.Event())
            service.settled()
            with faults(service, tmp_path, inject):
                assert_refuses(storm)
            assert_is_back(storm)


def test_a_copy_that_cannot_be_written_stops_nothing_and_catches_up(tmp_path: Path) -> None:
    """The ledger is the truth; `audit.jsonl` follows when it can."""
    needs_linux()
    with healthy_target() as healthy:
        storm = Storm(tmp_path, healthy)
        with storm.service as service:
            service.start()
            with faults(service, tmp_path, "write:error=ENOSPC", ["audit.jsonl"]):
                assert storm.deliver(*batch(1), stop=threading.Event())
                service.settled()
                assert service.ready()
                assert service.events(kind="action_ok")
                assert b'"action_ok"' not in (service.data / "audit.jsonl").read_bytes()
            wait_until(lambda: b'"action_ok"' in (service.data / "audit.jsonl").read_bytes(), 20, "the copy")
            assert service.stop() == 0
        assert storm.assert_true()["runs"] == 4


def test_a_full_disk(tmp_path: Path) -> None:
    with healthy_target() as healthy, small_disk(tmp_path / "disk", "8m") as disk:
        storm = Storm(tmp_path / "autoheal", healthy)
        with storm.service as service:
            service.data = disk / "data"
            service.env["AUTOHEAL_DATA_DIR"] = str(service.data)
            service.start()
            storm.deliver(*batch(1), stop=threading.Event())
            service.settled()
            ballast = disk / "ballast"
            fill(ballast)

            def refused() -> bool:
                answer = service.post("/alert", {"version": "4", "alerts": [{"labels": {"alertname": "Filler"}}] * 500})
                return answer.status_code == 503

            wait_until(refused, 30, "a refusal: what SQLite holds in reserve is used up")
            assert_refuses(storm)
            ballast.unlink()
            assert_is_back(storm)


def fill(file: Path) -> None:
    """Write until there is no room."""
    with pytest.raises(OSError, match="No space left"), file.open("wb", buffering=0) as out:
        while True:
            out.write(b"\0" * 4096)

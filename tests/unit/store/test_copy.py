"""The copy stays faithful: crashes, full disks, rotation from outside, other people's hands."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoheal.store.copy import AuditCopy
from autoheal.store.lines import parts
from autoheal.store.verify import verify_pair
from tests.unit.store.trail import Trail


@contextmanager
def files_end_at(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def copy(trail: Trail) -> Iterator[AuditCopy]:
    made = AuditCopy(trail.copy, trail.reader)
    yield made
    made.close()


def write(trail: Trail, copy: AuditCopy, count: int = 3) -> None:
    rows = trail.add(count=count)
    copy.write(rows[0].id, [row.line for row in rows])


def again(trail: Trail, copy: AuditCopy) -> AuditCopy:
    """As after a crash: nothing but the files is left."""
    copy.close()
    return AuditCopy(trail.copy, trail.reader)


def whole(trail: Trail) -> bool:
    """Every line of the ledger once, in order, over all parts; and the verification agrees."""
    paths = [part.path for part in parts(trail.copy)]
    text = "".join((gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes()).decode() for p in paths)
    database, copy = verify_pair(paths, trail.url)
    return text == "".join(line + "\n" for line in trail.lines) and database.ok and copy.ok


def test_the_very_lines_private_and_in_order(trail: Trail, copy: AuditCopy) -> None:
    write(trail, copy)
    write(trail, copy)
    assert whole(trail) and copy.behind == 0 and copy.error == ""
    assert stat.S_IMODE(trail.copy.stat().st_mode) == 0o600


def test_what_came_before_the_start_is_caught_up(trail: Trail, copy: AuditCopy) -> None:
    trail.add(count=2500)
    assert copy.catch_up() and whole(trail)
    trail.add(count=7)
    write(trail, copy)
    assert whole(trail)


@pytest.mark.parametrize("cut", [1, 5, 40, 150, 100_000])
def test_a_half_written_end_is_mended(trail: Trail, copy: AuditCopy, cut: int) -> None:
    write(trail, copy, 5)
    os.truncate(trail.copy, max(0, trail.copy.stat().st_size - cut))
    copy = again(trail, copy)
    assert copy.catch_up() and whole(trail)
    copy.close()


def test_zeros_after_a_power_cut_are_cut(trail: Trail, copy: AuditCopy) -> None:
    write(trail, copy)
    with trail.copy.open("ab") as file:
        file.write(b"\0" * 100_000)
    copy = again(trail, copy)
    write(trail, copy)
    assert whole(trail)
    copy.close()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("name", ["audit.jsonl.1", "audit.jsonl-20260101", "audit.jsonl.2.gz"])
def test_logrotate_by_rename(trail: Trail, copy: AuditCopy, restarted: bool, name: str) -> None:
    write(trail, copy)
    target = trail.copy.with_name(name)
    if name.endswith(".gz"):
        with gzip.open(target, "wb") as file:
            file.write(trail.copy.read_bytes())
        trail.copy.unlink()
    else:
        trail.copy.rename(target)
    if restarted:
        copy = again(trail, copy)
    write(trail, copy, 2)
    assert trail.copy.read_text().count("\n") == 2 and whole(trail)
    copy.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_logrotate_by_copytruncate(trail: Trail, copy: AuditCopy, restarted: bool) -> None:
    write(trail, copy)
    shutil.copy(trail.copy, trail.copy.with_name("audit.jsonl.1"))
    os.truncate(trail.copy, 0)
    if restarted:
        copy = again(trail, copy)
    write(trail, copy, 2)
    assert trail.copy.read_text().count("\n") == 2 and whole(trail)
    copy.close()


def test_a_full_file_becomes_a_segment_named_by_its_ids(trail: Trail) -> None:
    copy = AuditCopy(trail.copy, trail.reader, segment_bytes=600)
    for number in range(6):
        write(trail, copy, 3)
        if number == 3:
            copy.close()
            copy = AuditCopy(trail.copy, trail.reader, segment_bytes=600)
    names = sorted(path.name for path in trail.directory.glob("audit-*"))
    assert names[0].startswith("audit-1-") and len(names) >= 2
    last = int(names[0].removesuffix(".jsonl").split("-")[2])
    assert any(name.startswith(f"audit-{last + 1}-") for name in names)
    assert whole(trail)
    copy.close()


def test_lost_without_a_trace_it_is_written_anew(trail: Trail, copy: AuditCopy) -> None:
    write(trail, copy)
    trail.copy.unlink()
    copy = again(trail, copy)
    write(trail, copy)
    assert whole(trail)
    copy.close()


def test_a_full_disk_never_reaches_the_head_and_is_caught_up(trail: Trail, copy: AuditCopy) -> None:
    write(trail, copy)
    rows = trail.add(*[{"output": "x" * 400}] * 50)
    with files_end_at(trail.copy.stat().st_size + 1000):
        copy.write(rows[0].id, [row.line for row in rows])
        assert copy.behind > 0 and str(trail.copy) in copy.error
        copy.write(rows[-1].id + 1, [])
        assert not copy.catch_up()
    write(trail, copy)
    assert copy.behind == 0 and copy.error == "" and whole(trail)


def test_a_directory_that_is_gone_comes_back(trail: Trail) -> None:
    place = trail.directory / "elsewhere" / "audit.jsonl"
    copy = AuditCopy(place, trail.reader)
    write(trail, copy)
    shutil.rmtree(place.parent)
    place.parent.write_text("in the way")
    write(trail, copy)
    assert copy.behind == 3 and copy.error
    place.parent.unlink()
    assert copy.catch_up()
    assert place.read_text().splitlines()[-1] == trail.lines[-1]
    copy.close()


def test_ids_that_do_not_join_are_filled_from_the_ledger(trail: Trail, copy: AuditCopy) -> None:
    write(trail, copy)
    trail.add(count=4)
    write(trail, copy)
    copy.write(2, trail.lines[1:3])
    assert whole(trail)


@pytest.mark.parametrize("end", ['{"id":4,"ts":1,"kind":"ack"}\n', "not json\n", "\n"])
def test_a_file_that_somebody_wrote_to_is_set_aside_and_written_anew(trail: Trail, copy: AuditCopy, end: str) -> None:
    write(trail, copy)
    with trail.copy.open("a") as file:
        file.write(end)
    write(trail, copy)
    assert whole(trail)
    assert trail.copy.with_name("audit.jsonl.aside-1").read_text().endswith(end)


def test_a_file_of_another_history_is_set_aside(trail: Trail, tmp_path: Path, copy: AuditCopy) -> None:
    other = Trail(tmp_path / "other")
    other.add(*[{"kind": "ack"}] * 9)
    trail.copy.write_text("".join(line + "\n" for line in other.lines))
    write(trail, copy)
    assert whole(trail)
    other.close()


def test_the_head_goes_on_while_another_thread_catches_up(trail: Trail, copy: AuditCopy) -> None:
    trail.add(count=3000)
    thread = threading.Thread(target=copy.catch_up)
    thread.start()
    for _ in range(50):
        write(trail, copy)
    thread.join()
    assert copy.behind == 0 and whole(trail)


def test_one_write_catches_up_a_bounded_number(trail: Trail, copy: AuditCopy) -> None:
    for _ in range(7):
        trail.add(count=1000)
    write(trail, copy)
    assert 0 < copy.behind < 7000
    assert copy.catch_up() and copy.behind == 0 and whole(trail)

"""`autoheal audit verify` and `export` on a real ledger, beside the one who writes it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoheal.store.copy import AuditCopy
from tests.unit.cli.stage import run
from tests.unit.store.trail import Trail


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """Twelve events in database and copy; the writer has it open all the while."""
    made = Trail(tmp_path / "data")
    made.add(count=12)
    copy = AuditCopy(made.copy, made.reader)
    assert copy.catch_up()
    copy.close()
    yield made
    made.close()


def at(trail: Trail, *args: str) -> tuple[str, ...]:
    return (*args, "--data-dir", str(trail.directory))


def test_a_whole_trail_is_whole_beside_its_writer(trail: Trail) -> None:
    done = run(*at(trail, "audit", "verify"))
    assert done.exit_code == 0
    assert "database: whole 12 events (1 to 12)" in done.stdout and "copy: whole 12 events" in done.stdout
    told = json.loads(run(*at(trail, "audit", "verify", "--json")).stdout)
    assert told["ok"] and [one["what"] for one in told["reports"]] == ["database", "copy"]
    assert told["reports"][0]["last_hash"] == json.loads(trail.lines[-1])["hash"]


def test_an_edited_line_is_named_and_the_answer_is_no(trail: Trail) -> None:
    trail.copy.write_text(trail.copy.read_text().replace('"ts":5.0', '"ts":5.5'))
    done = run(*at(trail, "audit", "verify"))
    assert done.exit_code == 1
    assert "database: whole" in done.stdout and "copy: BROKEN" in done.stdout
    assert f"{trail.copy}:5: edited" in done.stdout
    told = json.loads(run(*at(trail, "audit", "verify", "--json")).stdout)
    assert not told["ok"]
    assert {p["event_id"] for p in told["reports"][1]["problems"]} == {5}


def test_a_cut_copy_is_found(trail: Trail) -> None:
    lines = trail.copy.read_text().splitlines(keepends=True)
    trail.copy.write_text("".join(lines[:-2]))
    done = run(*at(trail, "audit", "verify"))
    assert done.exit_code == 1 and "the copy ends at event 10, the database at event 12" in done.stdout


def test_either_half_alone_is_verified(trail: Trail, tmp_path: Path) -> None:
    done = run("audit", "verify", "--file", str(trail.copy))
    assert done.exit_code == 0 and f"{trail.copy}: whole 12 events" in done.stdout
    lone = tmp_path / "lone"
    lone.mkdir()
    (lone / "audit.jsonl").write_bytes(trail.copy.read_bytes())
    assert run("audit", "verify", "--data-dir", str(lone)).stdout.startswith("copy: whole")
    trail.copy.unlink()
    assert run(*at(trail, "audit", "verify")).stdout.startswith("database: whole")


def test_a_witness_shows_a_trail_written_anew(trail: Trail) -> None:
    seventh = json.loads(trail.lines[6])["hash"]
    assert run(*at(trail, "audit", "verify", "--witness", f"7:{seventh}")).exit_code == 0
    done = run(*at(trail, "audit", "verify", "--witness", f"7:{'0' * 64}"))
    assert done.exit_code == 1 and "witness" in done.stdout


@pytest.mark.parametrize("witness", ["7", "x:" + "0" * 64, "7:abc", "7:" + "g" * 64])
def test_what_is_no_witness_is_wrong_use(trail: Trail, witness: str) -> None:
    assert run(*at(trail, "audit", "verify", "--witness", witness)).exit_code == 2


def test_where_there_is_nothing_it_is_wrong_use_and_nothing_is_made(tmp_path: Path) -> None:
    for args in (("audit", "verify"), ("audit", "export")):
        done = run(*args, "--data-dir", str(tmp_path / "none"))
        assert done.exit_code == 2 and "none" in done.stderr and done.stdout == ""
    assert run("audit", "verify", "--file", str(tmp_path / "none")).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is not a database, but it is long enough to be looked at" * 20)
    done = run("audit", "verify", "--data-dir", str(tmp_path))
    assert done.exit_code == 3 and done.stderr.startswith("autoheal: the ledger cannot be read")


# ---- export -----------------------------------------------------------------------------------------------------


def test_an_export_is_the_lines_as_they_are_and_verifies(trail: Trail, tmp_path: Path) -> None:
    done = run(*at(trail, "audit", "export"))
    assert (done.exit_code, done.stdout) == (0, "".join(f"{line}\n" for line in trail.lines))
    out = tmp_path / "out.jsonl"
    told = run(*at(trail, "audit", "export", "--json", "-o", str(out)))
    assert json.loads(told.stdout) == {"events": 12, "last_id": 12, "output": str(out)}
    assert out.read_text() == done.stdout
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert run("audit", "verify", "--file", str(out)).exit_code == 0


def test_an_export_goes_on_where_the_last_one_ended(trail: Trail) -> None:
    done = run(*at(trail, "audit", "export", "--since-id", "10"))
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [11, 12]
    assert run(*at(trail, "audit", "export", "--since-id", "12")).stdout == ""


def test_an_export_that_cannot_be_written_leaves_no_half_file(trail: Trail, tmp_path: Path) -> None:
    assert run(*at(trail, "audit", "export", "-o", str(tmp_path / "no" / "dir"))).exit_code == 1
    assert run(*at(trail, "audit", "export", "-o", str(tmp_path))).exit_code == 1
    assert run(*at(trail, "audit", "export", "--json")).exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]

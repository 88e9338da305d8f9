"""`autoheal audit verify` and `export` on a real ledger, beside the one who writes it."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from autoheal.cli import ledger
from autoheal.store import replay
from autoheal.store.copy import AuditCopy
from tests.unit.cli.stage import run
from tests.unit.store.trail import Trail, sealed


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """Twelve events in database and copy; the writer has it open all the while."""
    made = Trail(tmp_path / "data")
    made.add(*[{"kind": "stopped"}] * 12)
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
    assert told["ok"] and [one["what"] for one in told["reports"]] == ["database", "copy", "state"]
    assert told["reports"][0]["last_hash"] == json.loads(trail.lines[-1])["hash"]


def test_an_edited_line_is_named_and_the_answer_is_no(trail: Trail) -> None:
    trail.copy.write_text(trail.copy.read_text().replace('"ts":5.0', '"ts":5.5'))
    done = run(*at(trail, "audit", "verify"))
    assert done.exit_code == 1
    assert "database: whole" in done.stdout and "copy: BROKEN" in done.stdout and "state: whole" in done.stdout
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


# ---- the working state ------------------------------------------------------------------------------------------


def tampered(trail: Trail, statement: str) -> None:
    with closing(sqlite3.connect(trail.database)) as connection, connection:
        connection.execute(statement)


def test_a_state_that_the_events_do_not_make_is_named_and_the_answer_is_no(trail: Trail) -> None:
    trail.add({"kind": "mode_changed", "enabled": True, "dry_run": True, "source": "api"})
    tampered(trail, """insert into facts (space, key, data) values ('slot', 'live|k', '{"started_at": 1.0}')""")
    trail.copy.unlink()
    done = run(*at(trail, "audit", "verify"))
    assert done.exit_code == 1
    assert "database: whole" in done.stdout and "state: BROKEN 13 events" in done.stdout
    assert "fact slot live|k: extra" in done.stdout and "fact mode mode: missing" in done.stdout
    told = json.loads(run(*at(trail, "audit", "verify", "--json")).stdout)
    assert not told["ok"] and [one["ok"] for one in told["reports"]] == [True, False]
    assert {(p["place"], p["wrong"]) for p in told["reports"][1]["problems"]} == {
        ("fact slot live|k", "extra"),
        ("fact mode mode", "missing"),
    }


def test_damaged_events_are_not_replayed(trail: Trail) -> None:
    tampered(trail, "update events set line = replace(line, '\"ts\":5.0', '\"ts\":5.5') where id = 5")
    done = run(*at(trail, "audit", "verify"))
    assert done.exit_code == 1
    assert "database: BROKEN" in done.stdout and "state: not checked the events are damaged" in done.stdout
    state = json.loads(run(*at(trail, "audit", "verify", "--json")).stdout)["reports"][-1]
    assert (state["what"], state["ok"], state["done"]) == ("state", False, False)


def test_a_ledger_that_begins_later_is_whole_though_its_state_cannot_be_replayed(tmp_path: Path) -> None:
    made = Trail(tmp_path / "later")
    with made.ledger.transaction() as transaction:
        transaction.start_after(7)
        rows, head = sealed(transaction.head, [{"kind": "stopped"}] * 3)
        transaction.append(rows, head)
    made.close()
    done = run("audit", "verify", "--data-dir", str(made.directory))
    assert done.exit_code == 0, done.output
    assert "state: not checked the events up to 7 are not there" in done.stdout


def test_a_long_replay_says_how_far_it_is(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "TELL_EVERY", 5)
    monkeypatch.setattr(replay, "_BATCH", 5)
    done = run(*at(trail, "audit", "verify"))
    assert done.exit_code == 0 and "state: whole 12 events" in done.stdout
    assert done.stderr.splitlines() == [f"state: {n} of 12 events replayed" for n in (5, 10)]


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


# ---- which ledger it is ---------------------------------------------------------------------------------------------


def test_a_damaged_anchor_is_broken_and_no_traceback(trail: Trail) -> None:
    trail.sql("INSERT INTO facts (space, key, data) VALUES ('ledger', 'anchor', 'nojson')")
    done = run(*at(trail, "audit", "verify"))
    assert done.exit_code == 1 and "database: BROKEN" in done.stdout and "fact ledger/anchor: anchor" in done.stdout
    done = run(*at(trail, "db", "prune", "--older-than", "1d"))
    assert done.exit_code == 3 and "fact ledger/anchor is damaged" in done.stderr


def test_where_nothing_was_chosen_no_option_is_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOHEAL_DATA_DIR", str(tmp_path))
    for verb in (("db", "status"), ("audit", "verify"), ("audit", "export")):
        done = run(*verb)
        assert done.exit_code == 2 and "set DATABASE_URL or AUTOHEAL_DATA_DIR" in done.stderr
        assert not done.stderr.startswith("autoheal: --data-dir")
        assert run(*verb, "--data-dir", str(tmp_path)).stderr.startswith("autoheal: --data-dir: there is n")


def test_a_ledger_that_was_moved_away_is_remarked_on(trail: Trail) -> None:
    verbs = (("db", "status"), ("db", "prune", "--older-than", "1d"), ("audit", "verify"), ("audit", "export"))
    assert all("moved" not in run(*at(trail, *verb)).stderr for verb in verbs)
    (trail.directory / "MOVED").write_text("to: postgresql://db/ah\nwhen: 2026-01-01T00:00:00Z\n")
    for verb in verbs:
        done = run(*at(trail, *verb))
        assert done.exit_code == 0 and "was moved to postgresql://db/ah" in done.stderr and "MOVED" not in done.stdout

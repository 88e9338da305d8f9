"""`autoheal db` and `autoheal audit` on a real PostgreSQL, as a person runs them."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import Result

from autoheal.cli import db
from autoheal.core.moves.service import Stopped
from autoheal.store import migrate
from autoheal.store.connection import writer
from autoheal.store.schema import VERSION
from autoheal.store.sqlite import SqliteLedger, database_url
from tests.databases import Postgres
from tests.unit.cli.stage import run
from tests.unit.core.auditor import FIRST
from tests.unit.store.test_replay import Headed, story
from tests.unit.store.trail import Trail

PASSWORD = "hush-hush"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    it = Headed(FIRST, directory=tmp_path_factory.mktemp("lived") / "data")
    story(it)
    it.play(Stopped("test"))
    it.stop()
    return it.directory


@pytest.fixture
def directory(lived: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lived, tmp_path / "data"))


@pytest.fixture
def there(empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database at DATABASE_URL, whose password nothing may show; its name for people."""
    monkeypatch.setenv("DATABASE_URL", empty_postgres_url.replace("autoheal@", f"autoheal:{PASSWORD}@"))
    return empty_postgres_url


def told(*args: str) -> Result:
    done = run(*args)
    assert PASSWORD not in done.output
    if args[:2] in (("db", "status"), ("db", "import")) and "--json" not in args:
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
    return done


def as_json(*args: str, code: int = 0) -> dict[str, Any]:
    done = told(*args, "--json")
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def down(url: str) -> None:
    """Take the schema back to the first revision."""
    engine = writer(url)
    with engine.begin() as connection:
        migrate.downgrade(connection, "0001")
    engine.dispose()


# ---- the schema -----------------------------------------------------------------------------------------------------


def test_an_empty_database_is_brought_up_once(there: str) -> None:
    assert as_json("db", "status", code=1)["schema"] is None
    done = told("db", "upgrade")
    assert (done.exit_code, done.stdout) == (0, f"{there}: schema empty -> {VERSION}\n")
    assert told("db", "upgrade").stdout == f"{there}: schema {VERSION} is up to date\n"
    assert as_json("db", "upgrade") == {"place": there, "from": VERSION, "to": VERSION, "changed": False}
    found = as_json("db", "status")
    assert (found["schema"], found["events"], found["head"]["id"], found["oldest"]) == (VERSION, 0, 0, None)


def test_an_older_schema_is_brought_up_and_a_newer_one_is_left_alone(there: str) -> None:
    told("db", "upgrade")
    down(there)
    status = told("db", "status")
    assert status.exit_code == 1 and "run `autoheal db upgrade`" in status.stderr and "0001" in status.stdout
    assert told("audit", "verify").exit_code == 1
    assert told("db", "upgrade").stdout == f"{there}: schema 0001 -> {VERSION}\n"
    with psycopg.connect(there) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for verb in (("db", "upgrade"), ("db", "status"), ("audit", "verify"), ("audit", "export")):
        done = told(*verb)
        assert done.exit_code == 1 and "newer than this Autoheal knows" in done.stderr, verb


def test_the_embedded_ledger_is_upgraded_unless_it_is_in_use(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "data")
    trail.add(count=3)
    at = ("--data-dir", str(trail.directory))
    done = told("db", "upgrade", *at)
    assert done.exit_code == 1 and "held by another Autoheal" in done.stderr
    assert as_json("db", "status", *at)["events"] == 3, "looking works beside the service"
    trail.close()
    down(database_url(trail.directory))
    assert told("db", "upgrade", *at).stdout == f"{trail.database}: schema 0001 -> {VERSION}\n"


def test_an_option_is_nearer_than_the_environment(there: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://h")
    assert as_json("db", "status", "--data-dir", str(directory))["place"] == str(directory / "ledger.db")
    assert as_json("audit", "verify", "--data-dir", str(directory))["ok"]


def test_where_there_is_nothing_it_is_wrong_use(tmp_path: Path) -> None:
    for verb in (("upgrade",), ("status",), ("prune", "--older-than", "2d")):
        done = told("db", *verb, "--data-dir", str(tmp_path))
        assert done.exit_code == 2 and "there is no ledger in" in done.stderr
    done = told("db", "import", "--data-dir", str(tmp_path), "--yes")
    assert done.exit_code == 2 and done.stderr.startswith("autoheal: DATABASE_URL: not set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [("db", "status"), ("db", "upgrade"), ("audit", "verify"), ("audit", "export")])
def test_out_of_reach_is_3_and_a_wrong_url_is_2(verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:{PASSWORD}@127.0.0.1:1/none")
    assert told(*verb).exit_code == 3
    monkeypatch.setenv("DATABASE_URL", f"mysql://u:{PASSWORD}@127.0.0.1:1/none")
    assert told(*verb).exit_code == 2


# ---- moving up ------------------------------------------------------------------------------------------------------


def test_the_export_is_the_same_bytes_before_and_after(there: str, directory: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    assert told("audit", "export", "--data-dir", str(directory), "-o", str(before)).exit_code == 0
    moved = as_json("db", "import", "--data-dir", str(directory), "--yes")
    assert told("audit", "export", "-o", str(after)).exit_code == 0
    assert before.read_bytes() == after.read_bytes() and before.stat().st_size > 10_000
    assert moved["sha256"] == hashlib.sha256(after.read_bytes()).hexdigest()
    assert (moved["to"], moved["already"], moved["first_id"]) == (there, False, 1)
    assert moved["last_id"] == len(after.read_bytes().splitlines())


def test_what_was_moved_verifies_and_an_old_copy_beside_it_is_not_looked_at(
    there: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Trail(directory / "other")
    other.add({"kind": "stopped"}, {"kind": "stopped"})
    (directory / "audit.jsonl").write_text("".join(f"{line}\n" for line in other.lines))
    other.close()
    monkeypatch.setenv("AUTOHEAL_DATA_DIR", str(directory))
    assert told("db", "import", "--yes").exit_code == 0
    found = as_json("audit", "verify")
    assert found["ok"] and [(one["what"], one["ok"]) for one in found["reports"]] == [
        ("database", True),
        ("state", True),
    ]
    monkeypatch.setenv("AUTOHEAL_AUDIT_PATH", str(directory / "audit.jsonl"))
    assert told("audit", "verify").exit_code == 1, "a copy that was asked for is compared"


def test_an_edited_event_in_postgresql_is_named(there: str, directory: Path) -> None:
    told("db", "import", "--data-dir", str(directory), "--yes")
    with psycopg.connect(there) as connection:
        connection.execute("UPDATE events SET line = replace(line, '\"kind\"', '\"kinD\"') WHERE id = 4")
    done = told("audit", "verify")
    assert done.exit_code == 1 and "row 4 of events" in done.stdout


def test_it_tells_what_it_did_and_what_comes_next(there: str, directory: Path) -> None:
    done = told("db", "import", "--data-dir", str(directory), "--yes")
    assert done.stdout.startswith("moved:") and there in done.stdout
    assert "start Autoheal with DATABASE_URL" in done.stdout and "MOVED" in done.stdout
    again = told("db", "import", "--data-dir", str(directory), "--yes")
    assert again.exit_code == 0 and again.stdout.startswith("is there already:")
    status = told("db", "status")
    assert status.exit_code == 0 and there in status.stdout and "oldest    event 1, " in status.stdout


def test_nothing_is_moved_unasked(there: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = told("db", "import", "--data-dir", str(directory))
    assert done.exit_code == 2 and "--yes" in done.stderr
    monkeypatch.setattr(db, "_somebody_there", lambda: True)
    done = run("db", "import", "--data-dir", str(directory), input="n\n")
    assert done.exit_code == 1 and "from  " in done.stdout and there in done.stdout
    assert run("db", "import", "--data-dir", str(directory), "--json", input="y\n").exit_code == 2
    assert not (directory / "MOVED").exists()
    assert run("db", "import", "--data-dir", str(directory), input="y\n").exit_code == 0
    assert (directory / "MOVED").exists()


def test_a_ledger_in_use_is_refused(there: str, directory: Path) -> None:
    ledger = SqliteLedger(directory)
    done = told("db", "import", "--data-dir", str(directory), "--yes")
    ledger.close()
    assert done.exit_code == 1 and "stop it first" in done.stderr


def test_a_long_import_says_how_far_it_is(there: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "TELL_EVERY", 0.0)
    monkeypatch.setattr("autoheal.store.transfer._BATCH", 10)
    done = told("db", "import", "--data-dir", str(directory), "--yes")
    lines = done.stderr.splitlines()
    assert lines[0] == "verifying ..." and any(line.startswith("copying events: 10 of ") for line in lines)
    assert any(line.startswith("reading events back: ") for line in lines) and lines[-1] == "tidying up ..."


# ---- retention ------------------------------------------------------------------------------------------------------


def old_and_new(directory: Path) -> None:
    trail = Trail(directory)
    now = time.time()
    trail.add(*({"kind": "stopped", "ts": now - days * 86400} for days in (200, 120, 91, 89, 1, 0)))
    trail.close()


def test_what_is_too_old_is_pruned_and_the_rest_verifies(there: str, tmp_path: Path) -> None:
    old_and_new(tmp_path / "data")
    told("db", "import", "--data-dir", str(tmp_path / "data"), "--yes")
    done = told("db", "prune", "--older-than", "90d")
    assert (done.exit_code, done.stdout) == (
        0,
        f"{there}: 3 events and 0 remediations pruned; the first event kept is 4\n",
    )
    assert "nothing that may go" in told("db", "prune", "--older-than", "90d").stdout
    assert as_json("db", "prune", "--older-than", "90d") == {
        "place": there,
        "events": 0,
        "remediations": 0,
        "first_id": 4,
    }
    found = as_json("db", "status")
    assert (found["events"], found["oldest"]["id"], found["head"]["id"]) == (3, 4, 6)
    verified = as_json("audit", "verify")
    assert verified["ok"] and verified["reports"][0]["first_id"] == 4


def test_an_embedded_ledger_is_pruned_beside_its_service(tmp_path: Path) -> None:
    old_and_new(tmp_path / "data")
    service = SqliteLedger(tmp_path / "data")
    found = as_json("db", "prune", "--older-than", "90d", "--data-dir", str(tmp_path / "data"))
    service.close()
    assert (found["events"], found["first_id"]) == (3, 4)
    assert as_json("db", "status", "--data-dir", str(tmp_path / "data"))["oldest"]["id"] == 4


@pytest.mark.parametrize("age", ["23h", "0", "soon", "-5d"])
def test_what_is_young_is_never_pruned(age: str, there: str) -> None:
    done = told("db", "prune", "--older-than", age)
    assert done.exit_code == 2 and "--older-than" in done.stderr


# ---- the doctor -----------------------------------------------------------------------------------------------------


def test_the_doctor_looks_at_the_database(there: str, directory: Path, postgres_server: Postgres) -> None:
    def checks() -> dict[str, dict[str, Any]]:
        return {one["check"]: one for one in as_json("doctor", "--url", "http://127.0.0.1:1", code=1)["checks"]}

    assert checks()["schema"]["state"] == "bad"
    told("db", "import", "--data-dir", str(directory), "--yes")
    found = checks()
    assert {
        name: found[name]["state"] for name in ("database", "schema", "connections", "database clock")
    } == dict.fromkeys(("database", "schema", "connections", "database clock"), "ok")
    assert found["processes"]["state"] == "off" and found["Redis"]["state"] == "off"
    assert "data directory" not in found
    [(fsync,)] = postgres_server.execute("SHOW fsync")
    assert found["durable"]["state"] == ("ok" if fsync == "on" else "bad")


def test_the_doctor_sees_who_is_there(there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from autoheal.store.claims import PostgresClaims

    told("db", "upgrade")
    claims = PostgresClaims(there, "host:1:a")
    claims.present(15, {"role": "remediator", "version": "9"})
    found = as_json("doctor", "--url", "http://127.0.0.1:1", code=1)["checks"]
    claims.leave()
    claims.close()
    (process,) = [one for one in found if one["check"] == "process"]
    assert process["state"] == "ok" and process["detail"].startswith(
        "remediator host:1:a, version 9, its lease lasts 1"
    )

"""Reading the ledger on disk, beside a running service or without one: verification and export."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from autoheal.cli import render
from autoheal.core.errors import Invalid, Permanent

if TYPE_CHECKING:
    from autoheal.config.settings import Settings
    from autoheal.store.verify import Anchor, Report

Named = list[tuple[str, "Report"]]

_SHARED = ("AUTOHEAL_AUDIT_PATH", "DATABASE_URL", "DATABASE_URL_FILE", "REDIS_URL", "REDIS_URL_FILE")
"""What the environment says of the installation that is not the one in a given directory."""

TELL_EVERY = 100_000
"""Events between two remarks on how far a replay is."""


def settings(data_dir: Path | None) -> Settings:
    """The settings; or, where a data directory is given, those of the embedded ledger in it."""
    from autoheal.config.settings import Settings

    if data_dir is None:
        return Settings.from_env(os.environ)
    over = {"AUTOHEAL_DATA_DIR": str(data_dir), **dict.fromkeys(_SHARED, "")}
    return Settings.from_env({**os.environ, **over})


def nothing_there(data_dir: Path | None, said: str) -> Invalid:
    """The error for a place without a ledger, on the option where it was given."""
    if data_dir is not None:
        return Invalid(said, "--data-dir")
    return Invalid(f"{said}: set DATABASE_URL or AUTOHEAL_DATA_DIR, or give --data-dir")


def tell_if_moved(directory: Path) -> None:
    """A remark where the ledger in `directory` is not the one that is in use any more."""
    from autoheal.store.transfer import moved_away

    try:
        said = moved_away(directory)
    except Permanent as error:
        said = str(error)
    if said:
        render.note(f"note: {said}; what is here is how it was then")


def anchor(text: str | None) -> Anchor | None:
    """An event's id and hash from ``ID:HASH``."""
    if text is None:
        return None
    number, _, digest = text.strip().partition(":")
    if not (number.isascii() and number.isdigit()) or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise Invalid("expected ID:HASH, an event's number and 64 hexadecimal digits", "--witness")
    return int(number), digest


# ---- verify -----------------------------------------------------------------------------------------------------


def verify_files(paths: Sequence[Path], witness: Anchor | None) -> Named:
    from autoheal.store.verify import verify_file

    for path in paths:
        if not path.is_file():
            raise Invalid(f"there is no file {path}", "--file")
    return [(", ".join(map(str, paths)), verify_file(list(paths), witness=witness))]


def verify_directory(data_dir: Path | None, witness: Anchor | None) -> Named:
    """Database and copy, each by itself and against the other; or the one that is there. The database at DATABASE_URL
    has a copy only where one is asked for: what lies in the data directory then is an older ledger's."""
    found = settings(data_dir)
    url = _database(found)
    paths = _copy(found)
    if url is None and not paths:
        raise nothing_there(data_dir, f"there is neither a ledger nor a copy in {found.data_dir}")
    if found.database_url is None:
        tell_if_moved(found.data_dir)
    reports = _verify(url, paths, witness)
    if url is not None and paths and _merely_behind(reports):
        # a running service writes the copy after the database: what looked like a cut tail may only have been late
        reports = _verify(url, _copy(found), witness)
    if url is not None:
        reports.append(("state", _state(url, whole=reports[0][1].ok)))
    return reports


def _state(url: str, whole: bool) -> Report:
    """Facts and remediations beside the events, where these can be trusted."""
    from autoheal.store import replay

    if not whole:
        return replay.not_replayed("the events are damaged, so the state was not replayed from them", ok=False)
    return replay.verify_state(url, _Told())


class _Told:
    """Says on stderr how far a long replay is."""

    def __init__(self) -> None:
        self._next = TELL_EVERY

    def __call__(self, done: int, last: int) -> None:
        if done >= self._next and done < last:
            render.note(f"state: {done} of {last} events replayed")
            self._next = done + TELL_EVERY


def _database(found: Settings) -> str | None:
    from autoheal.store import status
    from autoheal.store.sqlite import database_path, database_url

    if found.database_url is not None:
        status.must_fit(found.database_url.reveal())
        return found.database_url.reveal()
    return database_url(found.data_dir) if database_path(found.data_dir).exists() else None


def _copy(found: Settings) -> list[Path]:
    from autoheal.store import lines

    return [part.path for part in lines.parts(found.audit_path)] if found.copies else []


def _verify(url: str | None, paths: Sequence[Path], witness: Anchor | None) -> Named:
    from autoheal.store import verify

    if url is None:
        return [("copy", verify.verify_file(paths, witness=witness))]
    if not paths:
        return [("database", verify.verify_database(url, witness=witness))]
    database, copy = verify.verify_pair(paths, url, witness=witness)
    return [("database", database), ("copy", copy)]


def _merely_behind(reports: Named) -> bool:
    problems = [problem for _, report in reports for problem in report.problems]
    return bool(problems) and all(problem.wrong == "cut" for problem in problems)


def as_dict(name: str, report: Report) -> dict[str, Any]:
    return {
        "what": name,
        "ok": report.ok,
        "done": report.done,
        "checked": report.checked,
        "first_id": report.first_id,
        "last_id": report.last_id,
        "last_hash": report.last_hash,
        "total": report.total,
        "problems": [problem._asdict() for problem in report.problems],
        "note": report.note,
    }


def show(name: str, report: Report) -> None:
    """The verdict, every problem that was kept, and what the verdict proves."""
    if not report.done:
        render.say(f"{name}:", render.text("not checked", "bold yellow"), report.note)
        return
    verdict = render.text("whole", "bold green") if report.ok else render.text("BROKEN", "bold red")
    count = render.counted(report.checked, "event")
    reach = f"{count} ({report.first_id} to {report.last_id})" if report.first_id is not None else count
    render.say(f"{name}:", verdict, reach)
    for problem in report.problems:
        render.say(render.text(f"  {problem.place}:", "bold"), render.text(problem.wrong, "red"), problem.detail)
    if report.total > len(report.problems):
        render.say(f"  and {report.total - len(report.problems)} more")
    if report.last_hash:
        render.say(render.text(f"  last {report.last_id}:{report.last_hash}", "dim"))
    if report.note and (report.ok or name == "state"):
        render.say(render.text(f"  {report.note}", "dim"))


# ---- export -----------------------------------------------------------------------------------------------------


def export(data_dir: Path | None, since_id: int, output: Path | None) -> tuple[int, int]:
    """Write the lines after `since_id`; how many, and the last one's id. A file appears only when it is whole."""
    found = settings(data_dir)
    url = _database(found)
    if url is None:
        raise nothing_there(data_dir, f"there is no ledger in {found.data_dir}")
    if found.database_url is None:
        tell_if_moved(found.data_dir)
    if output is None:
        return _write(url, since_id, sys.stdout.buffer)
    part = output.with_name(f".{output.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            done = _write(url, since_id, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)
    return done


def _write(url: str, after: int, file: BinaryIO) -> tuple[int, int]:
    from autoheal.store.query import Reader

    reader = Reader(url, pool_size=1)
    count = 0
    try:
        while rows := reader.lines_after(after):
            file.write("".join(f"{line}\n" for _, line in rows).encode())
            count, after = count + len(rows), rows[-1][0]
        file.flush()
    finally:
        reader.close()
    return count, after

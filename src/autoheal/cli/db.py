"""`autoheal db`: the database's schema, what it holds, moving up to PostgreSQL, taking old events away."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoheal.cli import render
from autoheal.cli.client import Json
from autoheal.cli.exits import NO, complain
from autoheal.core.errors import Invalid

if TYPE_CHECKING:
    from autoheal.store.status import Status
    from autoheal.store.transfer import Stock, Transferred

app = typer.Typer(
    help="The database: its schema, what it holds, moving up to PostgreSQL.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="The embedded ledger there. Default: DATABASE_URL, else AUTOHEAL_DATA_DIR."
    ),
]

LEAST_AGE = 86400.0
"""Seconds: what is younger is never pruned."""
TELL_EVERY = 5.0
"""Seconds between two remarks on how far something long is, where nobody looks at a terminal."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The database that is meant. `directory`: the embedded one's, None for PostgreSQL."""

    url: str
    directory: Path | None


def chosen(data_dir: Path | None) -> Chosen:
    """An option is nearer than the environment: --data-dir, else DATABASE_URL, else the embedded ledger."""
    from autoheal.cli import ledger
    from autoheal.store.sqlite import database_path, database_url

    found = ledger.settings(data_dir)
    if found.database_url is not None:
        return Chosen(found.database_url.reveal(), None)
    if not database_path(found.data_dir).is_file():
        raise ledger.nothing_there(data_dir, f"there is no ledger in {found.data_dir}")
    ledger.tell_if_moved(found.data_dir)
    return Chosen(database_url(found.data_dir), found.data_dir)


# ---- the schema -------------------------------------------------------------------------------------------------


@app.command()
def upgrade(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Bring the schema to this version's."""
    from autoheal.store import status

    database = chosen(data_dir)
    before = status.revision(database.url)
    _bring_up(database)
    after = status.revision(database.url)
    place = status.status(database.url).place
    if as_json:
        render.as_json({"place": place, "from": before, "to": after, "changed": before != after})
    elif before == after:
        render.say(f"{place}: schema {after} is up to date")
    else:
        render.say(f"{place}: schema {before or 'empty'} -> {after}")


def _bring_up(database: Chosen) -> None:
    from autoheal.store import migrate
    from autoheal.store.lock import DirectoryLock
    from autoheal.store.session import translated

    lock = DirectoryLock(database.directory) if database.directory is not None else None
    try:
        with translated(database.url):
            migrate.upgrade(database.url)
    finally:
        if lock is not None:
            lock.release()


# ---- what it holds ----------------------------------------------------------------------------------------------


@app.command()
def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Schema, head, oldest event, size. Exit code 1 where the schema is not this version's."""
    from autoheal.store import status as store

    found = store.status(chosen(data_dir).url)
    if as_json:
        render.as_json(_as_dict(found))
    else:
        _show(found)
        if found.misfit:
            complain(found.misfit)
    if not found.fits:
        raise typer.Exit(NO)


def _as_dict(found: Status) -> dict[str, Any]:
    head = None if found.head is None else {"id": found.head.id, "hash": found.head.hash, "ts": found.head.ts}
    oldest = None if found.oldest is None else {"id": found.oldest[0], "ts": found.oldest[1]}
    return {
        "place": found.place,
        "schema": found.schema,
        "needs": found.needs,
        "misfit": found.misfit or None,
        "head": head,
        "oldest": oldest,
        "events": found.events,
        "bytes": found.size,
    }


def _show(found: Status) -> None:
    now = found.now if found.now is not None else time.time()
    rows = [("database", found.place), ("schema", found.schema or "none yet"), ("size", _bytes(found.size))]
    if found.head is not None and found.oldest is not None:
        rows.append(("events", f"{found.events:,}"))
        rows.append(("head", f"event {found.head.id}, {render.when_and_age(found.head.ts, now)}"))
        rows.append(("oldest", f"event {found.oldest[0]}, {render.when_and_age(found.oldest[1], now)}"))
    elif found.head is not None:
        rows.append(("events", "none"))
    render.pairs(rows)


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1024:.0f} KiB"


# ---- moving up --------------------------------------------------------------------------------------------------


@app.command("import")
def import_(
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="The embedded installation. Default: AUTOHEAL_DATA_DIR."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Move up to the PostgreSQL at DATABASE_URL.

    Everything of an embedded installation goes into an empty database, ids and chain as they are, all of it or
    nothing. Stop Autoheal first. Afterwards it starts only with DATABASE_URL; the old files stay.
    """
    from autoheal.cli import ledger
    from autoheal.store import transfer
    from autoheal.store.session import place

    found = ledger.settings(None)
    if found.database_url is None:
        raise Invalid("not set: it says where to move to, postgresql://USER:PASSWORD@HOST:5432/NAME", "DATABASE_URL")
    directory = data_dir if data_dir is not None else found.data_dir
    url = found.database_url.reveal()
    stock = transfer.stock(directory)
    if not yes:
        if as_json or not _somebody_there():
            raise Invalid("needed where nobody can be asked", "--yes")
        _ask(stock, directory, place(url))
    began = time.monotonic()
    with _Told() as told:
        moved = transfer.transfer(directory, url, told)
    took = time.monotonic() - began
    if as_json:
        render.as_json(_told_as_dict(moved, directory, place(url), took))
    else:
        _show_moved(moved, directory, place(url), took)


def _ask(stock: Stock, directory: Path, where: str) -> None:
    count = 0 if stock.first is None else stock.head.id - stock.first + 1
    reach = f" ({stock.first} to {stock.head.id})" if count else ""
    render.pairs([("from", str(directory)), ("events", f"{count:,}{reach}"), ("to", where)])
    if not typer.confirm("Move it? Autoheal must be stopped, and needs DATABASE_URL from then on.", err=True):
        raise typer.Exit(NO)


def _somebody_there() -> bool:
    return sys.stdin.isatty()


def _told_as_dict(moved: Transferred, directory: Path, where: str, took: float) -> dict[str, Any]:
    return {
        "from": str(directory),
        "to": where,
        "already": moved.already,
        "first_id": moved.first,
        "last_id": moved.head.id,
        "last_hash": moved.head.hash,
        "facts": moved.facts,
        "remediations": moved.remediations,
        "sha256": moved.sha256 or None,
        "seconds": round(took, 3),
    }


def _show_moved(moved: Transferred, directory: Path, where: str, took: float) -> None:
    verb = "is there already:" if moved.already else "moved:"
    count = moved.head.id - moved.first + 1
    counts = [
        f"{_many(count, 'event')} ({moved.first} to {moved.head.id})",
        _many(moved.remediations, "remediation"),
        _many(moved.facts, "fact"),
    ]
    ended = "" if moved.already else f" in {took:.1f} s"
    render.say(render.text(verb, "bold green"), ", ".join(counts) + ended)
    render.pairs(
        [
            ("last", f"{moved.head.id}:{moved.head.hash}"),
            ("export", f"sha256 {moved.sha256}" if moved.sha256 else None),
            ("to", where),
            ("next", "start Autoheal with DATABASE_URL"),
            ("", f"{directory / 'MOVED'} keeps it from starting there without"),
            ("", "the old files stay as they are, and may be kept as a backup"),
        ]
    )


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class _Told:
    """Says on stderr how far it is: on a terminal in one line that changes, else a line now and then."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._next = time.monotonic() + (0.2 if self._live else TELL_EVERY)
        self._shown = False

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown and self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next and done:
            return
        text = f"{what}: {done:,} of {total:,}" if total else f"{what} ..."
        if self._live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._next = now + 0.2
        elif now >= self._next:
            render.note(text)
            self._next = now + TELL_EVERY
        self._shown = True


# ---- retention --------------------------------------------------------------------------------------------------


@app.command()
def prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="DURATION", help="Such as 90d; 1d at least.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take the oldest events away for good.

    What is not over stays; the chain goes on from the first event that is kept. `autoheal audit export` first, if
    they should be kept elsewhere. AUTOHEAL_RETENTION lets the service do this by itself.
    """
    from autoheal.core.duration import parse_seconds
    from autoheal.store import status as store

    try:
        seconds = parse_seconds(older_than)
        if seconds < LEAST_AGE:
            raise Invalid("must be 1d or more")
    except Invalid as error:
        raise Invalid(error.detail, "--older-than") from None
    database = chosen(data_dir)
    store.must_fit(database.url)
    from autoheal.store import retention

    held = store.status(database.url)
    with _Told() as told:
        gone = retention.prune(
            database.url,
            (held.now if held.now is not None else time.time()) - seconds,
            progress=lambda done, of: told("pruning", done, of),
        )
    counts = {"events": gone.events, "remediations": gone.remediations}
    if as_json:
        render.as_json({"place": held.place, **counts, "first_id": gone.first})
    elif gone.events or gone.remediations:
        went = " and ".join(_many(count, noun[:-1]) for noun, count in counts.items())
        render.say(f"{held.place}: {went} pruned; the first event kept is {gone.first}")
    else:
        render.say(f"{held.place}: nothing that may go is older than {older_than}")

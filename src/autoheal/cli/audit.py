"""`autoheal audit`: the trail of a running Autoheal; `verify` and `export` read the ledger itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoheal.cli import event_rows, render
from autoheal.cli.client import Json, Token, Url, connect
from autoheal.cli.exits import NO
from autoheal.cli.follow import Event, Wanted, follow, history
from autoheal.cli.moments import moment
from autoheal.core.errors import Invalid, Permanent

if TYPE_CHECKING:
    from autoheal.clients.autoheal import AutohealClient

app = typer.Typer(
    help="The trail: what was heard, decided, done. Newest events last.",
    invoke_without_command=True,
    rich_markup_mode=None,
)

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="The embedded ledger there. Default: DATABASE_URL, else AUTOHEAL_DATA_DIR."
    ),
]


@app.callback()
def audit(
    context: typer.Context,
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Such as decision_skip.")] = None,
    alertname: Annotated[str | None, typer.Option("--alertname", metavar="NAME", help="Of this alert.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Of this rule.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="30m (ago), 2026-01-31T12:00:00Z, Unix seconds.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Written like --since.")] = None,
    contains: Annotated[str | None, typer.Option("--contains", metavar="TEXT", help="With this in its line.")] = None,
    n: Annotated[int | None, typer.Option("-n", min=0, max=10_000, help="How many: 100, with --follow 10.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show events."""
    if context.invoked_subcommand is not None:
        return
    _known_kind(kind)
    now = time.time()
    start = moment(since, now, "--since") if since is not None else None
    end = moment(until, now, "--until") if until is not None else None
    if start is not None and end is not None and start > end:
        raise Invalid("is later than --until", "--since")
    wanted = Wanted(kind, alertname, rule, start, end, contains)
    with connect(url, token) as client:
        if follow_it:
            _follow(client, wanted, 10 if n is None else n, as_json)
            return
        found = history(client, wanted, 100 if n is None else n)
    if as_json:
        render.as_json({"count": len(found), "events": found})
    elif found:
        rows = [event_rows.row(event, now, ages=True) for event in found]
        render.table(event_rows.HEADERS, rows)
    else:
        render.note("no event matches")


def _known_kind(kind: str | None) -> None:
    from autoheal.config.mistakes import did_you_mean
    from autoheal.core.events import KINDS

    if kind is not None and kind not in KINDS:
        raise Invalid(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)}", "--kind")


def _follow(client: AutohealClient, wanted: Wanted, n: int, as_json: bool) -> None:
    """Print until Ctrl-C, which is a fine end."""
    try:
        for number, event in enumerate(follow(client, wanted, n, render.note)):
            if as_json:
                render.json_line(event)
            else:
                _tell(event, first=number == 0)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _tell(event: Event, first: bool) -> None:
    row = event_rows.row(event, time.time())
    render.table(event_rows.HEADERS, [row], widths=event_rows.WIDTHS, show_header=first)
    sys.stdout.flush()


# ---- the ledger itself ------------------------------------------------------------------------------------------


@app.command()
def verify(
    data_dir: DataDir = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file", metavar="FILE", help="A copy or an export, oldest first; instead of the data directory."
        ),
    ] = None,
    witness: Annotated[
        str | None,
        typer.Option(
            "--witness", metavar="ID:HASH", help="An event's hash as noted elsewhere, such as the process log."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Is the trail whole? Names every line that was edited, removed, moved or cut, and whatever in the working state
    is not what the events add up to. Works beside a running service."""
    from autoheal.cli import ledger

    known = ledger.anchor(witness)
    reports = ledger.verify_files(file, known) if file else ledger.verify_directory(data_dir, known)
    if as_json:
        render.as_json({"ok": all(r.ok for _, r in reports), "reports": [ledger.as_dict(n, r) for n, r in reports]})
    else:
        for name, report in reports:
            ledger.show(name, report)
    if not all(report.ok for _, report in reports):
        raise typer.Exit(NO)


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")] = None,
    since_id: Annotated[int, typer.Option("--since-id", min=0, metavar="ID", help="Only what comes after it.")] = 0,
    data_dir: DataDir = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="How many and where to, as JSON on stdout; needs --output.")
    ] = False,
) -> None:
    """Write the ledger's lines as they are, one event a line, so that `audit verify --file` can check them."""
    from autoheal.cli import ledger

    if as_json and output is None:
        raise Invalid("needs --output: the lines themselves go to stdout otherwise", "--json")
    if output is not None and output.exists() and not output.is_file():
        raise Permanent(f"{output} is there and is no file")
    count, last = ledger.export(data_dir, since_id, output)
    if as_json:
        render.as_json({"events": count, "last_id": last, "output": str(output)})
    else:
        render.note(render.counted(count, "event") + (f", up to {last}" if count else ""))

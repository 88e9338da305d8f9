"""Import of a hand-restored copy: `audit.jsonl` is there, the database is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from autoheal.core.errors import Permanent
from autoheal.core.events import GENESIS
from autoheal.engine.ports import Fact, Head, RemediationRow
from autoheal.store import lines as files
from autoheal.store.ledger import LedgerTransaction, SqlLedger
from autoheal.store.verify import Report, verify_file

Fold = Callable[[Iterator[str]], tuple[Sequence[Fact], Sequence[RemediationRow]]]
"""What the engine makes of the lines: the state to save beside them."""

_BATCH = 1000


class CopyDamaged(Permanent):
    """The copy cannot be imported: it is not a whole trail. `report` names what is wrong."""

    def __init__(self, path: Path, report: Report) -> None:
        shown = "\n  ".join(str(problem) for problem in report.problems[:5])
        more = f"\n  and {report.total - 5} more" if report.total > 5 else ""
        super().__init__(
            f"there is a copy of the trail at {path} and no database; it is not imported, because it is damaged:\n"
            f"  {shown}{more}\nMove it away to start anew, or restore one that verifies."
        )
        self.report = report


@dataclass(frozen=True, slots=True)
class Restored:
    """What was imported: the first event, and where the ledger stands now."""

    first: int
    head: Head
    paths: tuple[Path, ...]


def restore(path: Path, ledger: SqlLedger, fold: Fold | None = None) -> Restored | None:
    """Import the copy at `path` (with its segments) where the ledger is empty; None where there is nothing to do.

    The chain is verified first (CopyDamaged; only a half-written last line is let pass). Lines and the state that
    `fold` makes of them are saved in one transaction: a crash leaves the ledger empty, and the next start imports.
    """
    with ledger.transaction() as transaction:
        if transaction.head.id:
            return None
        paths = tuple(part.path for part in files.parts(path))
        if not paths:
            return None
        report = verify_file(paths)
        harmless = [problem for problem in report.problems if problem.wrong == "cut" and problem.event_id is None]
        half = len(harmless) == 1 and report.total == 1 and harmless[0].place.startswith(f"{paths[-1]}:")
        if not report.ok and not half:
            raise CopyDamaged(path, report)
        first = report.first_id or 1
        if first > 1:
            transaction.start_after(first - 1)
        _insert(transaction, _lines(paths))
        if fold is not None:
            transaction.save(*fold(_lines(paths)))
        return Restored(first, transaction.head, paths)


def _lines(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        yield from files.complete_lines(path)


def _insert(transaction: LedgerTransaction, lines: Iterator[str]) -> None:
    while batch := list(islice(lines, _BATCH)):
        rows = [row for row in map(files.row_of, batch) if row is not None]
        last = rows[-1]
        transaction.append(rows, Head(last.id, files.hash_of(last.line) or GENESIS, last.ts))

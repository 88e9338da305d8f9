"""What an alert costs, and what a question takes, as a ledger grows to ten million events, on either store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from autoheal import actions
from autoheal.config.policy_file import parse_policy
from autoheal.core.alert import Alert, fingerprint
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.service import PolicyLoaded, Started
from autoheal.engine.head import HeadThread
from autoheal.store.sqlite import database_url
from bench.fill import check, fill, open_ledger
from bench.intake import INSTANCES, POLICY, payload
from bench.questions import asked, show
from bench.rig import console, percentile, table
from tests.databases import Postgres

BATCH = 100
ROUNDS = 100
WARM = INSTANCES // BATCH
WRITTEN = (WARM + ROUNDS) * (BATCH + 1) + INSTANCES
"""Events that a measurement adds, at most."""


CHECKED = 1_000_000
"""Events up to which the chain is read through: beyond, that takes minutes and shows nothing more."""


class After:
    """A clock that goes on from the last event, whatever year the trail is of."""

    def __init__(self, ts: float) -> None:
        self._ahead = ts - time.monotonic()

    def now(self) -> float:
        return self.monotonic() + self._ahead

    def monotonic(self) -> float:
        return time.monotonic()


def batches() -> list[list[Alert]]:
    """The alerts of `bench.intake`, read."""
    made = [
        Alert("firing", one["labels"], one["annotations"], 1_760_000_000.0, fingerprint(one["labels"]))
        for one in map(payload, range(INSTANCES))
    ]
    return [made[at : at + BATCH] for at in range(0, INSTANCES, BATCH)]


@contextmanager
def deciding(url: str) -> Iterator[HeadThread]:
    """A head on the ledger at `url`, in this process, without a copy and without followers."""
    policy = parse_policy(POLICY.encode(), "bench", {}, actions.KINDS)
    with closing(open_ledger(url)) as ledger:
        head = HeadThread(ledger, After(ledger.load().head.ts), policy)
        head.start()
        try:
            head.submit(Started("bench", enabled=True, dry_run=True, instance="bench")).result()
            head.submit(PolicyLoaded(policy)).result()
            yield head
        finally:
            head.stop()


def batch_times(urls: Mapping[str, str]) -> tuple[int, dict[str, list[float]]]:
    """Seconds for each batch of 100, decided, sealed and committed: one after the other, the stores in turn, so that
    what else the machine does befalls both; and how many events there are then."""
    times: dict[str, list[float]] = {name: [] for name in urls}
    alerts = batches()
    with ExitStack() as stack:
        heads = {name: stack.enter_context(deciding(url)) for name, url in urls.items()}
        for number in range(WARM + ROUNDS):
            move = AlertsArrived(alerts[number % len(alerts)])
            for name, head in heads.items():
                began = time.perf_counter()
                head.submit(move, BATCH).result()
                if number >= WARM:
                    times[name].append(time.perf_counter() - began)
        return max(head.state.last_id for head in heads.values()), times


def main(folder: Path, database: Postgres, sizes: Sequence[int], rounds: int) -> None:
    """Each measurement ends where the ledger has its size: at 10⁶ and 10⁷ a partition is at its fullest."""
    urls = {"SQLite": database_url(folder / "grown"), "PostgreSQL": database.create_database()}
    found: dict[int, dict[str, list[float]]] = {}
    checked = max((size for size in sizes if size <= CHECKED), default=0)
    for size in sizes:
        for url in urls.values():
            fill(url, max(size - WRITTEN, size // 2))
        count, times = batch_times(urls)
        found[count] = times
        if size == checked:
            for url in urls.values():
                check(url)
    _costs(found)
    show(
        f"Queries on {sizes[-1]:,} events (100 newest that match)",
        {name: asked(url, rounds) for name, url in urls.items()},
    )


def _costs(found: dict[int, dict[str, list[float]]]) -> None:
    names = [*next(iter(found.values()))]
    heads = [f"{name} {what}" for name in names for what in ("ms", "p95", "µs each")]
    shown = table(f"A batch of {BATCH} alerts through the head, as the ledger grows", "events", *heads, "ratio")
    for size, columns in found.items():
        cells = [cell for times in columns.values() for cell in _cells(times)]
        middles = [percentile(times, 0.5) for times in columns.values()]
        shown.add_row(f"{size:,}", *cells, f"{middles[-1] / middles[0]:.2f}")
    console.print(shown)
    first, last = min(found), max(found)
    for name in names:
        grown = percentile(found[last][name], 0.5) / percentile(found[first][name], 0.5)
        console.print(f"{name}: a batch at {last:,} events costs {grown:.2f} times what it costs at {first:,}")


def _cells(times: Sequence[float]) -> tuple[str, str, str]:
    middle = percentile(times, 0.5)
    return f"{middle * 1e3:.2f}", f"{percentile(times, 0.95) * 1e3:.2f}", f"{middle / BATCH * 1e6:.0f}"

"""A connection to PostgreSQL on which no wait is endless: a server that is frozen while its machine still answers would
hold a thread for ever, and no setting of the server or the network ends that."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg


class NoAnswer(psycopg.OperationalError):
    """The wait was too long. `waited`: whoever would try again at once would wait as long again."""

    waited = True


class Synced(psycopg.Pipeline):
    """A pipeline that ends with a Sync and nothing after it. psycopg's own sends a Flush behind it, to no use; and a
    server that is idle in a transaction takes that for the beginning of something and forgets its
    `idle_in_transaction_session_timeout`: who freezes then holds its rows for ever."""

    def _exit_gen(self) -> Generator[Any, Any, Any]:
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
        finally:
            yield from self._fetch_gen(flush=False)


class BoundedConnection(psycopg.Connection[Any]):
    """`answer_seconds`: how long to wait for an answer, None for as long as it takes. Too late is an OperationalError,
    and the end of the connection."""

    answer_seconds: float | None = None

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """psycopg's own, which drives a generator that yields what it waits for."""
        if self.answer_seconds is not None:
            gen = self._bounded(gen, time.monotonic() + self.answer_seconds)
        return super().wait(gen, *args, **options)

    def _bounded(self, gen: Any, deadline: float) -> Generator[Any, Any, Any]:
        try:
            step = next(gen)
            while True:
                ready = yield step
                if not ready and time.monotonic() > deadline:
                    gen.close()
                    self.close()
                    raise NoAnswer("the server does not answer")
                step = gen.send(ready)
        except StopIteration as end:
            return end.value

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        """psycopg's own, in which a pipeline that is there already goes on."""
        with self.lock:
            if self._pipeline is None:
                self._pipeline = Synced(self)
        with super().pipeline() as found:
            yield found

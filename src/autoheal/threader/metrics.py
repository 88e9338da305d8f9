"""The threader's metrics: counted where things happen; what waits is asked of the store at scrape."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from autoheal.engine.ports import Clock
from autoheal.store.threads import Figures

log = structlog.get_logger("threader")

EVERY = 1.0
"""Seconds between two questions to the store, however often the metrics are read."""
PATIENCE = 2.0
"""Seconds after which a store that does not answer leaves its figures out."""
KINDS = ("post", "edit")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ThreaderMetrics:
    """`figures` asks the store and may block or fail; `health`: nothing but the store keeps us from taking alerts;
    `slack`: Slack answers, None where it is not configured or was never asked."""

    def __init__(
        self,
        registry: CollectorRegistry,
        figures: Callable[[], Figures],
        health: Callable[[], bool],
        clock: Clock,
        slack: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self.registry = registry
        r = registry
        self.http_requests = Counter("http_requests", "Requests answered", ["method", "route", "status"], registry=r)
        self.http_seconds = Histogram(
            "http_request_duration_seconds",
            "Time until the answer was sent",
            ["method", "route"],
            registry=r,
            buckets=_SECONDS,
        )
        self.errors = Counter("threader_errors", "Things that went wrong, by kind", ["kind"], registry=r)
        self.calls = Counter("threader_slack_calls", "Calls of Slack by result", ["method", "result"], registry=r)
        self.retried = Counter("threader_posts_retried", "Posts and edits tried again", ["reason"], registry=r)
        self.coalesced = Counter("threader_edits_coalesced", "Edits that a later one made unnecessary", registry=r)
        self.dropped = Counter("threader_dropped", "Lines that were never told; must stay 0", registry=r)
        r.register(_AtScrape(figures, health, slack, clock))


class _AtScrape(Collector):
    """What is only true at the moment it is read. A store that is away leaves its figures out; the rest is told."""

    def __init__(
        self,
        figures: Callable[[], Figures],
        health: Callable[[], bool],
        slack: Callable[[], bool | None],
        clock: Clock,
    ) -> None:
        self._figures, self._health, self._slack, self._clock = figures, health, slack, clock
        self._lock = threading.Lock()
        self._hand = ThreadPoolExecutor(1, "figures")
        self._asking: Future[Figures] | None = None
        self._known: Figures | None = None
        self._asked = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering asks nobody."""
        return []

    def collect(self) -> Iterator[Metric]:
        figures = self._ask()
        healthy = figures is not None and self._health()
        yield _single("threader_health_status", "1 while alerts can be taken", float(healthy))
        up = self._slack()
        if up is not None:
            yield _single("threader_slack_up", "1 while Slack takes what we post", float(up))
        if figures is None:
            return
        depth = GaugeMetricFamily("threader_queue_depth", "Slack work that waits", labels=["kind"])
        for kind in KINDS:
            depth.add_metric([kind], float(figures.depth.get(kind, 0)))
        yield depth
        oldest = 0.0 if figures.oldest is None else max(0.0, self._clock.now() - figures.oldest)
        yield _single("threader_queue_oldest_seconds", "Age of the work that waits longest", oldest)
        yield _single("threader_unsaid_lines", "Replies that are still to be posted", float(figures.unsaid))
        yield _single("threader_conversations_open", "Groups that fire", float(figures.open))

    def _ask(self) -> Figures | None:
        with self._lock:
            if self._clock.monotonic() - self._asked >= EVERY:
                if self._asking is None or self._asking.done():
                    self._asking = self._hand.submit(self._figures)
                try:
                    self._known = self._asking.result(PATIENCE)
                except Exception as error:  # a scrape that fails would hide all other metrics, too
                    self._known = None
                    log.debug("figures_not_read", error=str(error))
                self._asked = self._clock.monotonic()
            return self._known


def _single(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)

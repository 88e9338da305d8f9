"""Metrics of the queues and of the workers: what waits at the broker, who is there to do it."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from autoheal.engine.dispatch import Dispatcher, queues_of
from autoheal.engine.ports import Claims


class QueueMetrics(Collector):
    """Read at scrape from what the dispatcher's sweep saw, a few seconds ago at most; a scrape asks nobody."""

    def __init__(self, dispatcher: Dispatcher, claims: Claims) -> None:
        self._dispatcher = dispatcher
        self._instance = claims.instance

    def collect(self) -> Iterator[Metric]:
        seen = self._dispatcher
        yield GaugeMetricFamily("autoheal_queue_up", "1 while the broker takes messages", value=float(seen.healthy))
        depth = GaugeMetricFamily("autoheal_queue_depth", "Messages that wait at the broker", labels=["queue"])
        for queue, count in sorted(seen.depths.items() if seen.healthy else ()):
            depth.add_metric([queue], count)
        yield depth
        waiting = "Remediations that wait for hands, in all queues"
        yield GaugeMetricFamily("autoheal_queue_waiting", waiting, value=seen.waiting)
        rung = CounterMetricFamily("autoheal_doorbells", "Messages by result", labels=["result"])
        for result, count in (("rung", seen.rung), ("failed", seen.failed), ("again", seen.rung_again)):
            rung.add_metric([result], count)
        yield rung
        yield from self._workers()

    def _workers(self) -> Iterator[Metric]:
        alive = [process for process in self._dispatcher.processes if process.alive and queues_of(process)]
        tally = Tally(queue for process in alive for queue in queues_of(process))
        tally.update(dict.fromkeys(self._dispatcher.depths, 0))
        workers = GaugeMetricFamily("autoheal_workers", "Workers that are there, by queue", labels=["queue"])
        for queue, count in sorted(tally.items()):
            workers.add_metric([queue], count)
        yield workers
        left = "Seconds for which a worker still counts as there, as last seen"
        leases = GaugeMetricFamily("autoheal_worker_lease_seconds", left, labels=["instance"])
        for process in alive:
            leases.add_metric([process.instance], process.left)
        yield leases

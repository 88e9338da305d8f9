"""The threader's metrics: there from the start, read from the store at most once a second, and never in the way."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from autoheal.engine.ports import StoreUnavailable
from autoheal.store.threads import Figures
from autoheal.testing.clock import ManualClock
from autoheal.threader.metrics import ThreaderMetrics


class Store:
    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.asked, self.away = clock, 0, False
        self.up: bool | None = None
        self.healthy = True
        self.registry = CollectorRegistry()
        self.metrics = ThreaderMetrics(self.registry, self.figures, lambda: self.healthy, clock, lambda: self.up)

    def figures(self) -> Figures:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return Figures({"post": 3}, self.clock.now() - 12, 7, 5)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def store() -> Store:
    return Store(ManualClock())


def test_what_waits_is_read_at_scrape(store: Store) -> None:
    assert store.asked == 0  # registering asks nobody
    assert store.value("threader_queue_depth", kind="post") == 3
    assert store.value("threader_queue_depth", kind="edit") == 0
    assert store.value("threader_queue_oldest_seconds") == 12
    assert store.value("threader_unsaid_lines") == 5
    assert store.value("threader_conversations_open") == 7
    assert store.value("threader_health_status") == 1
    assert store.value("threader_dropped_total") == 0
    store.healthy = False
    assert store.value("threader_health_status") == 0


def test_the_store_is_asked_once_a_second_however_many_read(store: Store) -> None:
    for _ in range(5):
        generate_latest(store.registry)
    assert store.asked == 1
    store.clock.advance(1.0)
    generate_latest(store.registry)
    assert store.asked == 2


def test_a_store_that_is_away_leaves_its_figures_out_and_the_rest_is_told(store: Store) -> None:
    store.away = True
    store.metrics.errors.labels("x").inc()
    text = generate_latest(store.registry).decode()
    assert "threader_queue" not in text and "threader_conversations_open" not in text
    assert 'threader_errors_total{kind="x"} 1.0' in text and "threader_health_status 0.0" in text
    store.away = False
    assert store.value("threader_unsaid_lines") is None  # not asked again within the second
    store.clock.advance(1.0)
    assert (store.value("threader_unsaid_lines"), store.value("threader_health_status")) == (5, 1)


def test_slack_is_told_where_it_was_asked(store: Store) -> None:
    assert store.value("threader_slack_up") is None
    store.up = False
    assert store.value("threader_slack_up") == 0
    store.up = True
    assert store.value("threader_slack_up") == 1


def test_a_clock_that_was_set_back_gives_no_negative_age(store: Store) -> None:
    store.value("threader_unsaid_lines")
    store.clock.jump(-100)
    assert store.value("threader_queue_oldest_seconds") == 0


def test_openmetrics_has_them_too(store: Store) -> None:
    assert b"threader_queue_depth" in openmetrics(store.registry)

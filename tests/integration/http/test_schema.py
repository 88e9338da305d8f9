"""The whole OpenAPI description against a live server: no server error, and every answer as described."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from autoheal.testing.alertmanager import FakeAlertmanager
from tests.integration.http.live import Server, server

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with FakeAlertmanager(time.time) as fake:
        env = {"ALERTMANAGER_URL": fake.url}
        with server(tmp_path_factory.mktemp("schema"), env) as found:
            yield found


@pytest.fixture(scope="module")
def api(own: Server) -> Any:
    return schemathesis.openapi.from_url(f"{own.url}/openapi.json")


ENDLESS = ("GET", "/events")


def test_every_answer_is_as_described(api: Any) -> None:
    """Schemathesis' own pytest plugin does not know every pytest, so its strategies are used directly."""
    asked: list[tuple[str, str]] = []
    answered: dict[str, set[int]] = {}
    for result in api.get_all_operations():
        operation = result.ok()
        name = (operation.method.upper(), operation.path)
        if name == ENDLESS:
            continue
        asked.append(name)

        @settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def ask(case: schemathesis.Case) -> None:
            answer = case.call_and_validate(checks=CHECKS, timeout=30)
            answered.setdefault(case.path, set()).add(answer.status_code)

        try:
            ask()
        except Unsatisfiable:
            pass
    assert len(asked) == len(set(asked)) > 15
    assert {200, 400} <= answered["/alert"] & answered["/audit"] & answered["/mode"]


odd = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.integers().map(str)


@settings(max_examples=15, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(last=odd, kind=odd, alertname=odd, ticket=odd)
def test_a_stream_is_opened_or_refused(own: Server, **query: str | None) -> None:
    """Streams do not end, so their answers are looked at and left."""
    names = {"last": "last_event_id"}
    given_ones = {names.get(name, name): value for name, value in query.items() if value is not None}
    with httpx.Client(timeout=10) as client, client.stream("GET", f"{own.url}/events", params=given_ones) as answer:
        assert answer.status_code in (200, 400)
        kind = "text/event-stream" if answer.status_code == 200 else "application/problem+json"
        assert answer.headers["content-type"].startswith(kind)

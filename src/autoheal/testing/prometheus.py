"""A fake Prometheus: instant queries with the answers that a test orders."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from autoheal.testing.http_fake import Answer, FakeServer, Request, as_json


class FakePrometheus(FakeServer):
    """`answers` maps a query to its vector: values by labels as text (``{"up": [({"job": "a"}, "1")]}``).

    A query that is not among them answers the empty vector; one without text is refused as the real one does.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[dict[str, str], str]]] = {}
        self.now = 1_700_000_000.0
        super().__init__()

    def handle(self, request: Request) -> Answer:
        if request.path in ("/-/ready", "/-/healthy"):
            return Answer(200, b"Prometheus Server is Ready.\n")
        if request.path != "/api/v1/query" or request.method not in ("GET", "POST"):
            return Answer(404, b"404 page not found\n")
        query = request.one("query") or parse_qs(request.body.decode()).get("query", [""])[0]
        if not query.strip():
            return _bad('invalid parameter "query": 1:1: parse error: no expression found in input')
        result: list[Any] = [
            {"metric": metric, "value": [self.now, value]} for metric, value in self.answers.get(query, [])
        ]
        return as_json(200, {"status": "success", "data": {"resultType": "vector", "result": result}})


def _bad(error: str) -> Answer:
    return as_json(400, {"status": "error", "errorType": "bad_data", "error": error})

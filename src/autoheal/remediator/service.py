"""What the routes of :9009 work with, gathered in one place by `app.serve`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from autoheal.engine.engine import Engine
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Alertmanagers, RemediationRow
from autoheal.remediator.clicks import Clicks
from autoheal.remediator.metrics import Metrics
from autoheal.web.access import Access
from autoheal.web.body import BODY_TIMEOUT
from autoheal.web.tail import Tail


class Page(Protocol):
    @property
    def lines(self) -> list[str]: ...

    @property
    def partial(self) -> bool: ...

    @property
    def before(self) -> int | None: ...


class Reader(Protocol):
    """The ledger's read side; calls block and run in threads."""

    def query(
        self,
        n: int = 100,
        *,
        kind: str | None = None,
        alertname: str | None = None,
        rule: str | None = None,
        remediation_id: str | None = None,
        since: float | None = None,
        until: float | None = None,
        contains: str | None = None,
        before: int | None = None,
    ) -> Page: ...

    def lines_after(self, after: int, limit: int = 1000) -> list[tuple[int, str]]: ...

    def remediations(
        self, state: str | None = None, rule: str | None = None, n: int = 100, alertname: str | None = None
    ) -> list[RemediationRow]: ...

    def remediation(self, remediation_id: str) -> RemediationRow | None: ...


@dataclass(slots=True)
class Remediator:
    """`reload(actor)` builds the new policy whole and takes it, or raises Invalid with every mistake;
    `env` is the environment's own mode setting, to which a run-time mode is bound."""

    head: HeadThread
    engine: Engine
    reader: Reader
    tail: Tail
    metrics: Metrics
    access: Access
    clicks: Clicks
    alertmanagers: Alertmanagers | None
    reload: Callable[[str], Awaitable[dict[str, Any]]]
    env: str
    version: str
    public_url: str
    stopping: bool = False
    body_timeout: float = BODY_TIMEOUT

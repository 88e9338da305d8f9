"""What the routes of :9009 work with, gathered in one place by `app.serve`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from autoheal.engine.engine import Engine
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Alertmanagers
from autoheal.remediator.metrics import Metrics
from autoheal.sources.alertmanager import Delivery
from autoheal.store.query import Reader
from autoheal.web.access import Access
from autoheal.web.body import BODY_TIMEOUT
from autoheal.web.once import OnceTokens
from autoheal.web.tail import Tail


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
    once: OnceTokens
    alertmanagers: Alertmanagers | None
    reload: Callable[[str], Awaitable[dict[str, Any]]]
    env: str
    version: str
    public_url: str
    heard: Callable[[Delivery], Awaitable[object]] | None = None
    """Whom else each delivery is for: ahead of the decision, not a condition of it. StoreUnavailable: it was not taken,
    and is to be sent again."""
    stopping: bool = False
    body_timeout: float = BODY_TIMEOUT

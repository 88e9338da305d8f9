"""What the threader's routes and its posting work with, gathered in one place by `app`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from autoheal.core.threads import ThreadPolicy
from autoheal.engine.acks import AckWatch
from autoheal.engine.ports import Claims, Clock
from autoheal.store.threads import Threads
from autoheal.threader.intake import Intake
from autoheal.threader.metrics import ThreaderMetrics
from autoheal.threader.tokens import Tokens
from autoheal.web.body import BODY_TIMEOUT
from autoheal.web.once import OnceTokens


@dataclass(slots=True)
class SlackState:
    """What is known of Slack, for `/health`. `state`: off (not configured) | unknown (not asked yet) | ok | limited
    (works, but not as it should) | down; `detail`: what a person must do about it."""

    state: str = "off"
    detail: str = ""
    since: float = 0.0
    team_id: str = ""
    team: str = ""
    bot_id: str = ""
    user_id: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    """Things that do not work as they should, by name: a channel, a scope."""


class Operations(Protocol):
    """What an admin can do from Slack where a remediator is on the same ledger; errors are AutohealErrors."""

    async def cooldown(self, rule: str, seconds: float | None, actor: str) -> dict[str, Any]:
        """Set a rule's cooldown, None: as the policy has it."""

    async def mode(self, enabled: bool, dry_run: bool, actor: str) -> dict[str, Any]: ...

    def status(self) -> dict[str, Any]:
        """`enabled`, `dry_run`, `firing` and what else a person may ask for first."""


@dataclass(slots=True)
class Threader:
    """`policy` gives the one in force; `acks` is None without an Alertmanager, `ops` without a remediator."""

    intake: Intake
    threads: Threads
    policy: Callable[[], ThreadPolicy]
    acks: AckWatch | None
    ops: Operations | None
    slack: SlackState
    claims: Claims
    once: OnceTokens
    tokens: Tokens
    clock: Clock
    metrics: ThreaderMetrics
    public_url: str
    version: str
    signing_secret: str | None = None
    respond: Any = None
    """`async respond(response_url, payload)`: tells one person (`clients.slack.SlackWebhook`); AutohealError."""
    console: bool = True
    """Whether a console is served at `public_url`."""
    stopping: bool = False
    body_timeout: float = BODY_TIMEOUT

    @property
    def console_url(self) -> str:
        """Where people reach the console; empty where there is none."""
        return f"{self.public_url.rstrip('/')}/console" if self.console and self.public_url else ""

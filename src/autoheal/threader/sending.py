"""Jobs are done: one call of Slack each, and what its answer means."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import structlog

from autoheal.clients.slack import RateLimited, SlackClient, SlackRefused, SlackWebhook
from autoheal.core.errors import AutohealError, Permanent, Temporary, Unknown
from autoheal.engine.ports import Clock
from autoheal.threader.channels import Channels
from autoheal.threader.job import Job, Outcome
from autoheal.threader.metrics import ThreaderMetrics
from autoheal.threader.service import SlackState

log = structlog.get_logger("threader")
T = TypeVar("T")

OUTAGE = 3
"""So many calls of one kind in a row that Slack did not answer are an outage."""
STUCK = 1000
"""Conversations without a channel that are remembered."""
EVENT = "autoheal"
"""The `event_type` of the metadata that our messages carry."""
METHODS = {"edit": "edit", "other": "edit", "remove": "remove"}
"""How jobs are counted; the rest are posts."""
MARGIN = 60.0
"""Seconds by which Slack's clock may differ from ours when a message is looked for."""
CLOSED = frozenset(
    """channel_not_found is_archived not_in_channel channel_is_archived restricted_action
    restricted_action_read_only_channel restricted_action_thread_only_channel restricted_action_non_threadable_channel
    action_prohibited posting_to_general_channel_denied user_not_in_channel is_inactive no_permission
    messages_tab_disabled cannot_reply_to_message""".split()
)
DOWN = frozenset(
    """invalid_auth not_authed account_inactive token_revoked token_expired no_service no_service_id no_team
    team_disabled org_login_required ekm_access_denied two_factor_setup_required access_denied missing_scope
    not_allowed_token_type team_access_not_granted user_not_found invalid_token http_403 http_401 http_404""".split()
)
GONE = frozenset({"message_not_found", "thread_not_found", "parent_message_not_found"})
FIXED = frozenset({"cant_update_message", "edit_window_closed", "update_failed"})
LARGE = frozenset(
    """msg_blocks_too_long msg_too_long invalid_blocks invalid_blocks_format invalid_attachments too_many_attachments
    metadata_too_large metadata_must_be_sent_from_app invalid_metadata_format invalid_metadata_schema invalid_payload
    no_text markdown_text_conflict invalid_arguments invalid_arg_name block_mismatch too_many_blocks""".split()
)


class _TooLate(Temporary):
    """Our own doing, and none of Slack's."""


class Trouble:
    """Why nothing can be told, as posting has found out. What came of posting only goes with a success in posting: that
    Slack still knows us is no proof that it takes what we post."""

    def __init__(self, state: SlackState, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._failed: dict[str, int] = {}
        self._why: dict[str, str] = {}
        self.stuck: set[str] = set()
        """Conversations that no channel can be found for."""

    def __bool__(self) -> bool:
        return bool(self._why or self.stuck)

    def refused(self, code: str) -> None:
        self._now("refused", f"Slack refuses us: {code}")

    def failed(self, method: str, code: str) -> None:
        """Slack did not answer. Once is nothing."""
        self._failed[method] = self._failed.get(method, 0) + 1
        if self._failed[method] >= OUTAGE:
            self._now(method, f"Slack does not answer: {code}")

    def nowhere(self, key: str) -> None:
        if len(self.stuck) < STUCK:
            self.stuck.add(key)
        self._tell()

    def worked(self, method: str, key: str) -> None:
        """A message of this conversation was posted, or edited."""
        self._failed.pop(method, None)
        for cause in (method, "refused"):
            self._why.pop(cause, None)
        if method == "post":
            self.stuck.discard(key)
        self._tell()

    def over(self) -> None:
        """Nothing waits any more: whoever posted it, it was posted."""
        self._failed.clear()
        self._why.clear()
        self.stuck.clear()
        self._tell()

    def _now(self, cause: str, detail: str) -> None:
        self._why[cause] = detail
        self._tell()

    def _tell(self) -> None:
        state = self._state
        nowhere = ["no channel of the policy can be written to"] if self.stuck else []
        detail = next(iter([*list(self._why.values()), *nowhere]), "")
        if detail and state.state != "down":
            log.error("slack_down", detail=detail)
            state.since = self._clock.now()
        elif not detail and state.state in ("down", "unknown"):
            log.info("slack_up", before=state.state)
            state.since = self._clock.now()
        if detail:
            state.state, state.detail = "down", detail
        elif state.state in ("down", "unknown"):
            state.state, state.detail = "ok", ""


class Sender:
    """`client` or `webhook` is there, or both. Nothing is sent twice here: whether to try again is the poster's."""

    def __init__(
        self,
        client: SlackClient | None,
        webhook: SlackWebhook | None,
        channels: Channels,
        state: SlackState,
        metrics: ThreaderMetrics,
        clock: Clock,
    ) -> None:
        self.client, self.webhook, self.channels = client, webhook, channels
        self.state, self.metrics, self.clock = state, metrics, clock

    async def do(self, job: Job, deadline: float) -> Outcome:
        """Send, unless it is later than `deadline` (monotonic) by then; or look, where it is in doubt."""

        def before() -> None:
            if self.clock.monotonic() > deadline:
                raise _TooLate("another one may have taken the work over")

        method = "look" if job.doubtful else METHODS.get(job.what, "post")
        try:
            outcome = await (self._look(job) if job.doubtful else self._send(job, before))
        except RateLimited as error:
            outcome = Outcome("limited", seconds=error.retry_after)
        except SlackRefused as error:
            outcome = self._refused(job, error)
        except _TooLate as error:
            outcome = Outcome("later", seconds=2.0, code=str(error))
        except Unknown as error:
            kind: Literal["doubt", "later"] = "doubt" if method == "post" else "later"
            outcome = Outcome(kind, seconds=2.0, code=str(error)[:200], outage=True)
        except (Temporary, Permanent) as error:
            outcome = Outcome("later", seconds=2.0, code=str(error)[:200], outage=True)
        self.metrics.calls.labels(method, outcome.kind).inc()
        if outcome.kind not in ("posted", "edited", "removed", "absent"):
            self.metrics.errors.labels(outcome.kind).inc()
            log.info("slack", did=method, came=outcome.kind, code=outcome.code, channel=job.channel)
        return outcome

    # ---- sending -----------------------------------------------------------------------------------------------

    async def _send(self, job: Job, before: Callable[[], None]) -> Outcome:
        text, blocks = job.payload["text"], job.payload.get("blocks")
        if job.what == "plain":
            assert self.webhook is not None
            await self.webhook.post(job.payload, before)
            return Outcome("posted", ts="webhook", channel="webhook")
        assert self.client is not None
        if job.what == "remove":
            await self.client.delete(job.channel, job.thread_ts, before)
            return Outcome("removed")
        if job.what in ("edit", "other"):
            await self.client.update(job.channel, job.thread_ts, text, blocks, before=before)
            self.state.notes.pop("edits", None)
            return Outcome("edited")
        target = await self.channels.target(job.channel)

        async def post() -> Outcome:
            assert self.client is not None
            made = await self.client.post_message(
                target,
                text,
                blocks,
                thread_ts=job.thread_ts or None,
                reply_broadcast=job.broadcast,
                metadata=metadata(job),
                before=before,
            )
            if job.thread_ts and made.thread_ts != job.thread_ts:
                return Outcome("orphan", doubles=((made.channel, made.ts),))
            return Outcome("posted", made.ts, made.channel)

        return await self._joining(target, post)

    async def _joining(self, target: str, work: Callable[[], Awaitable[T]]) -> T:
        """A public channel that we are not in is joined, once."""
        assert self.client is not None
        try:
            return await work()
        except SlackRefused as error:
            if error.code != "not_in_channel":
                raise
            try:
                await self.client.join(target)
            except AutohealError:
                raise error from None
            return await work()

    # ---- looking -----------------------------------------------------------------------------------------------

    async def _look(self, job: Job) -> Outcome:
        """Find the message that an answer was lost of, by its nonce; of several the first stays."""
        if self.client is None:
            return Outcome("blind")
        target = await self.channels.target(job.channel)
        if not re.fullmatch(r"[CGD][A-Z0-9]+", target):
            why = "the channel's id is not known"
            return Outcome("later", seconds=2.0, code=why) if self.channels.unsure else Outcome("blind", code=why)
        oldest = f"{max(0.0, job.sent_at - MARGIN):.6f}"

        async def find() -> list[dict[str, Any]]:
            assert self.client is not None
            thread = job.thread_ts or None
            return [
                message
                async for message in self.client.messages(target, thread_ts=thread, oldest=oldest)
                if nonce_of(message) == job.nonce
            ]

        try:
            found = await self._joining(target, find)
        except SlackRefused as error:
            if error.code in GONE:
                return Outcome("gone", code=error.code)
            if error.code in ("missing_scope", "not_in_channel", "channel_not_found"):
                why = f"{error.code}, needs {error.needed}" if error.needed else error.code
                told = f"what was lost cannot be looked for ({why}): a message may come to stand there twice"
                self.state.notes["history"] = told
                return Outcome("blind", code=error.code)
            raise
        self.state.notes.pop("history", None)
        if not found:
            return Outcome("absent")
        first, *doubles = sorted(str(message["ts"]) for message in found)
        return Outcome("posted", first, target, doubles=tuple((target, ts) for ts in doubles))

    # ---- what a refusal means ----------------------------------------------------------------------------------

    def _refused(self, job: Job, error: SlackRefused) -> Outcome:
        code = error.code
        self.metrics.errors.labels(f"slack_{code}"[:60]).inc()
        if code in GONE:
            return Outcome("gone", code=code)
        if code in FIXED and job.what in ("edit", "other"):
            return Outcome("fixed", code=code)
        if code in LARGE:
            return Outcome("large", code=code)
        if job.what == "plain":
            return Outcome("down", seconds=60.0, code=code)
        if code in DOWN:
            return Outcome("down", seconds=30.0, code=f"{code}{f' ({error.needed})' if error.needed else ''}")
        if code in CLOSED:
            return Outcome("closed", code=code)
        return Outcome("large", code=code)  # not known here: a simpler message may pass, and else it is tried later


def metadata(job: Job) -> dict[str, Any]:
    """What our messages carry unseen."""
    return {"event_type": EVENT, "event_payload": {"nonce": job.nonce, "covers": job.covers[:100]}}


def nonce_of(message: dict[str, Any]) -> str:
    found = message.get("metadata")
    if not isinstance(found, dict) or found.get("event_type") != EVENT:
        return ""
    payload = found.get("event_payload")
    return str(payload.get("nonce", "")) if isinstance(payload, dict) else ""

"""Jobs are done: one call of Slack each, and what its answer means."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

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

EVENT = "autoheal"
"""The `event_type` of the metadata that our messages carry."""
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
                raise Temporary("too late: another one may have taken the work over")

        method = "look" if job.doubtful else "edit" if job.what == "edit" else "post"
        try:
            outcome = await (self._look(job) if job.doubtful else self._send(job, before))
        except RateLimited as error:
            outcome = Outcome("limited", seconds=error.retry_after)
        except SlackRefused as error:
            outcome = self._refused(job, error)
        except Unknown as error:
            outcome = Outcome("doubt" if method == "post" else "later", seconds=2.0, code=str(error)[:200])
        except (Temporary, Permanent) as error:
            outcome = Outcome("later", seconds=2.0, code=str(error)[:200])
        self.metrics.calls.labels(method, outcome.kind).inc()
        if outcome.kind not in ("posted", "edited", "absent"):
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
        if job.what == "edit":
            await self.client.update(job.channel, job.thread_ts, text, blocks, before=before)
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
                return Outcome("orphan", made.ts, made.channel)
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
        if not found:
            return Outcome("absent")
        found.sort(key=lambda message: str(message["ts"]))
        for double in found[1:]:
            await self.remove(target, str(double["ts"]))
        return Outcome("posted", str(found[0]["ts"]), target)

    async def remove(self, channel: str, ts: str) -> None:
        """Take one of our own messages back; what cannot be is left."""
        assert self.client is not None
        try:
            await self.client.delete(channel, ts)
        except AutohealError as error:
            if not isinstance(error, SlackRefused) or error.code != "message_not_found":
                log.warning("message_not_removed", channel=channel, ts=ts, error=str(error))

    # ---- what a refusal means ----------------------------------------------------------------------------------

    def _refused(self, job: Job, error: SlackRefused) -> Outcome:
        code = error.code
        self.metrics.errors.labels(f"slack_{code}"[:60]).inc()
        if code in GONE:
            return Outcome("gone", code=code)
        if code in FIXED and job.what == "edit":
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

"""A test alert that nothing may act on, and the live stream on which it must be seen to arrive."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from autoheal.cli.finding import Finding, bad, ok, skip
from autoheal.cli.smoke.policy import explain
from autoheal.core.errors import AutohealError, Temporary

if TYPE_CHECKING:
    from collections.abc import Generator

    from autoheal.cli.smoke.run import Run
    from autoheal.clients.autoheal import Told

FIRING, RESOLVED = "firing", "resolved"
BUFFERS = "ask Autoheal itself, not its proxy; a proxy must not buffer /events (nginx: proxy_buffering off)"
EXPECTED = {"off": "disabled"}
"""Why the test alert is skipped, by mode; `not_allowlisted` in all others."""


def check_alert_and_stream(run: Run) -> Iterator[Finding]:
    """Open the stream, send the test alert, see it arrive, resolve it, and resume from where the stream was left."""
    guarded = _nothing_would_happen(run)
    if guarded is not None:
        yield guarded
        yield from (skip(name, "no test alert was sent, see above") for name in ("stream", "resume"))
        return
    watch = Watch(run)
    watch.open()
    try:
        yield _sent(run)
        yield watch.arrives(FIRING) if run.did else skip("stream", "no test alert was taken, see above")
    finally:
        resolved = _send(run, RESOLVED)
        watch.close()
    if resolved is not None:
        yield skip("resume", f"the test alert's end was not taken: {resolved}")
    else:
        yield watch.resumes()


# ---- the alert --------------------------------------------------------------------------------------------------


def _nothing_would_happen(run: Run) -> Finding | None:
    """Before anything is sent, the service itself must say that it would skip it; a finding where it does not."""
    try:
        said = explain(run.client, run.labels)
    except AutohealError as error:
        return bad("test alert", f"not sent, because its decision cannot be asked for: {error}", "see its log")
    if said["result"] == "skip" and said.get("rule") is None:
        return None
    told = f"not sent, because it would not be skipped: {said['result']} by rule {said.get('rule')}"
    return bad("test alert", told, "no rule may match an alert whose name begins with Autoheal: report this")


def _sent(run: Run) -> Finding:
    expected = EXPECTED.get(run.mode, "not_allowlisted")
    try:
        answer = _post(run, FIRING)
        run.did |= {"webhook_received", "decision_skip"}
        (result,) = answer["results"]
    except AutohealError as error:
        return bad(
            "test alert",
            f"POST /alert: {error}",
            "set AUTOHEAL_ADMIN_TOKEN or AUTOHEAL_WEBHOOK_TOKEN as the service has it",
        )
    except (KeyError, ValueError, TypeError):
        return bad("test alert", "POST /alert answered, but not as expected", "is it another version?")
    said = f"{result.get('result')} {result.get('reason')}"
    if said != f"skip {expected}" or result.get("remediation_id") is not None:
        fix = "look at it now: autoheal remediations list, autoheal mode dry-run"
        return bad("test alert", f"expected skip {expected}, got {said}", fix)
    return ok("test alert", f"{run.mode}: {said}, as it must be for an alert without a rule")


def _send(run: Run, status: str) -> str | None:
    """Send it; why it was not taken, or None."""
    try:
        _post(run, status)
    except AutohealError as error:
        return str(error)
    return None


def _post(run: Run, status: str) -> dict[str, Any]:
    note = {"summary": "A test by `autoheal smoke`: nothing is wrong, and nothing is to be done."}
    alert = {"status": status, "labels": run.labels, "annotations": note}
    body = {"version": "4", "receiver": "autoheal-smoke", "groupKey": _key(run, status), "alerts": [alert]}
    return run.door.post("/alert", body)


def _key(run: Run, status: str) -> str:
    """By this the event of its delivery is known on the stream."""
    return f"autoheal smoke {run.run} {status}"


# ---- the stream -------------------------------------------------------------------------------------------------


class Watch:
    """One reader of `GET /events`, first live, then resumed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._stream: Generator[Told, None, None] | None = None
        self._refused: str = ""
        self._last = 0
        self._sent_at = 0.0

    def open(self) -> None:
        """Connect, and read one event that is there already: the stream then stands before anything new happens."""
        try:
            newest = int(self._run.client.get("/readyz")["last_event_id"])
            self._last = newest - 1
            self._stream = self._connect()
            self._last = next(self._stream).id
        except (AutohealError, KeyError, TypeError, ValueError) as error:
            self._refused = _why(error)
        self._sent_at = time.monotonic()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _connect(self) -> Generator[Told, None, None]:
        return self._run.client.events(self._last, silent=self._run.timeout)

    def arrives(self, status: str) -> Finding:
        """The event of the test alert's delivery, over the connection that was open before it was sent."""
        if self._refused or self._stream is None:
            return bad("stream", self._refused, BUFFERS)
        trouble, _ = self._read(self._stream, _key(self._run, status))
        if trouble:
            self._refused = trouble
            return bad("stream", trouble, BUFFERS)
        return ok("stream", f"the alert was seen {(time.monotonic() - self._sent_at) * 1000:.0f} ms after it was sent")

    def resumes(self) -> Finding:
        """A new connection from the last id read must go on with the very next event, up to the resolved alert's."""
        if self._refused:
            return skip("resume", "there is no stream to resume, see above")
        first = self._last
        with closing(self._connect()) as stream:
            trouble, count = self._read(stream, _key(self._run, RESOLVED))
        if trouble:
            return bad("resume", f"after event {first}: {trouble}", BUFFERS)
        return ok("resume", f"after event {first}: the next {count}, no gap, none twice")

    def _read(self, stream: Iterator[Told], key: str) -> tuple[str, int]:
        """Read on to the event that holds `key`: what is wrong (or nothing), and how many events came."""
        deadline = time.monotonic() + self._run.timeout
        count = 0
        try:
            for told in stream:
                if told.reset:
                    return f"the service no longer knows event {self._last}", count
                if told.id != self._last + 1:
                    return f"event {told.id} came after event {self._last}", count
                self._last, count = told.id, count + 1
                if json.loads(told.line).get("group_key") == key:
                    return "", count
                if time.monotonic() > deadline:
                    return f"it was not among the {count} events of {self._run.timeout:g} s", count
        except (AutohealError, ValueError) as error:
            return _why(error), count
        return "the stream ended", count


def _why(error: Exception) -> str:
    if isinstance(error, Temporary) and "no answer in time" in str(error):
        return f"connected, but nothing came: {error}"
    return str(error) if isinstance(error, AutohealError) else f"not as expected: {error!r}"

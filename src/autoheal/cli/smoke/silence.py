"""A silence that can hide nothing, made and ended: its way through Autoheal into Alertmanager and out again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoheal.cli.finding import Finding, bad, ok, skip
from autoheal.cli.neighbours import ask_json, shown
from autoheal.core.errors import AutohealError, Conflict, Temporary

if TYPE_CHECKING:
    from autoheal.cli.smoke.run import Run

LASTS = "2m"
"""Should everything else fail, it ends by itself."""
COMMENT = "a test by `autoheal smoke`; it matches no alert and is ended at once"
AGAIN = "autoheal silence list, autoheal silence expire ID"


class Trouble(Exception):
    """The finding that ends the check."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.detail)
        self.finding = finding


def check_silence(run: Run) -> Finding:
    """Made, exact, seen in Alertmanager, ended, gone there."""
    try:
        with _silence(run) as silence_id:
            _see(run, silence_id, "active")
        _see(run, silence_id, "expired")
    except Trouble as trouble:
        return trouble.finding
    where = ", ".join(shown(url) for url in run.alertmanagers)
    told = (
        f"as {where} says itself"
        if where
        else "as Autoheal reads it from Alertmanager (--alertmanager looks there too)"
    )
    return ok("silence", f"made, exact, and ended, {told}")


@contextmanager
def _silence(run: Run) -> Iterator[str]:
    """Its id while it lasts. However the check ends, by Ctrl-C too, the silence is ended."""
    made: str | None = None
    try:
        made = _make(run)
        run.did.add("ack")
        yield made
    finally:
        left = [made] if made is not None else _left_behind(run)
        for silence_id in left:
            _end(run, silence_id)


def _make(run: Run) -> str:
    try:
        return str(run.client.post("/ack", {"labels": run.labels, "duration": LASTS, "comment": COMMENT})["silence_id"])
    except Conflict as error:
        if run.alertmanagers:
            fix = "set ALERTMANAGER_URL for the service too"
            raise Trouble(bad("silence", f"the service says: {error}", fix)) from None
        raise Trouble(skip("silence", f"the service says: {error}")) from None
    except (AutohealError, KeyError) as error:
        fix = "does Alertmanager run? autoheal doctor says more"
        if isinstance(error, Temporary):
            fix += f". The silence may have been made all the same: it ends by itself after {LASTS} ({AGAIN})"
        raise Trouble(bad("silence", f"POST /ack: {error}", fix)) from None


def _end(run: Run, silence_id: str) -> None:
    try:
        run.client.post(f"/silences/{silence_id}/expire")
        run.did.add("ack_ended")
    except AutohealError as error:
        fix = f"autoheal silence expire {silence_id}; it ends by itself after {LASTS}"
        raise Trouble(bad("silence", f"made, but not ended: {error}", fix)) from None


def _left_behind(run: Run) -> list[str]:
    """Silences of this run, where the answer that names one was lost."""
    try:
        found = run.client.get("/silences").get("silences", [])
    except AutohealError:
        return []
    return [str(one["id"]) for one in found if _exact(one, run.labels) and one.get("state") != "expired"]


# ---- looking for it ---------------------------------------------------------------------------------------------


def _see(run: Run, silence_id: str, state: str) -> None:
    """Wait until everybody who can be asked shows it in this state, with exactly our labels."""
    missing: list[str] = []

    def shown_everywhere() -> bool:
        missing[:] = [where for where, found in _shown_by(run, silence_id) if not _is(found, state, run.labels)]
        return not missing

    if not run.until(shown_everywhere):
        told = f"not {state} after {run.timeout:g} s in {', '.join(missing)}"
        raise Trouble(bad("silence", told, f"is that the Alertmanager which Autoheal uses? {AGAIN}"))


def _shown_by(run: Run, silence_id: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Who was asked, and the silence as it is there (nothing where it is not)."""
    try:
        listed = run.client.get("/silences").get("silences", [])
        yield "Autoheal", next((one for one in listed if one.get("id") == silence_id), {})
    except AutohealError as error:
        yield f"Autoheal ({error})", {}
    for url in run.alertmanagers:
        try:
            yield shown(url), asyncio.run(ask_json(url, f"/api/v2/silence/{silence_id}"))
        except AutohealError as error:
            yield f"{shown(url)} ({error})", {}


def _is(found: Mapping[str, Any], state: str, labels: Mapping[str, str]) -> bool:
    told = found.get("state", (found.get("status") or {}).get("state"))
    return told == state and _exact(found, labels)


def _exact(found: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    matchers = found.get("matchers") or ()
    plain = all(one.get("isEqual", True) and not one.get("isRegex") for one in matchers)
    return plain and {str(one["name"]): one["value"] for one in matchers} == labels

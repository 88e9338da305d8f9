"""What is printed cannot steer a terminal, and times are told as people tell them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.cli import event_rows, render

HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "a\rb",
    "\u202egnirts",
    "\u2066x\u2069",
    "\x9b31m",
    "zero\u200bwidth",
    "\ud800",
    "a\x00b",
    "\U000e0041tag",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_would_steer_is_written_out(text: str) -> None:
    shown = render.clean(text)
    assert shown.isprintable()
    assert "\\" in shown
    assert render.clean(shown) == shown


@given(st.text(st.characters(), max_size=200))
def test_whatever_comes_no_control_character_reaches_the_terminal(text: str) -> None:
    shown = render.clean(text)
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F or 0xD800 <= ord(c) <= 0xDFFF for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200f\u2028\u2029")


def test_plain_text_stays_as_it_is() -> None:
    assert render.clean("Grüße, 世界 [red]x[/red] 🎉") == "Grüße, 世界 [red]x[/red] 🎉"


def test_markup_and_emoji_codes_of_strangers_are_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    render.say("[red]x[/red] :boom: [link=http://evil]y[/link]")
    render.table(("A", "[b]B"), [("[red]1", ":boom:")])
    out = capsys.readouterr().out
    assert "[red]x[/red] :boom: [link=http://evil]y[/link]" in out
    assert "[b]B" in out and "[red]1" in out


KINDS = "decision_skip mode_changed cooldown_changed webhook_rejected ack started of_tomorrow".split()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", HOSTILE)
def test_no_field_of_an_event_gets_through(text: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    fields = ("alertname", "reason", "cmd", "error", "detail", "actor", "comment", "note", "summary", "version", "rule")
    event = dict.fromkeys(fields, text) | {"id": 1, "ts": 0, "kind": kind, "labels": {"instance": text, text: text}}
    event |= {"source": text, "remediation_id": text, "trace": {"rule": text}, "problems": [{"field": text}]}
    render.table(event_rows.HEADERS, [event_rows.row(event, 0.0)])
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    assert text not in out


def test_an_event_without_the_fields_that_it_should_have_is_still_a_row() -> None:
    for kind in [*event_rows.STYLE, "policy_loaded", "ack_ended", "escalated", "x"]:
        assert event_rows.row({"kind": kind}, 0.0)


def test_a_piped_row_is_one_line_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(("A", "B"), [(render.text("x", "bold red"), "word " * 60)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "\x1b" not in "".join(lines)


def test_columns_bound_the_width(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    render.table(("A", "B"), [("x", "word " * 60)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3 and max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("gap", "told"),
    [(0, "0s ago"), (59, "59s ago"), (119, "119s ago"), (120, "2m ago"), (7200, "2h ago"), (172800, "2d ago")],
)
def test_ages(gap: float, told: str) -> None:
    assert render.age(1000.0, 1000.0 + gap) == told


def test_what_lies_ahead_and_what_is_no_time() -> None:
    assert render.age(1540.0, 1000.0) == "in 9m"
    assert render.age(None, 0.0) == ""
    assert render.when(1e300, 0.0) == "1e+300"
    assert render.when("\x1b", 0.0) == "\\x1b"
    assert render.seconds_of("2026-01-01T00:00:00Z") == 1767225600.0
    assert render.seconds_of("soon") is None


@given(st.dictionaries(st.text(), st.text()))
def test_json_is_ascii_and_comes_back(data: dict[str, str]) -> None:
    text = json.dumps(data, indent=2, ensure_ascii=True)
    assert text.isascii() and json.loads(text) == data


def shown(event: dict[str, object]) -> str:
    return str(event_rows.what_happened(event))


def test_a_changed_cooldown_in_words() -> None:
    event: dict[str, object] = {"kind": "cooldown_changed", "rule": "crm", "cooldown": 300.0, "before": 600.0}
    assert shown(event | {"actor": "ann"}) == "rule crm: 10m -> 5m by ann"
    assert (
        shown(event | {"cooldown": 600.0, "before": 300.0, "reset": True}) == "rule crm: 5m -> 10m as the policy says"
    )
    gone = {"kind": "cooldown_changed", "rule": "crm", "before": 300.0, "reset": True, "reason": "rule_changed"}
    assert shown(gone) == "rule crm: 5m as the policy says (the rule was written anew)"
    assert shown(event | {"cooldown": 1e300, "before": "x"}).startswith("rule crm:")


def test_what_the_watch_saw_in_words() -> None:
    seen = [{"status": "firing", "behind": "s"}, {"status": "firing"}, {"status": "resolved"}, {"status": "resolved"}]
    event = {"kind": "webhook_received", "alerts": 4, "source": "silence_watch", "seen": seen}
    assert shown(event) == "4 alerts from silence_watch (1 hidden, 1 fires again, 2 resolved)"
    assert shown(event | {"seen": "x"}) == "4 alerts from silence_watch"

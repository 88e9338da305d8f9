"""Foreign text in Slack's mrkdwn: it reads as it is written, and does nothing."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.threader.mrkdwn import (
    UNKNOWN_TIME,
    address,
    called,
    calls,
    code,
    cut,
    lasted,
    link,
    literal,
    person,
    plain_text,
    units,
    when,
)
from tests.unit.threader.gallery import seen
from tests.unit.threader.hostile import ugly

# ---- what must read as it is written ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:19100 is down",
        'rate(http_requests_total{code=~"5.."}[5m]) > 0.05',
        "disk /var/lib at 97 % & growing",
        "a*b, 2 * 3, snake_case_name, ~5 of ~10",
        "from 10:30:15 to 2026-11-20T03:06:00Z",
        "C:\\Windows\\temp",
        "größer als Ω, 日本語, 🚀 and 👩‍🔧",
        "see https://example.com/a?b=c&d=e#f",
    ],
)
def test_what_it_says_is_kept(text: str) -> None:
    assert seen(literal(text, 300)) == text.replace("\u200b", "")
    assert seen(code(text, 300)) == f"`{text}`"
    assert seen(plain_text(text, 300)) == text.replace("<", "‹").replace(">", "›")


def test_ports_and_times_can_be_copied() -> None:
    """An invisible sign in a host name is a trap for who copies it."""
    for text in ("10.0.0.1:9100: refused", "at 03:06:04 on db-1:5432:", "a_b_c", "user@host"):
        assert literal(text, 100) == text


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("<!channel> look", "&lt;!channel&gt; look"),
        ("<@U0ABC> <#C1> <!subteam^S1>", "&lt;@U0ABC&gt; &lt;#C1&gt; &lt;!subteam^S1&gt;"),
        ("<https://evil|Runbook>", "&lt;https://evil|Runbook&gt;"),
        ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
        ("@here @Channel @everyone", "@\u200bhere @\u200bChannel @\u200beveryone"),
        ("```code```", "'''code'''"),
        ("*bold* and _italic_", "\u200b*\u200bbold\u200b*\u200b and \u200b_\u200bitalic\u200b_\u200b"),
        (":fire: :x: :100: :8080:", ":\u200bfire: :\u200bx: :\u200b100: :8080:"),
        ("two\r\nlines\tand\u2028more\x00", "two lines and more"),
        ("abc\u202edef\u2066", "abcdef"),
        ("soft\xadhyphen zero\u200bwidth \ufeff", "softhyphen zerowidth"),
        ("half \ud83d pair", "half \\ud83d pair"),
    ],
)
def test_what_it_would_do_is_taken_from_it(text: str, drawn: str) -> None:
    assert literal(text, 300) == drawn


def test_a_text_that_runs_to_the_left_keeps_that_to_itself() -> None:
    assert literal("שלום", 50) == "\u2068שלום\u2069"
    assert code("host=שלום", 50) == "`\u2068host=שלום\u2069`"
    assert literal("Grüße", 50) == "Grüße"


def test_towers_of_marks_are_cut_down() -> None:
    tower = "a" + "\u0301" * 50 + "b"
    assert literal(tower, 100) == "a" + "\u0301" * 3 + "b"
    assert literal("\u0301\u0301x", 100) == "x"
    assert literal("ạ̈́ x", 100) == "ạ̈́ x"


def test_nothing_is_nothing() -> None:
    for text in ("", " ", "\n\t", "\u200b\u202e", "\x00\x01"):
        assert literal(text, 50) == code(text, 50) == plain_text(text, 50) == ""


# ---- lengths --------------------------------------------------------------------------------------------------------


def test_cut() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
    assert cut("ab cdefg", 4) == "ab…"
    assert cut("abc", 1) == "…"
    assert cut("abc", 0) == cut("abc", -5) == ""
    assert cut("🚀🚀🚀", 5) == "🚀🚀…"
    assert cut("👩‍🔧x", 5) == "👩…"


def test_a_direction_is_ended_where_it_is_cut() -> None:
    assert cut("a \u2068bcdefg\u2069 h", 9) == "a \u2068bcde…\u2069"
    assert cut("a \u2068bc\u2069 hijkl", 9) == "a \u2068bc\u2069…"
    assert [cut("\u2068bcd\u2069", most) for most in (0, 1, 2)] == ["", "", "…"]


def test_an_escape_is_never_cut_in_two() -> None:
    for most in range(1, 30):
        assert re.fullmatch(r"(?:&lt;)*…?", literal("<" * 20, most))


def test_what_was_too_long_to_look_at_is_marked_as_cut() -> None:
    assert literal("\u200b" * 10_000 + "x", 50) == "…"
    assert literal("a" * 100_000, 50) == "a" * 49 + "…"


@given(ugly(), st.integers(min_value=-1, max_value=400))
def test_no_text_is_longer_than_it_may_be(text: str, most: int) -> None:
    for drawn in (literal(text, most), code(text, max(most, 3)), plain_text(text, most)):
        assert units(drawn) <= max(most, 3)
        assert units(drawn) == len(drawn.encode("utf-16-le")) // 2


@given(ugly())
def test_no_text_does_anything(text: str) -> None:
    drawn = literal(text, 300)
    assert not re.search("[<>`\n]", drawn)
    assert not re.search(r"&(?!amp;|lt;|gt;)", drawn)
    assert not calls(drawn)
    assert not re.search("@(?:here|channel|everyone)", drawn, re.IGNORECASE)
    assert drawn.count("\u2068") == drawn.count("\u2069") <= 1
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in drawn)
    assert not re.search("[\u202a-\u202e\u2066\u2067\u200e\u200f]", drawn)
    assert not re.search("[<>\n]", plain_text(text, 300))
    coded = code(text, 300)
    assert coded == "" or (coded[0] == coded[-1] == "`" and "`" not in coded[1:-1] and coded[1:-1])


# ---- times ----------------------------------------------------------------------------------------------------------


def test_when() -> None:
    assert when(1_795_143_960.9) == "<!date^1795143960^{date_short_pretty} at {time}|2026-11-20 03:06 UTC>"
    for never in (0.0, -62135596800.0, float("nan"), float("inf"), 1e15):
        assert when(never) == UNKNOWN_TIME


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.4, "0s"), (59, "59s"), (60, "1m"), (61, "1m 1s"), (3600, "1h"), (3660, "1h 1m"), (3601, "1h"),
        (86400, "1d"), (90000, "1d 1h"), (864000, "10d"), (-1, ""), (float("nan"), ""), (float("inf"), ""),
    ],
)  # fmt: skip
def test_lasted(seconds: float, text: str) -> None:
    assert lasted(seconds) == text


# ---- links and people -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "drawn"),
    [
        ("https://wiki.example/a b|c>d<e", "https://wiki.example/a%20b%7Cc%3Ed%3Ce"),
        ("http://[::1]:9090/graph?g0.expr=up%7B%7D&g0.tab=1", "http://[::1]:9090/graph?g0.expr=up%7B%7D&g0.tab=1"),
        ("https://wiki.example/größe", "https://wiki.example/gr%C3%B6%C3%9Fe"),
        (" https://a.example ", "https://a.example"),
        ("https://a.example/\ud800", "https://a.example/%EF%BF%BD"),
        ("javascript:alert(1)", ""),
        ("//a.example", ""),
        ("wiki/runbook.md", ""),
        ("https://", ""),
        ("http://[broken", ""),
        ("https://a.example/" + "x" * 1000, ""),
        ("", ""),
    ],
)
def test_addresses(url: str, drawn: str) -> None:
    assert address(url) == drawn


def test_links() -> None:
    assert link("https://a.example/?b=1&c=2", "Here") == "<https://a.example/?b=1&amp;c=2|Here>"
    assert link("nowhere", "Here") == ""


@given(ugly() | ugly().map(lambda text: "https://" + text))
def test_no_address_leaves_its_link(url: str) -> None:
    drawn = link(url, "Here")
    assert drawn == "" or re.fullmatch(r"<https?://[^<>|\s]+\|Here>", drawn)
    assert units(drawn) <= 1010


def test_people() -> None:
    assert person("slack:U0ABC (alice)") == "alice"
    assert person("slack:U0ABC (alice)", call=True) == "<@U0ABC>"
    assert person("slack:U0ABC") == "<@U0ABC>"
    assert person("slack:U0ABC (<!here>)") == "&lt;!here&gt;"
    assert person("admin") == "admin"
    assert person("U0ABC", call=True) == "U0ABC"  # only what Slack's signature has proved may call
    assert person("slack:U0ABC> <!here", call=True) == "slack:U0ABC&gt; &lt;!here"
    assert person("") == "somebody"


def test_who_is_called() -> None:
    given = [
        "<!here>",
        "<@U0ABC>",
        "<!subteam^S0123>",
        "<!here>",
        "@here",
        "U0ABC",
        "<@U1> <!channel>",
        "<!date^1>",
        "",
    ]
    assert called(given) == "<!here> <@U0ABC> <!subteam^S0123>"
    assert called(f"<@U{number:04}>" for number in range(100)).count("<@") == 20
    assert calls("*a* <!here> &lt;!channel&gt; <@U1> <!here>") == ["<!here>", "<@U1>"]

"""Durations as Prometheus writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.core.duration import format_duration, parse_duration, parse_seconds
from autoheal.core.errors import Invalid


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("90s", 90.0),
        ("600s", 600.0),
        ("10m", 600.0),
        ("4h5m", 14700.0),
        ("1d", 86400.0),
        ("1w", 604800.0),
        ("1y", 31536000.0),
        ("500ms", 0.5),
        ("1y2w3d4h5m6s7ms", 31536000 + 2 * 604800 + 3 * 86400 + 4 * 3600 + 5 * 60 + 6.007),
        ("007m", 420.0),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "10",
        "1.5h",
        "-5m",
        "5 m",
        "5M",
        "m",
        "5m4h",
        "5m5m",
        "1h ",
        "١m",
        "5m\n",
        "ten",
        "1s1m",
        "1" * 200 + "s",
    ],
)
def test_junk(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_duration(text)
    assert "write it as 90s, 10m, 4h5m or 1d" in str(caught.value) or "out of range" in str(caught.value)


def test_out_of_range() -> None:
    assert parse_duration("292y") > 0
    with pytest.raises(Invalid, match="out of range"):
        parse_duration("293y")
    with pytest.raises(Invalid, match="out of range"):
        parse_duration("9" * 90 + "ms")


@pytest.mark.parametrize(("text", "seconds"), [("600", 600.0), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("10m", 600.0)])
def test_a_plain_number_counts_as_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["nan", "inf", "1e9", "-1", "1_000", "9" * 21, "1.5.5", "."])
def test_what_is_no_plain_number(text: str) -> None:
    with pytest.raises(Invalid):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "0s"),
        (0.5, "500ms"),
        (90, "1m30s"),
        (14700, "4h5m"),
        (8 * 86400, "8d"),
        (7 * 86400, "1w"),
        (31536000, "1y"),
        (31536000 + 1, "365d1s"),
        (-5, "-5s"),
    ],
)
def test_format(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 2**63 // 1_000_000))
def test_there_and_back(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


@given(st.text(st.sampled_from("0123456789ywdhms. -"), max_size=12))
def test_any_text_is_seconds_or_refused(text: str) -> None:
    try:
        assert 0 <= parse_seconds(text) < 1e20
    except Invalid:
        pass
    else:
        assert parse_seconds(text) == parse_seconds(text)

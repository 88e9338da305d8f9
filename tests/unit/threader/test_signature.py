"""Only Slack's own requests pass: its documented example, Slack's own verifier, and whatever else may come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

from autoheal.threader.signature import WINDOW, verify_signature

SECRET, STAMP = "8f742231b10e8888abcd99yyyzzz85a5", "1531420618"
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
"""The example of Slack's documentation."""
NOW = float(STAMP)


def test_slacks_example_passes() -> None:
    assert verify_signature(SECRET, STAMP, BODY, SIGNATURE, NOW)


@pytest.mark.parametrize(
    ("away", "passes"), [(0, True), (WINDOW, True), (-WINDOW, True), (300.1, False), (-301, False)]
)
def test_old_and_early_ones_do_not(away: float, passes: bool) -> None:
    assert verify_signature(SECRET, STAMP, BODY, SIGNATURE, NOW + away) is passes


@pytest.mark.parametrize(
    ("secret", "stamp", "body", "signature"),
    [
        ("", STAMP, BODY, SIGNATURE),
        ("another", STAMP, BODY, SIGNATURE),
        (SECRET, None, BODY, SIGNATURE),
        (SECRET, "", BODY, SIGNATURE),
        (SECRET, "1531420618.5", BODY, SIGNATURE),
        (SECRET, " 1531420618", BODY, SIGNATURE),
        (SECRET, "+1531420618", BODY, SIGNATURE),
        (SECRET, "１５３１４２０６１８", BODY, SIGNATURE),
        (SECRET, "9" * 5000, BODY, SIGNATURE),
        (SECRET, "1531420619", BODY, SIGNATURE),
        (SECRET, STAMP, BODY + b" ", SIGNATURE),
        (SECRET, STAMP, b"", SIGNATURE),
        (SECRET, STAMP, BODY, None),
        (SECRET, STAMP, BODY, ""),
        (SECRET, STAMP, BODY, SIGNATURE.upper()),
        (SECRET, STAMP, BODY, SIGNATURE.removeprefix("v0=")),
        (SECRET, STAMP, BODY, SIGNATURE.replace("v0", "v1")),
        (SECRET, STAMP, BODY, SIGNATURE + "0"),
        (SECRET, STAMP, BODY, "v0=ü"),
        (SECRET, STAMP, BODY, "\ud800"),
    ],
)
def test_nothing_else_passes(secret: str, stamp: str | None, body: bytes, signature: str | None) -> None:
    assert not verify_signature(secret, stamp, body, signature, NOW)


def test_no_time_is_no_time_to_pass() -> None:
    assert not verify_signature(SECRET, STAMP, BODY, SIGNATURE, float("nan"))


@given(st.text(min_size=1).filter(str.strip), st.integers(0, 10**11), st.binary(max_size=300), st.floats(-400, 400))
def test_what_slacks_own_verifier_signs_passes(secret: str, stamp: int, body: bytes, away: float) -> None:
    try:
        signed = SignatureVerifier(secret).generate_signature(timestamp=str(stamp), body=body)
    except (UnicodeError, TypeError):
        return  # it takes bodies that are text only
    passes = verify_signature(secret, str(stamp), body, signed, stamp + away)
    assert passes is (abs((stamp + away) - stamp) <= WINDOW)


@given(st.text(), st.none() | st.text(), st.binary(max_size=50), st.none() | st.text(), st.floats())
def test_nothing_makes_it_raise(secret: str, stamp: str | None, body: bytes, signature: str | None, now: float) -> None:
    assert verify_signature(secret, stamp, body, signature, now) is False

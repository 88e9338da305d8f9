"""Regular expressions with RE2. Sameness with Alertmanager: tests/contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.config.regex import MAX_PATTERN, compile_regex
from autoheal.core.errors import Invalid
from autoheal.core.matcher import python_regex


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "missing )"),
        ("a**", "bad repetition operator"),
        ("(?=a)", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        (r"a\C", r"\C is not supported"),
        ("(?<n>a)", "(?< is not supported"),
        ("x" * (MAX_PATTERN + 1), "longer than"),
        ("\ud800", "no valid text"),
    ],
)
def test_refused(pattern: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        compile_regex(pattern)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "value"), [(r"\(?<", "<"), ("[(?<]+", "?<("), (r"\Q(?<\C\E", r"(?<\C"), (r"\\C", r"\C")]
)
def test_what_only_looks_unsupported(pattern: str, value: str) -> None:
    assert compile_regex(pattern)(value)


def test_anchored_and_a_dot_is_no_line_feed() -> None:
    assert compile_regex("b|c")("c") and not compile_regex("b|c")("bc")
    assert not compile_regex(".*")("a\nb") and compile_regex("(?s).*")("a\nb")
    assert not compile_regex("a")("a\n")


def test_time_is_linear() -> None:
    """With a backtracking engine this would not end in our lifetime."""
    assert not compile_regex("(a*)*(a|a)*b")("a" * 20_000)


def test_lone_surrogates_are_replacement_characters() -> None:
    assert compile_regex("a.b")("a\ud800b")
    assert compile_regex("\ufffd")("\udfff")


@given(
    st.text(st.sampled_from("ab1-_."), max_size=6),
    st.sampled_from(["[a-z0-9_-]+", "a?b*", "(a|b)+", ".{2,3}", "[^a]*"]),
)
def test_same_as_python_where_the_syntax_is(value: str, pattern: str) -> None:
    assert compile_regex(pattern)(value) == python_regex(pattern)(value)


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_pattern_is_a_test_or_refused(pattern: str, value: str) -> None:
    try:
        test = compile_regex(pattern)
    except Invalid as error:
        assert str(error)
    else:
        assert test(value) in (True, False)

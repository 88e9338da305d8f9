"""Matchers without a real Alertmanager: what is refused and how that is said. Sameness: tests/contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.core.errors import Invalid
from autoheal.core.matcher import matcher, parse_matcher, parse_matchers, python_regex


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('alertname="Down"', ("alertname", "=", "Down")),
        ("alertname=Down", ("alertname", "=", "Down")),
        ('service=~"crm-.*"', ("service", "=~", "crm-.*")),
        ('a !~ "x|y" ', ("a", "!~", "x|y")),
        ('a!=""', ("a", "!=", "")),
        ('a="say \\"hi\\"\\n\\\\ \\t"', ("a", "=", 'say "hi"\n\\ \\t')),
        ("a=x\\", ("a", "=", "x\\")),
        ("a==b", ("a", "=", "=b")),
    ],
)
def test_parts(text: str, parts: tuple[str, str, str]) -> None:
    found = parse_matcher(text)
    assert (found.name, found.op, found.value) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no matcher"),
        ("a", "'a' is no matcher"),
        ("1a=b", "is no matcher"),
        ('a="b', "no closing one"),
        ('a=b"c', "not escaped"),
        ('a=~"("', """in matcher a=~'(': not a regular expression"""),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_matcher(text)
    assert said in str(caught.value)


def test_lists() -> None:
    assert [str(one) for one in parse_matchers('{a="b,c", d!="e",}')] == ['a="b,c"', 'd!="e"']
    assert parse_matchers("") == parse_matchers("{}") == []
    with pytest.raises(Invalid):
        parse_matchers("a=b,,c=d")


def test_a_missing_label_counts_as_empty() -> None:
    assert parse_matcher('a=""').matches({})
    assert parse_matcher('a!="x"').matches({"b": "x"})
    assert not parse_matcher('a=~".+"').matches({})
    assert parse_matcher('a!~".+"').matches({})


def test_the_compiler_is_the_callers() -> None:
    asked: list[str] = []

    def compile(pattern: str):  # type: ignore[no-untyped-def]
        asked.append(pattern)
        return lambda value: value == "yes"

    found = parse_matchers('a=~"p",b!~"q"', compile)
    assert asked == ["p", "q"]
    assert found[0].matches({"a": "yes"}) and not found[0].matches({"a": "p"})
    assert found[1].matches({"b": "q"}) and not found[1].matches({"b": "yes"})


def test_python_regex_is_anchored_and_a_dot_is_no_line_feed() -> None:
    assert python_regex("b|c")("c") and not python_regex("b|c")("bc")
    assert not python_regex(".*")("a\nb")
    assert not python_regex("a")("a\n")
    with pytest.raises(Invalid):
        python_regex("(")


NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)


@given(NAMES, st.sampled_from(["=", "!="]), st.text())
def test_canonical_form_parses_to_the_same(name: str, op: str, value: str) -> None:
    one = matcher(name, op, value)
    assert parse_matcher(str(one)) == one
    assert parse_matchers(str(one)) == [one]


@given(st.lists(st.tuples(NAMES, st.sampled_from(["=", "!="]), st.text(max_size=6)), max_size=4))
def test_a_list_of_canonical_forms_parses_to_the_same(parts: list[tuple[str, str, str]]) -> None:
    made = [matcher(*part) for part in parts]
    assert parse_matchers("{" + ",".join(map(str, made)) + "}") == made


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse_matchers(text)
    except Invalid as error:
        assert str(error)

"""Placeholders: the only way from an alert's text into an action."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.core.alert import Alert
from autoheal.core.errors import Invalid
from autoheal.core.template import DEFAULT_ALLOW, default_allowed, placeholders, render, strings

ALERT = Alert(
    "firing",
    {"alertname": "Down", "service": "crm-api", "evil": "$(rm -rf /)", "option": "--help", "long": "x" * 254},
    {"runbook.url": "http://x/y", "note": "a b"},
    1.0,
    "0123456789abcdef",
)


def test_every_kind_is_filled_in_every_place() -> None:
    tree = {"a": ["{labels.service}", "x-{alertname}-{fingerprint}"], "b": {"c": "{annotations.runbook.url}"}, "d": 5}
    assert render(tree, ALERT, default_allowed()) == {
        "a": ["crm-api", "x-Down-0123456789abcdef"],
        "b": {"c": "http://x/y"},
        "d": 5,
    }


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("{labels.nope}", "labels.nope", "does not have it"),
        ("{labels.evil}", "labels.evil", "allowed pattern"),
        ("{annotations.note}", "annotations.note", "allowed pattern"),
        ("{labels.option}", "labels.option", "begins with '-'"),
        ("{labels.long}", "labels.long", "allowed pattern"),
    ],
)
def test_a_value_that_does_not_fit_never_arrives(text: str, field: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        render([text], ALERT, default_allowed())
    assert caught.value.field == field and said in caught.value.detail


def test_a_dash_is_refused_whatever_the_pattern_allows() -> None:
    with pytest.raises(Invalid, match="begins with '-'"):
        render("{labels.option}", ALERT, lambda value: True)


def test_what_was_filled_in_is_not_read_again() -> None:
    alert = Alert("firing", {"a": "{labels.b}", "b": "secret"}, {}, 1.0, "f")
    assert render("{labels.a}", alert, lambda value: True) == "{labels.b}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("plain", []),
        ("{labels.service}:{labels.port}", ["labels.service", "labels.port"]),
        ("{alertname}{fingerprint}{annotations.a-b.c}", ["alertname", "fingerprint", "annotations.a-b.c"]),
        ('up{instance="{labels.instance}"} == 1', ["labels.instance"]),
        ('sum by (x) (up{job="crm"})', []),
        ("up{}", []),
        ("awk '{print $1}'", []),
        ("docker ps --format '{{.Names}}'", []),
        ('{"text": "{alertname} again"}', ["alertname"]),
        ("a{2,3}", []),
        ("echo ${HOME}", []),
        ("${labels.a}", ["labels.a"]),
    ],
)
def test_found(text: str, found: list[str]) -> None:
    assert placeholders(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "{label.service}",
        "{labels.service",
        "{labels.my-service}",
        "{labels}",
        "{labels.}",
        "{ labels.service }",
        "{labels .service}",
        "{labels[service]}",
        "{annotation.x",
        "{service}",
        "{alert_name}",
        "{ alertname }",
        "fine {labels.a} and {lables.b}",
    ],
)
def test_what_was_meant_as_one_is_told(text: str) -> None:
    with pytest.raises(Invalid, match="is no placeholder; there are"):
        placeholders(text)


def test_strings_leaves_keys_out() -> None:
    assert list(strings({"k": ["a", 1, ("b",)], "l": {"m": "c"}, "n": None})) == ["a", "b", "c"]


@given(st.text())
def test_the_default_pattern_lets_no_shell_through(value: str) -> None:
    alert = Alert("firing", {"a": value}, {}, 1.0, "f")
    try:
        out = render(["{labels.a}"], alert, default_allowed())
    except Invalid:
        return
    assert out == [value] and 1 <= len(value) <= 253 and not value.startswith("-")
    assert not set(value) & set(" \t\r\n\0;|&$`<>()'\"\\*?~{}")


@given(st.text(st.sampled_from("{}labels.annotations alertname x-_["), max_size=30))
def test_what_is_accepted_is_filled_or_stands_for_itself(text: str) -> None:
    try:
        found = placeholders(text)
    except Invalid:
        return
    labels = {name.partition(".")[2]: "V" for name in found if name.startswith("labels.")}
    notes = {name.partition(".")[2]: "V" for name in found if name.startswith("annotations.")}
    out = render(text, Alert("firing", {**labels, "alertname": "V"}, notes, 1.0, "V"), default_allowed(DEFAULT_ALLOW))
    expected = text
    for name in found:
        expected = expected.replace(f"{{{name}}}", "V", 1)
    assert out == expected

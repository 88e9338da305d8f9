"""What people write is read strictly, and what is near is named."""

from __future__ import annotations

from typing import Any

import pytest

from autoheal.core.errors import Invalid
from autoheal.core.options import one_of, one_verb, required, table, text, text_map, texts


def refused(work: Any, *args: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        work(*args)
    return caught.value


def test_an_unknown_key_names_its_place_and_what_is_near() -> None:
    error = refused(table, {"projekt": 1}, ("project", "services"), "compose_restart")
    assert error.field == "compose_restart.projekt"
    assert "did you mean 'project'?" in error.detail
    assert "there are: project, services" in refused(table, {"zzz": 1}, ("project", "services")).detail


@pytest.mark.parametrize("value", [None, "x", ["a"], 1])
def test_a_table_is_a_mapping(value: Any) -> None:
    assert "expected a mapping" in refused(table, value, ("a",)).detail


def test_exactly_one_verb() -> None:
    assert one_verb({"stop": "a"}, ("start", "stop")) == ("stop", "a")
    assert "got 0" in refused(one_verb, {}, ("start", "stop")).detail
    assert "got 2" in refused(one_verb, {"start": "a", "stop": "b"}, ("start", "stop")).detail


@pytest.mark.parametrize(
    ("value", "says"),
    [(None, "nothing"), (5, "quotes"), (True, "quotes"), ("", "empty"), ("a\0b", "NUL"), ([], "a list")],
)
def test_text_is_text(value: Any, says: str) -> None:
    error = refused(text, value, "restart")
    assert error.field == "restart" and says in error.detail


def test_a_list_of_texts_may_hold_empty_ones() -> None:
    assert texts(["a", ""], "run") == ["a", ""]
    assert refused(texts, ["a", 5], "run").field == "run[1]"
    assert refused(texts, [], "run").detail == "the list is empty"
    assert refused(texts, "a b", "run").detail == "expected a list, got text"


def test_a_map_of_texts() -> None:
    assert text_map({"A": "", "B": "x"}, "env") == {"A": "", "B": "x"}
    assert refused(text_map, {"A": 1}, "env").field == "env.A"
    assert refused(text_map, {1: "a"}, "env").field == "env"


def test_required_and_one_of() -> None:
    assert "'url' is missing" in refused(required, {}, "url").detail
    assert required({"url": "x"}, "url") == "x"
    assert "did you mean 'POST'?" in refused(one_of, "POSTT", ("GET", "POST"), "method").detail
    assert one_of("GET", ("GET", "POST"), "method") == "GET"

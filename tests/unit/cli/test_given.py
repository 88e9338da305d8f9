"""What people write: labels, moments, where Autoheal is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from autoheal.cli.client import proof, where
from autoheal.cli.given import label_set, spread
from autoheal.cli.moments import moment
from autoheal.core.errors import Invalid

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("30m", NOW - 1800),
        ("2h", NOW - 7200),
        ("1h30m ago", NOW - 5400),
        ("1700000000", 1_700_000_000.0),
        ("1700000000.5", 1_700_000_000.5),
        ("2026-01-31T12:00:00Z", 1_769_860_800.0),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800.0),
        ("2026-01-31", datetime(2026, 1, 31).timestamp()),
    ],
)
def test_moments(text: str, expected: float) -> None:
    assert moment(text, NOW, "--since") == expected


@pytest.mark.parametrize("text", ["", "yesterday", "-5m", "5 m", "2026-13-01", "1" * 40])
def test_what_is_no_moment_names_its_option(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        moment(text, NOW, "--since")
    assert caught.value.field == "--since"


def test_labels() -> None:
    assert label_set(["a=1", 'b="x y"', "c=d=e", "f="], "l") == {"a": "1", "b": "x y", "c": "d=e", "f": ""}
    assert label_set(['{"a":"1","b":"="}'], "l") == {"a": "1", "b": "="}
    assert label_set(["a=1", "a=1"], "l") == {"a": "1"}


@pytest.mark.parametrize(
    "items", [["a"], ["=1"], ["a b=1"], ["a=~x.*"], ["a==1"], ["a!=1"], ["a=1", "a=2"], ["{"], ['{"a":1}'], ["{}x"]]
)
def test_what_are_no_labels(items: list[str]) -> None:
    with pytest.raises(Invalid):
        label_set(items, "--labels")


def test_many_values_after_one_option() -> None:
    given = ["--labels", "a=1", "b=2", "--annotations", "c=3", "d=4", "--json", "e=5"]
    assert spread(given) == [
        *("--labels", "a=1", "--labels", "b=2", "--annotations", "c=3", "--annotations", "d=4", "--json", "e=5"),
    ]
    assert spread(["--labels", "--json"]) == ["--labels", "--json"]
    assert spread(["--labels=a=1", "b=2"]) == ["--labels=a=1", "b=2"]


def test_where_autoheal_is() -> None:
    assert where(None, {}) == "http://127.0.0.1:9009"
    assert where(None, {"AUTOHEAL_PORT": "8000"}) == "http://127.0.0.1:8000"
    assert where(None, {"AUTOHEAL_PORT": "8000", "AUTOHEAL_PUBLIC_URL": "https://a.example/heal/"}) == (
        "https://a.example/heal"
    )
    assert where("http://b:1/", {"AUTOHEAL_PUBLIC_URL": "https://a.example"}) == "http://b:1"


@pytest.mark.parametrize(
    ("url", "environ", "name"),
    [
        ("ftp://x", {}, "--url"),
        ("http://u:p@x", {}, "--url"),
        (None, {"AUTOHEAL_PUBLIC_URL": "nonsense"}, "AUTOHEAL_PUBLIC_URL"),
        (None, {"AUTOHEAL_PORT": "many"}, "AUTOHEAL_PORT"),
        (None, {"AUTOHEAL_PORT": "tcp://10.0.0.1:9009"}, "enableServiceLinks"),
    ],
)
def test_a_place_that_is_none_is_named(url: str | None, environ: dict[str, str], name: str) -> None:
    with pytest.raises(Invalid, match=name):
        where(url, environ)


def test_the_token_comes_from_the_option_the_environment_or_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    assert proof("given", {"AUTOHEAL_ADMIN_TOKEN": "env"}) == "given"
    assert proof(None, {"AUTOHEAL_ADMIN_TOKEN": "env"}) == "env"
    assert proof(None, {"AUTOHEAL_ADMIN_TOKEN_FILE": str(file)}) == "of-the-file"
    assert proof(None, {}) is None

"""Our matchers and those of a real Alertmanager: the same strings are accepted, and they match the same labels."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoheal.config.regex import compile_regex
from autoheal.core.errors import Invalid
from autoheal.core.matcher import Matcher, parse_matcher, parse_matchers
from tests.needs import needs


class Amtool:
    """Asks amtool about many strings in one call; each is the one entry of a route's `matchers`."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder = program, folder

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.program, *arguments], cwd=self.folder, capture_output=True, timeout=60, check=False, env={}
        )
        return done.stdout.decode("utf-8", "replace")

    def _write(self, name: str, routes: Sequence[Mapping[str, object]], receivers: Sequence[str]) -> None:
        config = {
            "route": {"receiver": "root", "routes": list(routes)},
            "receivers": [{"name": receiver} for receiver in ("root", *receivers)],
        }
        (self.folder / name).write_text(yaml.safe_dump(config))

    def accepts(self, texts: Sequence[str]) -> list[bool]:
        names = [f"{index}.yml" for index in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            self._write(name, [{"matchers": [text]}], [])
        said = self._run("check-config", *names)
        verdicts = dict(re.findall(r"^Checking '(\d+\.yml)'  (SUCCESS|FAILED)", said, re.MULTILINE))
        assert set(verdicts) == set(names), said
        return [verdicts[name] == "SUCCESS" for name in names]

    def matching(self, texts: Sequence[str], labels: Mapping[str, str]) -> list[bool]:
        """Which of `texts`, all of them accepted, hold for `labels`."""
        names = [f"r{index}" for index in range(len(texts))]
        routes = [
            {"receiver": name, "matchers": [text], "continue": True} for name, text in zip(names, texts, strict=True)
        ]
        self._write("tree.yml", routes, names)
        given = [f'{name}="{_escaped(value)}"' for name, value in labels.items()]
        said = self._run("config", "routes", "test", "--config.file=tree.yml", *given).strip()
        found = set(said.split(","))
        assert found <= {"root", *names}, said
        return [name in found for name in names]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def ours(text: str) -> list[Matcher] | None:
    try:
        return parse_matchers(text, compile_regex)
    except Invalid:
        return None


@pytest.fixture
def amtool(tmp_path: Path) -> Amtool:
    return Amtool(needs("amtool", "prometheus-alertmanager"), tmp_path)


def agree(amtool: Amtool, texts: Sequence[str], label_sets: Sequence[Mapping[str, str]]) -> None:
    parsed = [ours(text) for text in texts]
    assert dict(zip(texts, (one is not None for one in parsed), strict=True)) == dict(
        zip(texts, amtool.accepts(texts), strict=True)
    )
    accepted = [(text, one) for text, one in zip(texts, parsed, strict=True) if one is not None]
    for labels in label_sets:
        mine = {text: all(matcher.matches(labels) for matcher in one) for text, one in accepted}
        theirs = amtool.matching(list(mine), labels) if mine else []
        assert mine == dict(zip(mine, theirs, strict=True)), labels


# fmt: off
TABLE = [
    "a=b\x0b,b=c", "a=b\t,b=c", "a=b\u00a0,b=c",
    "a=b", "a=", 'a="', 'a=""', "a!=b", "a=~b", "a!~b", "a==b", "a=!b", "a=~~b", "a!b", "a", "", " ", "=b", "a=b=c",
    "{a=b}", "{a=b", "a=b}", "{}", "{", "}", "{{a=b}}", "{a=b},", "{a=b} ", " {a=b}", "{a=b}}", "{,}", ",", "a=b,",
    "a=b, ", "a=b,,", "a=b,,a=c", ",a=b", "a=b,a!=c", "a=b,b=c", "a=b,\xa0", "a=b,\u2003", "a=b,\x1c", 'a="b,c"',
    'a="b\\",c"', 'a=\\,"b', 'a=\\"b', 'a="b', 'a=b"', 'a=b"c', 'a="b"c', 'a="b" ', 'a=""b""', "a=\\", "a=\\\\",
    'a="x\\"', 'a="x\\\\"', 'a="x\\n"', "a=x\\n", "a=x\\t", "a='b'", "a=`b`", " a=b", "a =b", "a= b", "a = b ",
    "\ta=b\n", "a\n=\nb", "a\x0b=b", "a=b\x0b", "\xa0a=b", "a\xa0=b", "a=\xa0b\xa0", "é=b", "a=é", "foo:bar=x", ":=x",
    "_=x", "1a=b", "a-b=c", "a.b=c", "'a'=b", '"a"=b', 'a=~"["', 'a=~"("', 'a=~")"', 'a=~"x)|(y"', 'a=~"*"',
    'a=~"x**"', 'a=~"(?i)B"', 'a=~"(?<n>x)"', 'a=~"(?P<n>x)"', 'a=~"(?P<n>x)(?P<n>y)"', 'a=~"(?=x)"', 'a=~"(a)\\\\1"',
    'a=~"\\\\C"', 'a=~"\\\\\\\\C"', 'a=~"[(?<]"', 'a=~"\\\\(?<"', 'a=~"\\\\Qa.b\\\\E"', 'a=~"\\\\Q(?<"',
    'a=~"\\\\Q\\\\C\\\\E"', 'a=~"\\\\_"', 'a=~"\\\\z"', 'a=~"\\\\Z"', 'a=~"\\\\A"', 'a=~"b{1000}"', 'a=~"b{1001}"',
    'a=~"((b{100}){100}){10}"', 'a=~"b{,2}"', 'a=~"b{2,1}"', 'a=~"\\\\p{Greek}"', 'a=~"\\\\pN"', 'a=~"."', 'a=~".*"',
    'a=~".+"', 'a=~"(?s).*"', 'a=~"b|c"', 'a=~"^b$"', 'a=~"b$"', 'a=~"(?m)b$"', 'a=~"(?m:^b$)"', 'a=~""', 'a!~""',
    'a=~"[[:alpha:]]"', 'a=~"[[:nope:]]"', 'a=~"[^b]"', 'a=~"[]b]"', 'a=~"[b-a]"', 'a=~"\\\\x62"', 'a=~"\\\\x{62}"',
    'a=~"\\\\b"',
]
LABELS = [
    {"a": "b\x0b", "b": "c"}, {"a": "b\u00a0", "b": "c"},
    {}, {"a": "b"}, {"a": "B"}, {"a": ""}, {"a": "c", "b": "c"}, {"a": "b\n"}, {"a": "b,c"}, {"a": 'b",c'},
    {"a": "\\"}, {"a": "x\n"}, {"a": "x\\n"}, {"a": "b\nb"}, {"a": "é"}, {"a": "x1"}, {"a": "1y"}, {"a": "a.b"},
    {"a": "="}, {"a": "\xa0b"}, {"a": "_"}, {"a": "b{,2}"}, {"a": "'b'"}, {"a": "γ"}, {"foo:bar": "x"}, {"a": "]"},
    {"a": "(?<"}, {"a": "\\C"}, {"a": "b}"},
]
# fmt: on


def test_table(amtool: Amtool) -> None:
    agree(amtool, TABLE, LABELS)


NOISE = ["a", "b", "foo:bar", "=", "!=", "=~", "!~", "!", "~", '"', '"', "\\", "\\n", '\\"', ",", ", ", "{", "}"]
SPACES = [" ", "\t", "\n", "\r", "\v", "\f", "\x85", "\xa0", "\u2003", "\u3000", "\x1c", "\x1f"]
NOISY = st.lists(st.sampled_from([*NOISE, *SPACES, "é", "𝄞", ".", "*", "1"]), max_size=9).map("".join)
WORDS = st.text(st.sampled_from('ab,\\"\n }{é='), max_size=5)
WRITTEN = st.builds(
    lambda name, op, value, around: (
        f"{around}{name}{around}{op}{around}{json.dumps(value, ensure_ascii=False)}{around}"
    ),
    st.sampled_from(["a", "b", "_x"]),
    st.sampled_from(["=", "!=", "=~", "!~"]),
    WORDS,
    st.sampled_from(["", " ", "\n\t"]),
)
PIECES = (
    r"a b B . * + ? | ( ) [ ] { } ^ $ - , \d \w \W \s \pL \PN \p{Greek} \C (?: (?i) (?s) (?m) (?U) (?P<n> (?< (?= (?i: "
    r"\Q \E {2} {2,} {,2} {0,1} {1001} [^ [a-b] [[:alpha:]] [:alpha:] \b \B \z \A \Z \x41 \x{e9} \n \. \_ \\ \1 \07 \- "
    r"é *? ++ ?? 1 _ -"
).split()
PATTERNS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).map("".join)
REGEXES = st.builds(lambda op, pattern: f'a{op}"{_escaped(pattern)}"', st.sampled_from(["=~", "!~"]), PATTERNS)
VALUES = st.text(st.sampled_from('abBA1_.-\n\\"é,{}= '), max_size=5)
LABEL_SETS = st.dictionaries(st.sampled_from(["a", "b", "_x"]), VALUES, max_size=2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(NOISY, WRITTEN, st.lists(WRITTEN, max_size=3).map(",".join), st.text(max_size=8)), max_size=60),
    st.lists(LABEL_SETS, min_size=1, max_size=3),
)
def test_any_text(amtool: Amtool, texts: list[str], label_sets: list[dict[str, str]]) -> None:
    agree(amtool, texts, label_sets)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(REGEXES, max_size=60), st.lists(LABEL_SETS, min_size=1, max_size=4))
def test_any_regular_expression(amtool: Amtool, texts: list[str], label_sets: list[dict[str, str]]) -> None:
    agree(amtool, texts, label_sets)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["=", "!="]), VALUES), min_size=1, max_size=40), VALUES)
def test_canonical_form_means_the_same(amtool: Amtool, parts: list[tuple[str, str]], value: str) -> None:
    """What we print for a person or send as a filter is read back by Alertmanager as the same matcher."""
    texts = [str(parse_matcher(f'a{op}"{_escaped(text)}"')) for op, text in parts]
    assert amtool.matching(texts, {"a": value}) == [(value == text) == (op == "=") for op, text in parts]

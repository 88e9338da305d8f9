"""The chain of lines: what was changed, moved or cut is seen."""

from __future__ import annotations

import json

import pytest

from autoheal.core.events import GENESIS, KINDS, follows, seal, unseal

BODIES = [f'{{"id":{n},"kind":"heartbeat","text":"ü{n}"}}'.encode() for n in range(1, 4)]


def chain() -> list[str]:
    lines, previous = [], GENESIS
    for body in BODIES:
        line, previous = seal(body, previous)
        lines.append(line)
    return lines


def test_a_sealed_line_is_json_with_its_hash_as_the_last_field() -> None:
    line, digest = seal(BODIES[0], GENESIS)
    read = json.loads(line)
    assert read["id"] == 1 and read["text"] == "ü1" and list(read)[-1] == "hash" and read["hash"] == digest
    assert len(digest) == 64


def test_each_line_follows_the_one_before() -> None:
    previous = GENESIS
    for line, body in zip(chain(), BODIES, strict=True):
        assert follows(line, previous) and follows(line.encode(), previous)
        found = unseal(line)
        assert found is not None and found[0] == body
        previous = found[1]


def test_a_changed_line_follows_nothing() -> None:
    line = chain()[0]
    assert not follows(line.replace("heartbeat", "heartbeet"), GENESIS)


def test_a_line_does_not_follow_another_than_its_own() -> None:
    one, two, three = chain()
    found = unseal(one)
    assert found is not None
    assert not follows(three, found[1]) and not follows(two, GENESIS)


@pytest.mark.parametrize("line", ["", "{}", '{"id":1}', '{"id":1,"hash":"abc"}', chain()[0][:-1], chain()[0] + " "])
def test_what_has_no_hash_at_its_end_is_no_line(line: str) -> None:
    assert unseal(line) is None and not follows(line, GENESIS)


def test_kinds_are_named_once() -> None:
    assert len(KINDS) == len(set(KINDS)) == 29

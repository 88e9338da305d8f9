"""The fake Slack's blocks: what is documented as good is taken, and each limit is kept to the character."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.testing.slack_blocks import TOTAL, complaints, size

Data = dict[str, Any]


def plain(text: str) -> Data:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Data:
    return {"type": "mrkdwn", "text": text}


def button(name: str = "go", **more: Any) -> Data:
    return {"type": "button", "action_id": name, "text": plain("Go"), **more}


def option(value: str = "1", text: str = "One", **more: Any) -> Data:
    return {"text": plain(text), "value": value, **more}


def select(**more: Any) -> Data:
    return {"type": "static_select", "action_id": "choose", "placeholder": plain("which"), **more}


def actions(*elements: Data) -> Data:
    return {"type": "actions", "elements": list(elements)}


def section(text: str = "x", **more: Any) -> Data:
    return {"type": "section", "text": mrkdwn(text), **more}


CONFIRM = {"title": plain("t" * 100), "text": mrkdwn("x" * 300), "confirm": plain("y" * 30), "deny": plain("n" * 30)}
GOOD: list[list[Data]] = [
    [],
    [section(str(n)) for n in range(50)],
    [section("x" * 3000)],
    [section(fields=[mrkdwn("x" * 2000)] + [plain("y")] * 9)],
    [{"type": "section", "fields": [mrkdwn("only fields")]}],
    [section(accessory=button()), section(accessory={"type": "image", "image_url": "https://x/", "alt_text": "a"})],
    [{"type": "header", "text": plain("x" * 150)}, {"type": "divider", "block_id": "d"}],
    [{"type": "context", "elements": [mrkdwn("x")] * 9 + [{"type": "image", "image_url": "h", "alt_text": "a"}]}],
    [actions(*(button(f"b{n}") for n in range(25)))],
    [actions(button(value="v" * 2000, url="https://x/" + "y" * 2900, style="danger", confirm=CONFIRM))],
    [actions({**button("a" * 255), "text": plain("x" * 75)})],
    [actions(select(options=[option("v" * 150, "t" * 75)] * 100))],
    [actions(select(option_groups=[{"label": plain("g"), "options": [option()]}], initial_option=option()))],
    [actions({"type": "overflow", "action_id": "o", "options": [option(description=plain("d"))] * 5})],
    [{"type": "image", "image_url": "https://x/", "alt_text": "a", "title": plain("t")}],
    [{"type": "section", "block_id": "b" * 255, "text": {"type": "mrkdwn", "text": "x", "verbatim": True}}],
    [{"type": "markdown", "text": "x" * 12_000}],
]
BAD: list[tuple[list[Data], str]] = [
    ([section()] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
    ([section("x" * 3001)], "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
    ([section("")], "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
    ([{"type": "section"}], "must define either `text` or `fields` [json-pointer:/blocks/0]"),
    ([section(fields=[mrkdwn("x")] * 11)], "no more than 10 items allowed [json-pointer:/blocks/0/fields]"),
    ([section(fields=[mrkdwn("x" * 2001)])], "less than 2001 characters [json-pointer:/blocks/0/fields/0/text]"),
    ([section(accessory={"type": "nothing"})], "unsupported type: nothing [json-pointer:/blocks/0/accessory/type]"),
    ([section(colour="red")], "invalid additional property: colour [json-pointer:/blocks/0]"),
    ([{"type": "header", "text": plain("x" * 151)}], "less than 151 characters [json-pointer:/blocks/0/text/text]"),
    ([{"type": "header", "text": mrkdwn("x")}], "must be a valid enum value [json-pointer:/blocks/0/text/type]"),
    ([{"type": "section", "text": {**mrkdwn("x"), "emoji": True}}], "invalid additional property: emoji"),
    ([{"type": "section", "text": {**plain("x"), "verbatim": True}}], "invalid additional property: verbatim"),
    ([{"type": "section", "text": "x"}], "must be an object [json-pointer:/blocks/0/text]"),
    ([{"type": "context", "elements": [mrkdwn("x")] * 11}], "no more than 10 items allowed"),
    ([{"type": "context", "elements": []}], "must have at least 1 items"),
    ([actions(*(button(f"b{n}") for n in range(26)))], "no more than 25 items allowed"),
    ([actions()], "must have at least 1 items [json-pointer:/blocks/0/elements]"),
    ([actions(button("same"), button("same"))], '"action_id" already exists'),
    ([actions(button("same")), section(accessory=button("same"))], '"action_id" already exists'),
    ([section(block_id="same"), section(block_id="same")], '"block_id" already exists'),
    ([section(block_id="b" * 256)], "less than 256 characters [json-pointer:/blocks/0/block_id]"),
    ([actions(button("a" * 256))], "less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]"),
    ([actions(button(value="v" * 2001))], "less than 2001 characters [json-pointer:/blocks/0/elements/0/value]"),
    ([actions(button(url="https://x/" + "y" * 3000))], "less than 3001 characters"),
    ([actions(button(url="javascript:alert(1)"))], "must be a valid URL"),
    ([actions(button(style="green"))], "must be a valid enum value"),
    ([actions({**button(), "text": plain("x" * 76)})], "less than 76 characters"),
    ([actions({**button(), "text": mrkdwn("x")})], "must be a valid enum value"),
    ([actions({"type": "button"})], "missing required field: text"),
    ([actions(button(confirm={**CONFIRM, "deny": plain("n" * 31)}))], "less than 31 characters"),
    ([actions(select(options=[option()] * 101))], "no more than 100 items allowed"),
    ([actions(select(options=[option("v" * 151)]))], "less than 151 characters"),
    ([actions(select(options=[option(text="t" * 76)]))], "less than 76 characters"),
    ([actions(select(options=[]))], "must have at least 1 items"),
    ([actions(select(options=[option()], initial_option=option("2")))], "must be one of the options"),
    ([actions(select(options=[{"text": mrkdwn("x"), "value": "v"}]))], "must be a valid enum value"),
    ([actions({"type": "overflow", "action_id": "o", "options": [option()] * 6})], "no more than 5 items allowed"),
    ([{"type": "image", "image_url": "https://x/"}], "must be a string [json-pointer:/blocks/0/alt_text]"),
    ([{"type": "banner"}], "unsupported type: banner [json-pointer:/blocks/0/type]"),
    (["text"], "must be an object [json-pointer:/blocks/0]"),  # type: ignore[list-item]
]


@pytest.mark.parametrize("blocks", GOOD)
def test_what_is_documented_is_taken(blocks: list[Data]) -> None:
    assert complaints(blocks) == []


@pytest.mark.parametrize(("blocks", "words"), BAD)
def test_every_limit_is_kept(blocks: list[Data], words: str) -> None:
    assert any(words in one for one in complaints(blocks)), complaints(blocks)


@pytest.mark.parametrize("blocks", [None, {}, "x", 5])
def test_blocks_are_a_list(blocks: object) -> None:
    assert complaints(blocks) == ["must be an array [json-pointer:/blocks]"]


def test_a_view_takes_more_blocks() -> None:
    blocks = [section()] * 51
    assert complaints(blocks) and not complaints(blocks, "view")


def test_the_size_is_as_people_found_it() -> None:
    """bolt-js#2509: one markdown block of 13,297 characters passes; with a divider beside it 13,172."""
    alone = [{"type": "markdown", "text": "x" * 13_270}]
    assert size(alone) <= TOTAL
    beside = [{"type": "markdown", "text": "x" * 13_270}, {"type": "divider"}]
    assert size(beside) > TOTAL
    assert size([actions(button(value="v" * 2000))]) > 2000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "type text elements fields options accessory element value block_id action_id confirm".split()
            ),
            inner
            | st.sampled_from(["section", "actions", "context", "button", "static_select", "mrkdwn", "plain_text"]),
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(JSON)
def test_whatever_comes_is_judged_and_left_alone(blocks: Any) -> None:
    before = copy.deepcopy(blocks)
    assert all("[json-pointer:/" in one for one in complaints(blocks))
    assert blocks == before


@given(st.integers(0, len(GOOD) - 1), st.integers(0, len(GOOD) - 1))
def test_good_ones_stay_good_together(one: int, other: int) -> None:
    together = copy.deepcopy([*GOOD[one], *GOOD[other]])
    ids = ("block_id", "action_id")
    told = [words for words in complaints(together) if not any(f'"{name}" already' in words for name in ids)]
    assert told == [] or len(together) > 50

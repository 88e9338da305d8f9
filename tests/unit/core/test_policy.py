"""The policy as the core sees it: windows, keys, which rule an alert gets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.core.alert import Alert
from autoheal.core.matcher import parse_matchers
from autoheal.core.policy import WEEK_MINUTES, ActionSpec, Policy, Rule, Step, Window, key_of
from autoheal.core.template import default_allowed

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def window(start: tuple[int, int, int], end: tuple[int, int, int], zone: ZoneInfo = BERLIN) -> Window:
    minutes = [day * 1440 + hour * 60 + minute for day, hour, minute in (start, end)]
    return Window("w", minutes[0] % WEEK_MINUTES, minutes[1] % WEEK_MINUTES, zone)


WEEKEND = window((5, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-20 23:59:59", None),
        ("2026-11-21 00:00:00", "2026-11-23 00:00"),
        ("2026-11-22 12:34:56", "2026-11-23 00:00"),
        ("2026-11-22 23:59:59.9", "2026-11-23 00:00"),
        ("2026-11-23 00:00:00", None),
    ],
)
def test_weekend(now: str, until: str | None) -> None:
    assert WEEKEND.until(at(now)) == (at(until) if until else None)


def test_a_window_may_wrap_around_the_week() -> None:
    wrap = window((6, 22, 0), (0, 6, 0))
    assert wrap.until(at("2026-11-22 23:00")) == at("2026-11-23 06:00")
    assert wrap.until(at("2026-11-23 05:00")) == at("2026-11-23 06:00")
    assert wrap.until(at("2026-11-22 21:59")) is None


def test_the_zone_counts() -> None:
    assert window((5, 0, 0), (0, 0, 0), ZoneInfo("UTC")).until(at("2026-11-21 00:30")) is None


def test_clock_set_forward_over_the_end() -> None:
    """On 2026-03-29 there is no 02:30 in Berlin: the window ends where the gap begins."""
    night = window((6, 1, 0), (6, 2, 30))
    assert night.until(at("2026-03-29 01:10")) == at("2026-03-29 03:00")
    assert night.until(at("2026-03-29 01:30")) == at("2026-03-29 03:00")
    assert night.until(at("2026-03-29 03:00")) is None


def test_clock_set_back_over_the_end() -> None:
    """On 2026-10-25 02:30 comes twice in Berlin; the window is over at the first and again at the second."""
    night = window((6, 1, 0), (6, 2, 30))
    first, second = at("2026-10-25 02:30"), at("2026-10-25 02:30", fold=1)
    assert second - first == 3600
    assert night.until(at("2026-10-25 01:59")) == first
    assert night.until(first) is None
    assert night.until(at("2026-10-25 02:10", fold=1)) == second


def test_a_window_over_the_change_has_its_wall_time() -> None:
    assert WEEKEND.until(at("2026-03-28 12:00")) == at("2026-03-30 00:00")
    assert WEEKEND.until(at("2026-10-24 12:00")) == at("2026-10-26 00:00")


MINUTES = st.integers(0, WEEK_MINUTES - 1)
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]
)
TIMES = st.floats(at("2012-02-01 00:00"), at("2040-01-01 00:00"))
AROUND_CHANGES = st.builds(
    lambda day, seconds: at(day) + seconds,
    st.sampled_from(["2026-03-29 00:00", "2026-10-25 00:00", "2026-04-05 00:00", "2026-10-04 00:00"]),
    st.floats(-90000, 90000),
)


@given(MINUTES, MINUTES, ZONES, st.one_of(TIMES, AROUND_CHANGES))
def test_the_end_is_outside_and_ahead(start: int, end: int, zone: str, now: float) -> None:
    one = Window("w", start, end, ZoneInfo(zone))
    until = one.until(now)
    if until is None or start == end:
        return
    assert now < until <= now + 8 * 86400
    assert one.until(until) is None


@given(MINUTES, st.integers(1, WEEK_MINUTES - 1), st.floats(at("2012-02-01 00:00"), at("2040-01-01 00:00")))
def test_in_utc_it_is_plain_arithmetic(start: int, length: int, now: float) -> None:
    one = Window("w", start, (start + length) % WEEK_MINUTES, ZoneInfo("UTC"))
    here = datetime.fromtimestamp(now, UTC)
    monday = here.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=here.weekday())
    spans = [monday + timedelta(weeks=week, minutes=start) for week in (-1, 0)]
    ends = [begin + timedelta(minutes=length) for begin in spans if begin <= here < begin + timedelta(minutes=length)]
    assert one.until(now) == (ends[0].timestamp() if ends else None)


# ---- rules ----------------------------------------------------------------------------------------------------------

STEP = Step(ActionSpec("command", {}, ("true",)), 60.0)


def rule(name: str, match: str) -> Rule:
    return Rule(name, tuple(parse_matchers(match)), (STEP,))


def test_the_first_rule_that_matches_is_taken() -> None:
    policy = Policy(
        (
            rule("one", 'alertname="A",job="x"'),
            rule("two", 'job="y"'),
            rule("three", 'alertname="A"'),
            rule("four", 'alertname=~"A|B"'),
        )
    )
    asked = [{"alertname": "A", "job": "x"}, {"alertname": "A", "job": "y"}, {"alertname": "A"}, {"alertname": "B"}, {}]
    found = [policy.rule_for(labels) for labels in asked]
    assert [one.name if one else None for one in found] == ["one", "two", "three", "four", None]
    assert policy.alertnames == ["A"]
    assert policy.rule("two") is policy.rules[1] and policy.rule("nope") is None


def test_alerts_about_autoheal_itself_match_no_rule() -> None:
    policy = Policy((rule("all", 'alertname=~".+"'), rule("own", 'alertname="AutohealStuck"')))
    assert policy.rule_for({"alertname": "AutohealStuck"}) is None
    assert policy.rule_for({"alertname": "NotAutoheal"}) is policy.rules[0]


NAMES = st.sampled_from(["A", "B", "C", "Autoheal", ""])
LABELS = st.dictionaries(st.sampled_from(["alertname", "job", "x"]), NAMES, max_size=3)
MATCHERS = st.lists(
    st.builds("{}{}{}".format, st.sampled_from(["alertname", "job"]), st.sampled_from(["=", "!=", "=~", "!~"]), NAMES),
    min_size=1,
    max_size=3,
).map(",".join)


@given(st.lists(MATCHERS, max_size=5), LABELS)
def test_the_index_by_name_changes_nothing(matches: Sequence[str], labels: dict[str, str]) -> None:
    policy = Policy(tuple(rule(f"r{index}", match) for index, match in enumerate(matches)))
    plain = next((one for one in policy.rules if one.matches(labels)), None)
    assert policy.rule_for(labels) is (None if labels.get("alertname", "").startswith("Autoheal") else plain)


@given(st.lists(st.text(max_size=4), min_size=2, max_size=2), st.lists(st.text(max_size=4), min_size=2, max_size=2))
def test_no_two_keys_collide(one: list[str], other: list[str]) -> None:
    keys = [key_of("r", ("a", "b"), {"a": values[0], "b": values[1]}) for values in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_a_key_is_readable_and_a_missing_label_is_empty() -> None:
    assert rule("r", "a=b").key({"alertname": 'x"y'}) == 'r{alertname="x\\"y"}'
    assert key_of("r", ("a", "b"), {"b": "1"}) == 'r{a="",b="1"}'
    assert key_of("r", (), {"b": "1"}) == "r{}"


def test_a_command_line_is_rendered() -> None:
    spec = ActionSpec("docker", {}, ("docker", "restart", "{labels.service}"))
    alert = Alert("firing", {"service": "crm-api"}, {}, 1.0, "f")
    assert spec.line(alert, default_allowed()) == "docker restart crm-api"

"""Where a group is told, whom it names, and who may answer."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.core.matcher import parse_matchers
from autoheal.core.policy import Policy
from autoheal.core.threads import (
    CHANNELS,
    SEVERITY_RANKS,
    Flapping,
    Route,
    Routed,
    ThreadPolicy,
    channel_for,
    severity_rank,
)

USUAL = ThreadPolicy()


def route(match: str, channel: str = "", mention: tuple[str, ...] | None = None) -> Route:
    return Route(tuple(parse_matchers(match)), channel, mention)


def test_the_defaults_are_those_of_the_contract() -> None:
    assert USUAL.channels == {
        "critical": "#alerts-critical",
        "warning": "#alerts-warning",
        "info": "#alerts-info",
    }
    assert (USUAL.fallback, USUAL.routes, USUAL.mention) == ("#alerts-info", (), {})
    assert (USUAL.operators, USUAL.admins) == (None, frozenset())
    assert (USUAL.new_thread_after, USUAL.news_after, USUAL.remind_before) == (86400.0, 3600.0, 600.0)
    assert USUAL.flapping == Flapping(6, 600.0)
    assert (USUAL.posts_per_second, USUAL.edits_per_minute) == (1.0, 50.0)
    assert Policy().threader == USUAL


@pytest.mark.parametrize(
    ("labels", "channel"),
    [
        ({"severity": "critical"}, "#alerts-critical"),
        ({"severity": "Warning"}, "#alerts-warning"),
        ({"severity": "info"}, "#alerts-info"),
        ({"severity": "P1"}, "#alerts-info"),
        ({"severity": "page"}, "#alerts-info"),
        ({"severity": ""}, "#alerts-info"),
        ({}, "#alerts-info"),
    ],
)
def test_by_severity_and_the_rest_where_info_goes(labels: dict[str, str], channel: str) -> None:
    assert USUAL.routed(labels) == Routed(channel, ())
    assert channel_for(USUAL, [labels]) == Routed(channel, ())


def test_more_severities_may_have_channels() -> None:
    policy = replace(USUAL, channels={**CHANNELS, "page": "#oncall"}, fallback="#rest")
    assert policy.routed({"severity": "PAGE"}).channel == "#oncall"
    assert policy.routed({"severity": "ticket"}).channel == "#rest"


def test_the_first_route_that_matches_wins_before_the_severity() -> None:
    policy = replace(
        USUAL, routes=(route("team=db,env=prod", "#db-prod"), route("team=db", "#db"), route("team=db", "#x"))
    )
    assert policy.routed({"team": "db", "env": "prod", "severity": "info"}).channel == "#db-prod"
    assert policy.routed({"team": "db", "severity": "critical"}).channel == "#db"
    assert policy.routed({"team": "web", "severity": "critical"}).channel == "#alerts-critical"


def test_a_route_leaves_to_the_severity_what_it_does_not_say() -> None:
    policy = replace(
        USUAL,
        mention={"critical": ("<!here>",), "page": ("<@U1>",)},
        routes=(route("a=channel", "#a"), route("a=mention", mention=("<@U2>",)), route("a=nobody", "#a", ())),
    )
    critical = {"severity": "critical"}
    assert policy.routed(critical) == Routed("#alerts-critical", ("<!here>",))
    assert policy.routed({"a": "channel", **critical}) == Routed("#a", ("<!here>",))
    assert policy.routed({"a": "mention", **critical}) == Routed("#alerts-critical", ("<@U2>",))
    assert policy.routed({"a": "nobody", **critical}) == Routed("#a", ())
    assert policy.routed({"a": "mention"}) == Routed("#alerts-info", ("<@U2>",))
    assert policy.routed({"severity": "page"}) == Routed("#alerts-info", ("<@U1>",))


# ---- a group ---------------------------------------------------------------------------------------------------------


def test_a_group_goes_where_its_worst_alert_goes() -> None:
    policy = replace(USUAL, routes=(route("team=db", "#db"),))
    db, web = {"team": "db", "severity": "warning"}, {"team": "web", "severity": "critical"}
    assert channel_for(policy, [db, web]).channel == "#alerts-critical"
    assert channel_for(policy, [db, {**web, "severity": "info"}]).channel == "#db"
    assert channel_for(policy, [db, {**web, "severity": "warning"}]).channel == "#db"


def test_a_severity_without_a_channel_draws_no_group_into_the_channel_for_the_rest() -> None:
    group = [{"severity": "page"}, {"severity": "warning"}, {}]
    assert channel_for(USUAL, group).channel == "#alerts-warning"
    paged = replace(USUAL, channels={**CHANNELS, "page": "#oncall"})
    assert channel_for(paged, group).channel == "#oncall"
    routed = replace(USUAL, routes=(route("severity=page", "#pages"),))
    assert channel_for(routed, group).channel == "#pages"


def test_nobody_is_told_of_what_a_route_sends_nowhere_or_of_a_watchdog_but_of_what_fires_beside_it() -> None:
    policy = ThreadPolicy(routes=(route('team="lab"', "none"), route('alertname="Watchdog", team="sre"', "#sre")))
    lab, dog = {"team": "lab", "severity": "critical"}, {"alertname": "Watchdog", "severity": "warning"}
    assert policy.routed(lab) == policy.routed(dog) == Routed("none")
    assert policy.routed(dog | {"team": "sre"}).channel == "#sre"
    assert channel_for(policy, [lab, {"severity": "info"}, dog]).channel == "#alerts-info"
    assert policy.everywhere == ("#alerts-critical", "#alerts-warning", "#alerts-info", "#sre")


def test_nothing_goes_to_the_fallback() -> None:
    assert channel_for(replace(USUAL, fallback="#x"), []) == Routed("#x", ())


SEVERITIES = st.sampled_from([*SEVERITY_RANKS, "P1", "", "CRITICAL"])
LABELS = st.fixed_dictionaries({"severity": SEVERITIES}, optional={"team": st.sampled_from(["db", "web", "a"])})
ROUTES = (route("team=db", "#db", ("<!here>",)), route("team=~.+", "#team"))


@given(st.lists(LABELS, max_size=4))
def test_the_order_of_the_alerts_does_not_matter(group: list[dict[str, str]]) -> None:
    policy = replace(USUAL, routes=ROUTES, mention={"critical": ("<!channel>",)})
    found = {channel_for(policy, one) for one in permutations(group)}
    assert len(found) == 1
    assert found <= {policy.routed(labels) for labels in group} or not group


def test_how_bad() -> None:
    assert [severity_rank(one) for one in ("Critical", "PAGE", "error", "low", "", "P1")] == [3, 3, 2, 1, 0, 0]
    assert set(CHANNELS) <= set(SEVERITY_RANKS) and all(one == one.lower() for one in SEVERITY_RANKS)


# ---- who may ---------------------------------------------------------------------------------------------------------


def test_who_may() -> None:
    named = replace(USUAL, operators=frozenset({"U1"}), admins=frozenset({"U2"}))
    assert [named.may_acknowledge(user) for user in ("U1", "U2", "U3", "")] == [True, True, False, False]
    assert [named.may_administer(user) for user in ("U1", "U2", "U3", "")] == [False, True, False, False]
    assert USUAL.may_acknowledge("U3") and not USUAL.may_administer("U3")
    assert not replace(USUAL, operators=frozenset()).may_acknowledge("U3")

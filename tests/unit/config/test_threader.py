"""The section `threader` that is right: every key, the ways to write channels and people, digests, other processes.
What is wrong with it is in `test_bad_policies`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.config import threader
from autoheal.config.policy_file import PolicyErrors, example_policy, parse_policy, read_document
from autoheal.config.threader import THREADER_KEYS, shown
from autoheal.core.errors import Invalid
from autoheal.core.policy import Policy
from autoheal.core.threads import NOWHERE, Flapping, Routed, ThreadPolicy
from tests.unit.config.kinds import KINDS

ROOT = Path(__file__).parents[3]
FULL = """\
threader:
  channels: {critical: "#oncall", page: C0123ABCD}
  fallback: "#rest"
  routes:
    - {match: ['team="db"', 'env=~"prod|stage"'], channel: "#db", mention: ["<!subteam^S0123>", "@here", U0ABC]}
    - {match: [team=web], mention: []}
  mention: {critical: ["@channel", "<@W0XYZ|ann>"]}
  operators: [U0ABC, "<@U0GHI>"]
  admins: ["@U0DEF"]
  new_thread_after: 12h
  news_after: 0
  remind_before: 5m
  flapping: {changes: 8, per: 15m}
  limits: {posts_per_second: 0.5, edits_per_minute: 40}
"""


def policy(section: str, env: dict[str, str] | None = None) -> Policy:
    return parse_policy(f"version: 1\nrules: []\n{section}".encode(), "policy.yaml", env or {}, KINDS)


def read(section: str, env: dict[str, str] | None = None) -> ThreadPolicy:
    return policy(section, env).threader


def test_every_key() -> None:
    found = read(FULL)
    assert found.channels == {
        "critical": "#oncall",
        "page": "C0123ABCD",
        "warning": "#alerts-warning",
        "info": "#alerts-info",
    }
    assert found.fallback == "#rest"
    assert [[str(one) for one in route.match] for route in found.routes] == [
        ['team="db"', 'env=~"prod|stage"'],
        ['team="web"'],
    ]
    assert [(route.channel, route.mention) for route in found.routes] == [
        ("#db", ("<!subteam^S0123>", "<!here>", "<@U0ABC>")),
        ("", ()),
    ]
    assert found.mention == {"critical": ("<!channel>", "<@W0XYZ>")}
    assert (found.operators, found.admins) == (frozenset({"U0ABC", "U0GHI"}), frozenset({"U0DEF"}))
    assert (found.new_thread_after, found.news_after, found.remind_before) == (43200.0, 0.0, 300.0)
    assert found.flapping == Flapping(8, 900.0)
    assert (found.posts_per_second, found.edits_per_minute) == (0.5, 40.0)
    assert found.routed({"team": "db", "env": "stage"}) == Routed("#db", ("<!subteam^S0123>", "<!here>", "<@U0ABC>"))
    assert found.routed({"team": "web", "severity": "critical"}) == Routed("#oncall", ())


@pytest.mark.parametrize("section", ["", "threader: {}\n", "threader: {flapping: {}, limits: {}}\n"])
def test_without_anything_the_defaults_hold(section: str) -> None:
    assert read(section) == ThreadPolicy()


def test_the_fallback_is_the_channel_of_info_unless_said() -> None:
    assert read('threader: {channels: {info: "#low"}}').fallback == "#low"
    assert read('threader: {channels: {info: "#low"}, fallback: "#rest"}').fallback == "#rest"


def test_nobody_may_acknowledge_where_the_list_is_empty() -> None:
    assert read("threader: {operators: []}").operators == frozenset()
    assert read("threader: {admins: []}").operators is None


def test_variables_are_filled_in() -> None:
    text = "threader:\n  fallback: ${CHANNEL}\n  news_after: ${NEWS:-2h}\n  admins: ['${ADMIN}']\n"
    found = read(text, {"CHANNEL": "#from-env", "ADMIN": "U0ABC"})
    assert (found.fallback, found.news_after, found.admins) == ("#from-env", 7200.0, frozenset({"U0ABC"}))


def test_a_route_may_lead_nowhere_and_nothing_else_may() -> None:
    section = "threader: {routes: [{match: ['team=\"lab\"'], channel: none}]}"
    assert read(section).routes[0].channel == NOWHERE
    with pytest.raises(PolicyErrors, match='"none" is no channel'):
        read("threader: {fallback: none}")


def test_a_route_may_be_for_alerts_about_autoheal_itself_and_for_what_lacks_a_label() -> None:
    found = read(
        "threader:\n  routes:\n    - {match: ['alertname=\"AutohealEscalation\"'], channel: '#a'}\n"
        "    - {match: ['team=\"\"'], channel: '#b'}\n"
    )
    assert found.routed({"alertname": "AutohealEscalation", "team": "x"}).channel == "#a"
    assert found.routed({"alertname": "X"}).channel == "#b"


# ---- channels and people ---------------------------------------------------------------------------------------------


CHANNELS = ["#a", "#alerts-critical", "#a_b-c", "#1", "#störungen", "#アラート", "#ไทยที่", "#" + "x" * 80]
CHANNELS += ["C0123ABCD", "G1", "C024BE91L", "CABCDEFGH"]


@pytest.mark.parametrize("text", CHANNELS)
def test_channels(text: str) -> None:
    assert threader.channel(text) == text


NO_CHANNELS = [
    ("alerts", "#alerts"),
    ("#Alerts", "#alerts"),
    ("##alerts", "#alerts"),
    (" alerts ", "#alerts"),
    ("CRITICAL", "#critical"),
    ("c0123", "#c0123"),
    ("#", ""),
    ("#a b", ""),
    ("#a.b", ""),
    ("#a,b", ""),
    ("#<!channel>", ""),
    ("#a\u200bb", ""),
    ("#" + "x" * 81, ""),
    ("https://x.slack.com/archives/C0123", ""),
]


@pytest.mark.parametrize(("text", "meant"), NO_CHANNELS)
def test_what_is_no_channel(text: str, meant: str) -> None:
    with pytest.raises(Invalid) as caught:
        threader.channel(text)
    assert caught.value.detail.partition(" (did")[2] == (f' you mean "{meant}"?)' if meant else "")
    assert len(caught.value.detail) < 250


@pytest.mark.parametrize("text", ["U0ABC", "W0ABC", "D0ABC", "S0ABC"])
def test_who_is_no_channel(text: str) -> None:
    with pytest.raises(Invalid, match="is the id of a person or a group"):
        threader.channel(text)


MENTIONS = [
    ("@here", "<!here>"),
    ("<!here>", "<!here>"),
    ("<!here|here>", "<!here>"),
    ("@channel", "<!channel>"),
    ("@everyone", "<!everyone>"),
    ("U0ABC", "<@U0ABC>"),
    ("@U0ABC", "<@U0ABC>"),
    ("<@U0ABC>", "<@U0ABC>"),
    ("<@W0ABC|ann>", "<@W0ABC>"),
    ("UABCDEFGH", "<@UABCDEFGH>"),
    ("S0123", "<!subteam^S0123>"),
    ("<!subteam^S0123>", "<!subteam^S0123>"),
    ("<!subteam^S0123|@db>", "<!subteam^S0123>"),
]


@pytest.mark.parametrize(("text", "written"), MENTIONS)
def test_mentions(text: str, written: str) -> None:
    assert threader.mention(text) == written
    assert threader.mention(written) == written


NO_MENTIONS = [
    ("here", "@here"),
    ("@heer", "@here"),
    ("@channnel", "@channel"),
    ("<!here", "@here"),
    ("@ann", ""),
    ("ann@example.com", ""),
    ("USERS", ""),
    ("u0abc", ""),
    ("@S0123", ""),
    ("<@S0123>", ""),
    ("<!subteam^U0ABC>", ""),
    ("<@U0ABC", ""),
    ("U0ABC>", ""),
    ("<@U0ABC><!channel>", ""),
    ("<@U0ABC|x> <!channel>", ""),
    ("C0123", ""),
    ("#here-now", ""),
    ("", ""),
]


@pytest.mark.parametrize(("text", "meant"), NO_MENTIONS)
def test_who_cannot_be_mentioned(text: str, meant: str) -> None:
    with pytest.raises(Invalid) as caught:
        threader.mention(text)
    assert caught.value.detail.partition(" (did")[2] == (f' you mean "{meant}"?)' if meant else "")


NO_PEOPLE = ["S0123", "<!subteam^S0123>", "<!here>", "@here", "ann", "C0123", "", "<!subteam^U0AB>"]


@pytest.mark.parametrize("text", NO_PEOPLE)
def test_who_is_no_person(text: str) -> None:
    with pytest.raises(Invalid, match="is no person"):
        threader.person(text)


CLEAN = re.compile(r"<(!here|!channel|!everyone|@[UW][A-Z0-9]+|!subteam\^S[A-Z0-9]+)>")


@given(st.text() | st.from_regex(r"<?[@!]?(subteam\^)?[USWCh][A-Z0-9a-z]{0,9}(\|[^>]*)?>?", fullmatch=True))
def test_any_text_is_what_slack_understands_or_refused(text: str) -> None:
    try:
        assert CLEAN.fullmatch(threader.mention(text))
    except Invalid as error:
        assert error.detail
    try:
        assert re.fullmatch(r"#[^\s<>&|]{1,80}|[CG][A-Z0-9]+", threader.channel(text))
    except Invalid as error:
        assert error.detail


# ---- digests and other processes -------------------------------------------------------------------------------------


def test_a_policy_without_the_section_has_the_digest_that_it_had_before_there_was_one() -> None:
    assert policy("").digest == "01d4c7b254fdc3a4618da4f53958686aadbd4e3deec711714c4d00fdc76576ca"
    assert policy("threader: {}").digest == policy("").digest
    assert policy("threader: {news_after: 60m}").digest == policy("").digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("#oncall", "#other"),
        ("C0123ABCD", "C0123ABCE"),
        ("#rest", "#else"),
        ('team="db"', 'team!="db"'),
        ("prod|stage", "prod"),
        ('"#db"', '"#dba"'),
        ("S0123", "S0124"),
        ("mention: []", "mention: [U0ABC]"),
        ("[team=web], mention: []", "[team=web], channel: '#w'"),
        ("@channel", "@here"),
        ('[U0ABC, "<@U0GHI>"]', "[U0ABC]"),
        ('  operators: [U0ABC, "<@U0GHI>"]\n', ""),
        ('["@U0DEF"]', "[]"),
        ("12h", "13h"),
        ("news_after: 0", "news_after: 1"),
        ("5m", "6m"),
        ("changes: 8", "changes: 9"),
        ("15m", "16m"),
        ("0.5", "0.6"),
        ("40", "41"),
    ],
)
def test_whatever_changes_in_the_section_changes_the_digest_of_the_policy(old: str, new: str) -> None:
    assert old in FULL
    assert policy(FULL.replace(old, new, 1)).digest != policy(FULL).digest


def test_the_digest_follows_the_content_not_the_layout() -> None:
    first, second = FULL.index("    - {match: [team=web]"), FULL.index("  mention: {critical")
    for same in (
        FULL.replace("12h", "43200").replace("[U0ABC, ", "[  U0ABC,   "),
        FULL.replace('[U0ABC, "<@U0GHI>"]', "[U0GHI, U0ABC]"),
        FULL.replace('{critical: "#oncall", page: C0123ABCD}', '{page: C0123ABCD, critical: "#oncall"}'),
        FULL.replace('"<@W0XYZ|ann>"', "W0XYZ"),
    ):
        assert same != FULL
        assert policy(same).digest == policy(FULL).digest
    reordered = FULL[: FULL.index("    - {match: ['team")] + FULL[first:second]
    reordered += FULL[FULL.index("    - {match: ['team") : first] + FULL[second:]
    assert policy(reordered).digest != policy(FULL).digest, "the first route that matches wins"


def test_what_a_digest_is_made_of_is_json() -> None:
    assert json.loads(json.dumps(shown(read(FULL))))["operators"] == ["U0ABC", "U0GHI"]
    assert set(shown(ThreadPolicy())) == (set(THREADER_KEYS) - {"limits"}) | {"posts_per_second", "edits_per_minute"}


def test_another_process_reads_the_very_same() -> None:
    ours = policy(FULL.replace("12h", "${QUIET}h").replace('"#rest"', '"${REST:-#rest}"'), {"QUIET": "12"})
    theirs = read_document(ours.document, KINDS)
    assert theirs == ours
    assert (theirs.threader, theirs.digest) == (read(FULL), policy(FULL).digest)
    assert theirs.threader.routed({"team": "db", "env": "stage"}).channel == "#db"


def test_a_document_from_before_there_were_threads_gives_the_defaults() -> None:
    assert read_document(policy("").document, KINDS).threader == ThreadPolicy()


# ---- what is written about it ----------------------------------------------------------------------------------------


def test_the_section_in_the_example_is_the_defaults_written_out() -> None:
    text = example_policy().decode()
    section = text[text.index("# threader:") :]
    written = "".join(line.removeprefix("# ").removeprefix("#") + "\n" for line in section.splitlines())
    found = read(written)
    assert found == ThreadPolicy()
    assert all(f"{key}:" in written for key in THREADER_KEYS)
    assert parse_policy(example_policy(), "e", {}, {**KINDS}).threader == ThreadPolicy()


def test_the_section_in_the_documents_is_right_and_whole() -> None:
    (block,) = re.findall(r"```yaml\n(threader:\n.*?)```", (ROOT / "docs/threader.md").read_text(), re.DOTALL)
    found = read(block)
    usual = ThreadPolicy()
    for key in ("channels", "fallback", "new_thread_after", "news_after", "remind_before", "flapping"):
        assert getattr(found, key) == getattr(usual, key), key
    assert (found.posts_per_second, found.edits_per_minute) == (usual.posts_per_second, usual.edits_per_minute)
    assert all(f"\n  {key}:" in block for key in THREADER_KEYS)


# ---- any input -------------------------------------------------------------------------------------------------------


@given(
    st.integers(0, len(FULL)),
    st.integers(0, 30),
    st.sampled_from(["", "x", ": ", "[", "}", "\n", "#", "@", "*a", "!t ", "${", "- ", "0", "<"]),
)
def test_a_damaged_section_never_ends_otherwise(start: int, length: int, put: str) -> None:
    text = FULL[:start] + put + FULL[start + length :]
    try:
        found = read(text)
    except PolicyErrors as error:
        assert error.mistakes
    else:
        people = [*found.mention.values(), *(route.mention for route in found.routes if route.mention is not None)]
        assert all(CLEAN.fullmatch(one) for each in people for one in each)
        assert found.fallback and all(found.channels.values()) and found.flapping.per >= 60

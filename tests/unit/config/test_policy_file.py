"""The policy file that is right: what becomes of every key, of variables, defaults and digests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.config.policy_file import DEFAULTS, Defaults, PolicyErrors, load_policy, parse_policy
from autoheal.core.policy import AttemptBudget, BlastRadius, BreakerLimit, Limits, Policy, Probe, VerifySpec
from autoheal.core.threads import Routed
from tests.unit.config.kinds import KINDS

FULL = """\
version: 1
defaults: {cooldown: 10m, timeout: 45s}
limits:
  concurrent: 8
  blast_radius: {actions: 10, per: 10m}
  breaker: {failures: 3, open_for: 30m}
rules:
  - name: crm-api-tcp-down
    match: ['alertname="TcpEndpointDownFast"', 'service=~"crm-.*",env!="test"']
    opt_in: false
    allow: '[a-z-]+'
    cooldown: ${COOLDOWN_TCP_DOWN_SEC:-700}s
    cooldown_by: [alertname, instance]
    max_attempts: {count: 3, per: 24h, by: [alertname]}
    approval: {timeout: 15m}
    never_during: ["Sat 00:00-Mon 00:00 Europe/Berlin", "Sunday 22:00 - Sun 24:00 UTC"]
    cancel_on_resolve: false
    queue: "crm-{labels.region}"
    steps:
      - action: {docker: {restart: "{labels.service}"}}
        timeout: 60
        verify: {within: 2m, every: 1s, http: "http://{labels.instance}:8000/health"}
      - action: {say: {words: [hello, "{alertname}"]}}
        verify: {within: 30s, tcp: "{labels.host}:80"}
      - action: {say: {words: [a]}}
        verify: {within: 30s, promql: 'up{job="crm",instance="{labels.instance}"} == 1'}
      - action: {say: {words: [b]}}
        verify: {within: 30s, resolved: true}
    on_exhausted: {escalate: critical}
  - name: second
    match: [a=b]
    steps: [{action: {say: {words: [x]}}}]
probes:
  - {name: crm, http: "http://crm-api:8000/health", labels: {service: crm-api}, annotations: {autoheal: "true"}}
  - {name: db, tcp: "db:5432", every: 1s, down_after: 5, up_after: 1, alertname: DbDown, timeout: 500ms}
threader:
  channels: {warning: "#ops"}
  routes: [{match: ['team="db"'], channel: "#db", mention: ["@here", U0ABC]}]
  mention: {critical: ["<!subteam^S0123>"]}
  operators: [U0ABC]
  news_after: 30m
  limits: {posts_per_second: 0.5}
"""


def read(text: str, env: dict[str, str] | None = None, defaults: Defaults = DEFAULTS) -> Policy:
    return parse_policy(text.encode(), "policy.yaml", env or {}, KINDS, defaults)


def rule(body: str) -> str:
    return (
        f"version: 1\nrules:\n  - name: r\n    match: [a=b]\n    steps: [{{action: {{say: {{words: [x]}}}}}}]\n{body}"
    )


def test_every_key() -> None:
    policy = read(FULL)
    first, second = policy.rules
    assert policy.limits == Limits(8, BlastRadius(10, 600.0), BreakerLimit(3, 1800.0))
    assert [str(one) for one in first.match] == ['alertname="TcpEndpointDownFast"', 'service=~"crm-.*"', 'env!="test"']
    assert first.matches({"alertname": "TcpEndpointDownFast", "service": "crm-api"})
    assert not first.matches({"alertname": "TcpEndpointDownFast", "service": "crm-api", "env": "test"})
    assert (first.name, first.opt_in, first.cooldown, first.cooldown_by) == (
        "crm-api-tcp-down",
        False,
        700.0,
        ("alertname", "instance"),
    )
    assert first.max_attempts == AttemptBudget(3, 86400.0, ("alertname",))
    assert (first.approval_timeout, first.cancel_on_resolve, first.escalate) == (900.0, False, "critical")
    assert [(one.start, one.end, one.zone.key) for one in first.never_during] == [
        (7200, 0, "Europe/Berlin"),
        (6 * 1440 + 1320, 0, "UTC"),
    ]
    assert (first.queue, second.queue) == ("crm-{labels.region}", "")
    assert first.allowed("crm-api") and not first.allowed("crm_api") and not first.allowed("crm\n")
    assert [step.timeout for step in first.steps] == [60.0, 45.0, 45.0, 45.0]
    assert [step.verify for step in first.steps] == [
        VerifySpec("http", "http://{labels.instance}:8000/health", 120.0, 1.0),
        VerifySpec("tcp", "{labels.host}:80", 30.0),
        VerifySpec("promql", 'up{job="crm",instance="{labels.instance}"} == 1', 30.0),
        VerifySpec("resolved", "", 30.0),
    ]
    assert first.steps[0].action.words == ("docker", "restart", "{labels.service}")
    assert (second.cooldown, second.cooldown_by, second.opt_in, second.cancel_on_resolve) == (
        600.0,
        ("alertname",),
        True,
        True,
    )
    assert (second.max_attempts, second.approval_timeout, second.escalate, second.never_during) == (
        None,
        None,
        None,
        (),
    )
    assert policy.probes == (
        Probe(
            "crm",
            "http",
            "http://crm-api:8000/health",
            labels={"service": "crm-api"},
            annotations={"autoheal": "true"},
        ),
        Probe("db", "tcp", "db:5432", "DbDown", 1.0, 0.5, 5, 1),
    )
    assert policy.source == "policy.yaml"
    assert policy.threader.channels["warning"] == "#ops"
    assert policy.threader.routed({"team": "db"}) == Routed("#db", ("<!here>", "<@U0ABC>"))


def test_a_rule_outweighs_the_policy_outweighs_the_environment() -> None:
    environment = Defaults(cooldown=111.0, timeout=11.0)
    assert read(rule(""), defaults=environment).rules[0].cooldown == 111.0
    assert read(rule(""), defaults=environment).rules[0].steps[0].timeout == 11.0
    written = rule("defaults: {cooldown: 222, timeout: 22}")
    assert read(written, defaults=environment).rules[0].cooldown == 222.0
    assert read(written, defaults=environment).rules[0].steps[0].timeout == 22.0
    assert read(rule("    cooldown: 333\ndefaults: {cooldown: 222}"), defaults=environment).rules[0].cooldown == 333.0


def test_attempts_are_counted_by_the_cooldown_labels_unless_said() -> None:
    policy = read(rule("    cooldown_by: [x]\n    max_attempts: {count: 1, per: 1h}"))
    assert policy.rules[0].max_attempts == AttemptBudget(1, 3600.0, ("x",))


def test_an_empty_policy_is_one() -> None:
    assert read("version: 1\nrules: []").rules == ()


def test_anchors_and_aliases() -> None:
    text = rule("  - name: s\n    match: &m [c=d]\n    steps: &s [{action: {say: {words: [y]}}}]\n")
    policy = read(text + "  - {name: t, match: *m, steps: *s}\n")
    assert [one.name for one in policy.rules] == ["r", "s", "t"]
    assert policy.rules[1].steps == policy.rules[2].steps


# ---- variables ------------------------------------------------------------------------------------------------------


def words(written: str, env: dict[str, str]) -> object:
    text = "version: 1\nrules:\n  - name: r\n    match: [a=b]\n    steps:\n"
    text += f"      - action:\n          say:\n            words:\n              - {written}\n"
    return read(text, env).rules[0].steps[0].action.options["words"]


@pytest.mark.parametrize(
    ("written", "env", "came"),
    [
        ("${A}", {"A": "x"}, ["x"]),
        ('"${A:-y}"', {}, ["y"]),
        ('"${A:-y}"', {"A": ""}, ["y"]),
        ('"${A:-}z"', {}, ["z"]),
        ("'${A}${B:-b}c'", {"A": "a"}, ["abc"]),
        ("'$${A}'", {"A": "x"}, ["${A}"]),
        ("'cost $5, $, $A, $$'", {"A": "x"}, ["cost $5, $, $A, $"]),
        ("'$$${A}'", {"A": "x"}, ["$x"]),
        ("'${A}'", {"A": "${B} $$"}, ["${B} $$"]),
    ],
)
def test_variables(written: str, env: dict[str, str], came: list[str]) -> None:
    assert words(written, env) == came


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(lambda value: "{" not in value))
def test_a_value_never_becomes_yaml(value: str) -> None:
    assert words('"${EVIL}"', {"EVIL": value}) == [value]


@pytest.mark.parametrize(
    "value", ["]}}\n  - name: evil", "*alias", "&a b", "!!python/name:os.system", "a: b", "- a", "# no"]
)
def test_not_even_without_quotes(value: str) -> None:
    assert words("${EVIL}", {"EVIL": value}) == [value]


def test_variables_in_keys_and_comments_are_left_alone() -> None:
    assert read(rule("# ${NOPE}\n")).rules
    text = rule("probes: [{name: p, tcp: 'a:1', annotations: {a: '${X:-y}'}}]")
    assert read(text).probes[0].annotations == {"a": "y"}


# ---- digests --------------------------------------------------------------------------------------------------------


def test_digests_follow_the_content_not_the_layout() -> None:
    same = FULL.replace("cooldown: 10m", "cooldown: 600s").replace("  concurrent: 8", "  concurrent:   8  # eight")
    assert read(FULL).digest == read(same).digest
    assert [one.digest for one in read(FULL).rules] == [one.digest for one in read(same).rules]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: crm-api-tcp-down", "name: other"),
        ("env!=", "env="),
        ("opt_in: false", "opt_in: true"),
        ("[a-z-]+", "[a-z]+"),
        (":-700}s", ":-701}s"),
        ("[alertname, instance]", "[alertname]"),
        ("count: 3", "count: 4"),
        ("timeout: 15m", "timeout: 16m"),
        ("Sat 00:00", "Sat 00:01"),
        ("cancel_on_resolve: false", "cancel_on_resolve: true"),
        ("crm-{labels.region}", "crm-{labels.site}"),
        ('restart: "{labels.service}"', 'restart: "x"'),
        ("timeout: 60", "timeout: 61"),
        ("within: 2m", "within: 3m"),
        ("every: 1s", "every: 2s"),
        ("timeout: 45s", "timeout: 46s"),
        ("escalate: critical", "escalate: info"),
        ("hello", "hullo"),
    ],
)
def test_whatever_is_written_for_a_rule_changes_its_digest(old: str, new: str) -> None:
    assert old in FULL
    before, after = read(FULL), read(FULL.replace(old, new, 1))
    assert before.rules[0].digest != after.rules[0].digest
    assert before.digest != after.digest


def test_a_rule_without_a_queue_has_the_digest_that_it_had_before_there_were_queues() -> None:
    known = "0e0963f60ca0f6add1"
    assert read(rule("")).rules[0].digest.startswith(known)


@pytest.mark.parametrize("name", ["a", "eu-west_1.b", "{labels.region}", "x" * 64, "{labels.a}.{labels.b}"])
def test_queues(name: str) -> None:
    assert read(rule(f'    queue: "{name}"\n')).rules[0].queue == name


@pytest.mark.parametrize(
    ("old", "new"),
    [("concurrent: 8", "concurrent: 9"), ("db:5432", "db:5433"), ("actions: 10", "actions: 9"), ("#ops", "#dev")],
)
def test_what_is_outside_of_rules_changes_the_policy_digest_alone(old: str, new: str) -> None:
    before, after = read(FULL), read(FULL.replace(old, new, 1))
    assert [one.digest for one in before.rules] == [one.digest for one in after.rules]
    assert before.digest != after.digest


def test_a_variable_that_changes_changes_the_digest() -> None:
    digests = {read(FULL, env).rules[0].digest for env in ({}, {"COOLDOWN_TCP_DOWN_SEC": "60"})}
    assert len(digests) == 2


# ---- files ----------------------------------------------------------------------------------------------------------


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode())
    policy = load_policy(path, {}, KINDS)
    assert policy.source == str(path)
    assert policy.digest == read(FULL).digest


def test_the_example_is_used_where_no_file_is_named() -> None:
    policy = load_policy(None, {}, KINDS)
    assert policy.alertnames == ["CrmMetricsScrapeStale", "TcpEndpointDownFast", "UptimeProbeFailing"]


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        load_policy(tmp_path / name, {}, KINDS)
    assert str(caught.value).startswith(f"{tmp_path / name}:1:1: cannot be read: ")


# ---- any input ------------------------------------------------------------------------------------------------------

LINES = st.lists(st.sampled_from(FULL.splitlines(keepends=True)), max_size=40).map("".join)


@given(st.one_of(st.text(), LINES))
def test_any_text_is_a_policy_or_has_mistakes(text: str) -> None:
    data = text.encode("utf-8", "replace")
    try:
        parse_policy(data, "p", {}, KINDS)
    except PolicyErrors as error:
        lines = data.decode().count("\n") + 2
        assert error.mistakes
        assert all(one.line >= 1 and one.column >= 1 and one.message for one in error.mistakes)
        assert "\r" in text or "\x85" in text or all(one.line <= lines for one in error.mistakes)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_have_mistakes(data: bytes) -> None:
    with pytest.raises(PolicyErrors):
        parse_policy(data, "p", {}, KINDS)


@given(
    st.integers(0, len(FULL)),
    st.integers(0, 30),
    st.sampled_from(["", "x", ": ", "[", "}", "\n", "\t", "*a", "&a ", "!t ", "${", "- "]),
)
def test_a_damaged_policy_never_ends_otherwise(start: int, length: int, put: str) -> None:
    text = FULL[:start] + put + FULL[start + length :]
    try:
        policy = read(text)
    except PolicyErrors as error:
        assert error.mistakes
    else:
        assert len({one.name for one in policy.rules}) == len(policy.rules)
        assert all(one.name and one.match and one.steps and one.cooldown >= 30 for one in policy.rules)

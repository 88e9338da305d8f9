"""The JSON Schema for editors: it accepts what the loader accepts, and knows every key."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
import yaml

from autoheal.actions import KINDS as REAL_KINDS
from autoheal.config.policy_file import (
    DEFAULTS_KEYS,
    LIMITS_KEYS,
    POLICY_KEYS,
    PROBE_KEYS,
    example_policy,
    load_policy,
)
from autoheal.config.rules import RULE_KEYS, STEP_KEYS, VERIFY_KEYS
from autoheal.config.schema import policy_schema
from autoheal.config.threader import FLAPPING_KEYS, LIMIT_KEYS, ROUTE_KEYS, THREADER_KEYS
from tests.unit.config.kinds import KINDS
from tests.unit.config.test_bad_policies import BAD
from tests.unit.config.test_policy_file import FULL
from tests.unit.config.test_threader import CHANNELS, MENTIONS, NO_CHANNELS, NO_MENTIONS, NO_PEOPLE
from tests.unit.config.test_threader import FULL as THREADER

SCHEMA = policy_schema(KINDS)
CHECK = jsonschema_rs.Draft202012Validator(SCHEMA)

BEYOND = {
    # what a schema cannot say; what an editor reads before any variable is filled in; what YAML 1.1 takes for fine
    "merge key",
    "lone surrogate",
    "opt_in: yes",
    "key twice",
    "control character",
    "name taken",
    "no matcher",
    "bad matchers",
    "matches everything",
    "our own alerts",
    "cooldown too short",
    "never_during",
    "allow",
    "options",
    "placeholders",
    "timeout",
    "verify too short",
    "verify too seldom",
    "verify http",
    "verify tcp",
    "verify promql",
    "not set",
    "what a variable holds",
    "no variable",
    "a secret",
    "a variable too long",
    "a secret in the threader",
}


def document(text: str) -> Any:
    return yaml.safe_load(text)


def test_it_is_a_schema() -> None:
    jsonschema_rs.meta.validate(SCHEMA)
    jsonschema_rs.meta.validate(policy_schema(REAL_KINDS))


@pytest.mark.parametrize("text", [FULL, "version: 1\nrules: []\n", f"version: 1\nrules: []\n{THREADER}"])
def test_right_policies_fit(text: str) -> None:
    assert list(CHECK.iter_errors(document(text))) == []


def readable(text: str) -> bool:
    try:
        document(text)
    except yaml.YAMLError:
        return False
    return True


@pytest.mark.parametrize("name", [name for name, (text, _) in BAD.items() if name not in BEYOND and readable(text)])
def test_wrong_policies_do_not_fit(name: str) -> None:
    assert not CHECK.is_valid(document(BAD[name][0]))


def test_the_schema_refuses_most_of_the_table() -> None:
    assert len(BEYOND & set(BAD)) == len(BEYOND) < len(BAD) / 2


def test_the_example_fits_with_the_real_kinds_and_loads() -> None:
    assert (
        list(
            jsonschema_rs.Draft202012Validator(policy_schema(REAL_KINDS)).iter_errors(
                document(example_policy().decode())
            )
        )
        == []
    )
    env = {"COOLDOWN_TCP_DOWN_SEC": "300", "COOLDOWN_UPTIME_FAIL_SEC": "600", "COOLDOWN_SCRAPE_STALE_SEC": "900"}
    policy = load_policy(None, env, REAL_KINDS)
    rules = {rule.alertnames[0]: rule for rule in policy.rules}
    assert {name: " ".join(rule.steps[0].action.words) for name, rule in rules.items()} == {
        "CrmMetricsScrapeStale": "docker restart crm-api",
        "TcpEndpointDownFast": "docker restart crm-api",
        "UptimeProbeFailing": "docker compose restart grafana prometheus",
    }
    assert {name: rule.cooldown for name, rule in rules.items()} == {
        "CrmMetricsScrapeStale": 900.0,
        "TcpEndpointDownFast": 300.0,
        "UptimeProbeFailing": 600.0,
    }
    assert all(rule.opt_in for rule in policy.rules)
    assert policy.alertnames == ["CrmMetricsScrapeStale", "TcpEndpointDownFast", "UptimeProbeFailing"]


def test_every_key_of_the_loader_is_in_the_schema() -> None:
    defs = SCHEMA["$defs"]
    assert set(SCHEMA["properties"]) == set(POLICY_KEYS)
    assert set(SCHEMA["properties"]["defaults"]["properties"]) == set(DEFAULTS_KEYS)
    assert set(SCHEMA["properties"]["limits"]["properties"]) == set(LIMITS_KEYS)
    for name, keys in (("rule", RULE_KEYS), ("step", STEP_KEYS), ("verify", VERIFY_KEYS), ("probe", PROBE_KEYS)):
        assert set(defs[name]["properties"]) == set(keys), name
    assert set(defs["action"]["properties"]) == set(KINDS)
    section = SCHEMA["properties"]["threader"]["properties"]
    assert set(section) == set(THREADER_KEYS)
    for name, keys in (("flapping", FLAPPING_KEYS), ("limits", LIMIT_KEYS)):
        assert set(section[name]["properties"]) == set(keys), name
    assert set(section["routes"]["items"]["properties"]) == set(ROUTE_KEYS)


def test_an_unknown_option_of_a_real_kind_does_not_fit() -> None:
    check = jsonschema_rs.Draft202012Validator(policy_schema(REAL_KINDS))
    rule: dict[str, Any] = {"name": "r", "match": ["a=b"]}
    for options, fits in (({"restart": "x"}, True), ({"restrat": "x"}, False), ({"restart": 5}, False)):
        policy = {"version": 1, "rules": [{**rule, "steps": [{"action": {"docker": options}}]}]}
        assert check.is_valid(policy) is fits


def fits(section: dict[str, Any]) -> bool:
    return CHECK.is_valid({"version": 1, "rules": [], "threader": section})


def test_the_schema_knows_channels_and_people_as_the_loader_does() -> None:
    assert all(fits({"fallback": text}) for text in CHANNELS)
    assert not any(fits({"fallback": text}) for text, _ in NO_CHANNELS if "\u200b" not in text)
    assert all(fits({"mention": {"critical": [text]}}) for text, _ in MENTIONS)
    assert not any(fits({"mention": {"critical": [text]}}) for text, _ in NO_MENTIONS)
    assert not any(fits({"operators": [text]}) for text in NO_PEOPLE)
    assert fits({"fallback": "${CHANNEL}", "admins": ["${ADMIN:-U0ABC}"], "limits": {"edits_per_minute": "${EDITS}"}})

"""The rules of access, also for servers that listen off loopback."""

from __future__ import annotations

import pytest

from autoheal.web.access import ADMIN, OPS, Access, is_loopback
from autoheal.web.problems import Problem

TOKEN = {"authorization": "Bearer admin"}


def access(
    webhook: str | None = None, admin: str | None = None, loopback: bool = True, insecure: bool = False
) -> Access:
    url = "https://autoheal.example"
    return Access(webhook_token=webhook, admin_token=admin, loopback=loopback, insecure=insecure, public_url=url)


def refused(rules: Access, headers: dict[str, str], changes: bool = True) -> int:
    with pytest.raises(Problem) as error:
        rules.require(headers, OPS, changes=changes)
    return error.value.status


def refused_webhook(rules: Access, headers: dict[str, str]) -> int:
    with pytest.raises(Problem) as error:
        rules.require_webhook(headers)
    return error.value.status


def test_off_loopback_nothing_is_open_without_tokens() -> None:
    rules = access(loopback=False)
    assert not rules.open
    assert not rules.alert_open
    assert refused(rules, {"host": "localhost"}) == 401
    assert refused(rules, {"host": "localhost", **TOKEN}) == 401
    assert refused_webhook(rules, {"host": "localhost"}) == 401


def test_off_loopback_a_token_opens_its_door_and_no_other() -> None:
    rules = access("hook", "admin", loopback=False)
    hook = {"host": "elsewhere", "authorization": "Bearer hook"}
    assert rules.require({"host": "elsewhere", **TOKEN}, ADMIN, changes=True).proved
    assert refused(rules, hook) == 403
    rules.require_webhook(hook)
    rules.require_webhook({**TOKEN})
    assert refused_webhook(rules, {"authorization": "Bearer other"}) == 401
    assert refused_webhook(rules, {"authorization": "Bearer \udcff"}) == 401


def test_an_insecure_server_is_open_but_not_to_other_sites() -> None:
    rules = access(loopback=False, insecure=True)
    assert rules.require({"host": "10.0.0.1:9009"}, OPS, changes=True).name == "local"
    assert rules.require({"host": "h", "origin": "https://autoheal.example"}, OPS, changes=True)
    assert refused(rules, {"host": "h", "origin": "https://evil.example"}) == 403
    assert not rules.may_act_on_get({"host": "localhost"}, rules.require({"host": "localhost"}, OPS, changes=False))


def test_an_open_server_answers_to_no_name_but_this_machines() -> None:
    """Whoever reaches it by its public name comes through a proxy, from anywhere."""
    rules = access()
    for host in ("autoheal.example", "evil.example", ""):
        assert refused(rules, {"host": host}, changes=False) == 403
        assert refused_webhook(rules, {"host": host}) == 403
    assert refused(rules, {}, changes=False) == 403
    assert refused_webhook(access(admin="admin"), {"host": "autoheal.example"}) == 403


@pytest.mark.parametrize(
    ("host", "origin", "may"),
    [
        ("autoheal.example", "https://autoheal.example", True),
        ("autoheal.example", "http://autoheal.example", False),
        ("10.0.0.1:9009", "http://10.0.0.1:9009", True),
        ("10.0.0.1:9009", "http://10.0.0.1", False),
        ("", "null", False),
    ],
)
def test_an_origin_is_ours_with_its_scheme_where_the_public_url_says_one(host: str, origin: str, may: bool) -> None:
    rules, headers = access(loopback=False, insecure=True), {"host": host, "origin": origin}
    if may:
        assert rules.require(headers, OPS, changes=True)
    else:
        assert refused(rules, headers) == 403


def test_only_proof_makes_a_get_act_and_a_made_up_token_is_none() -> None:
    made_up = {"host": "localhost", "authorization": "Bearer made-up", "accept": "text/html"}
    rules = access()
    assert not rules.may_act_on_get(made_up, rules.require(made_up, OPS, changes=False))
    rules = access(admin="admin")
    proved = {"host": "localhost", "accept": "text/html", **TOKEN}
    assert rules.may_act_on_get(proved, rules.require(proved, OPS, changes=False))


def test_an_admin_token_closes_the_server_and_leaves_alert_open_on_loopback() -> None:
    rules = access(admin="admin")
    assert refused(rules, {"host": "localhost"}) == 401
    rules.require_webhook({"host": "localhost"})
    assert refused_webhook(rules, {"host": "evil.example"}) == 403


@pytest.mark.parametrize(
    ("host", "yes"),
    [("localhost", True), ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("10.0.0.1", False), ("", False)],
)
def test_what_names_this_machine(host: str, yes: bool) -> None:
    assert is_loopback(host) is yes

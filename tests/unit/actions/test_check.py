"""What the policy may say of each kind of action, what it comes to, and what is refused with which place named."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from autoheal.actions import KINDS, build
from autoheal.core.errors import Invalid
from autoheal.core.template import placeholders, strings
from autoheal.engine.clock import SystemClock

GOOD: list[tuple[str, Any, str]] = [
    ("command", ["systemctl", "restart", "crm"], "systemctl restart crm"),
    (
        "command",
        {"run": ["/opt/fix", "{labels.service}", ""], "cwd": "/", "env": {"A": "b"}},
        "/opt/fix {labels.service} ",
    ),
    ("command", ["awk", "{print $1}", "/etc/hosts"], "awk {print $1} /etc/hosts"),
    ("command", ["sh", "-c", 'fix "$1"', "-", "{labels.a}"], 'sh -c fix "$1" - {labels.a}'),
    ("docker", {"restart": "crm-api"}, "docker restart crm-api"),
    ("docker", {"stop": "{labels.service}-1"}, "docker stop {labels.service}-1"),
    (
        "docker",
        {"compose_restart": {"project": "mon", "services": ["grafana", "prometheus"]}},
        "docker compose restart grafana prometheus",
    ),
    ("systemd", {"reload": "crm@{labels.instance}.service"}, "systemctl reload crm@{labels.instance}.service"),
    ("http", {"url": "https://failover.example/crm"}, "http POST https://failover.example/crm"),
    (
        "http",
        {"method": "PUT", "url": "http://u:pw@{labels.host}:80/a/{labels.b}?api_key=s3&x={labels.y}"},
        "http PUT http://***@{labels.host}:80/a/{labels.b}?api_key=***&x={labels.y}",
    ),
    (
        "http",
        {"url": "http://[::1]:80", "headers": {"X": "s3"}, "body": {"a": [1]}, "expect": 202},
        "http POST http://[::1]:80/",
    ),
    ("silence", {"labels": {"alertname": "{alertname}"}, "duration": "1h30m"}, "silence alertname={alertname} 1h30m"),
]

BAD: list[tuple[str, Any, str, str]] = [
    ("command", [], "", "empty"),
    ("command", "restart it", "", "mapping"),
    ("command", ["sleep", 5], "[1]", "quotes"),
    ("command", [""], "[0]", "named by the policy"),
    ("command", ["{labels.cmd}"], "[0]", "named by the policy"),
    ("command", {"run": ["/opt/{labels.cmd}"]}, "run[0]", "named by the policy"),
    ("command", ["bash", "-ec", "fix {labels.a}"], "[2]", "as an argument"),
    ("command", ["a", "b\0"], "[1]", "NUL"),
    ("command", {"run": ["a"], "env": {"A=B": "c"}}, "env.A=B", "name of an environment variable"),
    ("command", {"run": ["a"], "env": {"A": 1}}, "env.A", "quotes"),
    ("command", {"run": ["a"], "cwd": ""}, "cwd", "empty"),
    ("command", {"argv": ["a"]}, "argv", "there are: run, cwd, env"),
    ("command", {"cwd": "/"}, "", "'run' is missing"),
    ("docker", {"restrat": "a"}, "restrat", "did you mean 'restart'?"),
    ("docker", {"restart": "a", "stop": "a"}, "", "exactly one"),
    ("docker", {"restart": "a/b"}, "restart", "no container's name"),
    ("docker", {"restart": ["a"]}, "restart", "expected text"),
    ("docker", {"compose_restart": "grafana"}, "compose_restart", "project, services"),
    ("docker", {"compose_restart": {"services": ["a"]}}, "compose_restart", "'project' is missing"),
    ("docker", {"compose_restart": {"project": "a", "services": []}}, "compose_restart.services", "empty"),
    (
        "docker",
        {"compose_restart": {"project": "a", "services": ["b", "-c"]}},
        "compose_restart.services[1]",
        "no container",
    ),
    ("docker", {"compose_restart": {"project": "a", "service": ["b"]}}, "compose_restart.service", "'services'"),
    ("systemd", {"restart": "a b"}, "restart", "no unit's name"),
    ("systemd", {"restart": "--now"}, "restart", "no unit's name"),
    ("systemd", {"enable": "a"}, "enable", "unknown option"),
    ("http", {}, "", "'url' is missing"),
    ("http", {"url": "/x"}, "url", "http://HOST/PATH"),
    ("http", {"url": "ftp://x/y"}, "url", "http://HOST/PATH"),
    ("http", {"url": "http://x/#y"}, "url", "fragment"),
    ("http", {"url": "{labels.scheme}://x/"}, "url", "http://HOST/PATH"),
    ("http", {"url": "{labels.url}"}, "url", "http://HOST/PATH"),
    ("http", {"url": "http://{labels.u}@x/"}, "url", "user or password"),
    ("http", {"url": "http://a:{labels.p}@x/"}, "url", "user or password"),
    ("http", {"url": "http://x:{labels.port}/"}, "url", "port"),
    ("http", {"url": "http://x:99999/"}, "url", "no port"),
    ("http", {"url": "http://a b/"}, "url", "no host"),
    ("http", {"url": "http:///x"}, "url", "no host"),
    ("http", {"url": "http://x/../y"}, "url", "without . and .."),
    ("http", {"url": "http://169.254.169.254/latest"}, "url", "link-local"),
    ("http", {"url": "http://[fe80::1]/"}, "url", "link-local"),
    ("http", {"url": "http://[::ffff:169.254.169.254]/"}, "url", "link-local"),
    ("http", {"url": "http://metadata.google.internal./"}, "url", "link-local"),
    ("http", {"url": "http://x", "method": "post"}, "method", "did you mean 'POST'?"),
    ("http", {"url": "http://x", "headers": {"a b": "c"}}, "headers.a b", "no header's name"),
    ("http", {"url": "http://x", "headers": {"A": "b\r\nC: d"}}, "headers.A", "control character"),
    ("http", {"url": "http://x", "headers": {"Content-Length": "1"}}, "headers.Content-Length", "set by Autoheal"),
    ("http", {"url": "http://x", "body": 5}, "body", "expected text"),
    ("http", {"url": "http://x", "expect": [99]}, "expect", "statuses"),
    ("http", {"url": "http://x", "expect": [True]}, "expect", "statuses"),
    ("http", {"url": "http://x", "allow_link_local": "yes"}, "allow_link_local", "true or false"),
    ("silence", {"labels": {}, "duration": "1h"}, "labels", "silence everything"),
    ("silence", {"labels": {"a": ""}, "duration": "1h"}, "labels.a", "empty"),
    ("silence", {"labels": {"a-b": "c"}, "duration": "1h"}, "labels.a-b", "no label's name"),
    ("silence", {"labels": {"a": "b"}}, "", "'duration' is missing"),
    ("silence", {"labels": {"a": "b"}, "duration": "8d"}, "duration", "at most 7d"),
    ("silence", {"labels": {"a": "b"}, "duration": "0s"}, "duration", "more than nothing"),
    ("silence", {"labels": {"a": "b"}, "duration": "soon"}, "duration", "no duration"),
]


@pytest.mark.parametrize(("kind", "options", "words"), GOOD)
def test_what_is_good(kind: str, options: Any, words: str) -> None:
    spec = KINDS[kind].check(options)
    assert spec.kind == kind
    assert " ".join(spec.words) == words
    asked = {name for text in strings(options) for name in placeholders(text)}
    assert asked == {name for text in strings(spec.options) for name in placeholders(text)}, "none is lost"


@pytest.mark.parametrize(("kind", "options", "field", "says"), BAD)
def test_what_is_refused(kind: str, options: Any, field: str, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        KINDS[kind].check(options)
    assert caught.value.field == field
    assert says in caught.value.detail


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("options", [None, "", 5, True, [], {}, [None], {"x": None}, {1: 2}, [[]], {"restart": None}])
def test_nonsense_is_refused_and_nothing_else(kind: str, options: Any) -> None:
    with pytest.raises(Invalid):
        KINDS[kind].check(options)


def test_link_local_may_be_allowed() -> None:
    spec = KINDS["http"].check({"url": "http://169.254.169.254/", "allow_link_local": True})
    assert spec.options["allow_link_local"] is True


def test_a_secret_is_not_among_the_words() -> None:
    headers = {"Authorization": "Bearer s3cret"}
    spec = KINDS["http"].check({"url": "http://ann:s3cret@x/?token=s3cret", "headers": headers, "body": "s3cret"})
    assert "s3cret" not in " ".join(spec.words)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_names_itself_and_can_be_made_ready(kind: str) -> None:
    assert KINDS[kind].kind == kind
    assert set(build(SystemClock(), {})) == set(KINDS)


def test_the_schemas_agree_with_the_checks() -> None:
    valid = {kind: jsonschema_rs.Draft202012Validator(dict(found.schema)) for kind, found in KINDS.items()}
    for kind, options, _ in GOOD:
        assert valid[kind].is_valid(options), (kind, options)
    refused = [(kind, options) for kind, options, _, says in BAD if says in ("exactly one", "quotes", "statuses")]
    refused += [(kind, options) for kind, options, _, says in BAD if "missing" in says or "did you mean" in says]
    assert len(refused) > 10
    for kind, options in refused:
        assert not valid[kind].is_valid(options), (kind, options)


def test_what_cannot_be_configured_is_told_at_once() -> None:
    with pytest.raises(Invalid, match="DOCKER_HOST"):
        build(SystemClock(), {}, docker_host="ssh://x")

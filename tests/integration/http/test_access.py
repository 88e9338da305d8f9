"""Who may call what: each route with each token, and the open server that no web page can reach."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.http.live import ADMIN, WEBHOOK, Server, alert, dumps, is_problem, server

PUBLIC = ["/", "/healthz", "/readyz", "/-/healthy", "/-/ready", "/metrics", "/openapi.json", "/static/autoheal.css"]
PROTECTED = [
    ("GET", "/audit"),
    ("GET", "/events?last_event_id=x"),
    ("POST", "/events/ticket"),
    ("GET", "/overview"),
    ("GET", "/timeline"),
    ("GET", "/rules"),
    ("GET", '/ack/preview?labels={"a":"b"}'),
    ("GET", '/explain?labels={"a":"b"}'),
    ("GET", '/ack?labels={"a":"b"}'),
    ("POST", "/ack"),
    ("GET", "/silences"),
    ("POST", "/silences/x/expire"),
    ("GET", "/mode"),
    ("POST", "/mode"),
    ("GET", "/cooldown"),
    ("POST", "/cooldown"),
    ("POST", "/policy/reload"),
    ("POST", "/-/reload"),
    ("GET", "/remediations"),
    ("GET", "/remediations/r1"),
    ("POST", "/remediations/r1/approve"),
    ("POST", "/remediations/r1/mark"),
]
BODIES = {
    "/mode": {"enabled": False, "dry_run": True},
    "/cooldown": {"rule": "restart", "cooldown": "30s"},
    "/ack": {"labels": {"a": "b"}},
}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"AUTOHEAL_WEBHOOK_TOKEN": WEBHOOK, "AUTOHEAL_ADMIN_TOKEN": ADMIN}
    with server(tmp_path_factory.mktemp("closed"), env) as found:
        yield found


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", PUBLIC)
@pytest.mark.parametrize("headers", [{}, bearer(WEBHOOK), bearer(ADMIN), bearer("wrong")])
def test_public_routes_ask_for_nothing(closed: Server, path: str, headers: dict[str, str]) -> None:
    assert closed.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize("path", PUBLIC[:6])
def test_public_routes_answer_head_like_get_without_a_body(closed: Server, path: str) -> None:
    got, head = closed.get(path), closed.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"] and "content-length" in head.headers
    assert set(closed.get("/openapi.json").json()["paths"].get(path, {})) <= {"get"}


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_protected_routes_want_the_admin_token(closed: Server, method: str, path: str) -> None:
    def ask(**headers: str) -> int:
        body = BODIES.get(path)
        answer = closed.client.request(method, path, headers=headers, json=body)
        assert answer.status_code < 500
        if answer.status_code in (401, 403):
            is_problem(answer, answer.status_code)
            assert answer.status_code == 403 or answer.headers["www-authenticate"] == "Bearer"
        return answer.status_code

    assert ask() == 401
    assert ask(authorization="Bearer wrong") == 401
    assert ask(authorization="Bearer") == 401
    assert ask(authorization=f"Basic {ADMIN}") == 401
    assert ask(authorization=f"Bearer {ADMIN}x") == 401
    assert ask(**bearer(WEBHOOK)) == 403
    assert ask(**bearer(ADMIN)) not in (401, 403)


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({}, 401),
        ({"headers": bearer("wrong")}, 401),
        ({"headers": {"authorization": "Basic !!!"}}, 401),
        ({"headers": {"authorization": "Basic /w=="}}, 401),
        ({"headers": bearer(WEBHOOK)}, 200),
        ({"headers": {"authorization": f"bearer  {WEBHOOK}"}}, 200),
        ({"headers": bearer(ADMIN)}, 200),
        ({"auth": ("alertmanager", WEBHOOK)}, 200),
        ({"auth": ("", ADMIN)}, 200),
        ({"auth": (WEBHOOK, "")}, 401),
    ],
)
def test_alert_takes_its_token_as_bearer_or_as_the_password_of_basic(
    closed: Server, how: dict[str, object], status: int
) -> None:
    before = len(closed.events(kind="webhook_received"))
    answer = closed.alert(alert("X"), **how)
    assert answer.status_code == status
    assert len(closed.events(kind="webhook_received")) - before == (status == 200)


# ---- the open server -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9009", "localhost.evil.example", "127.0.0.1.evil", ""])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/audit"), ("POST", "/mode"), ("POST", "/alert"), ("GET", "/mode")]
)
def test_an_open_server_refuses_a_foreign_host(live: Server, method: str, path: str, host: str) -> None:
    mode = live.get("/mode").json()
    body = {"alerts": [alert("Rebound")]} if path == "/alert" else {"enabled": True, "dry_run": False}
    is_problem(live.client.request(method, path, headers={"host": host}, json=body), 403)
    assert live.get("/mode").json() == mode
    assert not live.events(alertname="Rebound")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9009", "127.0.0.1", "127.8.9.10:80", "[::1]:9009", "LOCALHOST"]
)
def test_an_open_server_answers_to_every_name_of_this_machine(live: Server, host: str) -> None:
    assert live.get("/audit", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/mode", "/cooldown", "/policy/reload", "/ack", "/events/ticket", "/remediations/r1/approve", "/alert"]
)
def test_an_open_server_refuses_posts_from_other_sites(live: Server, path: str, headers: dict[str, str]) -> None:
    events = live.events()
    answer = live.post(
        path, headers={**headers, "content-type": "application/json"}, content=dumps(BODIES.get(path, {}))
    )
    is_problem(answer, 403)
    assert [e for e in live.events()[len(events) :] if e["kind"] != "webhook_rejected"] == []


def test_its_own_page_may_post(live: Server) -> None:
    own = {"origin": live.url, "sec-fetch-site": "same-origin"}
    assert live.post("/events/ticket", headers=own).status_code == 200


def test_an_unknown_method_of_proof_opens_nothing_and_is_recorded(closed: Server) -> None:
    closed.alert(alert("Unproved"))
    assert {event["reason"] for event in closed.events(kind="webhook_rejected")} == {"unauthorized"}
    assert not closed.events(alertname="Unproved")

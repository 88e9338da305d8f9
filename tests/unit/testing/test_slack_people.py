"""The fake Slack's people: what a click, a command and a dialog send, and how they are answered."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from slack_sdk.signature import Clock, SignatureVerifier

from autoheal.testing.slack import TEAM, FakeSlack, Message, storm
from autoheal.threader.signature import verify_signature

Data = dict[str, Any]
http_post = functools.partial(httpx.post, timeout=5, verify=False)  # certificates take 20 ms to load


class At:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def at() -> At:
    return At()


@pytest.fixture
def slack(at: At) -> Iterator[FakeSlack]:
    with FakeSlack(at, burst=1000) as server:
        yield server


def call(slack: FakeSlack, method: str, **args: Any) -> Data:
    headers = {"Authorization": f"Bearer {slack.token}"}
    found: Data = http_post(f"{slack.api_url}{method}", json=args, headers=headers).json()
    return found


def buttons(*names: str) -> list[Data]:
    made = [
        {"type": "button", "action_id": name, "value": f"token-{name}", "text": {"type": "plain_text", "text": name}}
        for name in names
    ]
    return [{"type": "actions", "block_id": "acts", "elements": made}]


OPTIONS = [{"text": {"type": "plain_text", "text": name}, "value": f"v-{name}"} for name in ("api", "db")]
SELECT = [{"type": "actions", "elements": [{"type": "static_select", "action_id": "ack_one", "options": OPTIONS}]}]


def posted(slack: FakeSlack, blocks: list[Data], **more: Any) -> Message:
    told = call(slack, "chat.postMessage", channel="#alerts-critical", text="x", blocks=blocks, **more)
    return slack.channel("alerts-critical").all[told["ts"]]


def test_a_click_is_what_slack_sends(slack: FakeSlack) -> None:
    message = posted(slack, buttons("ack:30m", "undo"))
    sent = slack.click(message, "ack:30m", "ann")
    payload = json.loads(parse_qs(sent.body.decode())["payload"][0])
    assert payload == sent.payload and sent.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert (payload["type"], payload["team"]["id"], payload["api_app_id"]) == ("block_actions", TEAM, "A0AUTOHEAL")
    ann = slack.person("ann")["id"]
    assert payload["user"] == {"id": ann, "username": "ann", "name": "ann", "team_id": TEAM}
    channel = slack.channel("alerts-critical")
    container = {"type": "message", "message_ts": message.ts, "channel_id": channel.id, "is_ephemeral": False}
    assert payload["container"] == container
    assert payload["channel"] == {"id": channel.id, "name": "alerts-critical"}
    assert payload["message"]["ts"] == message.ts and payload["message"]["blocks"] == message.blocks
    (action,) = payload["actions"]
    assert (action["type"], action["action_id"], action["block_id"]) == ("button", "ack:30m", "acts")
    assert action["value"] == "token-ack:30m" and action["action_ts"]
    assert payload["response_url"].startswith(slack.url) and payload["trigger_id"]


def test_a_choice_is_what_slack_sends(slack: FakeSlack) -> None:
    parent = posted(slack, buttons("x"))
    message = posted(slack, SELECT, thread_ts=parent.ts)
    for wanted in ("db", "v-db"):
        payload = slack.click(message, "ack_one", option=wanted).payload
        assert payload["actions"][0]["selected_option"] == OPTIONS[1]
        assert payload["container"]["thread_ts"] == parent.ts == payload["message"]["thread_ts"]
    with pytest.raises(KeyError, match="no option"):
        slack.click(message, "ack_one", option="web")


def test_what_is_not_there_cannot_be_clicked(slack: FakeSlack) -> None:
    message = posted(slack, buttons("ack:30m"))
    call(slack, "chat.update", channel=message.channel, ts=message.ts, text="x", blocks=buttons("undo"))
    with pytest.raises(KeyError, match="but undo"):
        slack.click(message, "ack:30m")
    assert slack.click(message, "ack:30m", stale=True).payload["actions"][0]["value"] == "token-ack:30m"


def test_somebody_of_another_workspace_clicks(slack: FakeSlack) -> None:
    payload = slack.click(posted(slack, buttons("ack:30m")), "ack:30m", "eve", team="T0ELSE").payload
    assert (payload["user"]["team_id"], payload["team"]["id"]) == ("T0ELSE", TEAM)


def test_a_command_is_what_slack_sends(slack: FakeSlack) -> None:
    sent = slack.slash("/autoheal", "cooldown rule 5m", "bob", "#alerts-info")
    fields = {name: values[0] for name, values in parse_qs(sent.body.decode(), keep_blank_values=True).items()}
    assert fields == sent.payload
    assert (fields["command"], fields["text"]) == ("/autoheal", "cooldown rule 5m")
    assert (fields["user_id"], fields["user_name"]) == (slack.person("bob")["id"], "bob")
    assert fields["channel_id"] == slack.channel("alerts-info").id and fields["team_id"] == TEAM
    assert slack.slash("autoheal", "").payload["command"] == "/autoheal"


def test_everything_is_signed_as_slack_signs(slack: FakeSlack, at: At) -> None:
    class Fixed(Clock):
        def now(self) -> float:
            return at.now

    verifier = SignatureVerifier(slack.signing_secret, Fixed())
    message = posted(slack, buttons("ack:30m"))
    for sent in (slack.click(message, "ack:30m"), slack.slash("autoheal", "ü"), slack.signed(b'{"type":"x"}')):
        assert verifier.is_valid_request(sent.body, sent.headers)
        stamp, signature = sent.headers["X-Slack-Request-Timestamp"], sent.headers["X-Slack-Signature"]
        assert verify_signature(slack.signing_secret, stamp, sent.body, signature, at.now)
        assert not verify_signature(slack.signing_secret, stamp, sent.body, signature, at.now + 301)
    old = slack.signed(b"x", at=at.now - 301)
    assert not verifier.is_valid_request(old.body, old.headers)


def test_a_delivery_is_posted(slack: FakeSlack) -> None:
    seen: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.headers["X-Slack-Signature"], body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"hi")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        sent = slack.slash("autoheal", "status")
        assert sent.post(f"http://127.0.0.1:{server.server_port}/slack/command") == (200, b"hi")
        thread.join(5)
    assert seen == [(sent.headers["X-Slack-Signature"], sent.body)]


def test_a_bad_day_brings_them_in_any_order_and_twice(slack: FakeSlack) -> None:
    sent = [slack.slash("autoheal", str(n)) for n in range(50)]
    stormy = storm(sent, seed=1)
    assert stormy == storm(sent, seed=1) != storm(sent, seed=2)
    assert {one.body for one in stormy} == {one.body for one in sent} and len(stormy) > 50
    assert [one.body for one in stormy] != sorted((one.body for one in stormy), key=[o.body for o in sent].index)


# ---- response URLs --------------------------------------------------------------------------------------------------


def respond(url: str, **payload: Any) -> tuple[int, Any]:
    answer = http_post(url, json=payload)
    return answer.status_code, answer.text if answer.text == "ok" else answer.json()


def test_a_response_url_works_five_times(slack: FakeSlack) -> None:
    message = posted(slack, buttons("ack:30m"))
    url = slack.click(message, "ack:30m").payload["response_url"]
    for n in range(5):
        assert respond(url, text=f"{n}") == (200, "ok")
    assert respond(url, text="one too many") == (404, {"ok": False, "error": "used_url"})
    assert [one.payload["text"] for one in slack.responses] == ["0", "1", "2", "3", "4"]
    told = slack.channel("alerts-critical").ephemeral
    assert [one["user"] for one in told] == [slack.person("ann")["id"]] * 5


def test_a_response_url_works_for_half_an_hour(slack: FakeSlack, at: At) -> None:
    url = slack.slash("autoheal", "x").payload["response_url"]
    at.now += 1799
    assert respond(url, text="in time") == (200, "ok")
    at.now += 1
    assert respond(url, text="too late") == (404, {"ok": False, "error": "expired_url"})
    assert respond(url + "x", text="no") == (404, {"ok": False, "error": "no_service"})


def test_what_a_response_can_do(slack: FakeSlack) -> None:
    message = posted(slack, buttons("ack:30m"))
    url = slack.click(message, "ack:30m").payload["response_url"]
    assert respond(url, text="aloud", response_type="in_channel") == (200, "ok")
    assert slack.channel("alerts-critical").messages[-1].text == "aloud"
    assert respond(url, text="replaced", replace_original=True) == (200, "ok")
    assert (message.text, message.blocks) == ("replaced", [])
    assert respond(url, blocks=[{"type": "nothing"}])[0] == 400
    assert respond(url, delete_original=True) == (200, "ok")
    assert message.deleted
    assert http_post(url, content=b"{").text == "invalid_payload"


# ---- dialogs --------------------------------------------------------------------------------------------------------

VIEW: Data = {
    "type": "modal",
    "callback_id": "ack",
    "private_metadata": "m",
    "title": {"type": "plain_text", "text": "Acknowledge"},
    "submit": {"type": "plain_text", "text": "Ack"},
    "blocks": [
        {
            "type": "input",
            "block_id": "why",
            "label": {"type": "plain_text", "text": "Comment"},
            "element": {"type": "plain_text_input", "action_id": "text"},
        },
        {
            "type": "input",
            "block_id": "long",
            "label": {"type": "plain_text", "text": "How long"},
            "element": {"type": "static_select", "action_id": "for", "options": OPTIONS},
        },
    ],
}


def test_a_dialog_is_opened_and_submitted(slack: FakeSlack) -> None:
    trigger = slack.slash("autoheal", "ack").payload["trigger_id"]
    opened = call(slack, "views.open", trigger_id=trigger, view=VIEW)
    view = opened["view"]
    assert opened["ok"] and slack.views[view["id"]]["callback_id"] == "ack"
    payload = slack.submit_view(view["id"], {"why": {"text": "on it"}, "long": {"for": "v-db"}}, "bob").payload
    assert (payload["type"], payload["user"]["name"]) == ("view_submission", "bob")
    assert payload["view"]["private_metadata"] == "m"
    assert payload["view"]["state"]["values"] == {
        "why": {"text": {"type": "plain_text_input", "value": "on it"}},
        "long": {"for": {"type": "static_select", "selected_option": OPTIONS[1]}},
    }
    with pytest.raises(KeyError):
        slack.submit_view(view["id"], {"why": {"nothing": "x"}})


def test_a_trigger_works_once_for_three_seconds(slack: FakeSlack, at: At) -> None:
    trigger = slack.slash("autoheal", "ack").payload["trigger_id"]
    assert call(slack, "views.open", trigger_id=trigger, view=VIEW)["ok"]
    assert call(slack, "views.open", trigger_id=trigger, view=VIEW)["error"] == "exchanged_trigger_id"
    late = slack.slash("autoheal", "ack").payload["trigger_id"]
    at.now += 3.1
    assert call(slack, "views.open", trigger_id=late, view=VIEW)["error"] == "expired_trigger_id"
    assert call(slack, "views.open", trigger_id="made up", view=VIEW)["error"] == "invalid_trigger_id"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"title": {"type": "plain_text", "text": "x" * 25}}, "less than 25 characters [json-pointer:/view/title]"),
        ({"private_metadata": "x" * 3001}, "less than 3001 characters [json-pointer:/view/private_metadata]"),
        ({"callback_id": "x" * 256}, "less than 256 characters"),
        ({"type": "home"}, "must be a modal"),
        ({"blocks": [{"type": "nothing"}]}, "unsupported type: nothing"),
        ({"blocks": None}, "must be an array"),
    ],
)
def test_a_dialog_has_limits(slack: FakeSlack, change: Data, words: str) -> None:
    trigger = slack.slash("autoheal", "ack").payload["trigger_id"]
    told = call(slack, "views.open", trigger_id=trigger, view={**VIEW, **change})
    assert told["error"] == "invalid_arguments" and words in " ".join(told["response_metadata"]["messages"])

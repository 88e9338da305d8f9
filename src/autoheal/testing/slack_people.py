"""What people do in the fake Slack that reaches our service: clicks, commands and dialogs, signed as Slack signs."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from autoheal.testing.slack_blocks import complaints, elements
from autoheal.testing.slack_methods import Call, Refused, content, invalid, parent_of, read_blocks, shown
from autoheal.testing.slack_state import DOMAIN, TEAM, Channel, Data, Message, Workspace

RESPONSES, RESPONSE_SECONDS, TRIGGER_SECONDS = 5, 1800.0, 3.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request of Slack's to us, ready to be posted: `body` and `headers` are exactly what it would send."""

    body: bytes
    headers: dict[str, str]
    payload: Data
    """What the body says: an interaction's payload, or a command's fields."""

    def post(self, url: str, timeout: float = 10.0) -> tuple[int, bytes]:
        """Send it to our service; status and body of the answer."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
        try:
            connection.request("POST", parts.path, self.body, self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def storm(deliveries: Sequence[Delivery], seed: int, twice: float = 0.3) -> list[Delivery]:
    """The same deliveries as a bad day brings them: out of order, and some of them twice."""
    chance = random.Random(seed)  # noqa: S311
    found = [one for one in deliveries for _ in range(2 if chance.random() < twice else 1)]
    chance.shuffle(found)
    return found


@dataclass(slots=True)
class _Answerable:
    """A response URL: what it answers to, how often it was used, and until when it may be."""

    channel: Channel
    message: Message | None
    user: str
    until: float
    used: int = 0


@dataclass(slots=True)
class Response:
    """Something that came to a response URL."""

    channel: str
    user: str
    payload: Data = field(default_factory=dict)


class People(Workspace):
    """Builds what Slack would send when somebody acts. Nothing is sent by itself: see `Delivery.post`."""

    signing_secret: str
    url: str
    responses: list[Response]
    _answerable: dict[str, _Answerable]
    _triggers: dict[str, tuple[float, bool]]

    def click(
        self,
        message: Message,
        action_id: str,
        user: str = "ann",
        option: str | None = None,
        *,
        team: str = TEAM,
        stale: bool = False,
    ) -> Delivery:
        """Somebody clicks a button, or chooses the option with this value (or text) from a menu.

        The element must be on the message as it is; `stale`: it may be on an older version of it, which is what
        a screen shows that did not hear of the edit. `team`: the workspace of who clicks, another one's in a channel
        that is shared.
        """
        versions = [message.blocks, *([old.blocks for old in message.edits[::-1]] if stale else [])]
        found = next((hit for blocks in versions if (hit := _find(blocks, action_id)) is not None), None)
        if found is None:
            raise KeyError(f"the message has no {action_id}, but {', '.join(message.buttons) or 'nothing to click'}")
        block, element = found
        channel, who = self.channels[message.channel], self.person(user)
        channel.members.add(who["id"])
        action: Data = {"type": element["type"], "action_id": action_id, "block_id": block["block_id"]}
        if element["type"] == "button":
            action |= {name: element[name] for name in ("text", "value", "url", "style") if name in element}
        else:
            action["selected_option"] = _option(element, option)
            if "placeholder" in element:
                action["placeholder"] = element["placeholder"]
        action["action_ts"] = self.next_ts()
        payload = {
            **self._interaction("block_actions", who, team),
            "container": {
                "type": "message",
                "message_ts": message.ts,
                "channel_id": channel.id,
                "is_ephemeral": False,
                **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
            },
            "trigger_id": self._trigger(),
            "channel": {"id": channel.id, "name": "privategroup" if channel.private else channel.name},
            "message": shown(self, message, payload=True),
            "state": {"values": {}},
            "response_url": self._response_url("actions", channel, message, who["id"]),
            "actions": [action],
        }
        return self._interactive(payload)

    def slash(self, command: str, text: str, user: str = "ann", channel: str | None = None) -> Delivery:
        """Somebody types ``/command text`` in a channel (default: the first)."""
        place = self.channel(channel) if channel else next(iter(self.channels.values()))
        who = self.person(user)
        place.members.add(who["id"])
        fields = {
            "token": "legacy-verification-token",
            "team_id": TEAM,
            "team_domain": DOMAIN,
            "channel_id": place.id,
            "channel_name": "privategroup" if place.private else place.name,
            "user_id": who["id"],
            "user_name": who["name"],
            "command": command if command.startswith("/") else f"/{command}",
            "text": text,
            "api_app_id": self.app.id,
            "is_enterprise_install": "false",
            "response_url": self._response_url("commands", place, None, who["id"]),
            "trigger_id": self._trigger(),
        }
        return self._signed(urlencode(fields).encode(), fields)

    def submit_view(self, view_id: str, values: Mapping[str, Mapping[str, Any]], user: str = "ann") -> Delivery:
        """Somebody submits a dialog. `values`: by block_id and action_id, a text or an option's value."""
        view = self.views[view_id]
        state: dict[str, dict[str, Data]] = {}
        for block_id, fields in values.items():
            for action_id, value in fields.items():
                hit = _find(view["blocks"], action_id, block_id)
                if hit is None:
                    raise KeyError(f"the view has no {block_id}/{action_id}")
                kind = hit[1]["type"]
                told = {"value": value} if kind == "plain_text_input" else {"selected_option": _option(hit[1], value)}
                state.setdefault(block_id, {})[action_id] = {"type": kind, **told}
        payload = {
            **self._interaction("view_submission", self.person(user)),
            "trigger_id": self._trigger(),
            "view": {**view, "state": {"values": state}},
            "response_urls": [],
        }
        return self._interactive(payload)

    def signed(self, body: bytes, at: float | None = None, content_type: str = "application/json") -> Delivery:
        """Any body, signed as of `at` (Unix seconds; default: now)."""
        return self._signed(body, {}, at, content_type)

    # ---- answers to them ---------------------------------------------------------------------------------------

    def respond(self, path: str, body: bytes) -> tuple[int, Data | str]:
        """Something came to a response URL; status and answer."""
        place = self._answerable.get(path)
        if place is None:
            return 404, {"ok": False, "error": "no_service"}
        if self.now() >= place.until:
            return 404, {"ok": False, "error": "expired_url"}
        if place.used >= RESPONSES:
            return 404, {"ok": False, "error": "used_url"}
        try:
            payload = json.loads(body)
        except ValueError:
            payload = None
        if not isinstance(payload, dict):
            return 400, "invalid_payload"
        try:
            blocks = read_blocks(payload.get("blocks")) or []
        except Refused as refused:
            return 400, {"ok": False, "error": refused.error}
        place.used += 1
        self.responses.append(Response(place.channel.id, place.user, payload))
        self._do(place, payload, blocks)
        return 200, "ok"

    def _do(self, place: _Answerable, payload: Data, blocks: list[Data]) -> None:
        if payload.get("delete_original") and place.message is not None:
            self.remove(place.message)
        elif payload.get("replace_original") and place.message is not None:
            place.message.text, place.message.blocks = str(payload.get("text", "")), self.with_ids(blocks)
        elif payload.get("response_type") == "in_channel":
            text, now = str(payload.get("text", "")), self.now()
            made = Message("", place.channel.id, text, now, blocks, app=self.app.id, bot=self.app.bot)
            self.store(place.channel, made)
        else:
            told = {"user": place.user, "text": str(payload.get("text", "")), "blocks": blocks}
            place.channel.ephemeral.append({"ts": self.next_ts(), **told, "thread_ts": payload.get("thread_ts", "")})

    def hook(self, path: str, body: bytes, call: Call) -> tuple[int, str]:
        """Something came to an incoming webhook; status and the word that is its answer."""
        channel = self.channels.get(self.webhooks.get(path, ""))
        if path not in self.webhooks:
            return 404, "no_service"
        if channel is None or channel.gone:
            return 404, "channel_not_found"
        if channel.archived:
            return 410, "channel_is_archived"
        if channel.read_only:
            return 403, "action_prohibited"
        call.take(channel.id)
        try:
            call.args = json.loads(body)
        except ValueError:
            return 400, "invalid_payload"
        if not isinstance(call.args, dict):
            return 400, "invalid_payload"
        try:
            message = content(call, channel)
        except Refused as refused:
            return 400, refused.error
        message.user, message.bot, message.metadata = "", path.split("/")[3], None
        self.store(channel, message, parent_of(call, channel))
        return 200, "ok"

    def open_view(self, call: Call) -> Data:
        """views.open: the trigger works once, for three seconds."""
        call.take()
        trigger = call.field("trigger_id")
        if trigger not in self._triggers:
            raise Refused("invalid_trigger_id")
        until, used = self._triggers[trigger]
        if used:
            raise Refused("exchanged_trigger_id")
        if self.now() > until:
            raise Refused("expired_trigger_id")
        view = call.args.get("view")
        view = json.loads(view) if isinstance(view, str) else view
        if not isinstance(view, dict) or view.get("type") != "modal":
            raise invalid("view must be a modal")
        wrong = [*_view_complaints(view), *complaints(view.get("blocks"), "view")]
        if wrong:
            raise Refused("invalid_arguments", response_metadata={"messages": [f"[ERROR] {one}" for one in wrong]})
        self._triggers[trigger] = (until, True)
        made = {**view, "id": self.new_id("V"), "team_id": TEAM, "app_id": self.app.id, "bot_id": self.app.bot}
        made["blocks"] = self.with_ids(view["blocks"])
        made.setdefault("private_metadata", "")
        made.setdefault("callback_id", "")
        self.views[made["id"]] = made
        return {"view": made}

    # ---- how they are made -------------------------------------------------------------------------------------

    def _interaction(self, kind: str, who: Data, team: str = TEAM) -> Data:
        return {
            "type": kind,
            "user": {"id": who["id"], "username": who["name"], "name": who["name"], "team_id": team},
            "api_app_id": self.app.id,
            "token": "legacy-verification-token",
            "team": {"id": TEAM, "domain": DOMAIN},
            "enterprise": None,
            "is_enterprise_install": False,
        }

    def _interactive(self, payload: Data) -> Delivery:
        body = urlencode({"payload": json.dumps(payload, separators=(",", ":"))}).encode()
        return self._signed(body, payload)

    def _signed(
        self, body: bytes, payload: Data, at: float | None = None, kind: str = "application/x-www-form-urlencoded"
    ) -> Delivery:
        stamp = str(int(self.now() if at is None else at))
        digest = hmac.new(self.signing_secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256)
        headers = {
            "Content-Type": kind,
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={digest.hexdigest()}",
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "Accept": "application/json,*/*",
        }
        return Delivery(body, headers, payload)

    def _trigger(self) -> str:
        made = self.new_id("trigger")
        self._triggers[made] = (self.now() + TRIGGER_SECONDS, False)
        return made

    def _response_url(self, kind: str, channel: Channel, message: Message | None, user: str) -> str:
        path = f"/{kind}/{TEAM}/{self.new_id('r')}/{self.new_id('x')}"
        self._answerable[path] = _Answerable(channel, message, user, self.now() + RESPONSE_SECONDS)
        return f"{self.url}{path}"


def _find(blocks: Sequence[Data], action_id: str, block_id: str | None = None) -> tuple[Data, Data] | None:
    for block in blocks:
        for element, _ in elements(block):
            if element.get("action_id") == action_id and block_id in (None, block.get("block_id")):
                return block, element
    return None


def _option(element: Data, wanted: object) -> Data:
    listed = [*element.get("options", []), *(o for group in element.get("option_groups", []) for o in group["options"])]
    for option in listed:
        if wanted in (option["value"], option["text"]["text"]):
            found: Data = option
            return found
    raise KeyError(f"{wanted!r} is no option, but {', '.join(str(option['value']) for option in listed)}")


def _view_complaints(view: Data) -> list[str]:
    found = []
    for name in ("title", "submit", "close"):
        text = view.get(name)
        if text is None and name != "title":
            continue
        if not isinstance(text, dict) or text.get("type") != "plain_text" or not 0 < len(str(text.get("text"))) <= 24:
            found.append(f"must be plain text of less than 25 characters [json-pointer:/view/{name}]")
    for name, most in (("private_metadata", 3000), ("callback_id", 255)):
        if len(str(view.get(name, ""))) > most:
            found.append(f"must be less than {most + 1} characters [json-pointer:/view/{name}]")
    return found

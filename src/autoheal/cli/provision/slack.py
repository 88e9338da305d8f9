"""Slack's app as a manifest, to be pasted once: its bot, what that may do, and where clicks and commands are sent."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

FILE = "slack-app.yaml"
COMPOSE = "docker-compose.slack.yml"
"""What brings the two secrets into the shipped stack."""
INTERACTIVE = "/slack/interactive"
"""Clicks and commands alike."""
BOT = "autoheal"
SCOPES: Mapping[str, str] = {
    "chat:write": "post, edit what it posted, answer one person",
    "chat:write.public": "post to public channels that it is not in",
    "channels:read": "find a public channel's id by its name, so that renaming it does no harm",
    "channels:history": "look for a message whose answer was lost, before it is posted again",
    "channels:join": "join public channels of the policy",
    "groups:read": "the same for private channels that it was invited to",
    "groups:history": "the same there",
    "commands": "/autoheal status, cooldown, mode",
}
"""What the bot may do, and what for."""
APPS = "https://api.slack.com/apps"


def reachable(url: str) -> bool:
    """Whether Slack could send anything there: it wants https, and another machine than this one."""
    from autoheal.config.variables import is_loopback

    parts = urlsplit(url)
    return parts.scheme == "https" and not is_loopback(parts.hostname or "")


def manifest(url: str) -> str:
    """The manifest as YAML, with comments. `url`: Autoheal's, as the world sees it; where Slack cannot reach it there
    are neither buttons nor commands, for Slack refuses a manifest with an address of that kind."""
    return "\n".join(_lines(url)) + "\n"


def _lines(url: str) -> Iterator[str]:
    open_ = reachable(url)
    to = json.dumps(f"{url}{INTERACTIVE}")
    yield f"# {APPS} -> Create New App -> From a manifest; later on: App Manifest."
    if not open_:
        yield f"# Slack cannot reach {url}: links in place of buttons, and no /autoheal. With an https address:"
        yield "# autoheal provision --only slack --public-url https://…"
    yield from ("display_information:", "  name: Autoheal")
    yield "  description: One thread for each group of alerts, and an acknowledgement that can be trusted."
    yield "  background_color: '#1f2937'"
    yield from ("features:", "  bot_user:", f"    display_name: {BOT}", "    always_online: true")
    if open_:
        yield from ("  slash_commands:", "    - command: /autoheal", f"      url: {to}")
        yield "      description: How it stands; for admins, a rule's cooldown and the mode"
        yield "      usage_hint: status | cooldown RULE 5m | mode dry-run"
        yield "      should_escape: false"
    yield from ("oauth_config:", "  scopes:", "    bot:")
    for scope, what in SCOPES.items():
        if open_ or scope != "commands":
            yield f"      - {scope} # {what}"
    yield from ("settings:", "  interactivity:", f"    is_enabled: {'true' if open_ else 'false'}")
    if open_:
        yield f"    request_url: {to}"
    yield from ("  org_deploy_enabled: false", "  socket_mode_enabled: false", "  token_rotation_enabled: false")


def steps(folder: Path, url: str) -> Iterator[str]:
    """What only a person can do with it."""
    stack = (folder / COMPOSE).exists()
    token, secret, start = _in_stack(folder) if stack else _by_hand()
    yield f"{APPS} -> Create New App -> From a manifest: choose the workspace, paste {shlex.quote(str(folder / FILE))}"
    yield f"Install App: the Bot User OAuth Token (xoxb-…) goes into {token}"
    if reachable(url):
        yield f"Basic Information -> App Credentials: the Signing Secret goes into {secret}"
    else:
        yield f"no Signing Secret: Slack cannot reach {url}, so that messages hold links in place of buttons"
    yield f"in Slack, in each channel of the policy's `threader` (#alerts-critical and so on): /invite @{BOT}"
    yield f"{start}; then: autoheal doctor"


def _in_stack(folder: Path) -> tuple[str, str, str]:
    inside = folder / "secrets"
    start = f"docker compose -f docker-compose.yml -f {COMPOSE} up -d"
    return shlex.quote(str(inside / "slack_bot_token")), shlex.quote(str(inside / "slack_signing_secret")), start


def _by_hand() -> tuple[str, str, str]:
    return "SLACK_BOT_TOKEN (or a file: SLACK_BOT_TOKEN_FILE)", "SLACK_SIGNING_SECRET (or its _FILE)", "start Autoheal"

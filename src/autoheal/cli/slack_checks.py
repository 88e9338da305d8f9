"""What `autoheal doctor` says of Slack: does it know us, what may we do, are the policy's channels there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from autoheal.cli.finding import Finding, bad, ok
from autoheal.cli.neighbours import TIMEOUT, shown, skew
from autoheal.cli.provision.slack import INTERACTIVE, SCOPES, reachable
from autoheal.core.errors import AutohealError, NotFound, Temporary

if TYPE_CHECKING:
    from autoheal.clients.autoheal import AutohealClient
    from autoheal.clients.exchange import Reply
    from autoheal.clients.slack import SlackClient
    from autoheal.config.settings import Settings
    from autoheal.core.policy import Policy
    from autoheal.core.threads import ThreadPolicy

SLACK, SCOPE, CHANNEL, BUTTONS, ACK, THREADER = (
    "Slack", "Slack scopes", "Slack channels", "Slack buttons", "Slack ack", "threader",
)  # fmt: skip
PAGES = 20
"""Of 1,000 channels each; names beyond are not found here."""
MAX_WAIT = 120.0
"""Seconds that something may wait for Slack; ThreaderQueueOld says the same."""
NEEDED = ("chat:write", "channels:read", "channels:history")
MANIFEST = "autoheal provision --only slack gives the app's manifest: paste it under App Manifest, and install it again"
TOKEN = "install the app again, and put its Bot User OAuth Token into SLACK_BOT_TOKEN"
EMPTY = frozenset({"no_text", "missing_text_or_fallback_or_attachments", "invalid_payload"})
"""How a webhook that works answers to a message without content, which it does not post."""

Found = list[Finding]


def check_slack(settings: Settings, policy: Policy | None) -> Found:
    """Everything that can be seen from here. Nothing is posted, and no secret is shown."""
    token, webhook = settings.slack_bot_token, settings.slack_webhook_url
    if token is None and webhook is None:
        told = "SLACK_BOT_TOKEN is not set: no threads in Slack (autoheal provision --only slack is the beginning)"
        return [Finding(SLACK, "off", told)]
    if token is not None:
        found = asyncio.run(_bot(settings, policy, token.reveal()))
        if webhook is not None:
            found.append(Finding(SLACK, "off", "SLACK_WEBHOOK_URL is set too: beside a bot it is not used"))
    else:
        assert webhook is not None
        found = asyncio.run(_hook(webhook.reveal(), _instead(policy)))
    return found + list(_acknowledging(settings, policy))


# ---- an app ---------------------------------------------------------------------------------------------------------


async def _bot(settings: Settings, policy: Policy | None, token: str) -> Found:
    from autoheal.clients.slack import SlackClient, SlackRefused
    from autoheal.clients.slack_answers import read

    client = SlackClient(token, settings.slack_api_url, TIMEOUT)
    try:
        began = time.time()
        answer = await _auth_test(token, settings.slack_api_url)
        ended = time.time()
        who = read(answer, "auth.test")
        scopes = _scopes(answer)
        found = [ok(SLACK, f"{who.get('team', '?')} as @{who.get('user', '?')}, {who.get('url', '')}")]
        found += skew(SLACK, answer, began, ended)
        found += _allowed(scopes, private=_private(policy))
        if policy is not None:
            found += await _channels(client, policy.threader, scopes, str(who.get("user", "autoheal")))
        return found
    except SlackRefused as error:
        return [bad(SLACK, f"it refuses SLACK_BOT_TOKEN: {error.code}", TOKEN)]
    except AutohealError as error:
        where = shown(settings.slack_api_url)
        return [bad(SLACK, f"{where}: {error}", "can this machine reach it? SLACK_API_URL says where it is asked")]
    finally:
        await client.aclose()


async def _auth_test(token: str, api_url: str) -> Reply:
    """The whole answer: its headers name the scopes."""
    from autoheal.clients.exchange import client, exchange, place

    web = client(keep=False)
    try:
        url, headers = f"{place(api_url).url}/auth.test", {"Authorization": f"Bearer {token}"}
        return await exchange(web, "POST", url, timeout=TIMEOUT, limit=65536, headers=headers)
    finally:
        await web.aclose()


def _scopes(answer: Reply) -> set[str] | None:
    """What the token may do; None where Slack, or what stands in between, does not say."""
    told = str(answer.headers.get("x-oauth-scopes", ""))
    return {one.strip() for one in told.split(",") if one.strip()} or None


def _private(policy: Policy | None) -> bool:
    """Whether the policy may mean private channels: it names channels by id, or there is none to ask."""
    return policy is None or any(not name.startswith("#") for name in policy.threader.everywhere)


def _allowed(scopes: set[str] | None, private: bool) -> Iterator[Finding]:
    if scopes is None:
        yield Finding(SCOPE, "off", "Slack did not say what the token may do")
        return
    missing = [scope for scope in SCOPES if scope not in scopes]
    needed = [scope for scope in missing if scope in NEEDED or (private and scope.startswith("groups:"))]
    for scope in needed:
        yield bad(SCOPE, f"{scope} is missing: it cannot {SCOPES[scope]}", MANIFEST)
    rest = [scope for scope in missing if scope not in needed]
    if rest:
        told = "; ".join(f"{scope} ({SCOPES[scope]})" for scope in rest)
        yield Finding(SCOPE, "off", f"not there, which may be meant: {told}")
    if not missing:
        yield ok(SCOPE, f"all {len(SCOPES)} of the manifest")


# ---- channels -------------------------------------------------------------------------------------------------------


async def _channels(client: SlackClient, policy: ThreadPolicy, scopes: set[str] | None, bot: str) -> Found:
    from autoheal.clients.slack import RateLimited, SlackRefused

    names = policy.everywhere
    try:
        known = await _listed(client, names)
        for name in names:
            if name not in known and not name.startswith("#"):
                known |= await _by_id(client, name)
    except RateLimited as error:
        return [Finding(CHANNEL, "off", f"Slack wants fewer questions now; look again in {error.retry_after:.0f} s")]
    except SlackRefused as error:
        return [bad(CHANNEL, f"they cannot be listed: {error}", MANIFEST)]
    found = [_channel(name, known.get(name), scopes, bot) for name in names]
    fine = [name for name, finding in zip(names, found, strict=True) if finding is None]
    told = [ok(CHANNEL, f"the bot is in {_few(fine)}")] if fine else []
    return told + [finding for finding in found if finding is not None]


async def _listed(client: SlackClient, names: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The channels of these names and ids among all that the token can see, archived ones too."""
    from autoheal.clients.slack import SlackRefused

    found: dict[str, Mapping[str, Any]] = {}
    cursor, types = "", "public_channel,private_channel"
    for _ in range(PAGES):
        args = {"types": types, "exclude_archived": "false", "limit": 1000, "cursor": cursor or None}
        try:
            answer = await client.call("conversations.list", args)
        except SlackRefused as error:
            if error.code != "missing_scope" or types == "public_channel":
                raise
            types, cursor = "public_channel", ""
            continue
        for item in answer.get("channels") or ():
            found |= {name: item for name in (f"#{item.get('name')}", str(item.get("id"))) if name in names}
        cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
        if not cursor or found.keys() >= set(names):
            break
    return found


async def _by_id(client: SlackClient, name: str) -> dict[str, Mapping[str, Any]]:
    from autoheal.clients.slack import SlackRefused

    try:
        return {name: await client.info(name)}
    except SlackRefused as error:
        if error.code not in ("channel_not_found", "missing_scope"):
            raise
        return {}


def _channel(name: str, item: Mapping[str, Any] | None, scopes: set[str] | None, bot: str) -> Finding | None:
    """What is to be said of it; None where the bot is in it."""
    other = "or name another one in the policy's `threader`"
    if item is None:
        told = f"{name}: there is no such channel, or it is private and the bot is not in it"
        return bad(CHANNEL, told, f"create it, or write /invite @{bot} in it, {other}")
    if item.get("is_archived"):
        return bad(CHANNEL, f"{name} is archived", f"unarchive it, {other}")
    if item.get("is_member"):
        return None
    if scopes is None or "chat:write.public" in scopes or "channels:join" in scopes:
        told = f"{name}: the bot is not in it, so that a lost message cannot be looked for: /invite @{bot}"
        return Finding(CHANNEL, "off", told)
    return bad(CHANNEL, f"{name}: the bot is not in it, and may neither join it nor post", f"/invite @{bot}, {other}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


# ---- an incoming webhook --------------------------------------------------------------------------------------------


async def _hook(url: str, instead: str) -> Found:
    from autoheal.clients.slack import SlackRefused, SlackWebhook

    webhook = SlackWebhook(url, TIMEOUT)
    fix = "make a new incoming webhook, and put all of its URL into SLACK_WEBHOOK_URL"
    try:
        await webhook.post({})
    except SlackRefused as error:
        if error.code not in EMPTY:
            return [bad(SLACK, f"the incoming webhook refuses us: {error.code}", fix)]
    except AutohealError as error:
        return [bad(SLACK, str(error), "can this machine reach Slack?")]
    finally:
        await webhook.aclose()
    without = f"no threads: a message for each change, all in its one channel, and {instead}"
    return [ok(SLACK, f"an incoming webhook answers; {without}. SLACK_BOT_TOKEN brings threads")]


# ---- acknowledging --------------------------------------------------------------------------------------------------


def _named(policy: Policy | None) -> bool:
    """Whether only named people may acknowledge, so that no message holds a link."""
    return policy is not None and policy.threader.operators is not None


def _instead(policy: Policy | None) -> str:
    return "no buttons" if _named(policy) else "links in place of buttons"


def _acknowledging(settings: Settings, policy: Policy | None) -> Iterator[Finding]:
    if not settings.alertmanager_urls:
        yield Finding(ACK, "off", "ALERTMANAGER_URL is not set: nobody can acknowledge from Slack")
        return
    url = settings.public_url
    buttons = settings.slack_bot_token is not None and settings.slack_signing_secret is not None
    if not buttons:
        if settings.slack_bot_token is not None:
            told = f"SLACK_SIGNING_SECRET is not set: {_instead(policy)}, and no /autoheal"
            yield Finding(BUTTONS, "off", told)
        if _named(policy):
            told = "`threader.operators` names people, and a link cannot tell who clicks: messages have neither buttons"
            missing = ["SLACK_BOT_TOKEN"] if settings.slack_bot_token is None else []
            missing += ["SLACK_SIGNING_SECRET"] if settings.slack_signing_secret is None else []
            fix = f"set {' and '.join(missing)}, so that there are buttons, or leave `operators` out"
            yield bad(ACK, f"{told} nor links, and nobody can acknowledge from Slack", fix)
    elif reachable(url):
        yield ok(BUTTONS, f"Slack must send them to {url}{INTERACTIVE}, as the app's Request URL")
    else:
        told = f"Slack needs an https address for clicks, and AUTOHEAL_PUBLIC_URL is {url}; has the app another one?"
        yield Finding(BUTTONS, "off", told)


# ---- the threader that runs -----------------------------------------------------------------------------------------


def check_threader(client: AutohealClient, settings: Settings) -> Found:
    """What the service that answers says of its own threads; nothing where it has none and none are asked for."""
    try:
        told = client.get("/health")
        slack, queue = told["slack"], told["queue"]
        waits, age = int(queue["depth"]), float(queue["oldest_seconds"])
    except NotFound:
        without = f"{client.url} has no Slack configured; `autoheal threader` may run elsewhere"
        return [Finding(THREADER, "off", without)] if settings.slack_configured else []
    except Temporary as error:
        return [bad(THREADER, str(error), "see its log: the threads' store cannot be used, and alerts are refused")]
    except (AutohealError, KeyError, TypeError, ValueError):
        return []
    found = [_posting(slack, waits)]
    if age > MAX_WAIT:
        found.append(bad(THREADER, f"something has waited {age:.0f} s for Slack", "docs/runbooks/threader-queue.md"))
    if told.get("dropped"):
        found.append(bad(THREADER, f"{told['dropped']} lines were dropped", "docs/runbooks/threader-dropped.md"))
    return found + [bad(THREADER, f"{name}: {why}", NOTED) for name, why in dict(slack.get("notes") or {}).items()]


NOTED = "once that is done it is tried again within ten minutes"


def _posting(slack: Mapping[str, Any], waits: int) -> Finding:
    state, detail = slack.get("state"), slack.get("detail") or ""
    if state in ("down", "limited"):
        return bad(THREADER, f"Slack is {state}: {detail}", "docs/runbooks/threader-slack-down.md")
    if state == "ok":
        team = f" into {slack['team']}" if slack.get("team") else ""
        return ok(THREADER, f"it posts{team}; {waits} waiting")
    return Finding(THREADER, "off", f"it has posted nothing yet{f': {detail}' if detail else ''}")

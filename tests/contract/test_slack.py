"""The Slack suite: our fake and npm's emulate, each through our client and through Slack's own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from autoheal.testing.slack import FakeSlack
from tests.contract.emulated import emulated
from tests.contract.slack import SPEAKERS, Slack, SlackContract, Speaker
from tests.contract.slack_strict import StrictContract

SCOPES = """chat:write channels:read channels:history channels:join channels:manage channels:write groups:read
groups:history users:read""".split()


@pytest.fixture(scope="module")
def fake() -> Iterator[Slack]:
    with FakeSlack(time.time, posts_per_second=1000, burst=1000, speed=1000) as server:
        server.add_token("xoxb-other", " ".join(SCOPES), app="0OTHER")
        server.add_token("xoxb-narrow", "chat:write chat:write.public")
        server.people["U0OTHER"] = {"id": "U0OTHER", "name": "other"}

        def archived() -> str:
            made = server.add_channel(f"old-{server.new_id('n')}")
            server.archive(made.id)
            return made.id

        yield Slack(
            server.api_url,
            server.token,
            "xoxb-other",
            "xoxb-narrow",
            server.channel("alerts-critical").id,
            "alerts-critical",
            server.webhook_url("#alerts-info"),
            server.channel("alerts-info").id,
            archived,
        )


@pytest.fixture(scope="module")
def emulate(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slack]:
    cache = pytestconfig.rootpath / ".pytest_cache" / "emulate"
    seed = {
        "team": {"name": "Autoheal", "domain": "autoheal"},
        "users": [{"name": "ours"}, {"name": "other"}],
        "channels": [{"name": "alerts-critical"}],
        "strict_scopes": True,
        "tokens": [
            {"token": "xoxb-ours", "user": "ours", "type": "bot", "scopes": SCOPES},
            {"token": "xoxb-other", "user": "other", "type": "bot", "scopes": SCOPES},
            {"token": "xoxb-narrow", "user": "ours", "type": "bot", "scopes": ["chat:write"]},
        ],
    }
    with emulated(cache, tmp_path_factory.mktemp("emulate"), seed) as url:

        def call(method: str, **args: str) -> dict[str, str]:
            headers = {"Authorization": "Bearer xoxb-ours"}
            answer = httpx.post(f"{url}/api/{method}", data=args, headers=headers, timeout=5).json()
            assert answer["ok"], answer
            return dict(answer.get("channel", answer))

        def archived() -> str:
            made = call("conversations.create", name=f"old-{time.monotonic_ns()}")["id"]
            call("conversations.archive", channel=made)
            return made

        listed = httpx.post(
            f"{url}/api/conversations.list", headers={"Authorization": "Bearer xoxb-ours"}, timeout=5
        ).json()["channels"]
        ids = {one["name"]: one["id"] for one in listed}
        yield Slack(
            f"{url}/api/",
            "xoxb-ours",
            "xoxb-other",
            "xoxb-narrow",
            ids["alerts-critical"],
            "alerts-critical",
            f"{url}/services/T000000001/B000000001/X000000001",
            ids["general"],
            archived,
        )


@pytest.fixture(params=SPEAKERS)
def say(slack: Slack, request: pytest.FixtureRequest) -> Speaker:
    return SPEAKERS[request.param](slack)


class TestFake(StrictContract):
    @pytest.fixture
    def slack(self, fake: Slack) -> Slack:
        return fake


class TestEmulate(SlackContract):
    @pytest.fixture
    def slack(self, emulate: Slack) -> Slack:
        return emulate

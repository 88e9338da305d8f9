"""monitoring/alertmanager.yml and alert-templates.tmpl: who is told, and whether a link silences what it says."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import httpx
import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from autoheal.config.settings import Settings
from autoheal.core.duration import parse_duration
from tests.acceptance.service import Autoheal, policy
from tests.monitoring.routing import MONITORING, TEMPLATES, effective, placed, quick, read
from tests.needs import needs
from tests.servers import Alertmanager, Receiver, alertmanager, receiver, wait_until

TOKEN = "webhook-token-of-the-test"
BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Site": "cross-site"}
LINK = re.compile(r"<([^<>|]+)\|(30m|2h|24h)>")

NASTY = {
    "quotes": "a \"quoted\" value, and 'another'",
    "backslashes": 'C:\\dir\\new\\"x\\\\',
    "ends in a backslash": "x\\",
    "looks like JSON": '","alertname":"Other","x":"',
    "control": "bell\x07 tab\t line\nreturn\r vertical\x0b one\x01 last\x1f delete\x7f next\x85",
    "of a URL": "a&b=c&labels={}+d%22e#f?g;h/../i",
    "of Slack": "<!channel> <https://evil.example|2h> a|b > `c` *d* &lt;e&gt;",
    "of templates": '{{ .Status }} $1 ${2} {{ template "autoheal.url" }}',
    "of HTML": "</script><img src=x onerror=alert(1)>&amp;",
    "writings": "Größe 日本語 עברית e\u0301 \u200b\u202egnp.exe\u2028\ufeff",
    "beyond the plane": "😀 \U000e0001 \U0010ffff \ufffd",
    "spaces": "  two  ",
    "like an escape": "\\u0041 \\n \\x41 \\U0001f600",
}


def amtool(*words: str | Path) -> str:
    argv = [needs("amtool", "prometheus-alertmanager"), *map(str, words)]
    done = subprocess.run(argv, capture_output=True, timeout=30, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped file with the addresses of this machine, for amtool."""
    folder = tmp_path_factory.mktemp("amtool")
    config = placed(folder, "http://autoheal:9009", TOKEN, "http://slack.example/hook", "http://localhost:9009")
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    return file


# ---- what the file says ---------------------------------------------------------------------------------------------


def test_alertmanager_accepts_the_file_with_its_templates(local: Path) -> None:
    written = local.with_name("as-it-stands.yml")
    written.write_text((MONITORING / "alertmanager.yml").read_text().replace("/etc/alertmanager", str(MONITORING)))
    for file in (written, local):
        assert "2 templates" in amtool("check-config", file)


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("alertname=Watchdog severity=none", "autoheal"),
        ("alertname=AutohealServiceDown severity=critical", "autoheal-notify"),
        ("alertname=AutohealEscalation severity=warning", "autoheal-notify"),
        ("alertname=ThreaderSlackDown severity=critical", "autoheal-notify"),
        ("alertname=TcpEndpointDownFast severity=critical service=crm-api", "autoheal,slack-critical"),
        ("alertname=UptimeProbeFailing severity=warning", "autoheal,slack-warning"),
        ("alertname=CrmMetricsScrapeStale severity=info", "autoheal,slack-info"),
        ("alertname=NobodyKnows", "autoheal,slack-info"),
    ],
)
def test_each_alert_reaches(local: Path, labels: str, receivers: str) -> None:
    amtool("config", "routes", "test", f"--config.file={local}", f"--verify.receivers={receivers}", *labels.split())


def test_autoheal_hears_in_time() -> None:
    """Its repeats come before an alert counts as stale, and the watchdog well before it counts as lost."""
    config = read("alertmanager.yml")
    ours = [effective(route, config["route"]) for route in config["route"]["routes"] if route["receiver"] == "autoheal"]
    watchdog, rest = ours
    assert parse_duration(rest["repeat_interval"]) + parse_duration(rest["group_interval"]) < Settings().stale_after
    assert parse_duration(rest["group_wait"]) <= 5
    assert rest["continue"] is True
    assert parse_duration(watchdog["repeat_interval"]) + parse_duration(watchdog["group_interval"]) <= 300
    lost = next(
        rule
        for group in read("prometheus-alerts.yml")["groups"]
        for rule in group["rules"]
        if rule["alert"] == "AutohealNoWebhooks"
    )
    [limit] = re.findall(r"> (\d+)", lost["expr"])
    assert int(limit) >= 2 * 300


def test_the_receivers_are_as_promised() -> None:
    found = {one["name"]: one for one in read("alertmanager.yml")["receivers"]}
    [webhook] = found["autoheal"]["webhook_configs"]
    assert (webhook["send_resolved"], webhook["max_alerts"]) == (True, 0)
    assert webhook["http_config"]["authorization"]["credentials_file"] == "/run/secrets/autoheal_webhook_token"
    for severity in ("critical", "warning", "info"):
        [slack] = found[f"slack-{severity}"]["slack_configs"]
        assert (slack["channel"], slack["send_resolved"]) == (f"#alerts-{severity}", True)
    assert found["autoheal-notify"]["slack_configs"][0]["send_resolved"] is True


def test_what_is_inhibited_exists() -> None:
    """A name in an inhibition is an alert that the rules have, spelt the same."""
    known = {rule["alert"] for group in read("prometheus-alerts.yml")["groups"] for rule in group["rules"]}
    text = json.dumps(read("alertmanager.yml")["inhibit_rules"])
    named = set(re.findall(r"Autoheal\w+", text))
    assert "AutohealServiceDown" in named
    assert named <= known


# ---- what a message says, rendered by amtool ------------------------------------------------------------------------


def render(text: str, data: Mapping[str, Any], folder: Path) -> str:
    file = folder / "data.json"
    file.write_text(json.dumps(data))
    return amtool(
        "template", "render", f"--template.glob={TEMPLATES}", f"--template.data={file}", f"--template.text={text}"
    )


def message(*alerts: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The data that Alertmanager hands to a template; common labels and annotations are computed as it does."""
    full = [{"status": "firing", "annotations": {}, "startsAt": "2026-11-21T12:00:00Z", **alert} for alert in alerts]

    def common(what: str) -> dict[str, str]:
        first, *others = (alert[what] for alert in full)
        return {k: v for k, v in first.items() if all(one.get(k) == v for one in others)}

    known = {"commonLabels": common("labels"), "commonAnnotations": common("annotations"), "groupLabels": {}}
    return {"receiver": "x", "status": "firing", "alerts": full, "externalURL": "http://am:9093", **known, **more}


def links(text: str) -> list[tuple[str, str]]:
    """Links to an acknowledgement in Slack's text: URL and duration. Slack undoes three entities."""
    found = [
        (url.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"), name) for url, name in LINK.findall(text)
    ]
    return [(url, name) for url, name in found if urlsplit(url).path == "/ack"]


def labels_of(url: str) -> dict[str, str]:
    query = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    assert set(query) == {"labels", "duration", "comment"}
    [text] = query["labels"]
    found: dict[str, str] = json.loads(text)
    return found


VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60) | st.text(
    "\"\\'\x01\n\x07\x1f\x7f\u2028&+%{}<>|😀u0041", min_size=1, max_size=40
)
LABELS = st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True), VALUES, min_size=1, max_size=6)


@settings(max_examples=15, phases=[Phase.generate])  # each example is a program run; the case is named below
@given(st.lists(LABELS, min_size=20, max_size=40))
def test_a_link_holds_exactly_the_labels_or_there_is_none(
    tmp_path_factory: pytest.TempPathFactory, cases: list[dict[str, str]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = '{{ range .Alerts }}{{ template "autoheal.ack" .Labels }}\n=====\n{{ end }}'
    shown = render(text, message(*({"labels": one} for one in cases)), folder).split("\n=====\n")
    assert len(shown) == len(cases) + 1
    for one, labels in zip(shown, cases, strict=False):
        found = links(one)
        assert [labels_of(url) for url, _ in found] == [labels] * len(found)
        holds_nul = any("\0" in value or "\\u0000" in value for value in labels.values())
        if holds_nul or not found:
            assert (found, "do not go into a link" in one) == ([], True)
            assert holds_nul or len(quote_plus(json.dumps(labels, ensure_ascii=False))) > 1000
        else:
            assert [name for _, name in found] == ["30m", "2h", "24h"]


@pytest.mark.parametrize(
    ("labels", "linked"),
    [
        ({"alertname": "A", "x": "y" * 900}, True),
        ({"alertname": "A", "x": "y" * 3000}, False),
        ({"alertname": "A", "x": "\0"}, False),
        ({}, False),
    ],
    ids=["long", "too long", "NUL", "none"],
)
def test_labels_that_go_into_no_link_lead_to_the_console(labels: dict[str, str], linked: bool, tmp_path: Path) -> None:
    shown = render('{{ template "autoheal.ack" .CommonLabels }}', message({"labels": labels}), tmp_path)
    assert bool(links(shown)) == linked
    assert ("/console|console>" in shown) == (not linked)


def test_somebody_elses_text_commands_nothing(tmp_path: Path) -> None:
    notes = {
        "summary": "<!channel> <https://evil.example/ack?labels={}|30m> & \u202eback",
        "runbook_url": "https://runbooks.example/x|<!here>",
        "autoheal_url": "javascript:alert(1)",
    }
    data = message({"labels": {"alertname": "A", "service": "<@U1>"}, "annotations": notes})
    for name in ("title", "text"):
        shown = render(f'{{{{ template "autoheal.slack.{name}" . }}}}', data, tmp_path)
        opened = re.findall(r"<([^>]*)>", shown)
        assert all(one.startswith(("http://localhost:9009/", "http://am:9093/", "!date^")) for one in opened), opened
        assert "\u202e" not in shown


def test_a_message_is_useful_and_ends(tmp_path: Path) -> None:
    """Twelve alerts with long texts: five of them, how many more, one link for all, within what Slack takes."""
    notes = {"summary": "s" * 900, "description": "d" * 5000, "runbook_url": "https://runbooks.example/a?b=1&c=2"}
    labels = {"alertname": "TcpEndpointDownFast", "severity": "critical", "service": "crm-api", "long": "ü" * 200}
    twelve = [{"labels": {**labels, "instance": f"host-{n}:9100"}, "annotations": notes} for n in range(12)]
    text = render('{{ template "autoheal.slack.text" . }}', message(*twelve), tmp_path)
    assert len(text) < 40_000
    assert text.count("s" * 300 + "…") == 5
    assert "… and 7 more that fire" in text
    assert [labels_of(url) for url, name in links(text) if name == "2h"] == [
        *(one["labels"] for one in twelve[:5]),
        labels,
    ]
    assert text.count("<https://runbooks.example/a?b=1&amp;c=2|Runbook>") == 5
    assert "instance host-3:9100" in text
    assert "since <!date^1795262400^" in text
    assert "<http://localhost:9009/console?view=events&amp;alertname=TcpEndpointDownFast|Console>" in text
    assert "<http://am:9093/#/silences/new?filter=%7Balertname%3D%22TcpEndpointDownFast%22%2C%20" in text
    title = render('{{ template "autoheal.slack.title" . }}', message(*twelve), tmp_path)
    assert title == "[FIRING:12] TcpEndpointDownFast (critical)"


def test_the_channel_follows_the_severity(tmp_path: Path) -> None:
    for severity, channel in {"critical": "critical", "warning": "warning", "none": "info", "": "info"}.items():
        data = message({"labels": {"alertname": "A", "severity": severity}})
        assert render('{{ template "autoheal.slack.channel" . }}', data, tmp_path) == f"#alerts-{channel}"


# ---- the whole way: Alertmanager with the shipped file, Slack's webhook, Autoheal -----------------------------------


@dataclass
class Stack:
    autoheal: Autoheal
    alertmanager: Alertmanager
    slack: Receiver

    def told(self, alertname: str) -> dict[str, Any]:
        """What Slack was told about an alert; once it was."""

        def found() -> dict[str, Any] | None:
            posts = ((body, one) for body in list(self.slack.bodies) for one in body["attachments"])
            return next(({**body, **one} for body, one in posts if f"] {alertname} (" in one["title"]), None)

        post = wait_until(found, 20, f"a message about {alertname}")
        assert post is not None
        return post


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with Autoheal(folder / "autoheal", policy(), env={"AUTOHEAL_WEBHOOK_TOKEN": TOKEN}) as service, receiver() as slack:
        config = placed(folder / "secrets", service.url, TOKEN, slack.url, service.url)
        with alertmanager(folder / "am", "", config=quick(config, 600)) as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            yield Stack(service, one, slack)
            service.stop()


def test_the_token_reaches_a_live_autoheal_with_firing_and_resolved(stack: Stack) -> None:
    refused = httpx.post(f"{stack.autoheal.url}/alert", json={"alerts": []}, timeout=10)
    assert refused.status_code == 401
    stack.alertmanager.fire(alertname="TcpEndpointDownFast", severity="critical", service="crm-api")
    stack.alertmanager.fire(alertname="AutohealServiceDown", severity="critical")
    stack.autoheal.await_event("decision_skip", 20, alertname="TcpEndpointDownFast", reason="not_allowlisted")
    stack.alertmanager.resolve(alertname="TcpEndpointDownFast", severity="critical", service="crm-api")
    stack.autoheal.await_event("decision_skip", 20, alertname="TcpEndpointDownFast", reason="resolved")
    told = stack.told("AutohealServiceDown")
    assert told["channel"] == "#alerts-critical"
    assert stack.autoheal.events(alertname="AutohealServiceDown") == []


def opened(url: str) -> tuple[httpx.Response, dict[str, str]]:
    """The page behind a link as a browser gets it, and the fields of its form."""
    page = httpx.get(url, headers=BROWSER, timeout=10)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
    return page, {name: html.unescape(value) for name, value in fields.items()}


def test_each_link_leads_to_a_page_with_exactly_these_labels_and_one_click_silences_them(stack: Stack) -> None:
    fired = {
        f"Nasty{n}": {"alertname": f"Nasty{n}", "severity": "critical", "nasty": value}
        for n, value in enumerate(NASTY.values())
    }
    for labels in fired.values():
        stack.alertmanager.fire(**labels)
    forms = []
    for alertname, labels in fired.items():
        told = stack.told(alertname)
        assert told["channel"] == "#alerts-critical"
        form: dict[str, str] = {}
        for (url, name), duration in zip(links(told["text"]), ("30m", "2h", "24h"), strict=True):
            page, form = opened(url)
            assert (page.status_code, name, form["duration"]) == (200, duration, duration), page.text
            assert json.loads(form["labels"]) == labels
            assert page.text.count("<tr><th>") == len(labels)
        forms.append(form)
    assert stack.alertmanager.silences() == []
    for form in forms:
        done = httpx.post(f"{stack.autoheal.url}/ack", data=form, timeout=10)
        assert done.status_code == 200, done.text
    asked = [{m["name"]: m["value"] for m in one["matchers"]} for one in stack.alertmanager.silences()]
    assert sorted(map(str, asked)) == sorted(str(dict(sorted(one.items()))) for one in fired.values())


def test_only_the_same_target_hides_anything(stack: Stack) -> None:
    """Two escalations of different rules both reach people, and so does what has neither service nor instance."""
    one = stack.alertmanager
    for severity, labels in [
        ("critical", {"alertname": "AutohealEscalation", "rule": "first"}),
        ("critical", {"alertname": "InhibitNobody"}),
        ("critical", {"alertname": "InhibitService", "service": "crm"}),
        ("critical", {"alertname": "InhibitInstance", "instance": "a:1"}),
        ("critical", {"alertname": "AutohealNotReady"}),
    ]:
        one.fire(severity=severity, **labels)
    targets: list[tuple[dict[str, str], bool]] = [
        ({"alertname": "AutohealEscalation", "rule": "second"}, False),
        ({"alertname": "InhibitNobody", "other": "x"}, False),
        ({"alertname": "InhibitService"}, False),
        ({"alertname": "InhibitService", "service": "crm", "other": "x"}, True),
        ({"alertname": "InhibitService", "service": "web"}, False),
        ({"alertname": "InhibitInstance"}, False),
        ({"alertname": "InhibitInstance", "instance": "a:1", "other": "x"}, True),
        ({"alertname": "AutohealHeartbeatSLOBreach"}, True),
    ]
    for labels, _ in targets:
        one.fire(severity="warning", **labels)

    def hidden() -> list[bool] | None:
        there = [found for found in one.alerts() if found["status"]["state"] != "unprocessed"]
        by_labels = {tuple(sorted(found["labels"].items())): found["status"]["inhibitedBy"] for found in there}
        keys = [tuple(sorted({**labels, "severity": "warning"}.items())) for labels, _ in targets]
        return [bool(by_labels[key]) for key in keys] if all(key in by_labels for key in keys) else None

    wanted = [expected for _, expected in targets]
    wait_until(lambda: hidden() == wanted, 20, f"inhibitions {wanted}, not {hidden()}")
    wait_until(
        lambda: all(rule in json.dumps(list(stack.slack.bodies)) for rule in ("first", "second")),
        20,
        "both escalations",
    )
    for severity, rule in (("critical", "first"), ("warning", "second")):
        one.resolve(alertname="AutohealEscalation", severity=severity, rule=rule)
    one.resolve(alertname="AutohealNotReady", severity="critical")

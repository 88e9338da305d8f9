"""`autoheal doctor`: what is green, what is red, and what to do about it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from autoheal import __version__
from autoheal.cli import checks, neighbours
from autoheal.cli.prometheus_checks import expected
from tests.unit.cli.played import rules
from tests.unit.cli.stage import Stage, problem

HOME = {"status": "ok", "enabled": False, "dry_run": True, "actions": [], "version": __version__}
CONFIG = "receivers:\n- name: autoheal\n  webhook_configs:\n  - send_resolved: true\n    url: http://ah:9009/alert\n"
STATUS = {
    "versionInfo": {"version": "0.25.0"},
    "cluster": {"status": "ready", "peers": [{}, {}]},
    "config": {"original": CONFIG},
}
BUILD = {"status": "success", "data": {"version": "2.42.0"}}


@pytest.fixture(autouse=True)
def any_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast and how full the disk under the tests is does not matter."""
    monkeypatch.setattr(checks, "LEAST_FREE", 0)
    monkeypatch.setattr(checks, "SLOW_SYNC", 3600.0)


@pytest.fixture
def well(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    """Everything as it must be; Alertmanager and Prometheus are played by the same server."""
    monkeypatch.setenv("ALERTMANAGER_URL", stage.url)
    monkeypatch.setenv("PROMETHEUS_URL", stage.url)
    monkeypatch.setenv("AUTOHEAL_DATA_DIR", str(tmp_path))
    stage.routes |= {
        "GET /": HOME,
        "GET /readyz": {"status": "ready"},
        "GET /audit": {"count": 0, "events": []},
        "GET /metrics": lambda asked: (200, f"autoheal_last_webhook_timestamp {time.time() - 30}\n"),
        "GET /console": lambda asked: (200, "<!doctype html>"),
        "GET /api/v2/status": STATUS,
        "GET /api/v1/status/buildinfo": BUILD,
        "GET /api/v1/rules": {"data": {"groups": [{"rules": rules()}]}},
        "GET /api/v1/query": {"data": {"result": [{"metric": {"instance": "ah:9009", "job": "autoheal"}}]}},
        "GET /api/v1/alertmanagers": {"data": {"activeAlertmanagers": [{"url": f"{stage.url}/api/v2/alerts"}]}},
    }
    return stage


def states(stage: Stage) -> tuple[int, dict[str, dict[str, Any]]]:
    done = stage.run("doctor", "--json")
    told = json.loads(done.stdout)
    assert told["ok"] is (done.exit_code == 0)
    return done.exit_code, {one["check"]: one for one in told["checks"]}


def test_all_is_well(well: Stage, tmp_path: Path) -> None:
    done = well.run("doctor")
    assert done.exit_code == 0 and done.stdout.splitlines()[-1] == "all is well"
    code, found = states(well)
    assert code == 0 and {name for name, one in found.items() if one["state"] != "ok"} == {"trail", "Slack"}
    names = {"settings", "policy", "data directory", "disk", "fsync", "trail", "Autoheal", "ready", "access"}
    names |= {"webhooks", "console", "recording rules", "alert rules", "scrape", "sends", "routes"}
    assert found.keys() == names | {"Alertmanager", "Prometheus", "Slack", "clock"}
    assert "version 0.25.0, cluster ready of 2" in found["Alertmanager"]["detail"]
    assert "version 2.42.0" in found["Prometheus"]["detail"] and "(30s ago)" in found["webhooks"]["detail"]
    assert "http://ah:9009/alert" in found["routes"]["detail"] and well.url in found["sends"]["detail"]
    assert list(tmp_path.iterdir()) == [], "the doctor leaves nothing behind"


def test_what_is_not_configured_is_not_red(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERTMANAGER_URL")
    monkeypatch.delenv("PROMETHEUS_URL")
    code, found = states(well)
    assert code == 0
    assert found["Alertmanager"]["state"] == found["Prometheus"]["state"] == "off"


def test_each_mistake_of_the_settings_is_red_and_the_rest_is_still_looked_at(
    well: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOHEAL_PROT", "1")
    monkeypatch.setenv("AUTOHEAL_DRY_RUN", "perhaps")
    done = well.run("doctor")
    assert done.exit_code == 1
    assert 'did you mean "AUTOHEAL_PORT"?' in done.stdout and "perhaps" in done.stdout
    assert "version 0.25.0" in done.stdout and "2 of 22 need you" in done.stdout


def test_a_server_that_would_be_open_to_the_world_is_red(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOHEAL_HOST", "0.0.0.0")
    assert well.run("doctor").exit_code == 1


def test_what_this_version_cannot_do_is_red(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOHEAL_RATE_LIMIT_ENABLED", "true")
    done = well.run("doctor")
    assert done.exit_code == 1 and "does not limit rates yet" in done.stdout


@pytest.mark.parametrize(
    ("route", "answer", "check"),
    [
        ("GET /", (200, {"hello": "world"}), "Autoheal"),
        ("GET /", (500, {}), "Autoheal"),
        ("GET /readyz", (503, problem(503, "the ledger cannot be written")), "ready"),
        ("GET /audit", (401, problem(401, "no")), "access"),
        ("GET /api/v2/status", (500, {}), "Alertmanager"),
        ("GET /api/v2/status", (200, {}), "Alertmanager"),
        ("GET /api/v2/status", (200, []), "Alertmanager"),
        ("GET /api/v1/status/buildinfo", (404, {}), "Prometheus"),
        ("GET /metrics", (500, {}), "webhooks"),
        ("GET /console", (503, "<html>no"), "console"),
        ("GET /api/v1/query", (200, {"data": {"result": [{"metric": {"job": "mine"}}]}}), "scrape"),
        ("GET /api/v1/query", (500, {}), "scrape"),
        ("GET /api/v1/alertmanagers", (200, {"data": {"activeAlertmanagers": []}}), "sends"),
        ("GET /api/v1/alertmanagers", (200, {"data": []}), "sends"),
        ("GET /api/v1/rules", (200, {"data": {"groups": [{"rules": rules()[: len(expected()[0])]}]}}), "alert rules"),
        ("GET /api/v1/rules", (200, {"data": {"groups": [{"rules": rules()[1:]}]}}), "recording rules"),
    ],
)
def test_what_is_red_says_what_to_do(well: Stage, route: str, answer: tuple[int, Any], check: str) -> None:
    well.routes[route] = lambda asked: answer
    code, found = states(well)
    assert code == 1
    assert [name for name, one in found.items() if one["state"] == "bad"] == [check]
    assert found[check]["fix"]


def test_where_the_database_is_away_that_is_what_is_to_be_mended(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hush-hush@127.0.0.1:1/none")
    well.routes["GET /readyz"] = lambda asked: (503, problem(503, "the ledger cannot be written"))
    well.routes["GET /audit"] = lambda asked: (503, problem(503, "the ledger cannot be read"))
    found = states(well)[1]
    for check in ("ready", "access"):
        assert found[check]["state"] == "bad" and "is the database there?" in found[check]["fix"]
    assert "TOKEN" not in found["access"]["fix"] and "disk" not in found["ready"]["fix"]
    well.routes["GET /audit"] = lambda asked: (401, problem(401, "no"))
    assert "AUTOHEAL_ADMIN_TOKEN" in states(well)[1]["access"]["fix"]


def test_a_service_that_cannot_read_the_policy_is_told_so(well: Stage) -> None:
    said = "the policy in force (0123) cannot be read here, run one version everywhere"
    well.routes["GET /readyz"] = lambda asked: (503, problem(503, said))
    assert "same version" in states(well)[1]["ready"]["fix"]


def test_nobody_there_is_red(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTMANAGER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AUTOHEAL_PUBLIC_URL", "http://127.0.0.1:1")
    from tests.unit.cli.stage import run

    done = run("doctor", "--json")
    assert done.exit_code == 1
    red = {one["check"] for one in json.loads(done.stdout)["checks"] if one["state"] == "bad"}
    assert red == {"Alertmanager", "Autoheal"}


def test_slack_and_the_service_that_posts_there_are_looked_at(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-hush-hush")
    monkeypatch.setenv("SLACK_API_URL", f"{well.url}/api/")
    well.routes["POST /api/auth.test"] = {"ok": False, "error": "invalid_auth"}
    well.routes["GET /health"] = {"slack": {"state": "down"}, "queue": {"depth": 0, "oldest_seconds": 0}}
    code, found = states(well)
    assert code == 1 and {name for name, one in found.items() if one["state"] == "bad"} == {"Slack", "threader"}
    assert "hush" not in str(found)


def test_another_version_is_told(well: Stage) -> None:
    well.routes["GET /"] = {**HOME, "version": "9.9.9"}
    assert f"version 9.9.9 (this command is {__version__})" in states(well)[1]["Autoheal"]["detail"]


def test_a_bad_policy_is_red(well: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("version: 2\nrules: 3\n")
    monkeypatch.setenv("AUTOHEAL_POLICY_FILE", str(path))
    code, found = states(well)
    assert code == 1 and found["policy"]["state"] == "bad" and "(and 1 more)" in found["policy"]["detail"]


def test_a_data_directory_that_is_not_there_yet_is_looked_at_where_it_will_be(tmp_path: Path) -> None:
    found = checks.check_directory(tmp_path / "a" / "b")
    assert {one.state for one in found} == {"ok"} and "(made at the first start)" in found[0].detail
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_that_is_a_file_is_red(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (found,) = checks.check_directory(tmp_path / "file")
    assert found.state == "bad"


def test_a_directory_that_cannot_be_written_a_full_disk_and_a_slow_one_are_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LEAST_FREE", 2**80)
    monkeypatch.setattr(checks, "SLOW_SYNC", -1.0)
    assert [one.state for one in checks.check_directory(tmp_path)] == ["ok", "bad", "bad"]

    def refuse(place: Path) -> float:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks, "_sync_time", refuse)
    (found,) = checks.check_directory(tmp_path)
    assert found.state == "bad" and "Permission denied" in found.detail


@pytest.mark.parametrize(("gap", "state"), [(0, "ok"), (4, "ok"), (-4, "ok"), (30, "bad"), (-30, "bad")])
def test_clocks(gap: float, state: str) -> None:
    from email.utils import formatdate

    from autoheal.clients.exchange import Reply

    now = 1_700_000_000.5
    answer = Reply(200, {"date": formatdate(now + gap, usegmt=True)}, b"")
    (found,) = neighbours.skew("Alertmanager", answer, now, now + 0.1)
    assert found.state == state
    if state == "bad":
        assert ("ahead of" if gap > 0 else "behind") in found.detail
    assert neighbours.skew("Alertmanager", Reply(200, {}, b""), now, now) == []
    assert neighbours.skew("Alertmanager", Reply(200, {"date": "noon"}, b""), now, now) == []


def test_a_ledger_that_was_moved_away_is_red(well: Stage, tmp_path: Path) -> None:
    (tmp_path / "MOVED").write_text("to: postgresql://u@db/ah\nwhen: 2026-01-01T00:00:00Z\n")
    code, found = states(well)
    assert code == 1 and [name for name, one in found.items() if one["state"] == "bad"] == ["moved"]
    assert "was moved to postgresql://u@db/ah on 2026-01-01T00:00:00Z" in found["moved"]["detail"]
    assert "set DATABASE_URL" in found["moved"]["fix"]


def test_with_a_shared_database_only_a_copy_that_is_asked_for_needs_a_directory(
    well: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hush-hush@127.0.0.1:1/none")
    code, found = states(well)
    assert code == 1 and [name for name, one in found.items() if one["state"] == "bad"] == ["database"]
    assert found["Redis"]["state"] == "off" and "hush" not in str(found)
    assert not {"data directory", "copy", "fsync"} & set(found)
    monkeypatch.setenv("AUTOHEAL_AUDIT_PATH", str(tmp_path / "copy" / "audit.jsonl"))
    assert states(well)[1]["copy"]["detail"].startswith(str(tmp_path / "copy"))


# ---- beside the service ----------------------------------------------------------------------------------------


def test_an_alert_about_autoheal_that_fires_is_red_with_its_runbook(well: Stage) -> None:
    found = rules()
    for one in found:
        if one["name"] in ("AutohealStuck", "Watchdog"):
            one |= {"state": "firing", "annotations": {"runbook_url": "docs/runbooks/autoheal-stuck.md"}}
    well.routes["GET /api/v1/rules"] = {"data": {"groups": [{"rules": found}]}}
    code, told = states(well)
    assert code == 1 and told["alert rules"]["state"] == "ok"
    assert told["firing"]["detail"] == "AutohealStuck is firing" and told["firing"]["fix"].endswith("autoheal-stuck.md")


def test_another_alertmanager_is_told(well: Stage) -> None:
    active = [{"url": "http://am:9093/api/v2/alerts"}]
    well.routes["GET /api/v1/alertmanagers"] = {"data": {"activeAlertmanagers": active}}
    code, found = states(well)
    assert code == 0 and found["sends"]["state"] == "off"
    assert "http://am:9093" in found["sends"]["detail"] and f"here is {well.url}" in found["sends"]["detail"]


def test_what_is_here_is_not_taken_for_the_services(well: Stage) -> None:
    well.routes["GET /"] = {**HOME, "enabled": True, "dry_run": False}
    well.routes["GET /rules"] = {"rules": [{"name": "theirs"}]}
    code, found = states(well)
    assert code == 0 and found["settings"]["detail"].startswith("here: ")
    said = found["same"]["detail"]
    assert "it is live, and here it would start dry run" in said
    assert "only the service has: theirs" in said and "only the policy here has: " in said


# ---- the trail --------------------------------------------------------------------------------------------------


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """A data directory with a ledger of three events and its copy."""
    from tests.unit.store.trail import Trail

    found = Trail(tmp_path)
    found.add(count=3)
    found.copy.write_text("".join(f"{line}\n" for line in found.lines))
    found.close()
    return tmp_path


def test_the_trail_names_its_head(well: Stage, trail: Path) -> None:
    code, found = states(well)
    assert code == 0
    assert "newest event 3" in found["trail"]["detail"] and "chain head" in found["trail"]["detail"]
    assert found["audit copy"]["state"] == "ok"


def test_a_copy_that_stays_behind_is_red(well: Stage, trail: Path) -> None:
    copy = trail / "audit.jsonl"
    copy.write_text("".join(copy.read_text().splitlines(keepends=True)[:1]))
    found = states(well)[1]
    assert found["audit copy"]["state"] == "bad" and "2 events behind" in found["audit copy"]["detail"]
    copy.unlink()
    assert "is not there" in states(well)[1]["audit copy"]["detail"]


def test_a_ledger_that_cannot_be_read_is_red(well: Stage, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no database at all, but long enough to look like one" * 100)
    assert states(well)[1]["trail"]["state"] == "bad"


# ---- only hints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("receivers:\n- webhook_configs:\n  - url: <secret>\n", "does not show"),
        ("receivers:\n- webhook_configs:\n  - url: http://pager/x\n", "no webhook of its configuration"),
        ("", "no webhook of its configuration"),
    ],
)
def test_where_alertmanager_sends_is_only_a_hint(well: Stage, config: str, said: str) -> None:
    well.routes["GET /api/v2/status"] = {**STATUS, "config": {"original": config}}
    code, found = states(well)
    assert code == 0 and found["routes"]["state"] == "off" and said in found["routes"]["detail"]


def test_no_webhook_yet_and_a_console_behind_a_sign_in_are_no_faults(well: Stage) -> None:
    well.routes["GET /metrics"] = lambda asked: (200, "autoheal_last_webhook_timestamp 0.0\n")
    well.routes["GET /console"] = lambda asked: (401, problem(401, "sign in"))
    code, found = states(well)
    assert code == 0 and found["webhooks"]["state"] == "off" and "sign in" in found["console"]["detail"]

"""The command as a whole: its verbs, its help, what it loads, how it fails; and all of it against the real service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from autoheal import __version__
from autoheal.config.settings import Settings
from autoheal.core.errors import Permanent
from tests.needs import needs_linux
from tests.servers import Process, free_port, on_free_ports
from tests.unit.cli.stage import run

VERBS = {"serve", "demo", "doctor", "policy", "audit", "ack", "silence", "mode", "remediations", "db", "worker"}
VERBS |= {"cooldown", "smoke", "open", "provision", "threader"}


def test_help_names_every_verb_and_no_other() -> None:
    done = run("--help")
    assert done.exit_code == 0
    commands = done.stdout.partition("Commands:")[2].partition("Exit codes")[0]
    assert {line.split()[0] for line in commands.splitlines() if line.startswith("  ") and line[2:3].strip()} == VERBS


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(verb: str) -> None:
    done = run(verb, "--help")
    assert done.exit_code == 0 and "Usage:" in done.stdout
    if verb not in ("serve", "demo", "threader", "policy", "silence", "db", "worker"):
        assert "--json" in done.stdout and ("--url" in done.stdout or verb == "provision")
    if verb in ("smoke", "open", "provision", "cooldown"):
        assert "Example: autoheal" in done.stdout


def test_version_and_wrong_use() -> None:
    assert run("--version").stdout == f"autoheal {__version__}\n"
    assert run("heal").exit_code == 2
    assert run("mode", "--fast").exit_code == 2


def loaded(*args: str) -> set[str]:
    """The modules that a run of the command has loaded."""
    code = (
        "import sys, contextlib\n"
        "from autoheal.cli.main import main\n"
        f"sys.argv = ['autoheal', *{list(args)!r}]\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stderr(None), contextlib.redirect_stdout(None):\n"
        "    main()\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


HEAVY = {"fastapi", "uvicorn", "sqlalchemy", "yaml", "re2", "structlog", "prometheus_client", "alembic"}


def test_help_and_client_verbs_load_only_what_they_need() -> None:
    """It keeps them quick, and able to run on Windows, which has no fcntl."""
    assert not loaded("--help") & (HEAVY | {"httpx"})
    for verb in (
        ("mode",),
        ("audit",),
        ("ack", "a=1"),
        ("remediations",),
        ("silence", "list"),
        ("smoke",),
        ("cooldown",),
    ):
        modules = loaded(*verb, "--url", "http://127.0.0.1:1")
        assert "autoheal.clients.autoheal" in modules
        assert not modules & HEAVY
        assert not {name for name in modules if name.startswith(("autoheal.app", "autoheal.store", "autoheal.actions"))}
    assert not loaded("open", "status", "--json", "--url", "http://127.0.0.1:1") & HEAVY


def test_as_a_module_it_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autoheal", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"autoheal {__version__}\n"


# ---- serve and demo ---------------------------------------------------------------------------------------------


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    module = ModuleType(f"autoheal.app.{name}")
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, f"autoheal.app.{name}", module)
    monkeypatch.setattr(f"autoheal.app.{name}", module, raising=False)


def test_options_of_serve_override_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Settings] = []

    def main(settings: Settings) -> int:
        seen.append(settings)
        return 0

    stand_in(monkeypatch, "serve", main=main)
    monkeypatch.setenv("AUTOHEAL_PORT", "8000")
    monkeypatch.setenv("AUTOHEAL_HOST", "::1")
    assert run("serve").exit_code == 0
    given = ("--host", "localhost", "--port", "8001", "--policy", "p.yaml", "--data-dir", str(tmp_path))
    assert run("serve", *given).exit_code == 0
    first, second = seen
    assert (first.host, first.port, first.policy_file) == ("::1", 8000, None)
    assert (second.host, second.port, second.policy_file) == ("localhost", 8001, Path("p.yaml"))
    assert (second.data_dir, second.audit_path) == (tmp_path, tmp_path / "audit.jsonl")


def test_how_serve_ends_is_how_the_command_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "serve", main=lambda settings: 1)
    assert run("serve").exit_code == 1

    def refuse(settings: Settings) -> int:
        raise Permanent("cannot listen\nand more")

    stand_in(monkeypatch, "serve", main=refuse)
    done = run("serve")
    assert (done.exit_code, done.stderr) == (1, "autoheal: cannot listen\nautoheal: and more\n")


def test_every_mistake_of_the_settings_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "serve", main=lambda settings: pytest.fail("it started"))
    done = run("serve", "--port", "99999", env={"AUTOHEAL_PROT": "1"})
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 2 and all(
        line.startswith("autoheal: ") for line in done.stderr.splitlines()
    )


def test_on_windows_serve_says_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    done = run("serve")
    assert done.exit_code == 1 and "--url" in done.stderr


def test_an_error_that_nobody_expected_stays_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(settings: Settings) -> int:
        raise RuntimeError("a mistake of ours")

    stand_in(monkeypatch, "serve", main=break_down)
    with pytest.raises(RuntimeError):
        run("serve")


def test_demo_is_handed_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, int | None]] = []

    def play(once: bool, port: int | None) -> int:
        seen.append((once, port))
        return int(once)

    stand_in(monkeypatch, "demo", run=play)
    assert run("demo").exit_code == 0
    assert run("demo", "--once", "--port", "8000").exit_code == 1
    assert seen == [(False, None), (True, 8000)]


# ---- the real service -------------------------------------------------------------------------------------------


def test_the_verbs_and_the_service_understand_each_other(tmp_path: Path) -> None:
    needs_linux()

    def start() -> tuple[Process, str]:
        port = str(free_port())
        argv = [sys.executable, "-m", "autoheal", "serve", "--port", port, "--data-dir", tmp_path / "data"]
        process = Process(argv, tmp_path / "serve.log").start()
        url = f"http://127.0.0.1:{port}"
        try:
            process.until(lambda: httpx.get(f"{url}/readyz", timeout=2).status_code == 200, what="autoheal serve")
        except BaseException:
            process.kill()
            raise
        return process, url

    process, url = on_free_ports(start)
    labels = {"alertname": "TcpEndpointDownFast", "instance": "crm\x1b[31m:80"}
    with process:
        alert = {"status": "firing", "labels": labels, "annotations": {"autoheal": "true"}}
        httpx.post(f"{url}/alert", json={"alerts": [alert]}, timeout=10).raise_for_status()
        _understand(url, labels)
        told = _followed(url)
        assert "action_dry_run" in told
        verified = run("audit", "verify", "--data-dir", str(tmp_path / "data"))
        assert verified.exit_code == 0, verified.output
        assert process.terminate() == 0


def _understand(url: str, labels: dict[str, str]) -> None:
    def ask(*args: str, code: int = 0) -> dict[str, object]:
        done = run(*args, "--json", "--url", url)
        assert done.exit_code == code, done.output
        found: dict[str, object] = json.loads(done.stdout) if done.stdout else {}
        return found

    dry = ask("audit", "--kind", "action_dry_run", "--since", "5m", "--rule", "tcp-endpoint-down-fast")
    assert dry["count"] == 1
    for args in (("audit",), ("remediations",), ("mode",), ("doctor",)):
        shown = run(*args, "--url", url)
        assert shown.exit_code == 0 and "\x1b" not in shown.output, shown.output
    assert ask("mode", "live")["dry_run"] is False
    assert ask("mode", "dry-run")["dry_run"] is True
    assert ask("mode")["source"] == "api"
    assert ask("policy", "explain", "--labels", json.dumps(labels))["reason"] == "not_annotated"
    assert ask("remediations")["count"] == 0
    ask("remediations", "show", "r1", code=1)
    ask("remediations", "approve", "r1", code=1)
    ask("audit", "--contains", "nothing like it")


def _followed(url: str) -> str:
    """The first lines of ``audit --follow``, until the command has told the dry run."""
    argv = [sys.executable, "-m", "autoheal", "audit", "--follow", "-n", "1000", "--json", "--url", url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as told:
        assert told.stdout is not None
        lines = []
        for line in told.stdout:
            lines.append(json.loads(line)["kind"])
            if lines[-1] == "action_dry_run":
                break
        told.kill()
    return " ".join(lines)

"""Real processes: output, limits, orphans, and what stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from autoheal.actions.command import CommandAction
from autoheal.clients import process, sessions
from autoheal.clients.process import KEPT, Processes
from autoheal.engine.ports import ActionResult, NotStarted
from tests.needs import needs_linux
from tests.servers import wait_until

T = TypeVar("T")


def at_once(start: Callable[[], T]) -> T:
    return start()


@pytest.fixture
def processes() -> Iterator[Processes]:
    needs_linux()
    found = Processes({"PATH": os.environ["PATH"], "AUTOHEAL_ADMIN_TOKEN": "secret", "HOME": "/tmp/home"})
    yield found
    found.close()


@pytest.fixture
def run(processes: Processes) -> Callable[..., ActionResult]:
    action = CommandAction(processes)

    def inner(*argv: str, timeout: float = 20.0, begin: Any = at_once, **options: Any) -> ActionResult:
        return action.run({"run": list(argv), **options}, timeout, begin)

    return inner


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")


Run = Callable[..., ActionResult]


def test_output_and_status(run: Run) -> None:
    assert run("sh", "-c", "echo out; echo err >&2") == ActionResult("ok", 0, "out\nerr\n")
    failed = run("sh", "-c", "echo no; exit 7")
    assert (failed.status, failed.rc, failed.output, failed.error) == ("fail", 7, "no\n", "ended with status 7")


def test_arguments_are_a_list_and_no_shell(run: Run) -> None:
    assert run("printf", "%s|", "$(id)", "; rm -rf /", "", "a b").output == "$(id)|; rm -rf /||a b|"


def test_output_that_is_not_text(run: Run) -> None:
    assert run("printf", r"a\377b").output == "a\N{REPLACEMENT CHARACTER}b"


def test_a_signal_is_a_status_as_the_shell_says_it(run: Run) -> None:
    assert run("sh", "-c", "kill -KILL $$").rc == 137


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["no-such-program-here"], "command not found: no-such-program-here"),
        (["/"], "Permission denied"),
        (["true", "a\0b"], "null byte"),
        (["true", "x" * 3_000_000], "Argument list too long"),
    ],
)
def test_what_cannot_be_started_fails(run: Run, argv: list[str], says: str) -> None:
    result = run(*argv)
    assert (result.status, result.rc) == ("fail", None)
    assert says in result.error


def test_a_folder_that_is_not_there(run: Run) -> None:
    assert "/no/such/folder" in run("true", cwd="/no/such/folder").error


def test_folder_and_environment(run: Run, tmp_path: Path) -> None:
    result = run("sh", "-c", "pwd; env", cwd=str(tmp_path), env={"WHO": "me", "LANG": "C"})
    here, *rest = result.output.splitlines()
    names = {line.partition("=")[0] for line in rest}
    assert here == str(tmp_path)
    assert {"WHO=me", "LANG=C", "HOME=/tmp/home"} <= set(rest)
    assert names <= {"WHO", "LANG", "HOME", "PATH", "TZ", "PWD", "SHLVL", "_", "OLDPWD", sessions.MARK}
    assert "secret" not in result.output


def test_there_is_nothing_to_read_and_no_terminal(run: Run) -> None:
    assert run("sh", "-c", "cat; ps -o tty= -p $$").output.split() == ["?"]


def test_the_brake_stops_it_before_it_starts(run: Run, tmp_path: Path) -> None:
    def refuse(start: Callable[[], T]) -> T:
        raise NotStarted("brake")

    with pytest.raises(NotStarted):
        run("touch", str(tmp_path / "done"), begin=refuse)
    assert not (tmp_path / "done").exists()


def test_begin_is_called_once_around_the_start(run: Run, tmp_path: Path) -> None:
    seen = []

    def begin(start: Callable[[], T]) -> T:
        seen.append((tmp_path / "done").exists())
        return start()

    assert run("touch", str(tmp_path / "done"), begin=begin).status == "ok"
    assert seen == [False]


def test_a_flood_keeps_head_and_tail(run: Run) -> None:
    result = run("sh", "-c", "echo first; seq 1 400000; echo last")
    assert result.status == "ok"
    assert result.output.startswith("first\n1\n2\n") and result.output.endswith("400000\nlast\n")
    assert "bytes left out" in result.output
    assert len(result.output) < 2 * KEPT + 100


def test_output_between_one_and_two_shares_is_whole(run: Run) -> None:
    wanted = "".join(f"{n:07d}\n" for n in range((KEPT + 8000) // 8))
    assert run("sh", "-c", f"seq -f %07.0f 0 {(KEPT + 8000) // 8 - 1}").output == wanted


def test_an_endless_flood_times_out(run: Run) -> None:
    result = run("yes", timeout=0.3)
    assert (result.status, result.error) == ("fail", "timed out after 0.3s, killed")
    assert len(result.output) < 2 * KEPT + 100


def test_a_grandchild_that_holds_the_output_holds_up_nothing(run: Run, tmp_path: Path) -> None:
    """What a command leaves in the background is its effect: it stays."""
    result = run("sh", "-c", f"sleep 300 & echo $! > {tmp_path}/pid; echo started", timeout=60)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert result == ActionResult("ok", 0, "started\n")
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_timeout_ends_all_of_it(run: Run, tmp_path: Path) -> None:
    """Children, a child in a session of its own, one that stopped itself."""
    script = f"""
        sleep 300 & echo $! >> {tmp_path}/pids
        setsid sleep 300 & echo $! >> {tmp_path}/pids
        sh -c 'kill -STOP $$; sleep 300' & echo $! >> {tmp_path}/pids
        echo working; wait
    """
    result = run("sh", "-c", script, timeout=0.5)
    assert (result.status, result.error, result.output) == ("fail", "timed out after 0.5s, killed", "working\n")
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3 and not any(map(alive, pids))


@pytest.mark.usefixtures("short_grace")
def test_one_that_ignores_sigterm_is_killed(run: Run, tmp_path: Path) -> None:
    script = (
        f"trap '' TERM; (trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done) & while :; do sleep 1; done"
    )
    result = run("sh", "-c", script, timeout=0.3)
    assert (result.status, result.rc) == ("fail", 137)
    assert result.error == "timed out after 0.3s, killed"
    assert not alive(int((tmp_path / "pid").read_text()))


def test_one_that_heeds_sigterm_may_tidy_up(run: Run) -> None:
    result = run("sh", "-c", "trap 'echo tidy; exit 3' TERM; while :; do sleep 0.05; done", timeout=0.3)
    assert (result.status, result.rc) == ("fail", 3)
    assert result.output.endswith("tidy\n")


@pytest.mark.usefixtures("short_grace")
def test_a_kill_that_is_not_confirmed_is_unknown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "members", lambda session, mark: [1])
    monkeypatch.setattr(sessions, "send", lambda session, mark, number: os.kill(session, number))
    result = run("sleep", "300", timeout=0.2)
    assert (result.status, result.error) == ("unknown", "timed out after 0.2s; could not be killed")


@pytest.mark.usefixtures("short_grace")
def test_without_pidfd_it_works_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert run("sh", "-c", "echo out") == ActionResult("ok", 0, "out\n")
    assert run("sleep", "300", timeout=0.2).error == "timed out after 0.2s, killed"


def test_no_descriptor_is_left(run: Run) -> None:
    run("true")
    before = len(os.listdir("/proc/self/fd"))
    for argv in (["true"], ["no-such-program-here"], ["sh", "-c", "sleep 5 &"]):
        run(*argv)
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_at_once(run: Run) -> None:
    results: list[str] = []

    def work(name: int) -> None:
        for turn in range(25):
            results.append(run("echo", f"{name}-{turn}").output.strip())

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(f"{name}-{turn}" for name in range(4) for turn in range(25))


# ---- when Autoheal dies ---------------------------------------------------------------------------------------------

DIES = textwrap.dedent(
    """
    import os, signal, sys
    from autoheal.clients import process
    from autoheal.clients.process import Processes
    process.MARGIN = 0.0
    pid_file, when, script = sys.argv[1:]
    def begin(start):
        if when == "before":
            start()
            os.kill(os.getpid(), signal.SIGKILL)
        import threading
        threading.Timer(float(when), os.kill, (os.getpid(), signal.SIGKILL)).start()
        return start()
    Processes({"PATH": os.environ["PATH"]}).run(["sh", "-c", script], 1.5, begin)
    """
)


@pytest.mark.parametrize("when", ["before", "0.3"])
def test_an_orphan_ends_at_its_hard_limit(tmp_path: Path, when: str) -> None:
    """Killed between the start and the word to the watchdog, or later: the mark or the session finds it."""
    needs_linux()
    pids = tmp_path / "pids"
    script = f"trap '' TERM; echo $$ >> {pids}; (echo $(exec sh -c 'echo $PPID') >> {pids}; sleep 300) & sleep 300"
    died = subprocess.run([sys.executable, "-c", DIES, str(pids), when, script], timeout=30)
    assert died.returncode == -signal.SIGKILL
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    found = [int(pid) for pid in pids.read_text().split()]
    assert any(map(alive, found)), "it outlives Autoheal, for a while"
    wait_until(lambda: not any(map(alive, found)), 15, "the orphan's end")


def test_the_watchdog_ends_with_its_work(processes: Processes, run: Run) -> None:
    run("true")
    pid = processes.watchdog
    assert alive(pid)
    processes.close()
    assert not alive(pid)


def test_a_watchdog_that_was_killed_is_replaced(processes: Processes, run: Run) -> None:
    run("true")
    first = processes.watchdog
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not alive(first))
    assert run("true").status == "ok"
    wait_until(lambda: run("true").status == "ok" and processes.watchdog != first)
    assert alive(processes.watchdog)


def test_a_watchdog_that_is_stuck_holds_up_nothing(processes: Processes) -> None:
    processes.run(["true"], 5, at_once)
    first = processes.watchdog
    os.kill(first, signal.SIGSTOP)
    try:
        for number in range(6000):
            processes.deadman.begins(f"m{number}", 60)
            processes.deadman.ended(f"m{number}")
        assert processes.watchdog != first
    finally:
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)


def test_the_limit_holds_while_autoheal_itself_is_frozen(tmp_path: Path) -> None:
    needs_linux()
    program = DIES.replace("signal.SIGKILL)).start()", "signal.SIGSTOP)).start()")
    pids = tmp_path / "pids"
    frozen = subprocess.Popen([sys.executable, "-c", program, str(pids), "0.3", f"echo $$ > {pids}; exec sleep 300"])
    try:
        wait_until(lambda: pids.exists() and pids.read_text().strip())
        pid = int(pids.read_text())
        started = time.monotonic()
        wait_until(lambda: not alive(pid), 15, "the end of the command")
        assert time.monotonic() - started > 0.3
    finally:
        frozen.kill()
        frozen.wait()

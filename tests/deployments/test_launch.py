from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.launch import serve_environment
from tests.support.processes import title
from tests.support.served import ROOT, Served, scripted_config, starting
from tests.support.waiting import eventually

HAPROXY = (
    "frontend prometheus\n"
    "    bind :9101\n"
    "frontend stats\n"
    "    bind *:8404\n"
    "    stats enable\n"
    "frontend http_frontend\n"
    "    bind 10.1.2.3:8000\n"
    "    bind 127.0.0.1:8001\n"
    "    bind [::1]:8002\n"
    "    # bind to *:1 is said here only\n"
    "backend b\n"
    "    server *:7 127.0.0.1:30000\n"
)
ON_LOOPBACK = HAPROXY.replace(" :9101", " 127.0.0.1:9101").replace(" *:8404", " 127.0.0.1:8404")


def committed() -> dict[str, str]:
    """The variables of `serve.env`."""
    lines = (ROOT / "serve.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def config(**http: Any) -> dict[str, Any]:
    return {"http_options": http, "applications": []}


def test_serve_env_comes_under_what_is_set_already() -> None:
    environment = serve_environment(config(), environ={"HF_HUB_OFFLINE": "0", "HOME": "/home/me"})
    assert environment["HF_HUB_OFFLINE"] == "0"
    assert environment["HOME"] == "/home/me"
    expected = {**committed(), "HF_HUB_OFFLINE": "0"}
    assert {name: environment[name] for name in expected} == expected
    assert environment["RAY_AUTH_MODE"] == "disabled"


def test_the_environment_given_is_not_changed() -> None:
    environ: dict[str, str] = {}
    serve_environment(config(), environ=environ)
    assert environ == {}


def test_haproxy_is_kept_on_loopback_with_the_server() -> None:
    environment = serve_environment(config(), environ={})
    assert Path(environment["RAY_SERVE_HAPROXY_BINARY_PATH"]) == ROOT / "deployments" / "haproxy_loopback.sh"
    assert os.access(environment["RAY_SERVE_HAPROXY_BINARY_PATH"], os.X_OK)
    assert os.access(environment["HAPROXY_BINARY"], os.X_OK)


@pytest.mark.parametrize(
    ("http", "environ"),
    [
        ({"host": "0.0.0.0"}, {}),
        ({"host": "10.1.2.3"}, {}),
        ({}, {"RAY_SERVE_ENABLE_HA_PROXY": "0"}),
    ],
)
def test_haproxy_is_left_alone_elsewhere(http: dict[str, Any], environ: dict[str, str]) -> None:
    environment = serve_environment(config(**http), environ=environ)
    assert "RAY_SERVE_HAPROXY_BINARY_PATH" not in environment
    assert "HAPROXY_BINARY" not in environment


def test_an_operators_own_haproxy_is_kept() -> None:
    environment = serve_environment(config(), environ={"RAY_SERVE_HAPROXY_BINARY_PATH": "/opt/haproxy"})
    assert environment["RAY_SERVE_HAPROXY_BINARY_PATH"] == "/opt/haproxy"


def run_haproxy(*arguments: str, binary: str = "/bin/true") -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "deployments" / "haproxy_loopback.sh")
    environment = {**os.environ, "HAPROXY_BINARY": binary}
    return subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, timeout=30)


def test_the_stand_in_for_haproxy_rewrites_the_two_open_listeners_and_nothing_else(tmp_path: Path) -> None:
    path, other = tmp_path / "haproxy.cfg", tmp_path / "other.cfg"
    path.write_text(HAPROXY)
    other.write_text(HAPROXY)
    assert run_haproxy("-db", "-f", str(path), "-sf", str(other)).returncode == 0
    assert path.read_text() == ON_LOOPBACK
    assert other.read_text() == HAPROXY
    assert run_haproxy("-f", str(path)).returncode == 0
    assert path.read_text() == ON_LOOPBACK


def test_the_stand_in_becomes_haproxy_with_its_arguments_and_exit_code(tmp_path: Path) -> None:
    said = run_haproxy("-c", "-f", str(tmp_path / "missing.cfg"), "a b", binary="/bin/echo")
    assert said.stdout == f"-c -f {tmp_path / 'missing.cfg'} a b\n"
    assert run_haproxy("-v", binary="/bin/false").returncode == 1


def launch(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployments.launch", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_wrong_configuration_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "serve_config.yaml"
    path.write_text(yaml.safe_dump(scripted_config(gateway={"keepalive": 3})))
    ended = launch(path)
    assert ended.returncode == 1
    assert ended.stderr == (f"{path}: applications[1].args.keepalive: unknown setting; did you mean 'keepalive_s'?\n")
    assert ended.stdout == ""


def test_a_port_that_is_in_use_starts_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = scripted_config()
        given["http_options"]["port"] = port
        path = tmp_path / "serve_config.yaml"
        path.write_text(yaml.safe_dump(given))
        ended = launch(path)
    assert ended.returncode == 1
    assert f"127.0.0.1:{port} is in use" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.serve
@pytest.mark.timeout(300)
def test_a_ray_whose_head_is_killed_is_cleared_away() -> None:
    with starting(scripted_config()) as served:
        eventually(lambda: serving_processes(served, "ray::ServeController"), within_s=200)
        (serve,) = serving_processes(served, "/serve run")
        os.kill(serve, signal.SIGKILL)
        assert served.process.wait(60) != 0
        # That no process is left is what the end of the context sees to.


def serving_processes(served: Served, name: str) -> list[int]:
    """The server's processes with this in their title."""
    return [pid for pid in served.pids() if name in title(pid)]


@pytest.mark.serve
@pytest.mark.timeout(300)
def test_an_application_that_cannot_start_ends_the_server_with_its_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("This is no folder.")
    unusable = {"store": {"kind": "sqlite", "path": str(tmp_path / "file" / "responses.sqlite3")}}
    with starting(scripted_config(gateway=unusable), in_background=True) as served:
        assert served.process.wait(240) == 1
        log = served.log
    assert "the application 'gateway' failed to start" in log
    assert str(tmp_path / "file") in log
    assert "ready." not in log

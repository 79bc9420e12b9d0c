"""A whole server for tests, started as its user starts it: launcher, Ray, Serve and HAProxy in processes of their own.

Each server has a folder and a block of ports to itself, so that several can run on one machine at once.
"""

from __future__ import annotations

import copy
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from deployments.engines.base import EngineStatus
from tests.support.processes import kill, processes_with, title
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
LAUNCHER = ("-m", "deployments.launch")
_STOP_S = 90.0
_ANSWER_S = 30.0
_BLOCK = 120
"""Ports of one server: a few fixed ones, then a range of 50 for HTTP and one for gRPC of Serve's replicas."""


def scripted_config(*, gateway: Mapping[str, Any] | None = None, replicas: int = 1) -> dict[str, Any]:
    """One model, `scripted`, by the scripted engine. `gateway` are the arguments of the gateway application."""
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "request_timeout_s": None},
        "applications": [
            {
                "name": "engines",
                "route_prefix": None,
                "import_path": "deployments.app:build_engines",
                "args": {"models": [{"name": "scripted", "engine": "scripted"}]},
                "deployments": [{"name": "scripted", "health_check_period_s": 1}],
            },
            {
                "name": "gateway",
                "route_prefix": "/",
                "import_path": "deployments.app:build_gateway",
                "args": dict(gateway or {}),
                "deployments": [{"name": "Gateway", "num_replicas": replicas}],
            },
        ],
    }


@dataclass
class Served:
    """A server that was started. Its processes are told by a variable that all of them carry."""

    url: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What the launcher and Ray have printed so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def pids(self) -> set[int]:
        """All processes of the server, the launcher among them."""
        return processes_with(f"RAY_TMPDIR={self.folder}")

    def engine_status(self, model: str) -> EngineStatus:
        """What an engine of the model says of itself."""
        with urllib.request.urlopen(f"{self.url}/health/ready", timeout=_ANSWER_S) as answer:
            ready = json.load(answer)
        return msgspec.convert(ready["models"][model], EngineStatus)


def says_ready(served: Served) -> bool:
    """Whether the launcher has printed its line."""
    return "ray-responses: ready." in served.log


def answers_ready(served: Served) -> bool:
    """Whether the server itself says that a model can answer."""
    try:
        with urllib.request.urlopen(f"{served.url}/health/ready", timeout=_ANSWER_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def serving(
    config: Mapping[str, Any],
    *,
    command: tuple[str, ...] = LAUNCHER,
    is_ready: Callable[[Served], bool] = says_ready,
    ready_s: float = 240.0,
) -> Iterator[Served]:
    """A server with this configuration but a port and, for SQLite, a file of its own, ready to answer.

    `command` are the arguments of Python before the configuration's path. At the end the server is interrupted, and no
    process of it is left.
    """
    with starting(config, command=command) as served:
        eventually(lambda: served.process.poll() is not None or is_ready(served), within_s=ready_s)
        assert served.process.poll() is None, f"the server ended:\n{served.log}"
        yield served


@contextmanager
def starting(
    config: Mapping[str, Any], *, command: tuple[str, ...] = LAUNCHER, in_background: bool = False
) -> Iterator[Served]:
    """Like `serving`, but without waiting: the server may not even become ready.

    With `in_background` it starts with interrupts ignored, as the background jobs of a shell do.
    """
    with tempfile.TemporaryDirectory(prefix="rr-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), _free_block()
        path = folder / "serve_config.yaml"
        path.write_text(yaml.safe_dump(_own(config, folder=folder, port=port)))
        # What the test's own process was given for its Ray is not the server's.
        variables = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        variables |= _apart(folder, port)
        with (folder / "server.log").open("wb") as log, _interrupts(ignored=in_background):
            process = subprocess.Popen(
                [sys.executable, *command, str(path)],
                cwd=ROOT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        served = Served(f"http://127.0.0.1:{port}", port, folder, process)
        try:
            yield served
        finally:
            _stop(served)


@contextmanager
def _interrupts(*, ignored: bool) -> Iterator[None]:
    """What the processes started within find: interrupts ignored, or as usual, whatever this one inherited."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(served: Served) -> None:
    """Interrupt the server as a user would, and see that it leaves nothing behind."""
    try:
        if served.process.poll() is None:
            served.process.send_signal(signal.SIGINT)
        served.process.wait(_STOP_S)
        eventually(lambda: not served.pids(), within_s=_STOP_S)
    except (subprocess.TimeoutExpired, AssertionError) as exc:
        left = {pid: title(pid) for pid in served.pids()}
        raise AssertionError(f"the server did not end whole; left: {left}\n{served.log}") from exc
    finally:
        kill(served.pids())
        served.process.wait()


def _own(config: Mapping[str, Any], *, folder: Path, port: int) -> dict[str, Any]:
    changed = copy.deepcopy(dict(config))
    changed.setdefault("http_options", {})["port"] = port
    for app in changed["applications"]:
        if app["import_path"] == "deployments.app:build_gateway":
            store = app.setdefault("args", {}).setdefault("store", {})
            if store.get("kind", "sqlite") == "sqlite" and not Path(store.get("path", "")).is_absolute():
                store["path"] = str(folder / "responses.sqlite3")
    return changed


def _apart(folder: Path, port: int) -> dict[str, str]:
    """The variables that keep a server apart from any other on the machine."""
    haproxy = folder / "haproxy"
    return {
        "PYTHONUNBUFFERED": "1",
        "RAY_AUTH_MODE": "disabled",
        "RAY_ADDRESS": "local",
        "RAY_TMPDIR": str(folder),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(port + 1),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(port + 2),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(port + 3),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(port + 4),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(port + 10),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(port + 60),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(port + 60),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(port + 110),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
    }


def _free_block() -> int:
    """The first of a block of ports that nobody uses, below those that the system gives out by itself."""
    blocks = list(range(10_000, 30_000, _BLOCK))
    random.shuffle(blocks)
    return next(block for block in blocks if all(_is_free(port) for port in range(block, block + _BLOCK)))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

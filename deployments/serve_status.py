"""What Serve says of its applications while they start, over the REST interface of Ray's dashboard.

The dashboard takes the first free port from 8265 on, so it is found by the Ray session that it names: the one whose
driver is a given process. Only asks; an answer that does not come is no news.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable
from typing import Any

DASHBOARD_PORTS = range(8265, 8265 + 51)
_FAILED = {"DEPLOY_FAILED", "UNHEALTHY"}


class ServeStatus:
    """The applications of the Ray that process `driver` started; `ports` are where its dashboard may be."""

    def __init__(self, driver: int, *, ports: Iterable[int] = DASHBOARD_PORTS) -> None:
        self._driver = driver
        self._ports = ports
        self._dashboard: str | None = None

    def failures(self) -> list[str]:
        """One text for each application that failed to start: its name, and what Serve says about it."""
        if self._dashboard is None:
            self._dashboard = self._find_dashboard()
        if self._dashboard is None:
            return []
        applications = _ask(f"{self._dashboard}/api/serve/applications/").get("applications", {})
        return [_failure(name, app) for name, app in applications.items() if app["status"] in _FAILED]

    def _find_dashboard(self) -> str | None:
        for port in self._ports:
            url = f"http://127.0.0.1:{port}"
            # A session is named after its start and its driver's process id.
            if str(_ask(f"{url}/api/version").get("session_name", "")).endswith(f"_{self._driver}"):
                return url
        return None


def _failure(name: str, app: dict[str, Any]) -> str:
    causes = [
        f"{deployment}: {status['message']}"
        for deployment, status in app.get("deployments", {}).items()
        if status["status"] in _FAILED
    ]
    return "\n".join([f"the application {name!r} failed to start: {app['message']}", *causes])


def _ask(url: str) -> dict[str, Any]:
    """The JSON object at a URL, or an empty one where there is none."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - http on loopback
            got = json.load(answer)
    except (OSError, ValueError):
        return {}
    return got if isinstance(got, dict) else {}

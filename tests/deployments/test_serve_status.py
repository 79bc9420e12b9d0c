from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from deployments.serve_status import ServeStatus

DRIVER = 4711
SESSION = f"session_2026-11-21_10-23-25_406908_{DRIVER}"
RUNNING = {"status": "RUNNING", "message": "", "deployments": {}}
FAILED = {
    "status": "DEPLOY_FAILED",
    "message": "Failed to update the deployments ['Gateway'].",
    "deployments": {
        "Gateway": {"status": "DEPLOY_FAILED", "message": "The deployment failed to start 3 times in a row."},
        "Other": {"status": "HEALTHY", "message": "fine"},
    },
}


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[int]:
    """The port of a server with these JSON answers by path; a `str` goes out as it is."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write((answer if isinstance(answer, str) else json.dumps(answer)).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(10)


def dashboard(session: str, applications: Any) -> dict[str, Any]:
    return {
        "/api/version": {"session_name": session},
        "/api/serve/applications/": {"applications": applications},
    }


def test_a_failed_application_is_told_with_its_deployments_words() -> None:
    with answering(dashboard(SESSION, {"engines": RUNNING, "gateway": FAILED})) as port:
        (failure,) = ServeStatus(DRIVER, ports=[port]).failures()
    assert failure.splitlines() == [
        "the application 'gateway' failed to start: Failed to update the deployments ['Gateway'].",
        "Gateway: The deployment failed to start 3 times in a row.",
    ]


@pytest.mark.parametrize("status", ["NOT_STARTED", "DEPLOYING", "RUNNING", "DELETING"])
def test_an_application_on_its_way_is_no_failure(status: str) -> None:
    with answering(dashboard(SESSION, {"engines": {**RUNNING, "status": status}})) as port:
        assert ServeStatus(DRIVER, ports=[port]).failures() == []


def test_the_dashboard_of_another_ray_is_passed_over() -> None:
    other = dashboard(f"{SESSION}1", {"gateway": FAILED})
    with answering(other) as first, answering(dashboard(SESSION, {})) as second, answering(other) as third:
        assert ServeStatus(DRIVER, ports=[first, second, third]).failures() == []


def test_a_dashboard_that_comes_later_is_found_then() -> None:
    answers: dict[str, Any] = {}
    with answering(answers) as port:
        status = ServeStatus(DRIVER, ports=[port])
        assert status.failures() == []
        answers |= dashboard(SESSION, {"gateway": FAILED})
        assert len(status.failures()) == 1


@pytest.mark.parametrize("answer", ["no JSON", "[]", None])
def test_an_answer_that_says_nothing_is_no_failure(answer: str | None) -> None:
    with answering({"/api/version": {"session_name": SESSION}, "/api/serve/applications/": answer}) as port:
        assert ServeStatus(DRIVER, ports=[port]).failures() == []


def test_nobody_there_is_no_failure() -> None:
    with answering({}) as port:
        pass
    assert ServeStatus(DRIVER, ports=[port]).failures() == []

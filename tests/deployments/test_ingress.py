"""The whole server over HTTP: launcher, Ray, HAProxy, two gateway replicas, and the scripted engine for a model."""

from __future__ import annotations

import http.client
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI

from tests.responses_api.published import check_event, check_response
from tests.support.processes import listeners
from tests.support.raw_http import LIMIT_S, OpenRequest, ask, events
from tests.support.scripts import long_script, script, scripts
from tests.support.served import Served, answers_ready, scripted_config, serving
from tests.support.waiting import eventually

pytestmark = [pytest.mark.serve, pytest.mark.timeout(300)]

MODEL = "scripted"
LARGEST = 65_536
SERVE = str(Path(sys.executable).with_name("serve"))
ADD: dict[str, Any] = {
    "type": "function",
    "name": "add",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
}
EVERYTHING = script(
    {"reasoning": "Let me think."},
    {"text": "Grüße, 世界! "},
    {"calls": [{"name": "add", "arguments": {"a": 1}}, {"name": "add", "arguments": {"b": 2}}]},
    {"call": {"name": "add"}},
    {"text": "Done."},
)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    gateway = {"keepalive_s": 0.5, "max_request_bytes": LARGEST, "store": {"kind": "sqlite"}}
    with serving(scripted_config(gateway=gateway, replicas=2)) as served:
        # Both replicas take requests: responses have come to have two owners.
        eventually(lambda: _owned_anew(served) == 2, within_s=LIMIT_S)
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0, timeout=LIMIT_S) as client:
        yield client


def _owned_anew(served: Served) -> int:
    """How many replicas own responses, after one more on a new connection."""
    assert create(served, "Hello").status == 200
    return rows(served, "SELECT count(DISTINCT owner) FROM responses")


def rows(served: Served, query: str) -> int:
    """A number out of the store's file."""
    with closing(sqlite3.connect(f"file:{served.folder}/responses.sqlite3?mode=ro", uri=True)) as connection:
        (count,) = connection.execute(query).fetchone()
        return int(count)


def stored(served: Served) -> int:
    """How many responses are stored."""
    return rows(served, "SELECT count(*) FROM responses")


def create(served: Served, given: Any, **more: Any) -> Any:
    """The answer to a POST of this input."""
    return ask(served.port, "POST", "/v1/responses", {"model": MODEL, "input": given, **more})


@contextmanager
def open_stream(served: Served, given: str) -> Iterator[tuple[OpenRequest, str]]:
    """A stream of which the first event has been read, and its response's id. The client leaves at the end."""
    with OpenRequest(served.port, "/v1/responses", {"model": MODEL, "input": given, "stream": True}) as request:
        status, _ = request.head()
        assert status == 200
        request.read_until(b"\n\n")
        data = request.body.split(b"\n\n")[0].split(b"\ndata: ")[1]
        yield request, json.loads(data)["response"]["id"]


def text_of(item: Any) -> Any:
    """The text of a message of one part."""
    return item.content[0].text


def status_of(served: Served, response_id: str) -> Any:
    """The status of a stored response."""
    return ask(served.port, "GET", f"/v1/responses/{response_id}").json["status"]


def is_idle(served: Served) -> bool:
    """Whether the engine works on nothing."""
    return served.engine_status(MODEL).running == 0


def test_a_plain_response_is_valid_for_the_published_client(server: Served, client: OpenAI) -> None:
    answer = create(server, EVERYTHING, tools=[ADD])
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    check_response(answer.body)
    response = client.responses.create(model=MODEL, input="Hello there")
    assert response.output_text == "You said: Hello there"
    assert response.status == "completed"


def test_every_event_of_a_stream_is_valid_for_the_published_client(server: Served) -> None:
    answer = create(server, EVERYTHING, tools=[ADD], stream=True)
    assert answer.status == 200
    got = events(answer.body)
    for name, data in got:
        check_event(name, data)
    assert [json.loads(data)["sequence_number"] for _, data in got] == list(range(len(got)))
    assert [name for name, _ in got][:: len(got) - 1] == ["response.created", "response.completed"]
    final = json.loads(got[-1][1])["response"]
    assert [item["type"] for item in final["output"]] == [
        "reasoning", "message", "function_call", "function_call", "function_call", "message",
    ]  # fmt: skip
    assert ask(server.port, "GET", f"/v1/responses/{final['id']}").json == final


def test_the_published_client_builds_the_same_response_from_a_stream(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input=EVERYTHING, tools=[ADD]) as stream:  # type: ignore[list-item] # a dict of the right form
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
    final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == "Grüße, 世界! Done."
    assert client.responses.retrieve(final.id).output_text == final.output_text


def test_a_streams_headers_forbid_caching_and_buffering(server: Served) -> None:
    answer = create(server, "Hello", stream=True)
    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"


def test_a_chunk_of_a_stream_holds_whole_events_and_the_first_comes_before_the_last_is_made(server: Served) -> None:
    with open_stream(server, script({"text": "One. "}, {"silence": True})) as (stream, response_id):
        stream.read_until(b'"One."')
        assert status_of(server, response_id) == "in_progress"
        assert ask(server.port, "POST", f"/v1/responses/{response_id}/cancel").status == 200
        stream.read_to_the_end()
    for chunk in stream.chunks:
        assert chunk.startswith((b"event: ", b"data: [DONE]"))
        assert chunk.endswith(b"\n\n")


def test_a_silent_engine_is_covered_by_keepalive_events(server: Served, client: OpenAI) -> None:
    answer = create(server, script({"text": "a"}, {"pause": 1.5}, {"text": "b"}), stream=True)
    numbers = [(name, json.loads(data)["sequence_number"]) for name, data in events(answer.body)]
    kept = [number for name, number in numbers if name == "keepalive"]
    real = [number for name, number in numbers if name != "keepalive"]
    assert kept
    assert real == list(range(len(real)))
    with client.responses.stream(model=MODEL, input=script({"text": "a"}, {"pause": 1.5}, {"text": "b"})) as stream:
        assert [event.type for event in stream][-1] == "response.completed"


def test_stored_responses_can_be_read_paged_and_deleted(client: OpenAI) -> None:
    given: Any = [{"role": "user", "content": text} for text in ("One.", "Two.", "Three.")]
    first = client.responses.create(model=MODEL, input=given, metadata={"team": "a"})
    assert client.responses.retrieve(first.id) == first
    page = client.responses.input_items.list(first.id, limit=2, order="asc")
    assert page.has_more
    assert [text_of(item) for item in page] == ["One.", "Two.", "Three."]
    newest = client.responses.input_items.list(first.id, limit=1)
    assert [text_of(item) for item in newest.data] == ["Three."]
    client.responses.delete(first.id)
    for gone in (
        lambda: client.responses.retrieve(first.id),
        lambda: client.responses.input_items.list(first.id),
        lambda: client.responses.delete(first.id),
        lambda: client.responses.cancel(first.id),
    ):
        with pytest.raises(NotFoundError):
            gone()


def test_a_response_that_is_not_to_be_stored_is_not(server: Served, client: OpenAI) -> None:
    before = stored(server)
    response = client.responses.create(model=MODEL, input="Hello", store=False)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(response.id)
    assert stored(server) == before


@pytest.mark.parametrize("kept", [True, False])
def test_a_tool_loop_reaches_the_models_answer(client: OpenAI, kept: bool) -> None:
    asked = scripts([{"call": {"name": "add", "arguments": {"a": 1, "b": 2}}}], [{"text": "It is 3."}])
    tools: Any = [ADD]
    first = client.responses.create(model=MODEL, input=asked, tools=tools, store=kept)
    (call,) = first.output
    assert call.type == "function_call"
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "3"}
    if kept:
        second = client.responses.create(model=MODEL, previous_response_id=first.id, input=[output], tools=tools)
    else:
        history: Any = [{"role": "user", "content": asked}, call.model_dump(), output]
        second = client.responses.create(model=MODEL, input=history, tools=tools, store=False)
    assert second.output_text == "It is 3."


def test_the_models_are_listed_and_found_one_by_one(client: OpenAI) -> None:
    (model,) = client.models.list()
    assert (model.id, model.object) == (MODEL, "model")
    assert client.models.retrieve(MODEL) == model
    with pytest.raises(NotFoundError):
        client.models.retrieve("org/unknown")


def test_health_is_told(server: Served) -> None:
    assert ask(server.port, "GET", "/health/live").json == {"status": "live"}
    ready = ask(server.port, "GET", "/health/ready").json
    assert ready["status"] == "ready"
    assert list(ready["models"]) == [MODEL]


BAD_BODIES: list[tuple[str, Any, str | None, str | None]] = [
    ("no JSON", b'{"model": ', None, "invalid_json"),
    ("no UTF-8", b'{"model": "\xff"}', None, "invalid_json"),
    ("empty", b"", None, "invalid_json"),
    ("no object", b"[]", None, "invalid_type"),
    ("nothing in it", {}, "model", "missing_required_parameter"),
    ("wrong type", {"model": MODEL, "input": 7}, "input", "invalid_type"),
    (
        "wrong type inside",
        {"model": MODEL, "input": [{"role": "user", "content": 7}]},
        "input[0].content",
        "invalid_type",
    ),
    ("wrong role", {"model": MODEL, "input": [{"role": "robot", "content": "a"}]}, "input[0].role", None),
    ("out of range", {"model": MODEL, "input": "a", "temperature": 3}, "temperature", None),
    ("unknown parameter", {"model": MODEL, "input": "a", "colour": 1}, "colour", "unknown_parameter"),
    ("not served", {"model": MODEL, "input": "a", "background": True}, "background", "unsupported_parameter"),
    ("unknown model", {"model": "gpt-unknown", "input": "a"}, "model", "model_not_found"),
    (
        "unknown tool choice",
        {"model": MODEL, "input": "a", "tools": [ADD], "tool_choice": {"type": "function", "name": "nope"}},
        "tool_choice",
        None,
    ),
    (
        "unknown previous response",
        {"model": MODEL, "input": "a", "previous_response_id": "resp_0123"},
        "previous_response_id",
        "previous_response_not_found",
    ),
    (
        "output of no call",
        {"model": MODEL, "input": [{"type": "function_call_output", "call_id": "call_1", "output": "3"}]},
        "input",
        None,
    ),
    ("refused by the engine", {"model": MODEL, "input": script({"refuse": {"param": "tools"}})}, "tools", None),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("body", "param", "code"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES])
def test_bad_input_is_refused_by_name_and_nothing_is_stored(
    server: Served, body: Any, param: str | None, code: str | None, streamed: bool
) -> None:
    before = stored(server)
    if streamed and isinstance(body, dict):
        body = {**body, "stream": True}
    answer = ask(server.port, "POST", "/v1/responses", body)
    assert answer.status == 400
    error = error_of(answer.body)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["code"] == (code or "invalid_value")
    assert stored(server) == before


def error_of(body: bytes) -> dict[str, Any]:
    """The error of an answer, which has OpenAI's form and no word of our insides."""
    decoded = json.loads(body)
    assert decoded.keys() == {"error"}
    error: dict[str, Any] = decoded["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    for word in (b"Traceback", b'File \\"', b"deployments", b"pydantic", b"msgspec"):
        assert word not in body
    return error


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(server: Served, announced: bool) -> None:
    body = json.dumps({"model": MODEL, "input": "a" * LARGEST}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    with closing(connection):
        given = body if announced else iter([body])
        connection.request("POST", "/v1/responses", body=given, encode_chunked=not announced)
        answer = connection.getresponse()
        assert answer.status == 413
        assert error_of(answer.read())["code"] == "request_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/response", 404),
        ("GET", "/", 404),
        ("POST", "/v1/chat/completions", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/v1/responses", 405),
        ("PUT", "/v1/responses/resp_0123", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/responses/resp_0123", 404),
        ("DELETE", "/v1/responses/resp_0123", 404),
        ("POST", "/v1/responses/resp_0123/cancel", 404),
        ("GET", "/v1/responses/resp_0123/input_items", 404),
        ("GET", "/v1/responses/", 404),
        ("GET", "/v1/models/unknown", 404),
        ("GET", "/v1/responses/resp_0123?stream=true", 400),
        ("GET", "/v1/responses/resp_0123?starting_after=1", 400),
        ("GET", "/v1/responses/resp_0123?foo=1", 400),
        ("GET", "/v1/responses/resp_0123/input_items?limit=0", 400),
        ("GET", "/v1/responses/resp_0123/input_items?order=up", 400),
    ],
)
def test_wrong_paths_methods_and_queries_get_errors_of_the_apis_form(
    server: Served, method: str, path: str, status: int
) -> None:
    answer = ask(server.port, method, path)
    assert answer.status == status
    assert error_of(answer.body)["type"] == "invalid_request_error"
    if status == 405:
        assert answer.headers["allow"]


def test_the_published_client_raises_its_own_errors(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(model="gpt-unknown", input="Hello")
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
    with pytest.raises(APIStatusError) as overloaded:
        client.responses.create(model=MODEL, input=script({"refuse": {"overloaded": True}}))
    assert overloaded.value.status_code == 429
    assert int(overloaded.value.response.headers["retry-after"]) > 0


def test_an_engine_that_is_dead_before_it_began_is_an_error_and_no_stream(server: Served) -> None:
    before = stored(server)
    answer = create(server, script({"error": "dead"}), stream=True)
    assert answer.status == 503
    assert error_of(answer.body)["code"] == "service_unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert stored(server) == before


def test_a_client_that_leaves_its_stream_stops_the_engine(server: Served) -> None:
    eventually(lambda: is_idle(server), within_s=LIMIT_S)
    with open_stream(server, long_script()) as (stream, response_id):
        stream.read_until(b"output_text.delta")
        assert not is_idle(server)
    eventually(lambda: is_idle(server), within_s=LIMIT_S)
    eventually(lambda: status_of(server, response_id) == "cancelled", within_s=LIMIT_S)


def test_a_client_that_leaves_a_silent_stream_stops_the_engine(server: Served) -> None:
    with open_stream(server, script({"silence": True})) as (_, response_id):
        pass
    eventually(lambda: status_of(server, response_id) == "cancelled", within_s=LIMIT_S)
    eventually(lambda: is_idle(server), within_s=LIMIT_S)


@pytest.mark.xfail(strict=False, reason="Serve now and then misses a client that leaves a plain request as it begins")
def test_a_client_that_leaves_a_plain_response_stops_the_engine(server: Served) -> None:
    running = "SELECT count(*) FROM responses WHERE NOT closed"
    eventually(lambda: is_idle(server) and rows(server, running) == 0, within_s=LIMIT_S)
    try:
        with OpenRequest(server.port, "/v1/responses", {"model": MODEL, "input": long_script()}):
            eventually(lambda: rows(server, running) == 1, within_s=LIMIT_S)
            assert not is_idle(server)
        eventually(lambda: is_idle(server) and rows(server, running) == 0, within_s=LIMIT_S / 4)
    finally:
        with closing(sqlite3.connect(f"file:{server.folder}/responses.sqlite3?mode=ro", uri=True)) as connection:
            left = connection.execute("SELECT response_id FROM responses WHERE NOT closed").fetchall()
        for (response_id,) in left:
            ask(server.port, "POST", f"/v1/responses/{response_id}/cancel")


# Each request is on a connection of its own, and HAProxy gives it to the replica with the fewest: mostly not the one
# that runs the stream.
@pytest.mark.parametrize("_", range(3))
def test_a_running_stream_can_be_read_and_cancelled_at_any_replica(server: Served, _: int) -> None:
    with open_stream(server, long_script()) as (stream, response_id):
        assert {status_of(server, response_id) for _ in range(4)} == {"in_progress"}
        cancelled = ask(server.port, "POST", f"/v1/responses/{response_id}/cancel")
        name, data = events(stream.read_to_the_end())[-1]
    assert cancelled.json["status"] == "cancelled"
    check_response(cancelled.body)
    assert name == "response.incomplete"
    assert json.loads(data)["response"] == cancelled.json
    for _again in range(4):
        assert ask(server.port, "GET", f"/v1/responses/{response_id}").json == cancelled.json
        assert ask(server.port, "POST", f"/v1/responses/{response_id}/cancel").json == cancelled.json


def test_deleting_a_running_response_ends_its_stream(server: Served) -> None:
    with open_stream(server, long_script()) as (stream, response_id):
        deleted = ask(server.port, "DELETE", f"/v1/responses/{response_id}")
        assert deleted.json == {"id": response_id, "object": "response", "deleted": True}
        assert events(stream.read_to_the_end())[-1][0] == "response.incomplete"
    assert ask(server.port, "GET", f"/v1/responses/{response_id}").status == 404
    eventually(lambda: is_idle(server), within_s=LIMIT_S)


def test_an_engine_that_dies_in_mid_stream_fails_the_response_and_the_next_one_works(server: Served) -> None:
    with open_stream(server, script({"text": "One. "}, {"pause": 0.2}, {"crash": True})) as (stream, response_id):
        name, data = events(stream.read_to_the_end())[-1]
    assert name == "response.failed"
    check_event(name, data)
    failed = json.loads(data)["response"]
    assert failed["error"]["code"] == "server_error"
    assert ask(server.port, "GET", f"/v1/responses/{response_id}").json == failed
    eventually(lambda: create(server, "Hello").status == 200, within_s=2 * LIMIT_S)
    eventually(lambda: answers_ready(server), within_s=LIMIT_S)


def test_all_that_the_server_listens_on_is_loopback(server: Served) -> None:
    found = listeners(server.pids())
    assert server.port in {listener.port for listener in found}
    assert any(listener.process.startswith("ray::ServeReplica:") for listener in found)
    assert [listener for listener in found if not listener.is_loopback] == []


def test_plain_serve_run_without_our_environment_works_too() -> None:
    with serving(scripted_config(), command=(SERVE, "run"), is_ready=answers_ready) as served:
        assert create(served, "Hello").json["output"][0]["content"][0]["text"] == "You said: Hello"
        got = events(create(served, EVERYTHING, tools=[ADD], stream=True).body)
        assert got[-1][0] == "response.completed"
        with open_stream(served, long_script()) as (_, response_id):
            pass
        eventually(lambda: status_of(served, response_id) == "cancelled", within_s=LIMIT_S)

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from responses_api.admission import admit, parse_request
from responses_api.admitted import Admitted, ModelCard
from responses_api.conversation import assemble
from responses_api.errors import InvalidRequest
from responses_api.records import OutputFormat
from responses_api.schema.response import Echo

CARD = ModelCard(name="m", aliases=("also-m",))
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
TOOL = {"type": "function", "name": "add", "description": "Adds.", "parameters": SCHEMA, "strict": False}


def admitted(card: ModelCard = CARD, **body: Any) -> Admitted:
    return admit(parse_request(json.dumps({"model": "m", "input": "hi", **body}).encode()), model=card)


def refused(card: ModelCard = CARD, **body: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        admitted(card, **body)
    assert caught.value.status == 400
    return caught.value


def test_a_silent_request_is_echoed_as_the_apis_defaults() -> None:
    got = admitted()
    assert got.echo == Echo(model="m")
    assert got == Admitted(echo=Echo(model="m"), input_items=got.input_items)


def test_a_string_is_one_user_message() -> None:
    part = {"type": "input_text", "text": "hi"}
    assert admitted().input_items == [{"type": "message", "role": "user", "status": "completed", "content": [part]}]


def test_what_was_asked_is_echoed() -> None:
    asked: dict[str, Any] = {
        "model": "also-m",
        "instructions": "Be brief.",
        "previous_response_id": "resp_1",
        "max_output_tokens": 5,
        "metadata": {"k": "v"},
        "parallel_tool_calls": False,
        "temperature": 0,
        "top_p": 0.5,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "add"},
        "text": {"format": {"type": "json_object"}, "verbosity": "medium"},
        "reasoning": {"effort": "low", "summary": None},
        "store": False,
        "safety_identifier": "s",
        "prompt_cache_key": "p",
        "user": "u",
    }
    got = admitted(**asked, stream=True)
    assert {name: value for name, value in msgspec.to_builtins(got.echo).items() if name in asked} == asked
    assert (got.stream, got.temperature, got.top_p, got.reasoning_effort) == (True, 0.0, 0.5, "low")
    assert got.output_format == OutputFormat(kind="json_object")


def test_silence_about_sampling_is_the_models_default_but_echoed_as_the_apis() -> None:
    got = admitted(temperature=None)
    assert (got.temperature, got.top_p, got.reasoning_effort) == (None, None, None)
    assert (got.echo.temperature, got.echo.top_p) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ({"type": "function", "name": "f"}, {"description": None, "parameters": None, "strict": True}),
        ({"type": "function", "name": "f", "parameters": {}}, {"description": None, "parameters": {}, "strict": True}),
        (
            {"type": "function", "name": "f", "parameters": None, "strict": None, "description": None},
            {"description": None, "parameters": None, "strict": True},
        ),
        (
            {"type": "function", "name": "f", "parameters": SCHEMA | {"$schema": "s"}, "strict": False},
            {"description": None, "parameters": SCHEMA | {"$schema": "s"}, "strict": False},
        ),
        (
            {
                "type": "function",
                "name": "f",
                "async": False,
                "allowed_callers": ["direct"],
                "defer_loading": False,
                "output_schema": None,
            },
            {"description": None, "parameters": None, "strict": True},
        ),
    ],
)
def test_tools_are_echoed_whole(sent: dict[str, Any], echoed: dict[str, Any]) -> None:
    assert admitted(tools=[sent]).echo.tools == [{"type": "function", "name": "f", **echoed}]


def test_a_schema_for_the_answer_is_echoed_and_passed_on() -> None:
    sent = {"type": "json_schema", "name": "n", "schema": SCHEMA}
    got = admitted(text={"format": sent})
    assert got.echo.text["format"] == sent | {"description": None, "strict": False}
    assert got.output_format == OutputFormat(kind="json_schema", schema=SCHEMA)
    strict = admitted(text={"format": sent | {"strict": True, "description": "d"}})
    assert strict.echo.text["format"] == sent | {"description": "d", "strict": True}


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_tool_choices_are_echoed(choice: str) -> None:
    assert admitted(tools=[TOOL], tool_choice=choice).echo.tool_choice == choice


@pytest.mark.parametrize(
    "body",
    [
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"stream": True, "stream_options": {}},
        {"stream_options": None},
        {"input": [], "previous_response_id": "resp_1"},
        {"input": "", "previous_response_id": "resp_1"},
        {"input": None, "previous_response_id": "resp_1"},
        {"service_tier": "auto", "truncation": "disabled", "include": [], "background": False, "top_logprobs": 0},
        {"tool_choice": "none"},
        {"tool_choice": None, "tools": None},
    ],
)
def test_what_asks_for_nothing_special_is_served(body: dict[str, Any]) -> None:
    got = admitted(**body)
    assert got.echo.service_tier == "default"
    assert bool(got.input_items) is ("previous_response_id" not in body)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"model": "other"}, "model", "model_not_found"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": ""}, "input", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options", "invalid_value"),
        ({"stream": False, "stream_options": {}}, "stream_options", "invalid_value"),
        ({"tools": [TOOL, {"type": "function", "name": "add"}]}, "tools[1].name", "invalid_value"),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {"type": "array"}}]},
            "tools[0].parameters",
            "invalid_function_parameters",
        ),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {"properties": {}}}]},
            "tools[0].parameters",
            "invalid_function_parameters",
        ),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tool_choice": "required", "tools": []}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function", "name": "no"}, "tools": [TOOL]}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function", "name": "no"}}, "tool_choice", "invalid_value"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_does_not_fit_together_is_refused(body: dict[str, Any], param: str, code: str) -> None:
    error = refused(**body)
    assert (error.param, error.code) == (param, code)


def test_a_model_that_calls_no_functions_takes_no_tools() -> None:
    card = ModelCard(name="m", calls_functions=False)
    assert refused(card, tools=[TOOL]).param == "tools"
    assert admitted(card, tools=[]).echo.tools == []


def test_a_model_of_endless_name_is_not_repeated_without_end() -> None:
    assert len(refused(model="m" * 10_000).message) < 200


def test_an_omitted_input_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        admit(parse_request(b'{"model": "m"}'), model=CARD)
    assert (caught.value.param, caught.value.code) == ("input", "missing_required_parameter")


# Properties

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
FIELDS = st.sampled_from(
    [
        "model",
        "input",
        "tools",
        "type",
        "name",
        "role",
        "content",
        "text",
        "call_id",
        "output",
        "id",
        "status",
        "summary",
    ]
)
WORDS = FIELDS | st.sampled_from(
    ["message", "function", "function_call", "function_call_output", "reasoning", "user", "assistant", "input_text"]
)
VALUES = st.recursive(
    PLAIN | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=15,
)
VALID: dict[str, Any] = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a", "annotations": []}, {"type": "refusal", "refusal": "b"}],
        },
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": '{"x": 1}', "namespace": None},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "2"}]},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "x"}]},
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "function", "name": "add"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}, "verbosity": None},
    "reasoning": {"effort": "low", "summary": None},
    "metadata": {"k": "v"},
    "temperature": 0.5,
    "top_p": 1,
    "max_output_tokens": 16,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "store": True,
    "parallel_tool_calls": True,
    "include": [],
    "background": False,
}


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each (container, key) in a JSON value."""
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, child in keys for place in [(value, key), *places(child)]]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid body with one to three places replaced, taken out or doubled."""
    body = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(body)))
        match draw(st.sampled_from(["replace", "remove", "move"])):
            case "replace":
                container[key] = draw(VALUES)
            case "remove":
                del container[key]
            case _:
                other, there = draw(st.sampled_from(places(body)))
                container[key] = copy.deepcopy(other[there])
    return body


def check(body: bytes) -> None:
    """A body is admitted, and then can be answered and kept, or is refused as invalid; nothing else happens."""
    with suppress(InvalidRequest):
        got = admit(parse_request(body), model=CARD)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(got), type=Admitted) == got
        turn = assemble(got, response_id="resp_1")
        msgspec.msgpack.encode(turn)
        json.dumps(turn.request.messages).encode()
        assert all(isinstance(item["id"], str) for item in turn.record.input_items)
        echo = msgspec.to_builtins(got.echo)
        Response.model_validate({"id": "r", "object": "response", "created_at": 1, "output": [], **echo}, strict=True)


def test_the_valid_body_is_admitted() -> None:
    body = json.dumps(VALID).encode()
    check(body)
    assert len(admit(parse_request(body), model=CARD).input_items) == len(VALID["input"])


@settings(max_examples=500)
@given(VALUES)
def test_any_json_is_admitted_or_refused(body: Any) -> None:
    check(json.dumps(body).encode())


@settings(max_examples=500)
@given(st.dictionaries(st.sampled_from([*VALID, "user", "conversation"]), VALUES, max_size=4), st.booleans())
def test_any_parameters_are_admitted_or_refused(body: dict[str, Any], complete: bool) -> None:
    check(json.dumps(({"model": "m", "input": "x"} if complete else {}) | body).encode())


@settings(max_examples=1000)
@given(mutated())
def test_any_mutation_of_a_valid_body_is_admitted_or_refused(body: dict[str, Any]) -> None:
    check(json.dumps(body).encode())


@settings(max_examples=500)
@given(mutated())
def test_the_param_of_a_refusal_leads_to_a_place_in_the_body(body: dict[str, Any]) -> None:
    try:
        admit(parse_request(json.dumps(body).encode()), model=CARD)
    except InvalidRequest as error:
        refusal = error
    else:
        return
    if refusal.param is not None and not refusal.param.startswith("metadata"):
        assert refusal.param.split(".")[0].split("[")[0] in {*body, "model", "input"}
        assert "<" not in refusal.param.replace("<string>.", "") or "<string>" in json.dumps(body)


def test_an_item_id_is_of_bounded_length() -> None:
    def body(item_id: str) -> bytes:
        return json.dumps({"model": "m", "input": [{"role": "user", "content": "a", "id": item_id}]}).encode()

    assert parse_request(body("x" * 256))
    with pytest.raises(InvalidRequest) as refused:
        parse_request(body("x" * 257))
    assert refused.value.param == "input[0].id"

"""Every way in which a body can be wrong, and what the client is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError, model_validator

from responses_api.admission import parse_request
from responses_api.errors import InvalidRequest
from responses_api.schema_errors import one_of, refusal

USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "1"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


def part(**fields: Any) -> dict[str, Any]:
    return {"input": [USER, {"role": "user", "content": [{"type": "input_text", "text": "a"}, fields]}]}


def said(**fields: Any) -> dict[str, Any]:
    return {"input": [{"role": "assistant", "content": [fields]}]}


def item(base: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"input": [{**base, **fields}]}


def tool(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "name": "f"}, fields]}


def text_format(**fields: Any) -> dict[str, Any]:
    return {"text": {"format": fields}}


TYPE, MISSING, VALUE, UNKNOWN = "invalid_type", "missing_required_parameter", "invalid_value", "unknown_parameter"
UNSERVED, REFUSED = "unsupported_value", "unsupported_parameter"

WRONG: list[tuple[dict[str, Any], str, str]] = [
    # types
    ({"model": 5}, "model", TYPE),
    ({"model": None}, "model", TYPE),
    ({"instructions": ["x"]}, "instructions", TYPE),
    ({"temperature": "0.5"}, "temperature", TYPE),
    ({"temperature": True}, "temperature", TYPE),
    ({"top_p": []}, "top_p", TYPE),
    ({"max_output_tokens": 1.0}, "max_output_tokens", TYPE),
    ({"max_output_tokens": True}, "max_output_tokens", TYPE),
    ({"max_output_tokens": "1"}, "max_output_tokens", TYPE),
    ({"stream": 1}, "stream", TYPE),
    ({"stream": "true"}, "stream", TYPE),
    ({"store": 0}, "store", TYPE),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls", TYPE),
    ({"metadata": []}, "metadata", TYPE),
    ({"metadata": {"a": 1}}, "metadata.a", TYPE),
    ({"metadata": {"<odd>": 1}}, "metadata.<odd>", TYPE),
    ({"user": 1}, "user", TYPE),
    ({"safety_identifier": 1}, "safety_identifier", TYPE),
    ({"prompt_cache_key": {}}, "prompt_cache_key", TYPE),
    ({"previous_response_id": 1}, "previous_response_id", TYPE),
    ({"text": "json"}, "text", TYPE),
    ({"reasoning": "high"}, "reasoning", TYPE),
    ({"reasoning": {"effort": 3}}, "reasoning.effort", TYPE),
    ({"stream_options": True}, "stream_options", TYPE),
    ({"input": 5}, "input", TYPE),
    ({"input": {}}, "input", TYPE),
    ({"input": [USER, "hi"]}, "input[1]", TYPE),
    ({"input": [None]}, "input[0]", TYPE),
    ({"input": [[]]}, "input[0]", TYPE),
    ({"input": [{"type": 5}]}, "input[0].type", TYPE),
    ({"input": [{"type": ["message"]}]}, "input[0].type", TYPE),
    (item(USER, content=5), "input[0].content", TYPE),
    (item(USER, content=None), "input[0].content", TYPE),
    (item(USER, role=5), "input[0].role", TYPE),
    (item(USER, role=["assistant"]), "input[0].role", TYPE),
    (item(USER, id=5), "input[0].id", TYPE),
    (item(USER, content=["hi"]), "input[0].content[0]", TYPE),
    (part(type="input_text", text=5), "input[1].content[1].text", TYPE),
    (part(type=5), "input[1].content[1].type", TYPE),
    (said(type="output_text", text=None), "input[0].content[0].text", TYPE),
    (said(type="output_text", text="a", annotations="x"), "input[0].content[0].annotations", TYPE),
    (said(type="output_text", text="a", annotations=["x"]), "input[0].content[0].annotations[0]", TYPE),
    (said(type="refusal", refusal=5), "input[0].content[0].refusal", TYPE),
    (item(CALL, arguments={}), "input[0].arguments", TYPE),
    (item(CALL, caller="direct"), "input[0].caller", TYPE),
    (item(OUTPUT, output=5), "input[0].output", TYPE),
    (item(OUTPUT, output=None), "input[0].output", TYPE),
    (item(REASONING, content="x"), "input[0].content", TYPE),
    (item(REASONING, summary=[5]), "input[0].summary[0]", TYPE),
    ({"tools": {}}, "tools", TYPE),
    ({"tools": ["f"]}, "tools[0]", TYPE),
    (tool(type="function", name=5), "tools[1].name", TYPE),
    (tool(type="function", name="g", parameters="x"), "tools[1].parameters", TYPE),
    (tool(type="function", name="g", strict="yes"), "tools[1].strict", TYPE),
    ({"tool_choice": 5}, "tool_choice", TYPE),
    ({"tool_choice": []}, "tool_choice", TYPE),
    ({"text": {"format": "json_object"}}, "text.format", TYPE),
    (text_format(type="json_schema", name="x", schema=[]), "text.format.schema", TYPE),
    # what has to be there
    (item({"type": "message"}), "input[0].role", MISSING),
    (item({"content": "x"}), "input[0].role", MISSING),
    (item({"role": "user"}), "input[0].content", MISSING),
    (item({"role": "assistant"}), "input[0].content", MISSING),
    (item({}), "input[0].type", MISSING),
    (item({"type": None}), "input[0].type", MISSING),
    (item({"type": "function_call", "name": "f", "arguments": ""}), "input[0].call_id", MISSING),
    (item({"type": "function_call_output", "call_id": "c"}), "input[0].output", MISSING),
    (part(text="x"), "input[1].content[1].type", MISSING),
    (part(type="input_text"), "input[1].content[1].text", MISSING),
    (said(type="output_text"), "input[0].content[0].text", MISSING),
    (tool(name="g"), "tools[1].type", MISSING),
    (tool(type="function", function={"name": "g"}), "tools[1].name", MISSING),
    ({"tool_choice": {"type": "function"}}, "tool_choice.name", MISSING),
    ({"tool_choice": {"name": "f"}}, "tool_choice.type", MISSING),
    (text_format(), "text.format.type", MISSING),
    (text_format(type="json_schema", name="x"), "text.format.schema", MISSING),
    # values
    ({"temperature": 2.1}, "temperature", VALUE),
    ({"temperature": -0.1}, "temperature", VALUE),
    ({"top_p": 0}, "top_p", VALUE),
    ({"top_p": 1.01}, "top_p", VALUE),
    ({"max_output_tokens": 0}, "max_output_tokens", VALUE),
    ({"max_output_tokens": 10**25}, "max_output_tokens", VALUE),
    ({"model": ""}, "model", VALUE),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata", VALUE),
    ({"metadata": {"k" * 65: ""}}, "metadata", VALUE),
    ({"metadata": {"k": "v" * 513}}, "metadata.k", VALUE),
    ({"safety_identifier": "x" * 129}, "safety_identifier", VALUE),
    ({"previous_response_id": ""}, "previous_response_id", VALUE),
    ({"previous_response_id": "resp_\x00"}, "previous_response_id", VALUE),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort", VALUE),
    (item(USER, role="tool"), "input[0].role", VALUE),
    (item(USER, status="done"), "input[0].status", VALUE),
    (item(USER, phase="x"), "input[0].phase", VALUE),
    (item(CALL, call_id=""), "input[0].call_id", VALUE),
    (item(CALL, name=""), "input[0].name", VALUE),
    (item(CALL, caller={"type": "program", "caller_id": "x"}), "input[0].caller.type", VALUE),
    (item({"type": "no_such"}), "input[0].type", VALUE),
    (part(type="no_such"), "input[1].content[1].type", VALUE),
    (part(type="output_text", text="x"), "input[1].content[1].type", VALUE),
    (said(type="reasoning_text", text="x"), "input[0].content[0].type", VALUE),
    (tool(type="no_such"), "tools[1].type", VALUE),
    (tool(type="function", name=""), "tools[1].name", VALUE),
    (tool(type="function", name="a b"), "tools[1].name", VALUE),
    (tool(type="function", name="a\n"), "tools[1].name", VALUE),
    (tool(type="function", name="a" * 129), "tools[1].name", VALUE),
    ({"tool_choice": "any"}, "tool_choice", VALUE),
    ({"tool_choice": {"type": "no_such"}}, "tool_choice.type", VALUE),
    ({"tool_choice": {"type": "function", "name": ""}}, "tool_choice.name", VALUE),
    (text_format(type="xml"), "text.format.type", VALUE),
    (text_format(type="json_schema", name="a b", schema={}), "text.format.name", VALUE),
    (text_format(type="json_schema", name="a" * 65, schema={}), "text.format.name", VALUE),
    # fields that nobody knows
    ({"no_such": None}, "no_such", UNKNOWN),
    ({"max_tokens": 5}, "max_tokens", UNKNOWN),
    ({"text": {"no_such": 1}}, "text.no_such", UNKNOWN),
    ({"reasoning": {"no_such": 1}}, "reasoning.no_such", UNKNOWN),
    ({"stream_options": {"include_usage": True}}, "stream_options.include_usage", UNKNOWN),
    (item(USER, name="x"), "input[0].name", UNKNOWN),
    (item(CALL, no_such=1), "input[0].no_such", UNKNOWN),
    (part(type="input_text", text="x", no_such=1), "input[1].content[1].no_such", UNKNOWN),
    (tool(type="function", name="g", no_such=1), "tools[1].no_such", UNKNOWN),
    (text_format(type="text", no_such=1), "text.format.no_such", UNKNOWN),
    ({"tool_choice": {"type": "function", "name": "f", "no_such": 1}}, "tool_choice.no_such", UNKNOWN),
    # what the API has and this server has not
    (item({"type": "item_reference", "id": "msg_1"}), "input[0].type", UNSERVED),
    (item({"id": "msg_1"}), "input[0].type", UNSERVED),
    (item({"id": "msg_1", "type": None}), "input[0].type", UNSERVED),
    (item({"type": "custom_tool_call"}), "input[0].type", UNSERVED),
    (item({"type": "web_search_call"}), "input[0].type", UNSERVED),
    (item({"type": "computer_call"}), "input[0].type", UNSERVED),
    (part(type="input_image", image_url="x"), "input[1].content[1].type", UNSERVED),
    (part(type="input_file", file_id="x"), "input[1].content[1].type", UNSERVED),
    (said(type="input_image"), "input[0].content[0].type", UNSERVED),
    (item(OUTPUT, output=[{"type": "input_image"}]), "input[0].output[0].type", UNSERVED),
    (tool(type="web_search"), "tools[1].type", UNSERVED),
    (tool(type="namespace", name="x", tools=[]), "tools[1].type", UNSERVED),
    ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type", UNSERVED),
    (part(type="input_text", text="x", prompt_cache_breakpoint={"mode": "explicit"}),
     "input[1].content[1].prompt_cache_breakpoint", REFUSED),
    (item(CALL, namespace="x"), "input[0].namespace", REFUSED),
    (item(CALL, **{"async": True}), "input[0].async", REFUSED),
    (item(OUTPUT, namespace="x"), "input[0].namespace", REFUSED),
    (item(REASONING, encrypted_content="x"), "input[0].encrypted_content", REFUSED),
    ({"background": True}, "background", REFUSED),
    ({"tools": [{"type": "function", "name": "f", "defer_loading": True}]}, "tools[0].defer_loading", REFUSED),
]  # fmt: skip


def refused(body: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(json.dumps({"model": "m", "input": "hi", **body}).encode())
    return caught.value


@pytest.mark.parametrize(("body", "param", "code"), WRONG, ids=lambda value: str(value)[:70])
def test_a_wrong_body_is_refused_by_the_place_of_its_mistake(body: dict[str, Any], param: str, code: str) -> None:
    error = refused(body)
    assert (error.status, error.type, error.param, error.code) == (400, "invalid_request_error", param, code)
    assert "pydantic" not in error.message
    assert not any(tag in error.message for tag in ("<string>", "<array>", "<object>", "<message>", "union", "\n"))


MESSAGES = [
    ({"temperature": "x"}, "Invalid type for 'temperature': expected a number, but got a string instead."),
    (
        {"max_output_tokens": 1.5},
        "Invalid type for 'max_output_tokens': expected an integer, but got a number instead.",
    ),
    ({"stream": None, "store": "x"}, "Invalid type for 'store': expected a boolean, but got a string instead."),
    ({"input": 5}, "Invalid type for 'input': expected a string or an array, but got an integer instead."),
    ({"tool_choice": 5}, "Invalid type for 'tool_choice': expected a string or an object, but got an integer instead."),
    (
        {"temperature": 3},
        "Invalid 'temperature': integer above maximum value. Expected a value <= 2, but got 3 instead.",
    ),
    ({"top_p": 0.0}, "Invalid 'top_p': number below minimum value. Expected a value > 0, but got 0.0 instead."),
    (
        {"max_output_tokens": -1},
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 1, but got -1 instead.",
    ),
    ({"no_such": 1}, "Unknown parameter: 'no_such'."),
    (item({"role": "user"}), "Missing required parameter: 'input[0].content'."),
    (
        item(USER, role="tool"),
        "Invalid value: 'tool'. Supported values are: 'user', 'assistant', 'system' and 'developer'.",
    ),
    (
        part(type="input_image"),
        "Unsupported value: the content part type 'input_image' is not served. Supported values are: 'input_text'.",
    ),
    (
        {"metadata": {"k" * 65: ""}},
        "Invalid 'metadata': too long. Expected a string of at most 64 characters, but got 65.",
    ),
    (
        {"metadata": {str(n): "" for n in range(17)}},
        "Invalid 'metadata': too long. Expected an object of at most 16 pairs, but got 17.",
    ),
    (
        item(CALL, namespace="x"),
        "Unsupported parameter: 'input[0].namespace' is not served; leave it out or send null.",
    ),
    (
        {"tools": [{"type": "function", "name": "a b"}]},
        "Invalid 'tools[0].name': expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
    ),
    ({"model": ""}, "Invalid 'model': must not be empty."),
]


@pytest.mark.parametrize(("body", "message"), MESSAGES, ids=lambda value: str(value)[:50])
def test_messages_are_the_apis(body: dict[str, Any], message: str) -> None:
    assert refused(body).message == message


def test_a_body_without_a_model_is_told_so() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(b'{"input": "hi"}')
    assert (caught.value.param, caught.value.code) == ("model", MISSING)


@pytest.mark.parametrize(
    "body",
    [
        {"k" * 100_000: 1},
        item({"type": "t" * 100_000}),
        {"tool_choice": "c" * 100_000},
        {"metadata": {"k" * 60: "v" * 100_000}},
        {"reasoning": {"effort": "e" * 100_000}},
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_the_client_wrote_is_not_repeated_without_end(body: dict[str, Any]) -> None:
    error = refused(body)
    assert len(error.message) < 500
    assert len(error.param or "") < 300


def test_only_the_first_mistake_is_told() -> None:
    error = refused({"temperature": "x", "top_p": "x", "no_such": 1})
    assert error.param == "temperature"


def test_a_mistake_of_another_kind_is_told_without_pydantics_words() -> None:
    class Picky(BaseModel):
        x: int

        @model_validator(mode="before")
        @classmethod
        def never(cls, value: Any) -> Any:
            raise ValueError("secret")

    with pytest.raises(ValidationError) as caught:
        Picky.model_validate({"x": 1})
    error = refusal(caught.value, {"x": 1})
    assert (error.status, error.message) == (400, "Invalid value for ''.")


def test_values_are_listed_in_words() -> None:
    assert [one_of(("a",)), one_of(("a", "b")), one_of(("a", "b", "c"))] == ["'a'", "'a' and 'b'", "'a', 'b' and 'c'"]

from __future__ import annotations

from typing import Any

import pytest

from deployments.engines.vllm_request import (
    REQUEST_PARAMS,
    chat_fields,
    wants_tools,
)
from responses_api.records import GenerationRequest, OutputFormat

MESSAGES = [{"role": "user", "content": "Hello"}]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def asking(**more: Any) -> GenerationRequest:
    return GenerationRequest(request_id="r", messages=MESSAGES, **more)


def test_a_bare_request_leaves_all_else_to_the_model() -> None:
    assert chat_fields(asking()) == {
        "messages": MESSAGES,
        "stream": True,
        "temperature": None,
        "top_p": None,
        "reasoning_effort": None,
        "include_reasoning": True,
        "response_format": None,
    }


def test_sampling_parameters_are_passed_on_and_zero_is_a_value() -> None:
    fields = chat_fields(asking(temperature=0.0, top_p=0.5, reasoning_effort="low"))
    assert (fields["temperature"], fields["top_p"], fields["reasoning_effort"]) == (0.0, 0.5, "low")


def test_the_output_limit_is_not_vllms_to_check() -> None:
    assert chat_fields(asking(max_output_tokens=10**9)) == chat_fields(asking())


def test_messages_are_copies_that_vllm_may_change() -> None:
    request = asking()
    chat_fields(request)["messages"][0]["content"] = "changed"
    assert request.messages == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("function:add", {"type": "function", "function": {"name": "add"}}),
        ("function:a:b", {"type": "function", "function": {"name": "a:b"}}),
        ("function:none", {"type": "function", "function": {"name": "none"}}),
    ],
)
@pytest.mark.parametrize("parallel", [True, False])
def test_tools_bring_their_choice(choice: str, wanted: Any, parallel: bool) -> None:
    fields = chat_fields(asking(tools=TOOLS, tool_choice=choice, parallel_tool_calls=parallel))
    assert fields["tools"] == TOOLS
    assert fields["tool_choice"] == wanted
    assert fields["parallel_tool_calls"] is parallel


@pytest.mark.parametrize("choice", ["auto", "none", "required", "function:add"])
def test_without_tools_nothing_is_said_of_them(choice: str) -> None:
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & chat_fields(asking(tool_choice=choice)).keys()


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (OutputFormat(), None),
        (OutputFormat(kind="json_object"), {"type": "json_object"}),
        (
            OutputFormat(kind="json_schema", schema=SCHEMA),
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, OutputFormat) else "",
)
def test_the_format_becomes_a_response_format(wanted: OutputFormat, field: Any) -> None:
    assert chat_fields(asking(output_format=wanted))["response_format"] == field


def test_every_field_that_a_client_can_get_wrong_has_the_clients_name() -> None:
    ours = {"stream", "include_reasoning"}
    assert chat_fields(asking(tools=TOOLS)).keys() - ours <= REQUEST_PARAMS.keys()


@pytest.mark.parametrize(
    ("tools", "choice", "wanted"),
    [
        (TOOLS, "auto", True),
        (TOOLS, "required", True),
        (TOOLS, "function:add", True),
        (TOOLS, "none", False),
        ([], "auto", False),
        ([], "none", False),
        ([], "required", True),
        ([], "function:add", True),
    ],
)
def test_tools_are_wanted_where_the_model_may_or_must_call_one(tools: Any, choice: str, wanted: bool) -> None:
    assert wants_tools(asking(tools=tools, tool_choice=choice)) is wanted

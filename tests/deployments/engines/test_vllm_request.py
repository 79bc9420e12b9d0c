from __future__ import annotations

from typing import Any

import pytest

from deployments.engines.vllm_request import (
    MAX_ENUM_VALUES,
    MAX_PATTERN_CHARS,
    MAX_PROPERTIES,
    MAX_REPETITIONS,
    MAX_SCHEMA_CHARS,
    REQUEST_PARAMS,
    chat_fields,
    check_schema_size,
    wants_tools,
)
from responses_api.errors import InvalidRequest
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


def _properties(count: int) -> dict[str, Any]:
    return {"properties": {f"p{n}": {} for n in range(count)}}


def _halves(keyword: str, one: Any, other: Any) -> dict[str, Any]:
    """Two schemas in different places of one: the limits are of the whole."""
    return {"properties": {"": {keyword: one}}, "anyOf": [{"items": [{keyword: other}]}]}


def _patterns(chars: int) -> dict[str, Any]:
    return {"pattern": "a" * (chars - 10), "patternProperties": {"b" * 10: True}}


SIZES = [
    ("properties", MAX_PROPERTIES, _properties),
    ("properties", MAX_PROPERTIES, lambda n: {"$defs": {"a": _properties(1), "b": {"not": _properties(n - 1)}}}),
    ("enum values", MAX_ENUM_VALUES, lambda n: {"enum": list(range(n))}),
    ("enum values", MAX_ENUM_VALUES, lambda n: _halves("enum", [None], ["a"] * (n - 1))),
    ("characters in names and values", MAX_SCHEMA_CHARS, lambda n: {"properties": {"a" * n: {}}}),
    ("characters in names and values", MAX_SCHEMA_CHARS, lambda n: {"enum": ["a" * (n - 1), 7, "b"]}),
    ("characters in names and values", MAX_SCHEMA_CHARS, lambda n: _halves("const", "a" * (n - 1), "b")),
    ("characters in patterns", MAX_PATTERN_CHARS, lambda n: {"pattern": "a" * n}),
    ("characters in patterns", MAX_PATTERN_CHARS, _patterns),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"pattern": f"a{{{n}}}"}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"pattern": f"a{{ {n} , }}"}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"pattern": f"a{{,{n}}}"}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"pattern": f"(a?){{3,{n - 1}}}a{{1}}"}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"patternProperties": {f"a{{{n}}}": {}}}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: _halves("pattern", f"a{{{n - 1}}}", "b{1}")),
]


@pytest.mark.parametrize(("what", "limit", "schema"), SIZES)
def test_a_schema_at_a_limit_passes_and_one_over_it_is_refused(what: str, limit: int, schema: Any) -> None:
    check_schema_size(schema(limit), param="tools")
    with pytest.raises(InvalidRequest) as caught:
        check_schema_size(schema(limit + 1), param="tools")
    assert caught.value.message == f"The JSON schema has {limit + 1} {what}; at most {limit} are supported."
    assert caught.value.param == "tools"


def test_a_huge_count_is_over_the_limit_however_it_is_written() -> None:
    for count in ("1001", "0000001001", "0" * 30 + "1001", "9" * 9, "9" * 10, "9" * 30, "9" * 3_900):
        with pytest.raises(InvalidRequest, match="repetitions"):
            check_schema_size({"pattern": f"a{{{count}}}"}, param="tools")


def test_braces_that_count_nothing_are_no_repetitions() -> None:
    check_schema_size({"pattern": r"\{\} {} {,} {a} \p{L}"}, param="tools")


@pytest.mark.parametrize(
    "schema", [None, True, {}, [], "text", {"properties": 1, "enum": "a", "pattern": 2, "const": 3}]
)
def test_what_is_no_schema_has_no_size(schema: Any) -> None:
    check_schema_size(schema, param="tools")


@pytest.mark.parametrize(
    "pattern", ["{" + " " * 5_000_000, "{" * 5_000_000, "{" + "1" * 5_000_000], ids=["  ", "{", "1"]
)
def test_a_pattern_is_measured_in_time_that_grows_with_its_length(pattern: str) -> None:
    """Other than in line with its length, these would take hours: the test would run into its time limit."""
    with pytest.raises(InvalidRequest, match="characters in patterns"):
        check_schema_size({"pattern": pattern}, param="tools")


def test_depth_is_no_danger() -> None:
    deep: dict[str, Any] = {"enum": list(range(MAX_ENUM_VALUES + 1))}
    for _ in range(50_000):
        deep = {"items": deep}
    with pytest.raises(InvalidRequest, match="enum values"):
        check_schema_size(deep, param="tools")

from __future__ import annotations

from typing import Any, get_args

import pytest
from openai.types.responses.tool_choice_options import ToolChoiceOptions
from openai.types.shared.reasoning_effort import ReasoningEffort
from pydantic import ValidationError

from responses_api.schema import request
from responses_api.schema.request import CreateResponse, FunctionChoice, FunctionTool, JsonSchemaFormat


def test_efforts_and_tool_choices_are_the_published_ones() -> None:
    published, _ = get_args(ReasoningEffort)
    assert set(get_args(request.Effort)) == set(get_args(published))
    assert set(get_args(request.ToolChoiceOption)) == set(get_args(ToolChoiceOptions))


def test_a_model_is_all_that_a_body_has_to_have() -> None:
    assert CreateResponse.model_validate({"model": "m"}).input is None


def test_null_is_as_good_as_silence() -> None:
    optional = {name: None for name in CreateResponse.model_fields if name != "model"}
    assert CreateResponse.model_validate({"model": "m", **optional}) == CreateResponse(model="m")


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 2},
        {"top_p": 1},
        {"top_p": 0.01},
        {"max_output_tokens": 1},
        {"metadata": {"k" * 64: "v" * 512} | {str(n): "" for n in range(15)}},
        {"metadata": {}},
        {"safety_identifier": "x" * 128},
        {"reasoning": {}},
        {"reasoning": {"effort": None}},
        {"text": {}},
        {"text": {"format": None}},
        {"text": {"format": {"type": "text"}}},
        {"text": {"format": {"type": "json_object"}}},
        {"stream_options": {}},
        {"tools": []},
        {"tools": [{"type": "function", "name": "a" * 128}]},
    ],
)
def test_the_bounds_themselves_are_allowed(fields: dict[str, Any]) -> None:
    CreateResponse.model_validate({"model": "m", **fields})


def test_unions_give_the_member_that_was_meant() -> None:
    body = {
        "model": "m",
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "function", "name": "f", "parameters": {"$schema": "x", "type": "object"}, "strict": None}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    }
    got = CreateResponse.model_validate(body)
    assert got.tool_choice == FunctionChoice(type="function", name="f")
    assert got.tools == [FunctionTool(type="function", name="f", parameters={"$schema": "x", "type": "object"})]
    assert got.text is not None
    assert isinstance(got.text.format, JsonSchemaFormat)
    assert got.text.format.schema_ == {"type": "object"}


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        CreateResponse(model="m").model = "other"

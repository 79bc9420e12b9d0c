from __future__ import annotations

from inspect import signature
from typing import Any, get_args, get_type_hints

import pytest
from openai.resources.responses import Responses
from openai.types.responses import FunctionToolParam, ResponseTextConfigParam
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
    StreamOptions,
)
from openai.types.shared_params import Reasoning
from pydantic import BaseModel

from responses_api.errors import InvalidRequest
from responses_api.parameters import PARAMETERS, without_unserved
from responses_api.schema.request import (
    CreateResponse,
    FunctionTool,
    ReasoningConfig,
    TextConfig,
)
from responses_api.schema.request import StreamOptions as ServedStreamOptions

OWNERS: dict[str, tuple[tuple[Any, ...], type[BaseModel]]] = {
    "": ((ResponseCreateParamsStreaming, ResponseCreateParamsNonStreaming), CreateResponse),
    "text": ((ResponseTextConfigParam,), TextConfig),
    "reasoning": ((Reasoning,), ReasoningConfig),
    "stream_options": ((StreamOptions,), ServedStreamOptions),
    "tools[function]": ((FunctionToolParam,), FunctionTool),
}
"""The objects of the table: their published types and our models."""


def test_the_table_has_each_parameter_of_the_published_client_once() -> None:
    of_the_call = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
    published = set(signature(Responses.create).parameters) - of_the_call
    names = [row.name for row in PARAMETERS]
    assert {row.name for row in PARAMETERS if not row.owner} == published
    assert len(names) == len(set(names))
    assert {row.owner for row in PARAMETERS} == set(OWNERS)


@pytest.mark.parametrize("owner", OWNERS)
def test_published_fields_are_served_by_the_model_or_refused_by_the_table(owner: str) -> None:
    published_types, model = OWNERS[owner]
    published = {name for each in published_types for name in get_type_hints(each)}
    refused = {row.field for row in PARAMETERS if row.owner == owner and not row.served}
    assert refused & set(model.model_fields) == set()
    assert refused | set(model.model_fields) == published
    if owner != "tools[function]":  # the fields of a tool that are served have no rows: nobody asks for them alone
        assert {row.field for row in PARAMETERS if row.owner == owner and row.served} == set(model.model_fields)


def test_each_row_gives_a_reason() -> None:
    assert all(row.reason and row.reason == row.reason.strip(" .") for row in PARAMETERS)


def body_with(name: str, value: Any) -> tuple[dict[str, Any], str]:
    """A body with one parameter, and the path under which it is reported."""
    owner, _, field = name.rpartition(".")
    if not owner:
        return {name: value}, name
    if owner == "tools[function]":
        return {"tools": [{"type": "mcp"}, {"type": "function", field: value}]}, f"tools[1].{field}"
    return {owner: {field: value}}, name


UNSERVED = [row for row in PARAMETERS if not row.served]


@pytest.mark.parametrize("row", UNSERVED, ids=lambda row: row.name)
def test_an_unserved_parameter_passes_when_it_asks_for_nothing_and_is_refused_by_name_otherwise(row: Any) -> None:
    for harmless in (None, *row.only):
        body, _ = body_with(row.name, harmless)
        assert row.field not in str(without_unserved(body)).replace("tools", "")
    wrong: list[Any] = [{"anything": 1}, [{}], "no such", 7, True]
    for asked in wrong:
        body, path = body_with(row.name, asked)
        with pytest.raises(InvalidRequest) as caught:
            without_unserved(body)
        assert (caught.value.param, caught.value.code) == (path, "unsupported_parameter")
        assert row.reason in caught.value.message


@pytest.mark.parametrize("value", [0, 0.0, "", []])
def test_false_is_not_any_empty_value(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        without_unserved({"background": value})


def test_zero_is_not_false() -> None:
    with pytest.raises(InvalidRequest):
        without_unserved({"top_logprobs": False})


def test_the_given_body_stays_as_it_was() -> None:
    body = {"text": {"verbosity": None}, "tools": [{"type": "function", "async": False}], "background": False}
    assert without_unserved(body) == {"text": {}, "tools": [{"type": "function"}]}
    assert body == {"text": {"verbosity": None}, "tools": [{"type": "function", "async": False}], "background": False}


def test_a_tool_of_another_type_is_left_to_the_schema_which_refuses_its_type() -> None:
    body = {"tools": [{"type": "mcp", "defer_loading": True}]}
    assert without_unserved(body) == body


@pytest.mark.parametrize("body", [{"text": 5, "tools": "x"}, {"reasoning": [], "tools": [5, {"type": []}]}, {}])
def test_what_has_the_wrong_shape_is_left_to_the_schema(body: dict[str, Any]) -> None:
    assert without_unserved(body) == body


def test_service_tiers_that_are_published_but_not_served_are_refused() -> None:
    hints = get_type_hints(ResponseCreateParamsStreaming)["service_tier"]
    tiers = {tier for literal in get_args(hints) for tier in get_args(literal)}
    for tier in tiers - {"auto", "default"}:
        with pytest.raises(InvalidRequest):
            without_unserved({"service_tier": tier})

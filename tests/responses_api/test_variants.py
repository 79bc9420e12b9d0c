from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from openai.types.responses import response_create_params
from openai.types.responses.response_format_text_config_param import ResponseFormatTextConfigParam
from openai.types.responses.response_input_content_param import ResponseInputContentParam
from openai.types.responses.response_input_param import ResponseInputItemParam
from openai.types.responses.response_output_message_param import Content
from openai.types.responses.tool_param import ToolParam
from pydantic import ValidationError

from responses_api.schema.input_items import InputText
from responses_api.schema.variants import (
    ASSISTANT_PARTS,
    ITEMS,
    TEXT_FORMATS,
    TEXT_PARTS,
    TOOL_CHOICES,
    TOOLS,
    VARIANTS,
    Variants,
    tag,
)


def published_types(union: Any) -> set[str]:
    """The values of `type` that the members of one of the client's unions may have."""
    found: set[str] = set()
    for member in get_args(union):
        if hasattr(member, "__annotations__"):
            kind = get_type_hints(member)["type"]
            values = [value for arm in get_args(kind) for value in (get_args(arm) or [arm])]
            found |= {value for value in values if isinstance(value, str)}
    return found


@pytest.mark.parametrize(
    ("table", "union"),
    [
        (ITEMS, ResponseInputItemParam),
        (TOOLS, ToolParam),
        (TOOL_CHOICES, response_create_params.ToolChoice),
        (TEXT_FORMATS, ResponseFormatTextConfigParam),
        (TEXT_PARTS, ResponseInputContentParam),
        (ASSISTANT_PARTS, Content | ResponseInputContentParam),
    ],
    ids=lambda value: value.noun if isinstance(value, Variants) else "",
)
def test_each_published_type_is_served_or_known_not_to_be(table: Variants, union: Any) -> None:
    ours = set(table.served) | table.not_served
    # `input_audio` is of the API's reference; the client has no type for it in Responses
    assert ours - {"input_audio"} == published_types(union)
    assert not set(table.served) & table.not_served


def test_a_table_is_found_by_its_noun() -> None:
    assert all(VARIANTS[table.noun] is table for table in (ITEMS, TOOLS, TOOL_CHOICES, TEXT_FORMATS, TEXT_PARTS))


def test_no_tag_is_a_name_of_a_field() -> None:
    assert not tag("message").isidentifier()


@pytest.mark.parametrize("value", [{"text": 5}, {"text": "x", "more": 1}, {"text": b"x"}, {}])
def test_a_strict_model_takes_exactly_what_is_published(value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InputText.model_validate({"type": "input_text", **value})

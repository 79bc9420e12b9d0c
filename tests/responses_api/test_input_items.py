"""Items in all the forms in which clients send them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openai.types.responses import (
    ParsedResponse,
    Response,
    ResponseFunctionToolCallItem,
    ResponseFunctionToolCallOutputItem,
    ResponseInputMessageItem,
    ResponseOutputMessage,
    ResponseOutputRefusal,
    ResponseReasoningItem,
)
from openai.types.responses.parsed_response import ParsedResponseFunctionToolCall, ParsedResponseOutputMessage
from pydantic import BaseModel, TypeAdapter

from responses_api.listing import listed
from responses_api.schema import items
from responses_api.schema.input_items import (
    AssistantMessage,
    FunctionCallItem,
    FunctionCallOutputItem,
    InputItem,
    InputMessage,
    ReasoningItemParam,
)

ITEM: TypeAdapter[Any] = TypeAdapter(InputItem)

TEXT = {"type": "input_text", "text": "a"}
SAID = {"type": "output_text", "text": "a"}


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ({"role": "user", "content": "a"}, InputMessage),
        ({"type": None, "role": "system", "content": "a"}, InputMessage),
        ({"type": "message", "role": "developer", "content": [TEXT, TEXT], "status": None, "id": None}, InputMessage),
        ({"role": "user", "content": [], "phase": None}, InputMessage),
        ({"role": "user", "content": [TEXT | {"prompt_cache_breakpoint": None}]}, InputMessage),
        ({"role": "assistant", "content": "a"}, AssistantMessage),
        ({"role": "assistant", "content": [SAID, TEXT, {"type": "refusal", "refusal": "no"}]}, AssistantMessage),
        (
            {"role": "assistant", "content": [SAID | {"annotations": None, "logprobs": None, "parsed": {"a": 1}}]},
            AssistantMessage,
        ),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}, FunctionCallItem),
        (
            {
                "type": "function_call",
                "call_id": "c",
                "name": "f",
                "arguments": "{",
                "namespace": None,
                "id": None,
                "status": None,
                "caller": {"type": "direct"},
                "async": False,
                "parsed_arguments": {"x": 1},
            },
            FunctionCallItem,
        ),
        ({"type": "function_call_output", "call_id": "c", "output": ""}, FunctionCallOutputItem),
        ({"type": "function_call_output", "call_id": "c", "output": [TEXT], "name": "f"}, FunctionCallOutputItem),
        ({"type": "reasoning"}, ReasoningItemParam),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}, ReasoningItemParam),
        (
            {
                "type": "reasoning",
                "id": "rs_1",
                "status": "completed",
                "summary": [{"type": "summary_text", "text": "a"}],
                "content": [{"type": "reasoning_text", "text": "a"}],
            },
            ReasoningItemParam,
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_item_is_taken_in_each_of_its_forms(given: dict[str, Any], model: type[BaseModel]) -> None:
    assert type(ITEM.validate_python(given)) is model


OURS: list[items.OutputItem] = [
    items.ReasoningItem(id="rs_1", status="completed", content=[items.ReasoningText("hm")]),
    items.ReasoningItem(id="rs_2", status="incomplete"),
    items.OutputMessage(id="msg_1", status="completed", content=[items.OutputText("hello")]),
    items.OutputMessage(id="msg_2", status="incomplete"),
    items.FunctionCall(id="fc_1", status="completed", call_id="call_1", name="f", arguments="{}"),
    items.FunctionCall(id="fc_2", status="incomplete", call_id="call_2", name="f", arguments='{"a'),
]
ANSWER = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "output": msgspec.to_builtins(OURS),
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
DUMPS: list[dict[str, Any]] = [
    {},
    {"by_alias": True},
    {"exclude_unset": True},
    {"exclude_none": True},
    {"mode": "json", "by_alias": True},
]


@pytest.mark.parametrize("response", [Response, ParsedResponse], ids=lambda model: model.__name__)
@pytest.mark.parametrize("dump", DUMPS, ids=str)
def test_our_output_comes_back_through_the_published_client_unchanged(response: Any, dump: dict[str, Any]) -> None:
    parsed = response.model_validate(ANSWER)
    back = [listed(ITEM.validate_python(item.model_dump(**dump))) for item in parsed.output]
    assert back == msgspec.to_builtins(OURS)


@pytest.mark.parametrize("dump", DUMPS, ids=str)
def test_what_the_client_parsed_of_our_output_comes_back_too(dump: dict[str, Any]) -> None:
    class Answer(BaseModel):
        x: int

    part = SAID | {"annotations": [], "parsed": Answer(x=1)}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "parsed_arguments": {"x": 1}}
    for parsed in (
        ParsedResponseOutputMessage[Answer].model_validate(message),
        ParsedResponseFunctionToolCall.model_validate(call),
    ):
        ITEM.validate_python(parsed.model_dump(warnings=False, **dump))


PUBLISHED: list[BaseModel] = [
    ResponseOutputMessage(
        id="msg_1",
        type="message",
        role="assistant",
        status="completed",
        phase="final_answer",
        content=[ResponseOutputRefusal(type="refusal", refusal="no")],
    ),
    ResponseReasoningItem(id="rs_1", type="reasoning", summary=[]),
    ResponseInputMessageItem.model_validate(
        {"id": "msg_1", "type": "message", "role": "user", "content": [TEXT], "status": "completed"}
    ),
    ResponseFunctionToolCallItem(
        id="fc_1", type="function_call", call_id="c", name="f", arguments="{}", status="completed"
    ),
    ResponseFunctionToolCallOutputItem(
        id="fco_1", type="function_call_output", call_id="c", output="1", status="completed"
    ),
]


@pytest.mark.parametrize("item", PUBLISHED, ids=lambda item: type(item).__name__)
@pytest.mark.parametrize("dump", DUMPS, ids=str)
def test_published_items_are_taken_with_all_their_nulls(item: BaseModel, dump: dict[str, Any]) -> None:
    ITEM.validate_python(item.model_dump(**dump))


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        (ResponseInputMessageItem, InputMessage),
        (ResponseOutputMessage, AssistantMessage),
        (ResponseFunctionToolCallItem, FunctionCallItem),
        (ResponseFunctionToolCallOutputItem, FunctionCallOutputItem),
        (ResponseReasoningItem, ReasoningItemParam),
    ],
)
def test_each_published_field_of_a_served_item_is_known(published: type[BaseModel], ours: type[BaseModel]) -> None:
    names = {"is_async" if name == "async_" else name for name in published.model_fields}
    assert names <= set(ours.model_fields)

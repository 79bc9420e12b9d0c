from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from responses_api.listing import listed, user_message
from responses_api.schema.input_items import InputItem

ITEM: TypeAdapter[Any] = TypeAdapter(InputItem)
PUBLISHED: TypeAdapter[Any] = TypeAdapter(ResponseItem)

DONE = {"status": "completed"}
TEXT = {"type": "input_text", "text": "a"}
SAID = {"type": "output_text", "text": "a", "annotations": [], "logprobs": []}
ANNOTATION = {"type": "file_path", "file_id": "f", "index": 0}
LOGPROB = {"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "1"}

CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"role": "user", "content": "a"}, DONE | {"type": "message", "role": "user", "content": [TEXT]}),
    (
        {"type": "message", "id": "msg_1", "role": "developer", "content": [TEXT, TEXT], "phase": None},
        DONE | {"id": "msg_1", "type": "message", "role": "developer", "content": [TEXT, TEXT]},
    ),
    ({"role": "assistant", "content": "a"}, DONE | {"type": "message", "role": "assistant", "content": [SAID]}),
    (
        {
            "role": "assistant",
            "content": [TEXT, SAID | {"annotations": [ANNOTATION], "logprobs": [LOGPROB], "parsed": None}],
            "status": "incomplete",
            "phase": "commentary",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [SAID, SAID | {"annotations": [ANNOTATION], "logprobs": [LOGPROB]}],
            "status": "incomplete",
            "phase": "commentary",
        },
    ),
    (
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        DONE | {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ),
    (CALL | {"namespace": None, "caller": None, "async_": None, "id": ""}, DONE | CALL),
    (OUTPUT | {"status": "incomplete", "name": "f", "caller": None}, OUTPUT | {"status": "incomplete", "name": "f"}),
    (OUTPUT | {"output": [TEXT | {"prompt_cache_breakpoint": None}]}, DONE | OUTPUT | {"output": [TEXT]}),
    (
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "s"}],
            "content": [{"type": "reasoning_text", "text": "t"}],
            "encrypted_content": None,
        },
        DONE
        | {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "s"}],
            "content": [{"type": "reasoning_text", "text": "t"}],
        },
    ),
    ({"type": "reasoning", "content": None}, DONE | {"type": "reasoning", "summary": [], "content": []}),
]


@pytest.mark.parametrize(("given", "expected"), CASES, ids=lambda value: str(value)[:60])
def test_an_item_is_listed_whole_and_without_nulls(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert listed(ITEM.validate_python(given)) == expected


@pytest.mark.parametrize(("given", "expected"), CASES, ids=lambda value: str(value)[:60])
def test_what_is_listed_is_a_published_item_and_can_be_sent_again(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    with_id = {"id": "x_1", **expected}
    PUBLISHED.validate_python(with_id, strict=True)
    assert listed(ITEM.validate_python(with_id)) == with_id


def test_a_string_is_short_for_a_users_message() -> None:
    assert user_message("a") == listed(ITEM.validate_python({"role": "user", "content": "a"}))

"""Input items as the API lists them: with a `type`, content in parts and a status, and nothing that is not published.

Nulls go, and so does what only the client's side knows (`parsed`). An id is there only where the client gave one.
"""

from __future__ import annotations

from typing import Any, assert_never

from responses_api.schema.input_items import (
    AssistantMessage,
    FunctionCallItem,
    FunctionCallOutputItem,
    InputMessage,
    InputText,
    OutputTextPart,
    ReasoningItemParam,
    Refusal,
)


def listed(
    item: InputMessage | AssistantMessage | FunctionCallItem | FunctionCallOutputItem | ReasoningItemParam,
) -> dict[str, Any]:
    """An item as plain JSON. An empty id counts as none."""
    head: dict[str, Any] = {"id": item.id} if item.id else {}
    head["status"] = item.status or "completed"
    match item:
        case InputMessage():
            parts = _parts(item.content)
            return {**head, "type": "message", "role": item.role, "content": parts}
        case AssistantMessage():
            said = [_output_text(item.content)] if isinstance(item.content, str) else [_said(p) for p in item.content]
            phase = {"phase": item.phase} if item.phase else {}
            return {**head, "type": "message", "role": "assistant", "content": said, **phase}
        case FunctionCallItem():
            call = {"call_id": item.call_id, "name": item.name, "arguments": item.arguments}
            return {**head, "type": "function_call", **call}
        case FunctionCallOutputItem():
            output = item.output if isinstance(item.output, str) else _parts(item.output)
            name = {"name": item.name} if item.name else {}
            return {**head, "type": "function_call_output", "call_id": item.call_id, "output": output, **name}
        case ReasoningItemParam():
            summary = [{"type": "summary_text", "text": part.text} for part in item.summary or []]
            content = [{"type": "reasoning_text", "text": part.text} for part in item.content or []]
            return {**head, "type": "reasoning", "summary": summary, "content": content}
        case _:
            assert_never(item)


def user_message(text: str) -> dict[str, Any]:
    """The item that an input string is short for."""
    return listed(InputMessage(role="user", content=text))


def _parts(content: str | list[InputText]) -> list[dict[str, Any]]:
    texts = [content] if isinstance(content, str) else [part.text for part in content]
    return [{"type": "input_text", "text": text} for text in texts]


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _said(part: OutputTextPart | Refusal | InputText) -> dict[str, Any]:
    """A part of what a model said. The published types let it come as `input_text`; it is listed as output."""
    match part:
        case Refusal():
            return {"type": "refusal", "refusal": part.refusal}
        case InputText():
            return _output_text(part.text)
        case OutputTextPart():
            marks = {"annotations": part.annotations or [], "logprobs": part.logprobs or []}
            return _output_text(part.text) | marks
        case _:
            assert_never(part)

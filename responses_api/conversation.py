"""From stored turns and new input to what the engine is asked: one conversation, its calls checked, as chat messages.

How items become messages:
- `instructions` (this request's alone: those of earlier turns do not carry over) and all leading system and developer
  messages become one system message, because chat templates allow one. Later ones stay where they are, as system.
- A run of the model's items (reasoning, messages, function calls) becomes one assistant message. A run that says and
  calls nothing is left out: it is the rest of a turn that was cut while the model reasoned.
- A function's output becomes a tool message right behind the message that called, whatever was written in between.
- Parts of one message are joined by a line break, as vLLM does; joined messages by an empty line.
- A call that was cut half-written is left out, unless its output is there all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from responses_api import ids
from responses_api.admitted import Admitted
from responses_api.body import is_object_text
from responses_api.errors import InvalidRequest
from responses_api.records import GenerationRequest, ResponseRecord
from responses_api.schema.items import OutputItem

PART_JOIN: Final = "\n"
MESSAGE_JOIN: Final = "\n\n"


class StoredTurn(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier response: the items that its request brought, and what the model said to them."""

    input_items: Sequence[Mapping[str, Any]]
    output: Sequence[OutputItem | Mapping[str, Any]]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A new response before it begins: what is kept of it, and what the engine is asked."""

    record: ResponseRecord
    request: GenerationRequest


def assemble(admitted: Admitted, *, response_id: str, history: Sequence[StoredTurn] = ()) -> Turn:
    """Put the conversation together. `history` is the chain that the request continues, oldest first.

    Raises:
        InvalidRequest: calls and outputs do not match (param `input`).
    """
    echo = admitted.echo
    record = ResponseRecord(
        response_id=response_id, echo=echo, input_items=_with_ids(admitted.input_items, response_id=response_id)
    )
    request = GenerationRequest(
        request_id=response_id,
        messages=chat_messages([*_items(history), *record.input_items], instructions=echo.instructions),
        tools=[_chat_tool(tool) for tool in echo.tools],
        tool_choice=f"function:{echo.tool_choice['name']}" if isinstance(echo.tool_choice, dict) else echo.tool_choice,
        parallel_tool_calls=echo.parallel_tool_calls,
        temperature=admitted.temperature,
        top_p=admitted.top_p,
        max_output_tokens=echo.max_output_tokens,
        output_format=admitted.output_format,
        reasoning_effort=admitted.reasoning_effort,
    )
    return Turn(record=record, request=request)


def chat_messages(items: Sequence[Mapping[str, Any]], *, instructions: str | None = None) -> list[dict[str, Any]]:
    """The chat messages of a whole conversation's items, as the API lists items.

    Raises:
        InvalidRequest: calls and outputs do not match (param `input`).
    """
    answered = {item["call_id"] for item in items if item["type"] == "function_call_output"}
    transcript = _Transcript(instructions)
    for item in items:
        cut = item["type"] == "function_call" and item.get("status") in ("in_progress", "incomplete")
        if not (cut and item["call_id"] not in answered):
            transcript.add(item)
    return transcript.finish()


class _Transcript:
    """Chat messages as they grow, item by item."""

    def __init__(self, instructions: str | None) -> None:
        self._lead = [instructions] if instructions else []
        self._messages: list[dict[str, Any]] = []
        self._run: list[Mapping[str, Any]] = []
        """The model's items since the last item of another kind."""
        self._pending: dict[str, None] = {}
        """Ids of calls without their output yet, in order; all of them are in the open run or in the last one."""
        self._seen: set[str] = set()
        self._outputs_at = 0
        """Where the next output belongs: behind the message that called and the outputs that are there already."""

    def add(self, item: Mapping[str, Any]) -> None:
        """Take the next item."""
        match item:
            case {"type": "message", "role": "assistant"} | {"type": "reasoning"}:
                self._continue_run(item)
            case {"type": "function_call", "call_id": call_id}:
                self._continue_run(item)
                if call_id in self._seen:
                    raise InvalidRequest(f"Duplicate function call with call_id {call_id}.", param="input")
                self._seen.add(call_id)
                self._pending[call_id] = None
            case {"type": "function_call_output", "call_id": call_id}:
                self._end_run()
                self._answer(call_id, _text(item["output"]))
            case {"type": "message", "role": role, "content": content}:
                self._end_run()
                self._say(role, _text(content))
            case _:
                raise AssertionError(f"no such item: {item['type']}")

    def finish(self) -> list[dict[str, Any]]:
        """The messages, with the model's next turn to come."""
        self._end_run()
        self._require_outputs()
        lead = [text for text in self._lead if text]
        return [{"role": "system", "content": MESSAGE_JOIN.join(lead)}, *self._messages] if lead else self._messages

    def _continue_run(self, item: Mapping[str, Any]) -> None:
        if not self._run:
            self._require_outputs()
        self._run.append(item)

    def _end_run(self) -> None:
        message = _assistant_message(self._run)
        self._run = []
        if message is not None:
            self._messages.append(message)
            self._outputs_at = len(self._messages)

    def _answer(self, call_id: str, output: str) -> None:
        if call_id not in self._seen:
            message = f"No tool call found for function call output with call_id {call_id}."
            raise InvalidRequest(message, param="input")
        if call_id not in self._pending:
            raise InvalidRequest(f"Duplicate function call output with call_id {call_id}.", param="input")
        del self._pending[call_id]
        self._messages.insert(self._outputs_at, {"role": "tool", "tool_call_id": call_id, "content": output})
        self._outputs_at += 1

    def _say(self, role: str, text: str) -> None:
        if role == "user":
            self._messages.append({"role": "user", "content": text})
        elif self._messages:
            self._messages.append({"role": "system", "content": text})
        else:
            self._lead.append(text)

    def _require_outputs(self) -> None:
        for call_id in self._pending:
            raise InvalidRequest(f"No tool output found for function call {call_id}.", param="input")


def _assistant_message(run: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """One message of a run of the model's items, or none if it says and calls nothing."""
    reasoning: list[str] = []
    said: list[str] = []
    calls: list[dict[str, Any]] = []
    for item in run:
        match item["type"]:
            case "reasoning":
                # a summary is not what the model thought, so only the text itself goes back to it
                reasoning.append(_text(item.get("content") or []))
            case "message":
                said.append(_text(item["content"]))
            case _:
                function = {"name": item["name"], "arguments": _arguments(item["arguments"])}
                calls.append({"id": item["call_id"], "type": "function", "function": function})
    content = MESSAGE_JOIN.join(text for text in said if text)
    if not content and not calls:
        return None
    message: dict[str, Any] = {"role": "assistant", "content": content or None}
    if thought := MESSAGE_JOIN.join(text for text in reasoning if text):
        message["reasoning"] = thought
    if calls:
        message["tool_calls"] = calls
    return message


def _arguments(text: str) -> str:
    """A call's arguments as the JSON of an object, which is all that chat templates can render.

    A model may have written something else. It is then shown to it as a string, rather than the conversation being
    refused for ever or the model being told that it said nothing.
    """
    if not text.strip():
        return "{}"
    return text if is_object_text(text) else json.dumps({"arguments": text}, ensure_ascii=False)


def _text(content: str | Sequence[Mapping[str, Any]]) -> str:
    """The text of an item's content; what a model refused with is text like any other."""
    if isinstance(content, str):
        return content
    return PART_JOIN.join(part["refusal"] if part["type"] == "refusal" else part["text"] for part in content)


def _items(history: Iterable[StoredTurn]) -> list[Mapping[str, Any]]:
    items: list[Mapping[str, Any]] = []
    for turn in history:
        items += turn.input_items
        items += [msgspec.to_builtins(item) if isinstance(item, msgspec.Struct) else item for item in turn.output]
    return items


def _with_ids(items: Iterable[Mapping[str, Any]], *, response_id: str) -> list[dict[str, Any]]:
    """The items, each with an id of its own: the client's, unless an item before has it already."""
    identified: list[dict[str, Any]] = []
    taken: set[str] = set()
    for index, item in enumerate(items):
        given = item.get("id")
        item_id = given if given and given not in taken else ids.input_item_id(response_id, index, item["type"])
        taken.add(item_id)
        identified.append({**item, "id": item_id})
    return identified


def _chat_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function tool in the chat form. Templates may expect name, description and parameters, of these types.

    `strict`, which the API defaults to true, is what makes an engine hold the arguments to the schema.
    """
    function = {
        "name": tool["name"],
        "description": tool["description"] or "",
        "parameters": tool["parameters"] or {"type": "object", "properties": {}},
        "strict": tool["strict"],
    }
    return {"type": "function", "function": function}

"""What is kept of a response besides its log, and what is asked of an engine.

Both cross processes and lie in stores, so they are msgspec structs with a stable encoding: fields may be added with a
default, never renamed or removed.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from responses_api.inputs import EngineInput
from responses_api.schema.response import Echo


class ResponseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A response's first record: all that its events depend on besides the log.

    `input_items` are the items that this request brought, as JSON objects with their ids set; the items of earlier
    turns belong to the responses that brought or made them and are reached through `echo.previous_response_id`.
    """

    response_id: str
    echo: Echo
    input_items: list[dict[str, Any]]


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response as a store holds it: its record and its log so far, from which everything else follows."""

    record: ResponseRecord
    log: list[EngineInput]
    closed: bool
    """Whether the log ends in a terminal input."""
    owner: str
    """Unique id of the gateway replica that runs or ran it."""


class OutputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The constraint on the answer's text: any text, any JSON object, or JSON that fits `schema`."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    schema: dict[str, Any] | None = None


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine needs to generate one response.

    `messages` are chat messages (roles system, user, assistant, tool; assistant messages may carry `reasoning` and
    `tool_calls`), `tools` are chat tools (`{"type": "function", "function": {...}}`): the forms vLLM's renderer takes.
    `tool_choice` is `auto`, `none`, `required`, or the name of a function after `function:`. None leaves a sampling
    parameter to the model's own default.
    """

    request_id: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = []
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    output_format: OutputFormat = OutputFormat()
    reasoning_effort: str | None = None

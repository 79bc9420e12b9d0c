"""Events of a response's stream, field for field as the API publishes them.

Each event is a fact with its place in the stream: `sequence_number` counts from 0 without gaps, `output_index` is the
item's position in `response.output`, `content_index` the part's position in its item. The tag is the event's name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from responses_api.schema.items import OutputItem, OutputText, ReasoningText
from responses_api.schema.response import Response


class _Event(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of the events: frozen, numbered, told apart by their published name."""

    sequence_number: int


class _OfResponse(_Event, frozen=True):
    response: Response


class ResponseCreated(_OfResponse, frozen=True, tag="response.created"):
    """The response exists. Always the first event."""


class ResponseInProgress(_OfResponse, frozen=True, tag="response.in_progress"):
    """The response is being made."""


class ResponseCompleted(_OfResponse, frozen=True, tag="response.completed"):
    """The model ended by itself. Terminal."""


class ResponseIncomplete(_OfResponse, frozen=True, tag="response.incomplete"):
    """The output limit was reached, or the response was cancelled (`response.status` says which). Terminal."""


class ResponseFailed(_OfResponse, frozen=True, tag="response.failed"):
    """Generation failed; `response.error` says why. Terminal."""


class _OfItem(_Event, frozen=True):
    output_index: int
    item: OutputItem


class OutputItemAdded(_OfItem, frozen=True, tag="response.output_item.added"):
    """An item begins, still without content."""


class OutputItemDone(_OfItem, frozen=True, tag="response.output_item.done"):
    """An item is final. Clients act on this event: it is sent exactly once for each item."""


class _InItem(_Event, frozen=True):
    item_id: str
    output_index: int


class _InPart(_InItem, frozen=True):
    content_index: int


class ContentPartAdded(_InPart, frozen=True, tag="response.content_part.added"):
    """A part begins, still empty."""

    part: OutputText | ReasoningText


class ContentPartDone(_InPart, frozen=True, tag="response.content_part.done"):
    """A part is final."""

    part: OutputText | ReasoningText


class OutputTextDelta(_InPart, frozen=True, tag="response.output_text.delta"):
    """More text of a message. `logprobs` is required by the published schema, and empty."""

    delta: str
    logprobs: list[Any] = []


class OutputTextDone(_InPart, frozen=True, tag="response.output_text.done"):
    """The text of a message's part, whole."""

    text: str
    logprobs: list[Any] = []


class ReasoningTextDelta(_InPart, frozen=True, tag="response.reasoning_text.delta"):
    """More text of the reasoning."""

    delta: str


class ReasoningTextDone(_InPart, frozen=True, tag="response.reasoning_text.done"):
    """The text of the reasoning's part, whole."""

    text: str


class FunctionCallArgumentsDelta(_InItem, frozen=True, tag="response.function_call_arguments.delta"):
    """More of the JSON text of a call's arguments."""

    delta: str


class FunctionCallArgumentsDone(_InItem, frozen=True, tag="response.function_call_arguments.done"):
    """A call's arguments, whole. `name` is in the API's reference though not in every client's types."""

    name: str
    arguments: str


StreamEvent = (
    ResponseCreated
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
)

TERMINAL_EVENTS = (ResponseCompleted, ResponseIncomplete, ResponseFailed)
"""Events after which a stream ends."""


def name_of(event_type: type[StreamEvent]) -> str:
    """The published name of an event's class."""
    tag = event_type.__struct_config__.tag
    assert isinstance(tag, str)
    return tag

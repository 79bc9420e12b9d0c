"""Input items as clients send them: written by hand, or our own output sent back with all its nulls.

The fields are those of the published types, those that the client library adds to what it parsed (`parsed`) and those
of listed items (`created_by`). A field that may only be null is published but not served.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Discriminator, Field, Tag

from responses_api.schema.variants import ASSISTANT_PARTS, ITEMS, TEXT_PARTS, Strict, by_type, string_or, tag

Role = Literal["user", "assistant", "system", "developer"]
Status = Literal["in_progress", "completed", "incomplete"]
Phase = Literal["commentary", "final_answer"]
NonEmpty = Annotated[str, Field(min_length=1)]
ItemId = Annotated[str, Field(max_length=256)]


class InputText(Strict):
    """Text for the model."""

    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: None = None


class OutputTextPart(Strict):
    """Text that a model wrote. `parsed` is what the client's own parsing made of it."""

    type: Literal["output_text"]
    text: str
    annotations: list[dict[str, Any]] | None = None
    logprobs: list[dict[str, Any]] | None = None
    parsed: Any = None


class Refusal(Strict):
    """What a model said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


class ReasoningTextPart(Strict):
    """Text that a model thought."""

    type: Literal["reasoning_text"]
    text: str


class SummaryText(Strict):
    """A summary of reasoning. This server makes none."""

    type: Literal["summary_text"]
    text: str


TextPart = Annotated[InputText, BeforeValidator(TEXT_PARTS.check)]
AssistantPart = Annotated[
    Annotated[OutputTextPart, Tag(tag("output_text"))]
    | Annotated[Refusal, Tag(tag("refusal"))]
    | Annotated[InputText, Tag(tag("input_text"))],
    by_type(),
    BeforeValidator(ASSISTANT_PARTS.check),
]
TextContent = Annotated[
    Annotated[str, Tag(tag("string"))] | Annotated[list[TextPart], Tag(tag("array"))], string_or("array")
]
AssistantContent = Annotated[
    Annotated[str, Tag(tag("string"))] | Annotated[list[AssistantPart], Tag(tag("array"))], string_or("array")
]


class _Item(Strict):
    """What any item may carry."""

    id: ItemId | None = None
    status: Status | None = None
    created_by: str | None = None


class InputMessage(_Item):
    """A message to the model. `phase` means nothing here but is sent by clients that copy messages."""

    type: Literal["message"] | None = None
    role: Role
    content: TextContent
    phase: Phase | None = None


class AssistantMessage(_Item):
    """A message that a model wrote, or that the client says it wrote."""

    type: Literal["message"] | None = None
    role: Literal["assistant"]
    content: AssistantContent
    phase: Phase | None = None


class DirectCaller(Strict):
    """The model itself called, as it always does here."""

    type: Literal["direct"]


class FunctionCallItem(_Item):
    """A call that a model made. `arguments` is whatever text it wrote, not always JSON."""

    type: Literal["function_call"]
    call_id: NonEmpty
    name: NonEmpty
    arguments: str
    namespace: None = None
    caller: DirectCaller | None = None
    is_async: Literal[False] | None = Field(default=None, validation_alias=AliasChoices("async", "async_"))
    parsed_arguments: Any = None


class FunctionCallOutputItem(_Item):
    """What the client's function gave back."""

    type: Literal["function_call_output"]
    call_id: NonEmpty
    output: TextContent
    name: str | None = None
    namespace: None = None
    caller: DirectCaller | None = None


class ReasoningItemParam(_Item):
    """Reasoning that comes back. Only plain text can: this server issues no encrypted content and could read none."""

    type: Literal["reasoning"]
    summary: list[SummaryText] | None = None
    content: list[ReasoningTextPart] | None = None
    encrypted_content: None = None


def _with_type(value: Any) -> Any:
    """An item with its `type` spelled out: a message may leave it out, and so may a reference, which is an id alone."""
    if not isinstance(value, dict) or value.get("type") is not None:
        return ITEMS.check(value)
    if "role" in value or "content" in value:
        return value | {"type": "message"}
    return ITEMS.check(value | {"type": "item_reference"} if "id" in value else value)


def _item_tag(value: dict[str, Any]) -> str:
    if value["type"] == "message" and value.get("role") == "assistant":
        return tag("assistant message")
    return tag(value["type"])


InputItem = Annotated[
    Annotated[InputMessage, Tag(tag("message"))]
    | Annotated[AssistantMessage, Tag(tag("assistant message"))]
    | Annotated[FunctionCallItem, Tag(tag("function_call"))]
    | Annotated[FunctionCallOutputItem, Tag(tag("function_call_output"))]
    | Annotated[ReasoningItemParam, Tag(tag("reasoning"))],
    Discriminator(_item_tag),
    BeforeValidator(_with_type),
]

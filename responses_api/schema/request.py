"""The body of `POST /v1/responses`: the parameters that are served, with their published types and bounds.

What the API publishes beyond these is refused by name before a body gets here (`parameters`), and every other field is
unknown. Null means the same as silence throughout.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Tag

from responses_api.schema.input_items import InputItem, NonEmpty
from responses_api.schema.variants import TEXT_FORMATS, TOOL_CHOICES, TOOLS, Strict, by_type, string_or, tag

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ToolChoiceOption = Literal["none", "auto", "required"]
MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]
ResponseId = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
"""Any other string cannot be the id of a response, and need not reach a store."""


class FunctionTool(Strict):
    """A function that the client runs. The API allows names of up to 128 characters."""

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_-]+$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionChoice(Strict):
    """The model has to call this function."""

    type: Literal["function"]
    name: NonEmpty


class TextFormat(Strict):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(Strict):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]
    schema_: dict[str, Any] = Field(validation_alias="schema")
    description: str | None = None
    strict: bool | None = None


Tool = Annotated[FunctionTool, BeforeValidator(TOOLS.check)]
ToolChoice = Annotated[
    Annotated[ToolChoiceOption, Tag(tag("string"))]
    | Annotated[FunctionChoice, BeforeValidator(TOOL_CHOICES.check), Tag(tag("object"))],
    string_or("object"),
]
Format = Annotated[
    Annotated[TextFormat, Tag(tag("text"))]
    | Annotated[JsonObjectFormat, Tag(tag("json_object"))]
    | Annotated[JsonSchemaFormat, Tag(tag("json_schema"))],
    by_type(),
    BeforeValidator(TEXT_FORMATS.check),
]
Input = Annotated[
    Annotated[str, Tag(tag("string"))] | Annotated[list[InputItem], Tag(tag("array"))], string_or("array")
]


class TextConfig(Strict):
    """What the answer's text has to be."""

    format: Format | None = None


class ReasoningConfig(Strict):
    """How much the model is to think."""

    effort: Effort | None = None


class StreamOptions(Strict):
    """Nothing of it is served, so that it may only be empty; see `parameters`."""


class CreateResponse(Strict):
    """What a client asks for. `parse_request` makes it, `admit` judges it."""

    model: NonEmpty
    input: Input | None = None
    instructions: str | None = None
    previous_response_id: ResponseId | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: Annotated[str, Field(max_length=128)] | None = None
    prompt_cache_key: str | None = None

"""What is let in: a body becomes a checked request, and a request an `Admitted` one, or is refused by name.

Everything that cannot be served is refused here, before any work: after admission only the conversation's coherence and
the model's context can still be in the way.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from responses_api.admitted import Admitted, ModelCard
from responses_api.body import read_object
from responses_api.errors import InvalidRequest
from responses_api.listing import listed, user_message
from responses_api.parameters import without_unserved
from responses_api.records import OutputFormat
from responses_api.schema.request import (
    CreateResponse,
    FunctionChoice,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    TextFormat,
)
from responses_api.schema.response import Echo
from responses_api.schema_errors import missing, refusal


def parse_request(body: bytes) -> CreateResponse:
    """The request in the body of `POST /v1/responses`.

    Raises:
        InvalidRequest: with the first offending field as `param`; none if the body is no JSON object.
    """
    served = without_unserved(read_object(body))
    try:
        return CreateResponse.model_validate(served)
    except ValidationError as exc:
        raise refusal(exc, served) from None


def admit(request: CreateResponse, *, model: ModelCard) -> Admitted:
    """Judge a request by what its parameters mean together and for this model.

    Raises:
        InvalidRequest: it cannot be served.
    """
    if request.model not in (model.name, *model.aliases):
        raise unknown_model(request.model)
    if request.stream_options is not None and not request.stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is true."
        raise InvalidRequest(message, param="stream_options")
    items = _input_items(request)
    tools = request.tools or []
    _check_tools(tools, model=model)
    text_format = (request.text and request.text.format) or TextFormat(type="text")
    return Admitted(
        echo=_echo(request, tools, text_format),
        input_items=items,
        stream=request.stream is True,
        temperature=request.temperature,
        top_p=request.top_p,
        output_format=_output_format(text_format),
        reasoning_effort=request.reasoning.effort if request.reasoning else None,
    )


def unknown_model(model: str) -> InvalidRequest:
    """The refusal of a model that is not served."""
    message = f"The requested model '{_cut(model)}' does not exist."
    return InvalidRequest(message, param="model", code="model_not_found")


def _input_items(request: CreateResponse) -> list[dict[str, Any]]:
    """The new items; none at all, which an empty string is too, only where an earlier turn is continued."""
    given = request.input
    if not given:
        if request.previous_response_id is not None:
            return []
        if given is None:
            raise missing("input")
        raise InvalidRequest("Invalid 'input': must not be empty without 'previous_response_id'.", param="input")
    if isinstance(given, str):
        return [user_message(given)]
    return [listed(item) for item in given]


def _check_tools(tools: list[FunctionTool], *, model: ModelCard) -> None:
    if tools and not model.calls_functions:
        message = f"Unsupported parameter: 'tools' is not supported with the model '{model.name}'."
        raise InvalidRequest(message, param="tools", code="unsupported_parameter")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        if tool.name in names:
            message = f"Duplicate function name '{tool.name}': the names of tools have to differ."
            raise InvalidRequest(message, param=f"tools[{index}].name")
        names.add(tool.name)
        # an empty schema says as little as none; any other has to be one of objects, which arguments are
        if tool.parameters and tool.parameters.get("type") != "object":
            message = f"Invalid schema for function '{tool.name}': expected a JSON Schema of 'type: \"object\"'."
            raise InvalidRequest(message, param=f"tools[{index}].parameters", code="invalid_function_parameters")


def _tool_choice(request: CreateResponse, tools: list[FunctionTool]) -> str | dict[str, Any]:
    """The choice as it is echoed, checked against the tools."""
    match request.tool_choice:
        case None:
            return "auto"
        case FunctionChoice(name=name):
            if name not in {tool.name for tool in tools}:
                message = f"Tool choice '{_cut(name)}' not found in 'tools' parameter."
                raise InvalidRequest(message, param="tool_choice")
            return {"type": "function", "name": name}
        case "required" if not tools:
            message = "Tool choice 'required' must be specified with the 'tools' parameter."
            raise InvalidRequest(message, param="tool_choice")
        case choice:
            return choice


def _echo(
    request: CreateResponse, tools: list[FunctionTool], text_format: TextFormat | JsonObjectFormat | JsonSchemaFormat
) -> Echo:
    """The request's parameters as the response repeats them."""
    return Echo(
        model=request.model,
        instructions=request.instructions,
        previous_response_id=request.previous_response_id,
        max_output_tokens=request.max_output_tokens,
        metadata=request.metadata or {},
        parallel_tool_calls=request.parallel_tool_calls is not False,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        tools=[_tool_echo(tool) for tool in tools],
        tool_choice=_tool_choice(request, tools),
        text={"format": _format_echo(text_format), "verbosity": "medium"},
        reasoning={"effort": request.reasoning.effort if request.reasoning else None, "summary": None},
        store=request.store is not False,
        safety_identifier=request.safety_identifier,
        prompt_cache_key=request.prompt_cache_key,
        user=request.user,
    )


def _tool_echo(tool: FunctionTool) -> dict[str, Any]:
    """A tool as the API returns it: every field is there, and `strict` is true unless the client said false."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict is not False,
    }


def _format_echo(text_format: TextFormat | JsonObjectFormat | JsonSchemaFormat) -> dict[str, Any]:
    if not isinstance(text_format, JsonSchemaFormat):
        return {"type": text_format.type}
    return {
        "type": "json_schema",
        "name": text_format.name,
        "description": text_format.description,
        "schema": text_format.schema_,
        "strict": text_format.strict is True,
    }


def _output_format(text_format: TextFormat | JsonObjectFormat | JsonSchemaFormat) -> OutputFormat:
    if isinstance(text_format, JsonSchemaFormat):
        return OutputFormat(kind="json_schema", schema=text_format.schema_)
    return OutputFormat(kind=text_format.type)


def _cut(name: str) -> str:
    return name if len(name) <= 64 else f"{name[:64]}…"

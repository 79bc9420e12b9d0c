"""What is asked of vLLM for a generation request. Pure; imports no vLLM."""

from __future__ import annotations

from typing import Any

from responses_api.records import GenerationRequest, OutputFormat

REQUEST_PARAMS = {
    "messages": "input",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}
"""The client's name for each field of vLLM's request."""


def chat_fields(request: GenerationRequest) -> dict[str, Any]:
    """The fields of vLLM's chat request. The output limit is not among them: vLLM would refuse what can be clamped."""
    fields: dict[str, Any] = {
        "messages": [dict(message) for message in request.messages],  # vLLM's validators change them in place
        "stream": True,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "reasoning_effort": request.reasoning_effort,
        "include_reasoning": True,
        "response_format": _response_format(request.output_format),
    }
    if request.tools:
        fields["tools"] = request.tools
        fields["tool_choice"] = _tool_choice(request.tool_choice)
        fields["parallel_tool_calls"] = request.parallel_tool_calls
    return fields


def wants_tools(request: GenerationRequest) -> bool:
    """Whether the model may call a tool in this response."""
    return request.tool_choice != "none" and (bool(request.tools) or request.tool_choice != "auto")


def _tool_choice(choice: str) -> Any:
    kind, _, name = choice.partition(":")
    return {"type": "function", "function": {"name": name}} if kind == "function" else choice


def _response_format(wanted: OutputFormat) -> dict[str, Any] | None:
    match wanted.kind:
        case "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted.schema, "strict": True}}

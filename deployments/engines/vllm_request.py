"""What is asked of vLLM for a generation request, and which schemas are too large to ask for. Pure; imports no vLLM."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from responses_api.errors import InvalidRequest
from responses_api.records import GenerationRequest, OutputFormat

MAX_PROPERTIES = 1_000
"""Object properties in one schema. Compiling takes the square of them: 0.25 s for 500 optional ones, 5 s for 1,500."""
MAX_ENUM_VALUES = 1_000
"""Enum values in one schema."""
MAX_SCHEMA_CHARS = 120_000
"""Characters in one schema's property names, enum and const values together."""
MAX_PATTERN_CHARS = 4_000
"""Characters in one schema's regular expressions together."""

MAX_REPETITIONS = 1_000
"""Sum of the counts in the braces of one schema's regular expressions: `(a?){5000}a{5000}` compiles for 10 s."""

REPETITION = re.compile(r"\{\s*+(\d*+)\s*+,?\s*+(\d*+)\s*+\}")
"""`{n}`, `{n,}`, `{,m}` and `{n,m}`. Possessive, since it reads text of any length before a limit applies."""

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


def check_schema_size(schema: Any, *, param: str) -> None:
    """Refuse a JSON schema that would take a grammar compiler seconds; nothing can stop a compilation once it runs.

    Raises:
        InvalidRequest: the schema at `param` is over one of this module's limits.
    """
    properties = enums = chars = 0
    patterns: list[str] = []
    for node in _objects(schema):
        if isinstance(names := node.get("properties"), dict):
            properties += len(names)
            chars += sum(map(len, names))
        if isinstance(values := node.get("enum"), list):
            enums += len(values)
            chars += sum(len(value) for value in values if isinstance(value, str))
        if isinstance(const := node.get("const"), str):
            chars += len(const)
        if isinstance(pattern := node.get("pattern"), str):
            patterns.append(pattern)
        if isinstance(named := node.get("patternProperties"), dict):
            patterns.extend(named)
    for what, count, limit in (
        ("properties", properties, MAX_PROPERTIES),
        ("enum values", enums, MAX_ENUM_VALUES),
        ("characters in names and values", chars, MAX_SCHEMA_CHARS),
        ("characters in patterns", sum(map(len, patterns)), MAX_PATTERN_CHARS),
        ("repetitions in patterns", sum(map(_repetitions, patterns)), MAX_REPETITIONS),
    ):
        if count > limit:
            raise InvalidRequest(f"The JSON schema has {count} {what}; at most {limit} are supported.", param=param)


def _repetitions(pattern: str) -> int:
    """The sum of the greater counts of `{n}`, `{n,}`, `{,m}` and `{n,m}`."""
    return sum(max(_count(low), _count(high)) for low, high in REPETITION.findall(pattern))


def _count(digits: str) -> int:
    """A count as far as nine digits go, which is beyond any limit: Python refuses to read very long numbers."""
    return int(digits.lstrip("0")[:9] or 0)


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """All JSON objects within `schema`, itself included, whatever its depth."""
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


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

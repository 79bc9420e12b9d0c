"""The plainest value that fits a JSON Schema, always the same one for the same schema. For the scripted engine.

Follows types, enums, bounds, required properties, references and alternatives; a `pattern` is beyond it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, inf
from typing import Any

_DEEPEST = 32
_FORMATS = {
    "date": "2001-01-01",
    "date-time": "2001-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class NoInstanceError(ValueError):
    """No value was found that fits the schema."""


def instance_of(schema: Any) -> Any:
    """A value that fits `schema`.

    Raises:
        NoInstanceError: the schema is contradictory, endless or beyond this generator.
    """
    return _instance(schema, schema, 0)


def _instance(schema: Any, root: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise NoInstanceError("the schema requires itself")
    if schema is True:
        return None
    if not isinstance(schema, dict):
        raise NoInstanceError(f"no value fits the schema {schema!r}")
    schema = _flat(schema, root, depth)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for alternatives in ("anyOf", "oneOf"):
        if schema.get(alternatives):
            return _instance(schema[alternatives][0], root, depth + 1)
    kind = _kind(schema)
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return [_instance(schema.get("items", True), root, depth + 1) for _ in range(schema.get("minItems", 0))]
    if kind not in _SCALARS:
        raise NoInstanceError(f"unknown type {kind!r}")
    return _SCALARS[kind](schema)


def _flat(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    """The schema with its reference and its `allOf` put in their places."""
    if depth > _DEEPEST:
        raise NoInstanceError("the schema refers to itself")
    merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
    parts = [_target(schema["$ref"], root)] if "$ref" in schema else []
    for part in [*parts, *schema.get("allOf", [])]:
        more = _flat(part, root, depth + 1)
        properties = {**merged.get("properties", {}), **more.get("properties", {})}
        required = [*merged.get("required", []), *more.get("required", [])]
        merged.update(more)
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = required
    return merged


def _target(reference: Any, root: Any) -> dict[str, Any]:
    found = root
    for step in str(reference).removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise NoInstanceError(f"the reference {reference!r} leads nowhere")
    return found


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "null")
    if isinstance(kind, list):
        return next((str(each) for each in kind if each != "null"), "null")
    return str(kind)


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    names = dict.fromkeys(schema.get("required", []))
    return {name: _instance(properties.get(name, True), root, depth + 1) for name in names}


def _string(schema: dict[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), "text")
    text = text.ljust(int(schema.get("minLength", 0)), "x")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _integer(schema: dict[str, Any]) -> int:
    return int(_multiple(schema, schema.get("multipleOf", 1)))


def _number(schema: dict[str, Any]) -> float:
    if "multipleOf" in schema:
        return float(_multiple(schema, schema["multipleOf"]))
    try:
        return float(_multiple(schema, 1))
    except NoInstanceError:  # no whole number fits
        low: float = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high: float = schema.get("maximum", schema.get("exclusiveMaximum", 0))
        return (low + high) / 2


def _multiple(schema: dict[str, Any], step: float) -> float:
    """The multiple of `step` within the schema's bounds that is nearest to zero."""
    low, high = -inf, inf
    if "minimum" in schema:
        low = ceil(schema["minimum"] / step)
    if "exclusiveMinimum" in schema:
        low = max(low, floor(schema["exclusiveMinimum"] / step) + 1)
    if "maximum" in schema:
        high = floor(schema["maximum"] / step)
    if "exclusiveMaximum" in schema:
        high = min(high, ceil(schema["exclusiveMaximum"] / step) - 1)
    if low > high:
        raise NoInstanceError(f"no multiple of {step} fits the bounds")
    return max(low, min(high, 0)) * step


_SCALARS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda _: True,
    "null": lambda _: None,
}

from __future__ import annotations

from typing import Any

import pytest

from deployments.engines.json_instance import NoInstanceError, instance_of

_LINKED = {
    "$defs": {"name": {"type": "string", "minLength": 6}},
    "type": "object",
    "properties": {"who": {"$ref": "#/$defs/name"}},
    "required": ["who"],
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, None),
        ({}, None),
        ({"const": 7}, 7),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": ["null", "integer"]}, 0),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 2.5}, 3),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "integer", "minimum": 4, "multipleOf": 5}, 5),
        ({"type": "number", "multipleOf": 0.5, "minimum": 0.3}, 0.5),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2001-01-01"),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 0}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"oneOf": [{"const": 1}]}, 1),
        ({"allOf": [{"required": ["a"]}, {"properties": {"a": {"const": 1}}}]}, {"a": 1}),
        (_LINKED, {"who": "textxx"}),
    ],
)
def test_the_plainest_value_fits(schema: Any, value: Any) -> None:
    assert instance_of(schema) == value


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "thing"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"type": "object", "properties": {"again": {"$ref": "#"}}, "required": ["again"]},
    ],
)
def test_what_cannot_be_met_is_said(schema: Any) -> None:
    with pytest.raises(NoInstanceError):
        instance_of(schema)

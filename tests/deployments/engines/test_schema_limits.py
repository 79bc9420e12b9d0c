from __future__ import annotations

from typing import Any

import pytest

from deployments.engines.schema_limits import (
    MAX_ENUM_VALUES,
    MAX_LENGTHS,
    MAX_PATTERN_CHARS,
    MAX_PROPERTIES,
    MAX_REPETITIONS,
    MAX_SCHEMA_CHARS,
    check_schema_size,
)
from responses_api.errors import InvalidRequest


def _properties(count: int) -> dict[str, Any]:
    return {"properties": {f"p{n}": {} for n in range(count)}}


def _halves(keyword: str, one: Any, other: Any) -> dict[str, Any]:
    """Two schemas in different places of one: the limits are of the whole."""
    return {"properties": {"": {keyword: one}}, "anyOf": [{"items": [{keyword: other}]}]}


def _patterns(chars: int) -> dict[str, Any]:
    return {"pattern": "a" * (chars - 10), "patternProperties": {"b" * 10: True}}


SIZES = [
    ("properties", MAX_PROPERTIES, _properties),
    ("properties", MAX_PROPERTIES, lambda n: {"$defs": {"a": _properties(1), "b": {"not": _properties(n - 1)}}}),
    ("enum values", MAX_ENUM_VALUES, lambda n: {"enum": list(range(n))}),
    ("enum values", MAX_ENUM_VALUES, lambda n: _halves("enum", [None], ["a"] * (n - 1))),
    ("characters in names and values", MAX_SCHEMA_CHARS, lambda n: {"properties": {"a" * n: {}}}),
    ("characters in names and values", MAX_SCHEMA_CHARS, lambda n: {"enum": ["a" * (n - 1), 7, "b"]}),
    ("characters in names and values", MAX_SCHEMA_CHARS, lambda n: _halves("const", "a" * (n - 1), "b")),
    ("characters in patterns", MAX_PATTERN_CHARS, lambda n: {"pattern": "a" * n}),
    ("characters in patterns", MAX_PATTERN_CHARS, _patterns),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"pattern": f"a{{{n}}}"}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"pattern": f"a{{ {n} , }}"}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"pattern": f"a{{,{n}}}"}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"pattern": f"(a?){{3,{n - 1}}}a{{1}}"}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: {"patternProperties": {f"a{{{n}}}": {}}}),
    ("repetitions in patterns", MAX_REPETITIONS, lambda n: _halves("pattern", f"a{{{n - 1}}}", "b{1}")),
    ("characters in string lengths", MAX_LENGTHS, lambda n: {"maxLength": n}),
    ("characters in string lengths", MAX_LENGTHS, lambda n: _halves("minLength", 1, n - 1)),
]


@pytest.mark.parametrize(("what", "limit", "schema"), SIZES)
def test_a_schema_at_a_limit_passes_and_one_over_it_is_refused(what: str, limit: int, schema: Any) -> None:
    check_schema_size(schema(limit), param="tools")
    with pytest.raises(InvalidRequest) as caught:
        check_schema_size(schema(limit + 1), param="tools")
    assert caught.value.message == f"The JSON schema has {limit + 1} {what}; at most {limit} are supported."
    assert caught.value.param == "tools"


def test_a_huge_count_is_over_the_limit_however_it_is_written() -> None:
    for count in ("1001", "0000001001", "0" * 30 + "1001", "9" * 9, "9" * 10, "9" * 30, "9" * 3_900):
        with pytest.raises(InvalidRequest, match="repetitions"):
            check_schema_size({"pattern": f"a{{{count}}}"}, param="tools")


def test_braces_that_count_nothing_are_no_repetitions() -> None:
    check_schema_size({"pattern": r"\{\} {} {,} {a} \p{L}"}, param="tools")


@pytest.mark.parametrize(
    "schema", [None, True, {}, [], "text", {"properties": 1, "enum": "a", "pattern": 2, "const": 3}]
)
def test_what_is_no_schema_has_no_size(schema: Any) -> None:
    check_schema_size(schema, param="tools")


@pytest.mark.parametrize(
    "pattern", ["{" + " " * 5_000_000, "{" * 5_000_000, "{" + "1" * 5_000_000], ids=["  ", "{", "1"]
)
def test_a_pattern_is_measured_in_time_that_grows_with_its_length(pattern: str) -> None:
    """Other than in line with its length, these would take hours: the test would run into its time limit."""
    with pytest.raises(InvalidRequest, match="characters in patterns"):
        check_schema_size({"pattern": pattern}, param="tools")


def test_depth_is_no_danger() -> None:
    deep: dict[str, Any] = {"enum": list(range(MAX_ENUM_VALUES + 1))}
    for _ in range(50_000):
        deep = {"items": deep}
    with pytest.raises(InvalidRequest, match="enum values"):
        check_schema_size(deep, param="tools")


@pytest.mark.parametrize(
    "pattern",
    [
        r"(\d{1,3}\.){3}\d{1,3}",
        r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
        r"([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
        r"a{20}b{20}(c{3}|d{4}){8}",
        r"((a{1,5}b?)*c){1,4}",
        r"([({]{9}){2}",
        r"(\({9}){2}",
        r"((((a){1}){1}){1}){9}",
    ],
)
def test_repetitions_of_repetitions_pass_where_they_are_few(pattern: str) -> None:
    check_schema_size({"pattern": pattern}, param="tools")


@pytest.mark.parametrize(
    "pattern",
    [
        "(.{0,9}){0,9}",
        "((.{0,9}){0,9})Q",
        "(((((.{0,9}){0,9}){0,9}){0,9}){0,9}){0,9}Q",
        "((a{2}){2}){2}",
        "(a|(b[)]{3}c)d){11}",
        "(?:x(y{2,}z)w)q(.{11}){3}",
    ],
)
def test_repetitions_of_repetitions_that_multiply_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="repetitions of repetitions") as caught:
        check_schema_size({"items": {"pattern": pattern}}, param="tools")
    assert caught.value.param == "tools"

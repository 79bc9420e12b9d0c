"""Which JSON schemas are too large to be turned into a grammar. Pure.

A grammar is compiled in the engine's own processes, nothing stops a compilation once it runs, and all other requests
wait for it. So what would take seconds is refused before; the limits were measured with xgrammar and a vocabulary of
49,152 tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from responses_api.errors import InvalidRequest

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

MAX_NESTED_REPETITIONS = 32
"""Product of the counts of a repetition within a repetition: `(.{0,9}){0,9}` compiles for minutes."""

MAX_LENGTHS = 20_000
"""Sum of the `minLength` and `maxLength` of one schema's strings: 100,000 compile for 5 s."""

REPETITION = re.compile(r"\{\s*+(\d*+)\s*+,?\s*+(\d*+)\s*+\}")
"""`{n}`, `{n,}`, `{,m}` and `{n,m}`. Possessive, since it reads text of any length before a limit applies."""

_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]|[^\\\[({)]", re.DOTALL)
"""An escape, a class, or a character that neither groups nor counts."""


def check_schema_size(schema: Any, *, param: str) -> None:
    """Refuse a JSON schema that would take a grammar compiler seconds; nothing can stop a compilation once it runs.

    Raises:
        InvalidRequest: the schema at `param` is over one of this module's limits.
    """
    properties = enums = chars = lengths = 0
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
        for bound in ("minLength", "maxLength"):
            if isinstance(length := node.get(bound), int | float):
                lengths += max(0, int(min(length, MAX_LENGTHS + 1)))
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
        ("repetitions of repetitions in a pattern", max(map(_nested, patterns), default=0), MAX_NESTED_REPETITIONS),
        ("characters in string lengths", lengths, MAX_LENGTHS),
    ):
        if count > limit:
            raise InvalidRequest(f"The JSON schema has {count} {what}; at most {limit} are supported.", param=param)


def _repetitions(pattern: str) -> int:
    """The sum of the greater counts of `{n}`, `{n,}`, `{,m}` and `{n,m}`."""
    return sum(max(_count(low), _count(high)) for low, high in REPETITION.findall(pattern))


def _nested(pattern: str) -> int:
    """The greatest product of counts along a nest of two or more: 15 for `(a{1,3}b){5}`; 0 where nothing nests.

    Three levels count as beyond any limit.
    """
    greatest, at = 0, 0
    atom = (1, 0)  # product and depth of the counts within what was read last
    groups = [(1, 0)]  # the same for each group that is open, the pattern itself first
    while at < len(pattern):
        if (piece := _ATOM.match(pattern, at)) is not None:
            atom, at = (1, 0), piece.end()
        elif pattern[at] == "(":
            groups.append((1, 0))
            at += 1
        elif pattern[at] == ")" and len(groups) > 1:
            atom, at = groups.pop(), at + 1
            groups[-1] = max(groups[-1], atom)
        elif (counted := REPETITION.match(pattern, at)) is not None:
            count = max(map(_count, counted.groups()))
            if count > 1:
                atom = (atom[0] * count, atom[1] + 1)
                if atom[1] > 1:
                    greatest = max(greatest, atom[0] if atom[1] == 2 else MAX_NESTED_REPETITIONS + 1)
                groups[-1] = max(groups[-1], atom)
            at = counted.end()
        else:
            at += 1
    return greatest


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

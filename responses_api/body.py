"""Reading JSON that a client wrote: what gets past here can be walked, compared and encoded again without surprises.

The text's size is bounded before it gets here. Here the rest is: nesting, integers that no encoding can carry, numbers
that are none (NaN, infinities) and strings that are no Unicode (lone surrogates), the last two by msgspec's decoder.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from responses_api.errors import InvalidRequest

MAX_DEPTH: Final = 128
"""Levels of arrays and objects. JSON schemas, the deepest things that clients send, stay far below."""

_SMALLEST_INT: Final = -(2**63)
_LARGEST_INT: Final = 2**64 - 1

_Where = tuple["_Where | None", str | int]
"""A place in a body, as a list of its steps linked from the last to the first."""


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a request's body is. Of a repeated key the last value counts.

    Raises:
        InvalidRequest: it is no JSON (code `invalid_json`), no object, or holds what cannot be carried on.
    """
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as exc:  # msgspec's own errors, and the one of a body that is no UTF-8
        detail = exc if isinstance(exc, msgspec.MsgspecError) else "it is not UTF-8"
        raise InvalidRequest(f"The body of the request is not valid JSON: {detail}.", code="invalid_json") from exc
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"The body of the request must be a JSON object, not {json_type(value)}.", code="invalid_type"
        )
    _check(value)
    return value


def is_object_text(text: str) -> bool:
    """Whether `text` is the JSON of an object that could also stand in a request's body."""
    try:
        read_object(text.encode())
    except (InvalidRequest, UnicodeEncodeError):
        return False
    return True


def json_type(value: Any) -> str:
    """The JSON type of a decoded value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "an array"
        case _:
            return "an object"


def dotted(steps: list[str | int]) -> str:
    """A place in a body as `param` names it: `input[0].content[1].text`. A client's long names are cut."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    return text if len(text) <= 200 else f"{text[:200]}…"


def _check(body: dict[str, Any]) -> None:
    """Bound nesting and integers; a loop, since a recursion is what deep nesting is to be kept from."""
    waiting: list[tuple[Any, _Where | None, int]] = [(body, None, 1)]
    while waiting:
        value, where, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _too_deep()
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(child, dict | list):
                waiting.append((child, (where, step), depth + 1))
            elif isinstance(child, int) and not _SMALLEST_INT <= child <= _LARGEST_INT:
                param = dotted(_steps((where, step)))
                raise InvalidRequest(f"Invalid '{param}': integer out of range. Expected 64 bits at most.", param=param)


def _steps(where: _Where | None) -> list[str | int]:
    steps: list[str | int] = []
    while where is not None:
        where, step = where
        steps.append(step)
    return steps[::-1]


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body of the request is nested more than {MAX_DEPTH} levels deep.", code="invalid_json")

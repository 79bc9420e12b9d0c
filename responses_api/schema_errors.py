"""What pydantic found wrong with a body, said once and in the API's words.

Only the first mistake is reported. The path is the one in the client's JSON: union tags are taken out. Nothing of
pydantic's own text gets through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from responses_api.body import dotted, json_type
from responses_api.errors import InvalidRequest
from responses_api.schema.variants import VARIANTS

_EXPECTED: Final = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}


def refusal(error: ValidationError, body: Mapping[str, Any]) -> InvalidRequest:
    """The answer to a body that does not fit its model. `body` is what was validated."""
    found = error.errors(include_url=False)[0]
    param = _path(found["loc"], body)
    kind = found["type"]
    if kind in _EXPECTED:
        return wrong_type(param, found["input"], expected=_EXPECTED[kind])
    say = _RULES.get(kind)
    return say(param, found) if say is not None else InvalidRequest(f"Invalid value for '{param}'.", param=param)


def wrong_type(param: str, value: Any, *, expected: str) -> InvalidRequest:
    """The answer to a value of the wrong JSON type."""
    return InvalidRequest(
        f"Invalid type for '{param}': expected {expected}, but got {json_type(value)} instead.",
        param=param,
        code="invalid_type",
    )


def missing(param: str) -> InvalidRequest:
    """The answer to a body without a required field."""
    return InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def one_of(values: tuple[str, ...]) -> str:
    """Values for a message: `'a', 'b' and 'c'`."""
    quoted = [f"'{value}'" for value in values]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _path(loc: tuple[int | str, ...], body: Any) -> str:
    """The place in the client's JSON. A tag, `<…>` or `[key]`, is a step that the body does not have."""
    steps: list[str | int] = []
    here = body
    for step in loc:
        has_it = isinstance(here, dict) and step in here
        if step == "[key]" and not has_it:
            steps.pop()  # the mapping is to blame, whose key is wrong
        elif isinstance(step, int) or has_it or not step.startswith("<"):
            steps.append(step)
            here = here[step] if has_it or (isinstance(here, list) and isinstance(step, int)) else None
    return dotted(steps)


def _cut(value: str) -> str:
    return value if len(value) <= 64 else f"{value[:64]}…"


def _variant(param: str, found: ErrorDetails) -> InvalidRequest:
    """An object whose `type` is missing, no string, known but not served, or unknown."""
    table, value = VARIANTS[found["ctx"]["noun"]], found["input"]
    if not isinstance(value, dict):
        return wrong_type(param, value, expected="an object")
    param = f"{param}.type"
    kind = value.get("type")
    if kind is None:
        # only an item reference may leave its type out: it is an id alone
        if table.noun == "input item" and "id" in value:
            kind = "item_reference"
        else:
            return missing(param)
    if not isinstance(kind, str):
        return wrong_type(param, kind, expected="a string")
    served = one_of(table.served)
    if kind in table.not_served:
        message = f"Unsupported value: the {table.noun} type '{kind}' is not served. Supported values are: {served}."
        return InvalidRequest(message, param=param, code="unsupported_value")
    return InvalidRequest(f"Invalid value: '{_cut(kind)}'. Supported values are: {served}.", param=param)


def _literal(param: str, found: ErrorDetails) -> InvalidRequest:
    value, expected = found["input"], found["ctx"]["expected"]
    if expected == "False":  # published as a boolean, of which the other half is not served
        return _null_only(param, found)
    if not isinstance(value, str):
        return wrong_type(param, value, expected=expected)
    values = expected.replace(" or ", " and ")
    return InvalidRequest(f"Invalid value: '{_cut(value)}'. Supported values are: {values}.", param=param)


def _bound(side: str, sign: str, key: str) -> Callable[[str, ErrorDetails], InvalidRequest]:
    def say(param: str, found: ErrorDetails) -> InvalidRequest:
        kind = "integer" if isinstance(found["input"], int) else "number"
        return InvalidRequest(
            f"Invalid '{param}': {kind} {side}. "
            f"Expected a value {sign} {found['ctx'][key]:g}, but got {found['input']} instead.",
            param=param,
        )

    return say


def _too_long(param: str, found: ErrorDetails) -> InvalidRequest:
    noun = "a string of at most {} characters" if isinstance(found["input"], str) else "an object of at most {} pairs"
    limit, size = found["ctx"]["max_length"], len(found["input"])
    return InvalidRequest(f"Invalid '{param}': too long. Expected {noun.format(limit)}, but got {size}.", param=param)


def _pattern(param: str, found: ErrorDetails) -> InvalidRequest:
    message = f"Invalid '{param}': expected a string that matches the pattern '{found['ctx']['pattern']}'."
    return InvalidRequest(message, param=param)


def _unknown(param: str, _: ErrorDetails) -> InvalidRequest:
    return InvalidRequest(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def _null_only(param: str, _: ErrorDetails) -> InvalidRequest:
    message = f"Unsupported parameter: '{param}' is not served; leave it out or send null."
    return InvalidRequest(message, param=param, code="unsupported_parameter")


_RULES: Final[dict[str, Callable[[str, ErrorDetails], InvalidRequest]]] = {
    "missing": lambda param, _: missing(param),
    "extra_forbidden": _unknown,
    "none_required": _null_only,
    "variant": _variant,
    "wrong_json_type": lambda param, found: wrong_type(param, found["input"], expected=found["msg"]),
    "literal_error": _literal,
    "greater_than": _bound("below minimum value", ">", "gt"),
    "greater_than_equal": _bound("below minimum value", ">=", "ge"),
    "less_than_equal": _bound("above maximum value", "<=", "le"),
    "string_too_short": lambda param, _: InvalidRequest(f"Invalid '{param}': must not be empty.", param=param),
    "string_too_long": _too_long,
    "too_long": _too_long,
    "string_pattern_mismatch": _pattern,
}

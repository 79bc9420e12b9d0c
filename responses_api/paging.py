"""Pages of a list of items, and the query strings that ask for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from responses_api.errors import InvalidRequest

MAX_LIMIT: Final = 100
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page is asked for; the defaults are the API's."""

    limit: int = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A list object as the API answers it. The ids are null on an empty page."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


def page_query(query: Mapping[str, str]) -> PageQuery:
    """The page that a query string asks for.

    Raises:
        InvalidRequest: a value is wrong, or a parameter is not served or not known.
    """
    for name in query:
        if name.partition("[")[0] == "include":
            message = "Unsupported parameter: 'include' is not served: there is nothing more to include."
            raise InvalidRequest(message, param="include", code="unsupported_parameter")
        if name not in ("limit", "order", "after"):
            raise InvalidRequest(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        message = f"Invalid value: '{order[:64]}'. Supported values are: 'asc' and 'desc'."
        raise InvalidRequest(message, param="order")
    return PageQuery(
        limit=query_int(query["limit"], param="limit", at_least=1, at_most=MAX_LIMIT) if "limit" in query else 20,
        order="asc" if order == "asc" else "desc",
        after=query.get("after"),
    )


def query_int(text: str, *, param: str, at_least: int, at_most: int | None = None) -> int:
    """An integer in a query string.

    Raises:
        InvalidRequest: it is none, or out of bounds.
    """
    if _INTEGER.fullmatch(text) is None:
        message = f"Invalid type for '{param}': expected an integer, but got '{text[:64]}' instead."
        raise InvalidRequest(message, param=param, code="invalid_type")
    value = int(text)
    if value < at_least:
        message = (
            f"Invalid '{param}': integer below minimum value. Expected a value >= {at_least}, but got {value} instead."
        )
        raise InvalidRequest(message, param=param)
    if at_most is not None and value > at_most:
        message = (
            f"Invalid '{param}': integer above maximum value. Expected a value <= {at_most}, but got {value} instead."
        )
        raise InvalidRequest(message, param=param)
    return value


def input_items_page(
    items: Sequence[Mapping[str, Any]],
    *,
    limit: int = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> Page:
    """One page of `items`, which are given oldest first; `after` is the id of the last item of the page before.

    Raises:
        InvalidRequest: `limit` is out of bounds, or no item has the id `after`.
    """
    query_int(str(limit), param="limit", at_least=1, at_most=MAX_LIMIT)
    ordered = [dict(item) for item in (items if order == "asc" else reversed(items))]
    start = 0
    if after is not None:
        at = next((index for index, item in enumerate(ordered) if item["id"] == after), None)
        if at is None:
            raise InvalidRequest(f"No item with id '{after[:64]}' found.", param="after")
        start = at + 1
    data = ordered[start : start + limit]
    return Page(
        data=data,
        first_id=data[0]["id"] if data else None,
        last_id=data[-1]["id"] if data else None,
        has_more=start + limit < len(ordered),
    )

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseItemList

from responses_api.errors import InvalidRequest
from responses_api.paging import PageQuery, input_items_page, page_query, query_int

ITEMS: list[dict[str, Any]] = [
    {
        "id": f"msg_{n}",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": str(n)}],
    }
    for n in range(45)
]


def test_the_first_page_is_the_newest_twenty() -> None:
    page = input_items_page(ITEMS)
    assert [item["id"] for item in page.data] == [f"msg_{n}" for n in range(44, 24, -1)]
    assert (page.first_id, page.last_id, page.has_more, page.object) == ("msg_44", "msg_25", True, "list")


def test_the_published_client_reads_a_page() -> None:
    ResponseItemList.model_validate_json(msgspec.json.encode(input_items_page(ITEMS)), strict=True)


def test_no_items_are_an_empty_page() -> None:
    page = input_items_page([])
    assert (page.data, page.first_id, page.last_id, page.has_more) == ([], None, None, False)


@given(st.integers(0, 45), st.integers(1, 100), st.sampled_from(["asc", "desc"]))
def test_pages_add_up_to_the_list(count: int, limit: int, order: Any) -> None:
    items = ITEMS[:count]
    got: list[dict[str, Any]] = []
    after = None
    for _ in range(count + 1):
        page = input_items_page(items, limit=limit, order=order, after=after)
        got += page.data
        after = page.last_id
        if not page.has_more:
            break
    assert got == (items if order == "asc" else items[::-1])


def test_a_page_that_ends_with_the_list_has_no_more() -> None:
    assert not input_items_page(ITEMS[:5], limit=5).has_more
    assert input_items_page(ITEMS[:5], limit=4).has_more


def test_an_unknown_item_is_no_place_to_go_on_from() -> None:
    with pytest.raises(InvalidRequest) as caught:
        input_items_page(ITEMS, after="msg_no")
    assert caught.value.param == "after"


@pytest.mark.parametrize("limit", [0, 101, -1])
def test_a_limit_out_of_bounds_is_refused(limit: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        input_items_page(ITEMS, limit=limit)
    assert caught.value.param == "limit"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, PageQuery(limit=20, order="desc", after=None)),
        ({"limit": "1", "order": "asc", "after": "x"}, PageQuery(limit=1, order="asc", after="x")),
        ({"limit": "100", "order": "desc"}, PageQuery(limit=100)),
    ],
)
def test_a_query_asks_for_a_page(query: dict[str, str], expected: PageQuery) -> None:
    assert page_query(query) == expected


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ({"limit": "abc"}, "limit", "invalid_type"),
        ({"limit": ""}, "limit", "invalid_type"),
        ({"limit": "1.5"}, "limit", "invalid_type"),
        ({"limit": "1_0"}, "limit", "invalid_type"),
        ({"limit": " 1"}, "limit", "invalid_type"),
        ({"limit": "\uff11"}, "limit", "invalid_type"),
        ({"limit": "9" * 5000}, "limit", "invalid_type"),
        ({"limit": "0"}, "limit", "invalid_value"),
        ({"limit": "-1"}, "limit", "invalid_value"),
        ({"limit": "101"}, "limit", "invalid_value"),
        ({"order": "up"}, "order", "invalid_value"),
        ({"include": "x"}, "include", "unsupported_parameter"),
        ({"include[]": "x"}, "include", "unsupported_parameter"),
        ({"before": "x"}, "before", "unknown_parameter"),
    ],
)
def test_a_wrong_query_is_refused_by_name(query: dict[str, str], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        page_query(query)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_an_integer_may_have_no_upper_bound() -> None:
    assert query_int("+123456789012345678", param="starting_after", at_least=0) == 123456789012345678

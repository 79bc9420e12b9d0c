from __future__ import annotations

import re

import pytest

from responses_api import ids

RESPONSE = "resp_" + "ab" * 24


def test_a_response_id_is_made_of_the_randomness_it_is_given() -> None:
    assert ids.response_id_from(bytes(range(24))) == "resp_000102030405060708090a0b0c0d0e0f1011121314151617"


def test_a_response_id_that_could_be_guessed_is_not_made() -> None:
    ids.response_id_from(bytes(16))
    with pytest.raises(ValueError, match="at least 16 random bytes, got 15"):
        ids.response_id_from(bytes(15))


@pytest.mark.parametrize(
    ("made", "pattern"),
    [
        (ids.message_id(RESPONSE, 0), "msg_[0-9a-f]{48}"),
        (ids.reasoning_id(RESPONSE, 0), "rs_[0-9a-f]{48}"),
        (ids.function_call_id(RESPONSE, 0), "fc_[0-9a-f]{48}"),
        (ids.call_id(RESPONSE, 0), "call_[0-9a-f]{24}"),
        (ids.input_item_id(RESPONSE, 0, "message"), "msg_[0-9a-f]{48}"),
        (ids.input_item_id(RESPONSE, 0, "function_call"), "fc_[0-9a-f]{48}"),
        (ids.input_item_id(RESPONSE, 0, "function_call_output"), "fco_[0-9a-f]{48}"),
        (ids.input_item_id(RESPONSE, 0, "reasoning"), "rs_[0-9a-f]{48}"),
        (ids.input_item_id(RESPONSE, 0, "custom_tool_call"), "ctc_[0-9a-f]{48}"),
        (ids.input_item_id(RESPONSE, 0, "custom_tool_call_output"), "ctco_[0-9a-f]{48}"),
        (ids.input_item_id(RESPONSE, 0, "compaction"), "item_[0-9a-f]{48}"),
    ],
)
def test_an_id_looks_like_the_published_ones(made: str, pattern: str) -> None:
    assert re.fullmatch(pattern, made)


def test_ids_are_the_same_in_every_process_and_version() -> None:
    assert ids.message_id("resp_x", 3) == "msg_34efea5fdfa1a7446278e148af8f6d8008648381492213cd"
    assert ids.call_id("resp_x", 3) == "call_449681c9e9286e09900c9fd7"
    assert ids.input_item_id("resp_x", 3, "message") == "msg_110916ef48e1103af16d22d180c43a4b15accb75dbcfd899"


def test_no_two_items_share_an_id() -> None:
    made = [
        make(response_id, index)
        for make in (
            ids.message_id,
            ids.reasoning_id,
            ids.function_call_id,
            ids.call_id,
            lambda response_id, index: ids.input_item_id(response_id, index, "message"),
        )
        for response_id in ("resp_1", "resp_11", "resp_2")
        for index in range(30)
    ]
    assert len(set(made)) == len(made)

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responses_api.body import MAX_DEPTH, dotted, is_object_text, json_type, read_object
from responses_api.errors import InvalidRequest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def refused(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read_object(body)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a":}',
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        rb'{"a": "\ud800"}',
        rb'{"a": "\udc00x"}',
        rb'{"\ud800": 1}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xff"}',
        b'{"a": "\n"}',
    ],
)
def test_what_is_no_json_is_refused_as_such(body: bytes) -> None:
    error = refused(body)
    assert (error.status, error.param, error.code) == (400, None, "invalid_json")


@pytest.mark.parametrize("depth", [MAX_DEPTH, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused_however_deep(depth: int, opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    error = refused(b'{"a":' + opening * depth + b"1" + closing * depth + b"}")
    assert (error.param, error.code) == (None, "invalid_json")
    assert "nested" in error.message


def test_the_deepest_allowed_nesting_is_read() -> None:
    assert read_object(b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}")


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"{}"', b"true", b"1.5"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    error = refused(body)
    assert (error.param, error.code) == (None, "invalid_type")


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_an_integer_that_no_encoding_carries_is_refused_by_its_place(number: int) -> None:
    error = refused(json.dumps({"a": [{}, {"b": number}]}).encode())
    assert (error.param, error.code) == ("a[1].b", "invalid_value")


def test_of_a_repeated_key_the_last_counts() -> None:
    assert read_object(b'{"a": 1, "a": 2}') == {"a": 2}


@given(JSON.map(lambda value: {"a": value}))
def test_what_is_read_can_be_encoded_again(value: dict[str, Any]) -> None:
    try:
        got = read_object(json.dumps(value).encode())
    except InvalidRequest:
        return
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(got)) == got
    assert msgspec.json.decode(msgspec.json.encode(got)) == got


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(InvalidRequest):
        assert isinstance(read_object(body), dict)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{}", True), ('{"a": [1]}', True), ("", False), ("[]", False), ("1", False), ("{", False), ("\ud800", False)],
)
def test_is_object_text(text: str, expected: bool) -> None:
    assert is_object_text(text) is expected


def test_json_types_have_names() -> None:
    values: list[Any] = [None, True, 1, 1.5, "", [], {}]
    names = ["null", "a boolean", "an integer", "a number", "a string", "an array", "an object"]
    assert [json_type(value) for value in values] == names


def test_a_place_is_written_in_dots_and_brackets_and_cut_where_it_is_endless() -> None:
    assert dotted(["input", 0, "content", 1, "text"]) == "input[0].content[1].text"
    assert len(dotted(["x" * 1000])) == 201

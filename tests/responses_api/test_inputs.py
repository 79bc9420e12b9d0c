from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responses_api.inputs import TERMINAL, EngineInput, decode_inputs, encode_inputs
from tests.responses_api.playbook import parse_input
from tests.responses_api.strategies import ANYTHING

WIRE = {
    "Begin(1.5)": ["begin", 1.5],
    "Clock(2.5)": ["clock", 2.5],
    "EngineStarted('e', 3)": ["engine", "e", 3],
    "Prefilled(2)": ["prefilled", 2],
    "Tokens((1, 2))": ["tokens", [1, 2]],
    "TextDelta('a')": ["text", "a"],
    "ReasoningDelta('a')": ["reasoning", "a"],
    "CallOpened(0, 'f')": ["call", 0, "f", None],
    "CallOpened(0, 'f', 'call_1')": ["call", 0, "f", "call_1"],
    "CallArguments(0, '{')": ["args", 0, "{"],
    "CallClosed(0)": ["closed", 0],
    "Finish('stop', 4)": ["finish", "stop", 4],
    "Fail('server_error', 'x')": ["fail", "server_error", "x"],
    "Cancel()": ["cancel"],
}
"""Inputs as they lie in stored logs. A line that has to change means that stored logs cannot be read any more."""


@pytest.mark.parametrize(("text", "wire"), WIRE.items())
def test_an_input_has_its_form_in_stored_logs_for_ever(text: str, wire: list[object]) -> None:
    got = parse_input(text)
    assert msgspec.msgpack.decode(encode_inputs([got])) == [wire]
    assert decode_inputs(msgspec.msgpack.encode([wire])) == [got]


def test_every_input_is_in_the_table() -> None:
    assert {text.partition("(")[0] for text in WIRE} == {kind.__name__ for kind in get_args(EngineInput)}


@given(chunk=st.lists(ANYTHING, max_size=6))
def test_a_chunk_of_inputs_survives_the_log(chunk: list[EngineInput]) -> None:
    assert decode_inputs(encode_inputs(chunk)) == chunk


def test_an_entry_without_later_fields_is_read_with_their_defaults() -> None:
    assert decode_inputs(msgspec.msgpack.encode([["finish", "stop"]])) == [parse_input("Finish('stop', 0)")]
    assert decode_inputs(msgspec.msgpack.encode([["call", 1, "f"]])) == [parse_input("CallOpened(1, 'f', None)")]


@pytest.mark.parametrize("chunk", [b"", b"\x91", msgspec.msgpack.encode([["unheard_of", 1]]), b"\x91\x92\xa4text\x01"])
def test_bytes_that_are_no_chunk_are_refused(chunk: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_inputs(chunk)


@pytest.mark.parametrize("text", WIRE)
def test_an_input_is_frozen(text: str) -> None:
    got = parse_input(text)
    for field in msgspec.structs.fields(got):
        with pytest.raises(AttributeError):
            setattr(got, field.name, None)


def test_terminal_inputs_end_a_log() -> None:
    assert [kind.__name__ for kind in TERMINAL] == ["Finish", "Fail", "Cancel"]

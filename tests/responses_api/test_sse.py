from __future__ import annotations

import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given

from responses_api.emitter import ResponseEmitter
from responses_api.inputs import EngineInput, Finish, TextDelta
from responses_api.schema.events import OutputTextDelta, ResponseCompleted, StreamEvent, name_of
from responses_api.sse import DONE, encode_event, encode_response, keepalive
from tests.responses_api.playbook import PRELUDE, RECORD
from tests.responses_api.strategies import TEXTS, valid_logs


def test_a_frame_is_an_event_line_a_data_line_and_an_empty_line() -> None:
    frame = encode_event(OutputTextDelta(4, item_id="msg_1", output_index=0, content_index=0, delta="hi"))
    assert frame == (
        b"event: response.output_text.delta\n"
        b'data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,'
        b'"content_index":0,"delta":"hi","logprobs":[]}\n\n'
    )


@given(text=TEXTS)
def test_no_text_can_break_a_frame(text: str) -> None:
    frame = encode_event(OutputTextDelta(0, item_id="msg_1", output_index=0, content_index=0, delta=text))
    assert frame.count(b"\n") == 3
    assert b"\r" not in frame
    assert json.loads(frame.split(b"\ndata: ")[1])["delta"] == text


@given(log=valid_logs())
def test_the_event_line_and_the_data_name_the_same_type(log: list[EngineInput]) -> None:
    emitter = ResponseEmitter(RECORD)
    for event in [event for got in log for event in emitter.feed(got)]:
        head, data, *rest = encode_event(event).split(b"\n")
        assert rest == [b"", b""]
        assert head.removeprefix(b"event: ").decode() == json.loads(data.removeprefix(b"data: "))["type"]


@pytest.mark.parametrize("event_type", get_args(StreamEvent))
def test_every_event_has_a_name(event_type: type[StreamEvent]) -> None:
    assert name_of(event_type).startswith("response.")


def test_an_answer_has_the_bytes_of_the_terminal_event() -> None:
    emitter = ResponseEmitter(RECORD)
    *_, last = [event for got in [*PRELUDE, TextDelta("hi"), Finish("stop")] for event in emitter.feed(got)]
    assert isinstance(last, ResponseCompleted)
    assert b'"response":' + encode_response(emitter.snapshot) + b"}\n\n" in encode_event(last)
    assert msgspec.json.decode(encode_response(emitter.snapshot)) == msgspec.to_builtins(emitter.snapshot)


def test_a_keepalive_is_a_data_event_with_a_number() -> None:
    assert keepalive(17) == b'event: keepalive\ndata: {"type":"keepalive","sequence_number":17}\n\n'


def test_done_is_a_frame_of_its_own() -> None:
    assert DONE == b"data: [DONE]\n\n"

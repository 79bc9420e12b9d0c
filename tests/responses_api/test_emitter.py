"""The emitter: playbooks first, then the stream's invariants (I1 to I11) over generated logs."""

from __future__ import annotations

import json
from itertools import chain, pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from responses_api.emitter import ResponseEmitter
from responses_api.inputs import (
    Begin,
    CallOpened,
    EngineInput,
    EngineStarted,
    Finish,
    TextDelta,
    decode_inputs,
    encode_inputs,
)
from responses_api.records import ResponseRecord
from responses_api.schema.events import StreamEvent, name_of
from responses_api.schema.response import Echo
from responses_api.sse import DONE, encode_event, encode_response, keepalive
from responses_api.state import NotBegun, RefusedInput
from tests.responses_api.playbook import PRELUDE, RECORD, Scenario, play, read_playbook
from tests.responses_api.published import check_event, check_response, stream_through_client, without_parsed
from tests.responses_api.reader import StrictReader
from tests.responses_api.strategies import ANYTHING, rechunked, valid_logs

PLAYBOOKS = [
    (path.stem, scenario)
    for path in sorted(Path(__file__).with_name("playbooks").glob("*.txt"))
    for scenario in read_playbook(path)
]


def run(log: list[EngineInput]) -> tuple[ResponseEmitter, list[StreamEvent]]:
    emitter = ResponseEmitter(RECORD)
    return emitter, [event for got in log for event in emitter.feed(got)]


def stream_bytes(log: list[EngineInput]) -> bytes:
    return b"".join(encode_event(event) for event in run(log)[1])


@pytest.mark.parametrize("scenario", [pytest.param(one, id=f"{book}: {one.title}") for book, one in PLAYBOOKS])
def test_a_playbook_is_followed_line_by_line(scenario: Scenario) -> None:
    play(scenario)


def test_there_is_nothing_to_see_before_the_beginning() -> None:
    with pytest.raises(NotBegun):
        _ = ResponseEmitter(RECORD).snapshot


def test_the_first_events_show_the_response_as_it_was_then() -> None:
    _, events = run([*PRELUDE, TextDelta("hi"), Finish("stop")])
    created = msgspec.to_builtins(events[0])["response"]
    assert (created["id"], created["created_at"], created["model"]) == (RECORD.response_id, 1000, "m")
    assert (created["output"], created["usage"], created["completed_at"]) == ([], None, None)


def test_the_response_repeats_what_was_asked() -> None:
    echo = Echo(model="m", instructions="Be brief.", metadata={"a": "b"}, temperature=0.5, tools=[{"type": "function"}])
    emitter = ResponseEmitter(ResponseRecord(response_id="resp_x", echo=echo, input_items=[]))
    emitter.feed(Begin(1))
    answer = msgspec.to_builtins(emitter.snapshot)
    assert {key: answer[key] for key in msgspec.to_builtins(echo)} == msgspec.to_builtins(echo)


def test_a_snapshot_in_the_middle_shows_the_open_items_and_the_usage_so_far() -> None:
    emitter, _ = run([*PRELUDE, TextDelta("half"), CallOpened(0, "add"), TextDelta("more")])
    answer = msgspec.to_builtins(emitter.snapshot)
    assert answer["status"] == "in_progress"
    assert [item["status"] for item in answer["output"]] == ["completed", "in_progress", "in_progress"]
    assert answer["output"][2]["content"][0]["text"] == "more"
    assert answer["usage"]["input_tokens"] == 10
    assert not emitter.closed


def test_the_final_response_is_the_very_object_that_was_streamed() -> None:
    emitter, events = run([*PRELUDE, TextDelta("hi"), Finish("stop")])
    assert emitter.closed
    last = msgspec.structs.asdict(events[-1])
    done = msgspec.structs.asdict(events[-2])
    part = msgspec.structs.asdict(events[-3])
    assert last["response"] is emitter.snapshot
    assert done["item"] is emitter.snapshot.output[0]
    assert part["part"] is done["item"].content[0]


def test_a_call_keeps_the_id_that_the_model_dictates_and_gets_one_otherwise() -> None:
    emitter, _ = run([*PRELUDE, CallOpened(0, "a", "functions.a:0"), CallOpened(1, "b"), Finish("stop")])
    given_id, derived = (item["call_id"] for item in msgspec.to_builtins(emitter.snapshot)["output"])
    assert given_id == "functions.a:0"
    assert derived.startswith("call_")


def test_a_refusal_names_the_input_and_the_reason() -> None:
    with pytest.raises(RefusedInput, match=r"^Finish refused: the response is new$") as caught:
        ResponseEmitter(RECORD).feed(Finish("stop"))
    assert caught.value.got == Finish("stop")


@given(log=valid_logs())
def test_i1_to_i6_and_i8_hold_in_every_stream(log: list[EngineInput]) -> None:
    emitter, events = run(log)
    reader = StrictReader()
    reader.read(events)
    assert emitter.closed
    assert reader.final is not None
    assert reader.final == msgspec.to_builtins(emitter.snapshot)
    assert reader.output() == reader.final["output"]


@given(log=valid_logs(ended=False), data=st.data())
def test_i7_rechunking_does_not_change_the_response(log: list[EngineInput], data: st.DataObject) -> None:
    again = data.draw(rechunked(log))
    for ending in [[], [Finish("stop")]]:
        if ending and not any(isinstance(got, EngineStarted) for got in log):
            continue
        one, other = run([*log, *ending])[0], run([*again, *ending])[0]
        assert encode_response(one.snapshot) == encode_response(other.snapshot)


@given(log=valid_logs(), noise=st.lists(st.tuples(st.integers(0, 20), ANYTHING), max_size=8))
def test_i9_refused_inputs_leave_no_trace(log: list[EngineInput], noise: list[tuple[int, EngineInput]]) -> None:
    clean, noisy = ResponseEmitter(RECORD), ResponseEmitter(RECORD)
    for place, got in enumerate(log):
        for stray in [stray for at, stray in noise if at == place and _is_refused(log[:place], stray)]:
            with pytest.raises(RefusedInput):
                noisy.feed(stray)
        assert noisy.feed(got) == clean.feed(got)
    assert noisy.snapshot == clean.snapshot


def _is_refused(log: list[EngineInput], stray: EngineInput) -> bool:
    try:
        run([*log, stray])
    except RefusedInput:
        return True
    return False


@given(log=valid_logs())
def test_i10_the_published_client_accepts_every_stream_and_rebuilds_the_response(log: list[EngineInput]) -> None:
    emitter, events = run(log)
    frames = []
    for event in events:
        frames += [encode_event(event), keepalive(event.sequence_number)]
        check_event(name_of(type(event)), frames[-2].partition(b"data: ")[2])
    check_response(encode_response(emitter.snapshot))
    answer = json.loads(encode_response(emitter.snapshot))

    seen, final = stream_through_client(b"".join([*frames[:-1], DONE]))

    assert without_parsed(final.model_dump(mode="json", exclude_unset=True, by_alias=True)) == answer
    assert [one.sequence_number for one in seen if one.type != "keepalive"] == list(range(len(events)))
    grown = {one.output_index: one.snapshot for one in seen if hasattr(one, "snapshot")}
    for index, text in grown.items():
        item = answer["output"][index]
        assert text == (item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"])


@given(log=valid_logs(), data=st.data())
def test_i11_a_stored_log_gives_the_same_bytes_however_it_was_cut(log: list[EngineInput], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(log)), max_size=4)) | {0, len(log)})
    chunks = [encode_inputs(log[start:end]) for start, end in pairwise(cuts)]
    stored = list(chain.from_iterable(decode_inputs(chunk) for chunk in chunks))
    assert stream_bytes(stored) == stream_bytes(log)


class Conversation(RuleBasedStateMachine):
    """Anything may be said at any time; what was accepted is a log, and what was refused left no trace."""

    def __init__(self) -> None:
        super().__init__()
        self.emitter = ResponseEmitter(RECORD)
        self.reader = StrictReader()
        self.log: list[EngineInput] = []
        self.bytes = b""

    @initialize(started=st.booleans())
    def start(self, *, started: bool) -> None:
        for got in PRELUDE if started else []:
            self.say(got)

    @rule(got=ANYTHING)
    def say(self, got: EngineInput) -> None:
        before = self.emitter.snapshot if self.log else None
        try:
            events = self.emitter.feed(got)
        except RefusedInput:
            assert (self.emitter.snapshot if self.log else None) == before
            return
        self.log.append(got)
        self.reader.read(events)
        self.bytes += b"".join(encode_event(event) for event in events)

    @invariant()
    def the_reader_and_the_snapshot_agree(self) -> None:
        if self.log:
            assert msgspec.to_builtins(self.emitter.snapshot)["output"] == self.reader.output()
        assert self.emitter.closed == (self.reader.final is not None)

    def teardown(self) -> None:
        assert stream_bytes(self.log) == self.bytes


TestConversation = Conversation.TestCase

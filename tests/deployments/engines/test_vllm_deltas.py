from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.vllm_deltas import DeltaTranslator
from responses_api.emitter import ResponseEmitter
from responses_api.inputs import (
    Begin,
    CallArguments,
    CallClosed,
    CallOpened,
    EngineInput,
    EngineStarted,
    Finish,
    ReasoningDelta,
    TextDelta,
)
from responses_api.records import ResponseRecord
from responses_api.schema.items import FunctionCall, OutputItem
from responses_api.schema.response import Echo

RECORD = ResponseRecord(response_id="resp_1", echo=Echo(model="m"), input_items=[])


@dataclass(frozen=True, slots=True)
class Function:
    """vLLM's `DeltaFunctionCall`."""

    name: str | None = None
    arguments: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """vLLM's `DeltaToolCall`."""

    index: int
    id: str | None = None
    function: Function | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """vLLM's `DeltaMessage`."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: Sequence[Piece] | None = ()


def call(index: int, name: str | None = None, arguments: str | None = None, *, call_id: str | None = None) -> Piece:
    return Piece(index, call_id, Function(name, arguments))


def calls(*pieces: Piece) -> Said:
    return Said(tool_calls=pieces)


def translated(*deltas: Said, parallel_calls: bool = True, keep_ids: bool = False) -> list[EngineInput]:
    """All that a response's deltas become, its end included."""
    translator = DeltaTranslator(parallel_calls=parallel_calls, keep_ids=keep_ids)
    return [*(got for delta in deltas for got in translator.feed(delta)), *translator.finish()]


def output_of(said: Sequence[EngineInput]) -> list[OutputItem]:
    """The output of a response of which the engine says this; raises if the emitter refuses any of it."""
    emitter = ResponseEmitter(RECORD)
    for got in (Begin(0), EngineStarted("e", 1), *said, Finish("stop")):
        emitter.feed(got)
    return emitter.snapshot.output


def test_text_and_reasoning_are_passed_on_as_they_come() -> None:
    said = translated(Said(reasoning="Hm"), Said(reasoning="."), Said("A"), Said(" "), Said("b"))
    assert said == [ReasoningDelta("Hm"), ReasoningDelta("."), TextDelta("A"), TextDelta(" "), TextDelta("b")]


def test_in_one_delta_reasoning_comes_before_text_and_text_before_a_new_call() -> None:
    said = translated(Said("t", "r", [call(0, "f", "{}")]))
    assert said == [ReasoningDelta("r"), TextDelta("t"), CallOpened(0, "f"), CallArguments(0, "{}"), CallClosed(0)]


@pytest.mark.parametrize(
    "delta",
    [
        Said(),
        Said("", "", []),
        Said(tool_calls=None),
        calls(Piece(0)),
        calls(Piece(0, "id")),
        calls(call(0)),
        calls(call(0, "", "")),
    ],
)
def test_nothing_comes_of_an_empty_delta(delta: Said) -> None:
    assert translated(delta) == []
    begun = [calls(call(0, "f", "{}")), delta]
    assert translated(*begun) == [CallOpened(0, "f"), CallArguments(0, "{}"), CallClosed(0)]


WHOLE = [CallOpened(0, "f"), CallArguments(0, '{"a":1}'), CallClosed(0)]


@pytest.mark.parametrize(
    "deltas",
    [
        [calls(call(0, "f", '{"a":1}'))],
        [calls(call(0, "f")), calls(call(0, None, '{"a":1}'))],
        [calls(call(0, "f", "")), calls(call(0, "", '{"a":1}'))],
        [calls(call(0, "f"), call(0, None, '{"a":1}'))],
        [calls(call(0, None, '{"a":1}')), calls(call(0, "f"))],
        [calls(call(0, None, '{"a"')), calls(call(0, None, ":1")), calls(call(0, "f", "}"))],
    ],
    ids=["at once", "name first", "empty strings", "two pieces", "name last", "name in the end"],
)
def test_a_call_is_one_call_however_its_name_and_arguments_come(deltas: list[Said]) -> None:
    assert translated(*deltas) == WHOLE


def test_arguments_are_passed_on_as_they_come() -> None:
    said = translated(calls(call(0, "f", '{"a')), calls(call(0, None, '":')), calls(call(0, None, "1}")))
    assert said[1:-1] == [CallArguments(0, '{"a'), CallArguments(0, '":'), CallArguments(0, "1}")]


def test_a_name_and_an_id_that_are_said_again_change_nothing() -> None:
    again = [calls(call(0, "f", part, call_id="x")) for part in ('{"a"', ":1}")]
    assert translated(*again, keep_ids=True) == [
        CallOpened(0, "f", "x"),
        CallArguments(0, '{"a"'),
        CallArguments(0, ":1}"),
        CallClosed(0),
    ]


def test_a_call_without_arguments_is_opened_and_closed() -> None:
    assert translated(calls(call(0, "f"))) == [CallOpened(0, "f"), CallClosed(0)]


def test_a_call_that_never_gets_a_name_is_never_said() -> None:
    assert translated(calls(call(0, None, "{}"))) == []


def test_the_next_call_closes_the_one_before() -> None:
    said = translated(calls(call(0, "f", "{}")), calls(call(1, "g", "[]")))
    assert [type(got) for got in said] == [CallOpened, CallArguments, CallClosed] * 2
    assert said[3:] == [CallOpened(1, "g"), CallArguments(1, "[]"), CallClosed(1)]


def test_several_calls_may_come_in_one_delta_with_the_rest_of_the_one_before() -> None:
    said = translated(calls(call(0, "f", "{")), calls(call(0, None, "}"), call(1, "g", "[]"), call(2, "h")))
    assert said == [
        CallOpened(0, "f"),
        CallArguments(0, "{"),
        CallArguments(0, "}"),
        CallClosed(0),
        CallOpened(1, "g"),
        CallArguments(1, "[]"),
        CallClosed(1),
        CallOpened(2, "h"),
        CallClosed(2),
    ]


def test_indexes_may_jump_and_need_not_start_at_zero() -> None:
    said = translated(calls(call(3, "f")), calls(call(7, "g"), call(9, "h")))
    assert [got.call for got in said if isinstance(got, CallOpened)] == [3, 7, 9]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_nothing_more_is_said_of_a_call_behind_the_last_one(index: int) -> None:
    begun = [calls(call(0, "f")), calls(call(2, "g")), Said("text")]
    assert translated(*begun, calls(call(index, "f", "{}"))) == translated(*begun)


def test_the_arguments_of_a_nameless_call_wait_while_the_open_call_goes_on() -> None:
    said = translated(calls(call(0, "f", "{"), call(1, None, "[")), calls(call(0, None, "}")), calls(call(1, "g", "]")))
    assert said[:3] == [CallOpened(0, "f"), CallArguments(0, "{"), CallArguments(0, "}")]
    assert said[3:] == [CallClosed(0), CallOpened(1, "g"), CallArguments(1, "[]"), CallClosed(1)]


@pytest.mark.parametrize("beside", [Said("text", None, [call(0, None, "}")]), Said(None, "why", [call(0, None, "}")])])
def test_the_rest_of_the_open_call_comes_before_text_beside_it(beside: Said) -> None:
    said = translated(calls(call(0, "f", "{")), beside)
    assert said[2:-1] == [CallArguments(0, "}"), CallClosed(0)]
    assert isinstance(said[-1], TextDelta | ReasoningDelta)


def test_text_after_a_call_closes_it() -> None:
    assert translated(calls(call(0, "f")), Said("so")) == [CallOpened(0, "f"), CallClosed(0), TextDelta("so")]


def test_blanks_beside_calls_are_no_text() -> None:
    said = translated(
        Said("\n"), calls(call(0, "f", "{")), Said("\n"), calls(call(0, None, "}"), call(1, "g")), Said(" ")
    )
    assert not any(isinstance(got, TextDelta) for got in said)
    assert said[1:3] == [CallArguments(0, "{"), CallArguments(0, "}")]


def test_blanks_before_text_belong_to_it() -> None:
    assert translated(Said("\n"), Said(" "), Said("a"))[0] == TextDelta("\n a")
    after_call = translated(calls(call(0, "f")), Said("\n"), Said("a"), Said("\n"))
    assert after_call[2:] == [TextDelta("\na"), TextDelta("\n")]
    assert translated(Said("\n"), calls(call(0, "f")), Said("a"))[2:] == [TextDelta("a")]
    assert translated(Said("\n"), Said(reasoning="r"), Said("a")) == [ReasoningDelta("r"), TextDelta("\na")]


def test_a_blank_answer_is_an_answer_where_there_was_no_call() -> None:
    assert translated(Said("\n"), Said("\n")) == [TextDelta("\n\n")]


def test_the_end_is_said_once() -> None:
    translator = DeltaTranslator()
    translator.feed(calls(call(0, "f")))
    assert translator.finish() == [CallClosed(0)]
    assert translator.finish() == []
    blank = DeltaTranslator()
    blank.feed(Said(" "))
    assert (blank.finish(), blank.finish()) == ([TextDelta(" ")], [])


def test_an_end_that_is_not_complete_leaves_the_open_call_open() -> None:
    translator = DeltaTranslator()
    translator.feed(calls(call(0, "f", '{"a')))
    assert translator.finish(complete=False) == []


@pytest.mark.parametrize(("keep", "kept"), [(True, "x"), (False, None)])
@pytest.mark.parametrize(
    "deltas",
    [
        [calls(call(0, "f", "{}", call_id="x"))],
        [calls(call(0, None, "{", call_id="x")), calls(call(0, "f", "}"))],
        [calls(call(0, None, "{", call_id="x")), calls(call(0, "f", "}", call_id="y"))],
    ],
    ids=["with the name", "before the name", "first of two"],
)
def test_ids_are_kept_only_where_they_are_wanted(deltas: list[Said], keep: bool, kept: str | None) -> None:
    assert translated(*deltas, keep_ids=keep)[0] == CallOpened(0, "f", kept)


def test_an_empty_id_is_none() -> None:
    assert translated(calls(call(0, "f", call_id="")), keep_ids=True)[0] == CallOpened(0, "f")


def test_an_id_that_the_model_wrote_twice_is_kept_once() -> None:
    said = translated(*(calls(call(n, "f", call_id="functions.f:0")) for n in range(2)), keep_ids=True)
    assert [got.call_id for got in said if isinstance(got, CallOpened)] == ["functions.f:0", None]
    assert len(output_of(said)) == 2


def test_the_second_call_cuts_where_calls_are_not_parallel() -> None:
    translator = DeltaTranslator(parallel_calls=False)
    said = translator.feed(Said("t", "r", [call(0, "f", "{"), call(1, None, "[")]))
    was_cut = [translator.cut]
    said += translator.feed(Said(None, None, [call(0, None, "}"), call(1, "g"), call(2, "h", "{}")]))
    was_cut.append(translator.cut)
    assert was_cut == [False, True], "a call has not begun before it has a name"
    assert translator.feed(Said("t", "r", [call(0, None, "x"), call(3, "i")])) == []
    assert said[2:] == [CallOpened(0, "f"), CallArguments(0, "{"), CallArguments(0, "}")]
    assert translator.finish() == [CallClosed(0)]


def test_text_before_the_second_call_is_said_and_text_after_it_is_not() -> None:
    said = translated(
        calls(call(0, "f")), Said("a", None, [call(1, "g")]), Said("b", "r"), Said("\n"), parallel_calls=False
    )
    assert said == [CallOpened(0, "f"), CallClosed(0), TextDelta("a")]


def test_one_call_and_text_after_it_cut_nothing() -> None:
    translator = DeltaTranslator(parallel_calls=False)
    for delta in (calls(call(0, "f")), calls(call(0, "f", "{}")), Said("a"), calls(call(0, None, "x"))):
        translator.feed(delta)
    assert not translator.cut


PIECES = st.sampled_from([None, "", " ", "\n", "a", "b c", "{", '"}'])
FUNCTIONS = st.builds(Function, st.sampled_from([None, "", "f", "g"]), PIECES)
CALLS = st.builds(Piece, st.integers(-1, 4), st.sampled_from([None, "", "x", "y"]), st.none() | FUNCTIONS)
DELTAS = st.lists(st.builds(Said, PIECES, PIECES, st.none() | st.lists(CALLS, max_size=4)), max_size=8)


@given(DELTAS, st.booleans(), st.booleans())
def test_the_emitter_accepts_all_that_any_deltas_become(deltas: list[Said], parallel: bool, keep: bool) -> None:
    output = output_of(translated(*deltas, parallel_calls=parallel, keep_ids=keep))
    made = [item for item in output if isinstance(item, FunctionCall)]
    assert parallel or len(made) <= 1
    assert len({item.call_id for item in made}) == len(made)
    if not keep:
        assert not {item.call_id for item in made} & {"x", "y"}


@given(DELTAS, st.booleans(), st.booleans())
def test_every_opened_call_is_closed_before_anything_else_begins(
    deltas: list[Said], parallel: bool, keep: bool
) -> None:
    opened: list[int] = []
    for got in translated(*deltas, parallel_calls=parallel, keep_ids=keep):
        match got:
            case CallOpened():
                assert opened == []
                opened.append(got.call)
            case CallArguments():
                assert opened == [got.call]
            case CallClosed():
                assert opened.pop() == got.call
            case _:
                assert opened == []
    assert opened == []


@given(DELTAS, st.booleans())
def test_a_delta_says_the_same_as_its_parts_in_order(deltas: list[Said], parallel: bool) -> None:
    """Unless it goes on with the open call, whose pieces come first: those are left out here."""
    plain = [Said(delta.content, delta.reasoning) for delta in deltas]
    parts = [part for delta in plain for part in (Said(None, delta.reasoning), Said(delta.content))]
    assert translated(*plain, parallel_calls=parallel) == translated(*parts, parallel_calls=parallel)
    pieces = [delta.tool_calls or () for delta in deltas]
    whole = [Said(tool_calls=together) for together in pieces]
    single = [calls(piece) for together in pieces for piece in together]
    assert translated(*whole, parallel_calls=parallel) == translated(*single, parallel_calls=parallel)

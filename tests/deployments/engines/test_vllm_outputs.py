from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.base import EngineDead, EngineError
from deployments.engines.vllm_deltas import DeltaTranslator
from deployments.engines.vllm_outputs import Generation, read
from responses_api.emitter import ResponseEmitter
from responses_api.inputs import (
    Begin,
    CallArguments,
    CallClosed,
    CallOpened,
    EngineInput,
    EngineStarted,
    Finish,
    Prefilled,
    ReasoningDelta,
    TextDelta,
    Tokens,
)
from responses_api.records import ResponseRecord
from responses_api.schema.items import FunctionCall
from responses_api.schema.response import Echo, Response

RECORD = ResponseRecord(response_id="resp_1", echo=Echo(model="m"), input_items=[])


@dataclass(frozen=True, slots=True)
class Completion:
    """vLLM's `CompletionOutput`."""

    text: str
    token_ids: Sequence[int]
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class Output:
    """vLLM's `RequestOutput`."""

    outputs: list[Completion]
    num_cached_tokens: int | None = None
    prompt_token_ids: tuple[int, ...] = (7, 8)


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
    tool_calls: Sequence[Piece] = ()


@dataclass(slots=True)
class LineParser:
    """Reads `r:…` as reasoning, `c<n>:<name>:<arguments>` as a piece of call n, `-` as nothing, all else as text."""

    asked: list[dict[str, Any]] = field(default_factory=list)

    def parse_delta(self, *, delta_text: str, **more: Any) -> Said | None:
        self.asked.append({"delta_text": delta_text, **more})
        kind, _, rest = delta_text.partition(":")
        if delta_text == "-":
            return None
        if kind == "r":
            return Said(reasoning=rest)
        if kind.startswith("c"):
            name, _, arguments = rest.partition(":")
            return Said(tool_calls=[Piece(int(kind[1:]), None, Function(name, arguments))])
        return Said(content=delta_text)

    def count_reasoning_tokens(self, token_ids: tuple[int, ...]) -> int:
        """Tokens above 100 are reasoning."""
        return sum(token > 100 for token in token_ids)


def step(text: str = "", *ids: int, end: str | None = None, cached: int | None = None) -> Output:
    return Output([Completion(text, list(ids), end)], cached)


def generation(*, parsed: bool = True, parallel_calls: bool = True) -> Generation:
    return Generation(
        chat="the chat",
        outputs=None,
        parser=LineParser() if parsed else None,
        translator=DeltaTranslator(parallel_calls=parallel_calls),
        input_tokens=2,
    )


def emitted(batches: Sequence[Sequence[EngineInput]]) -> Response:
    """The response that the emitter makes of the batches; raises if it refuses any of them."""
    emitter = ResponseEmitter(RECORD)
    for got in (Begin(0), EngineStarted("e", 2), *(got for batch in batches for got in batch)):
        emitter.feed(got)
    assert emitter.closed
    return emitter.snapshot


def test_the_first_tokens_say_that_the_prompt_is_processed_and_later_ones_do_not() -> None:
    one = generation()
    assert read(one, step("a", 1, cached=5)) == [Prefilled(5), Tokens((1,)), TextDelta("a")]
    assert read(one, step("b", 2, 3, cached=5)) == [Tokens((2, 3)), TextDelta("b")]


def test_an_unknown_number_of_cached_tokens_is_none() -> None:
    assert read(generation(), step("a", 1))[0] == Prefilled(0)


def test_tokens_come_before_what_was_parsed_from_them() -> None:
    assert read(generation(), step("c0:f:{}", 1, 2)) == [
        Prefilled(0),
        Tokens((1, 2)),
        CallOpened(0, "f"),
        CallArguments(0, "{}"),
    ]


def test_an_output_that_says_nothing_is_no_batch_and_does_not_reach_the_parser() -> None:
    one = generation()
    assert read(one, step()) == []
    assert one.parser.asked == []


def test_tokens_without_text_are_parsed_too() -> None:
    one = generation()
    assert read(one, step("", 1)) == [Prefilled(0), Tokens((1,))]
    assert len(one.parser.asked) == 1


def test_text_without_tokens_is_passed_on() -> None:
    assert read(generation(), step("a")) == [TextDelta("a")]


def test_the_parser_is_told_all_that_it_needs() -> None:
    one = generation()
    read(one, step("a", 1))
    read(one, step("b", 2, end="stop"))
    first, last = one.parser.asked
    assert first == {
        "delta_text": "a",
        "delta_token_ids": [1],
        "request": "the chat",
        "prompt_token_ids": (7, 8),
        "finished": False,
    }
    assert (last["delta_text"], last["finished"]) == ("b", True)


def test_a_parser_that_holds_back_says_nothing() -> None:
    assert read(generation(), step("-", 1)) == [Prefilled(0), Tokens((1,))]


def test_without_a_parser_all_output_is_text() -> None:
    one = generation(parsed=False)
    assert read(one, step("r:", 1)) == [Prefilled(0), Tokens((1,)), TextDelta("r:")]
    assert read(one, step("", 2)) == [Tokens((2,))]
    assert read(one, step("", 101, end="stop")) == [Tokens((101,)), Finish("stop", reasoning_tokens=0)]


@pytest.mark.parametrize(("reason", "said"), [("stop", "stop"), ("length", "length"), ("repetition", "stop")])
@pytest.mark.parametrize("parsed", [True, False])
def test_the_last_batch_ends_in_finish(reason: str, said: Any, parsed: bool) -> None:
    batch = read(generation(parsed=parsed), step("a", 1, end=reason))
    assert batch == [Prefilled(0), Tokens((1,)), TextDelta("a"), Finish(said)]


def test_an_end_without_tokens_is_an_end() -> None:
    one = generation()
    assert read(one, step(end="stop")) == [Finish("stop")]
    assert one.parser.asked[0]["finished"], "a parser may have held text back"


def test_reasoning_tokens_are_counted_over_the_whole_generation() -> None:
    one = generation()
    read(one, step("r:hm", 101, 102))
    assert read(one, step("a", 103, 1, end="stop"))[-1] == Finish("stop", reasoning_tokens=3)


def test_blank_text_that_was_held_back_comes_before_finish() -> None:
    assert read(generation(), step("\n", 1, end="stop"))[2:] == [TextDelta("\n"), Finish("stop")]


def test_a_call_that_the_model_ended_is_closed() -> None:
    batch = read(generation(), step("c0:f:{}", 1, end="stop"))
    assert batch[-2:] == [CallClosed(0), Finish("stop")]


def test_a_call_cut_by_the_limit_is_not_said_to_be_complete() -> None:
    batch = read(generation(), step('c0:f:{"a', 1, end="length"))
    assert batch[2:] == [CallOpened(0, "f"), CallArguments(0, '{"a'), Finish("length")]
    (item,) = emitted([batch]).output
    assert isinstance(item, FunctionCall)
    assert item.status == "incomplete"


@pytest.mark.parametrize("reason", [None, "stop", "length"])
def test_the_second_call_ends_a_response_that_may_have_one(reason: str | None) -> None:
    one = generation(parallel_calls=False)
    first = read(one, step("c0:f:{}", 1))
    last = read(one, step("c1:g:{}", 102, end=reason))
    assert last == [Tokens((102,)), CallClosed(0), Finish("stop", reasoning_tokens=1)]
    response = emitted([first, last])
    assert response.status == "completed"
    assert [item.status for item in response.output] == ["completed"]


@pytest.mark.parametrize(("reason", "error"), [("error", EngineError), ("abort", EngineDead)])
def test_a_request_that_vllm_gives_up_raises_and_says_nothing(reason: str, error: type[EngineError]) -> None:
    one = generation()
    with pytest.raises(EngineError) as caught:
        read(one, step("a", 1, end=reason))
    assert type(caught.value) is error
    assert one.token_ids == []
    assert one.parser.asked == []


TEXTS = st.sampled_from(
    ["", "-", " ", "\n", "a", "b c", "r:", "r:why", "c0:f:", "c0::{", "c0:f:}", "c1:g:{}", "c1::x", "c3:f:"]
)
STEPS = st.builds(lambda text, ids: step(text, *ids), TEXTS, st.lists(st.integers(0, 200), max_size=3))
ENDS = st.builds(
    lambda text, ids, end: step(text, *ids, end=end),
    TEXTS,
    st.lists(st.integers(0, 200), max_size=3),
    st.sampled_from(["stop", "length", "repetition"]),
)


@given(st.lists(STEPS, max_size=8), ENDS, st.booleans(), st.booleans())
def test_any_generation_keeps_the_contract_and_is_accepted_by_the_emitter(
    steps: list[Output], end: Output, parsed: bool, parallel: bool
) -> None:
    one = generation(parsed=parsed, parallel_calls=parallel)
    batches = []
    for output in [*steps, end]:
        batches.append(read(one, output))
        if one.translator.cut:
            break
    said = [got for batch in batches for got in batch]
    assert isinstance(said[-1], Finish)
    assert sum(isinstance(got, Prefilled) for got in said) == any(isinstance(got, Tokens) for got in said)
    for batch in batches:
        kinds = [type(got) for got in batch if not isinstance(got, Prefilled)]
        assert Tokens not in kinds[1:]
        assert Prefilled not in [type(got) for got in batch][1:]
    assert not any(isinstance(got, TextDelta | ReasoningDelta) and not got.text for got in said)
    response = emitted(batches)
    at_limit = end.outputs[0].finish_reason == "length" and not one.translator.cut
    assert response.status == ("incomplete" if at_limit else "completed")
    assert response.usage is not None
    assert response.usage.output_tokens == len(one.token_ids)

"""Sequences of engine inputs that an engine may say, drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from responses_api.inputs import (
    Begin,
    CallArguments,
    CallClosed,
    CallOpened,
    Cancel,
    Clock,
    EngineInput,
    EngineStarted,
    Fail,
    Finish,
    Prefilled,
    ReasoningDelta,
    TextDelta,
    Tokens,
)

# Lone surrogates cannot be encoded as UTF-8, so no tokenizer makes them.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from(
    ["\n\n", "\r", "data: [DONE]\n\n", "\u2028", "\x85", '"', "\\", "\x00", "😀"]
)
TIMES = st.floats(min_value=0, max_value=4e9)
COUNTS = st.integers(min_value=0, max_value=100_000)
NAMES = st.sampled_from(["add", "look_up", "now"])
CODES = st.sampled_from(["server_error", "rate_limit_exceeded", "invalid_prompt"])
TERMINALS: st.SearchStrategy[EngineInput] = st.one_of(
    st.builds(Finish, st.just("stop"), COUNTS),
    st.builds(Finish, st.just("length"), COUNTS),
    st.builds(Fail, CODES, TEXTS),
    st.just(Cancel()),
)
ANYTHING: st.SearchStrategy[EngineInput] = st.one_of(
    TERMINALS,
    st.builds(Begin, TIMES | st.just(float("inf"))),
    st.builds(Clock, TIMES | st.just(float("inf"))),
    st.builds(EngineStarted, st.just("e"), COUNTS),
    st.builds(Prefilled, COUNTS),
    st.builds(Tokens, st.tuples(COUNTS)),
    st.builds(TextDelta, TEXTS | st.just("")),
    st.builds(ReasoningDelta, TEXTS | st.just("")),
    st.builds(CallOpened, st.integers(0, 3), NAMES, st.none() | st.just("call_given")),
    st.builds(CallArguments, st.integers(0, 3), TEXTS | st.just("")),
    st.builds(CallClosed, st.integers(0, 3)),
)
"""Any input at all, legal or not."""


@st.composite
def valid_logs(draw: st.DrawFn, *, ended: bool = True) -> list[EngineInput]:
    """A log that a whole response may leave, from `Begin` to its terminal input (or, not `ended`, to anywhere)."""
    log: list[EngineInput] = [Begin(draw(TIMES))]
    if draw(st.integers(0, 9)) == 0:
        return [*log, draw(st.builds(Fail, CODES, TEXTS) | st.just(Cancel()))] if ended else log
    log.append(EngineStarted("e", draw(COUNTS)))
    open_calls: list[int] = []
    opened = 0
    for _ in range(draw(st.integers(0, 14))):
        kinds = ["text", "text", "reasoning", "open", "count", "clock", "engine"]
        kind = draw(st.sampled_from(kinds + ["arguments", "arguments", "close"] * bool(open_calls)))
        match kind:
            case "text":
                log.append(TextDelta(draw(TEXTS)))
            case "reasoning":
                log.append(ReasoningDelta(draw(TEXTS)))
            case "open":
                given = draw(st.none() | st.just(f"functions.f:{opened}"))
                log.append(CallOpened(opened, draw(NAMES), given))
                open_calls.append(opened)
                opened += 1
            case "arguments":
                log.append(CallArguments(draw(st.sampled_from(open_calls)), draw(TEXTS)))
            case "close":
                log.append(CallClosed(open_calls.pop(draw(st.integers(0, len(open_calls) - 1)))))
            case "count":
                log.append(
                    draw(st.builds(Tokens, st.lists(COUNTS, max_size=4).map(tuple)) | st.builds(Prefilled, COUNTS))
                )
            case "clock":
                log.append(Clock(draw(TIMES)))
            case _:
                log.append(EngineStarted("e2", draw(COUNTS)))
    return [*log, draw(TERMINALS)] if ended else log


@st.composite
def rechunked(draw: st.DrawFn, log: Sequence[EngineInput]) -> list[EngineInput]:
    """The same log with deltas split anywhere and neighbours of one kind merged."""
    split = [piece for got in log for piece in draw(_splits(got))]
    merged: list[EngineInput] = split[:1]
    for got in split[1:]:
        together = _joined(merged[-1], got) if draw(st.booleans()) else None
        merged[-1:] = [merged[-1], got] if together is None else [together]
    return merged


@st.composite
def _splits(draw: st.DrawFn, got: EngineInput) -> list[EngineInput]:
    match got:
        case TextDelta() | ReasoningDelta() if len(got.text) > 1:
            cut = draw(st.integers(1, len(got.text) - 1))
            return [type(got)(got.text[:cut]), type(got)(got.text[cut:])]
        case CallArguments() if len(got.delta) > 1:
            cut = draw(st.integers(1, len(got.delta) - 1))
            return [CallArguments(got.call, got.delta[:cut]), CallArguments(got.call, got.delta[cut:])]
        case _:
            return [got]


def _joined(first: EngineInput, second: EngineInput) -> EngineInput | None:
    match first, second:
        case TextDelta(), TextDelta():
            return TextDelta(first.text + second.text)
        case ReasoningDelta(), ReasoningDelta():
            return ReasoningDelta(first.text + second.text)
        case CallArguments(), CallArguments() if first.call == second.call:
            return CallArguments(first.call, first.delta + second.delta)
        case _:
            return None

"""The state: the table of transitions, the counts, the drafts."""

from __future__ import annotations

from typing import get_args

import pytest

from responses_api.inputs import TERMINAL, Begin, Clock, EngineInput, EngineStarted, Finish, Prefilled, Tokens
from responses_api.schema.items import FunctionCall, OutputMessage, OutputText, ReasoningItem, ReasoningText
from responses_api.schema.response import InputTokensDetails, OutputTokensDetails, Usage
from responses_api.state import (
    TRANSITIONS,
    CallDraft,
    Draft,
    MessageDraft,
    NotBegun,
    Phase,
    ReasoningDraft,
    RefusedInput,
    ResponseState,
)
from tests.responses_api.playbook import PRELUDE, RECORD, parse_input

GRID = """
                             new    begun       generating  closed
Begin(1.0)                   begun  -           -           -
Clock(1.0)                   -      begun       generating  -
EngineStarted('e', 1)        -      generating  generating  -
Prefilled(1)                 -      -           generating  -
Tokens((1,))                 -      -           generating  -
TextDelta('a')               -      -           generating  -
ReasoningDelta('a')          -      -           generating  -
CallOpened(9, 'f')           -      -           generating  -
CallArguments(0, '1')        -      -           generating  -
CallClosed(0)                -      -           generating  -
Finish('stop')               -      -           closed      -
Finish('length')             -      -           closed      -
Fail('server_error', 'x')    -      closed      closed      -
Cancel()                     -      closed      closed      -
"""
"""Every pair of phase and input: the phase after it, or - for a refusal. In `generating`, call 0 is open."""

ROWS = GRID.strip("\n").splitlines()[1:]
PAIRS = [
    pytest.param(parse_input(row[:29].strip()), phase, after, id=f"{row[:29].strip()} when {phase.value}")
    for row in ROWS
    for phase, after in zip(Phase, row[29:].split(), strict=True)
]


def state_in(phase: Phase) -> ResponseState:
    state = ResponseState(RECORD)
    state.phase = phase
    if phase is Phase.GENERATING:
        state.open(CallDraft("fc_0", 0, 0, "call_0", "f"))
    return state


@pytest.mark.parametrize(("got", "phase", "after"), PAIRS)
def test_every_pair_of_phase_and_input_is_a_rule_or_a_refusal(got: EngineInput, phase: Phase, after: str) -> None:
    state = state_in(phase)
    if after == "-":
        with pytest.raises(RefusedInput, match=f"the response is {phase.value}"):
            state.admit(got)
    else:
        assert state.admit(got) is Phase(after)
    assert state.phase is phase


def test_the_grid_names_every_input_and_the_table_every_phase() -> None:
    assert {row.partition("(")[0] for row in ROWS} == {kind.__name__ for kind in get_args(EngineInput)}
    assert list(TRANSITIONS) == list(Phase)


def test_only_terminal_inputs_close_a_response() -> None:
    closing = {kind for row in TRANSITIONS.values() for kind, after in row.items() if after is Phase.CLOSED}
    assert closing == set(TERMINAL)


def test_a_response_that_has_not_begun_has_no_snapshot() -> None:
    with pytest.raises(NotBegun):
        ResponseState(RECORD).snapshot()


def test_an_item_keeps_its_place_when_it_is_settled() -> None:
    state = ResponseState(RECORD)
    first, second = CallDraft("fc_0", 0, 0, "call_0", "f"), MessageDraft("msg_1", 1, ["a"])
    state.open(first)
    state.open(second)
    assert (state.next_index, state.text, state.calls) == (2, second, {0: first})
    settled = state.settle(first, "completed")
    assert state.open_drafts() == [second]
    assert (state.next_index, state.calls) == (2, {})
    state.settle(second, "incomplete")
    assert (state.open_drafts(), state.text) == ([], None)
    assert state.end("failed").output[0] is settled


@pytest.mark.parametrize(
    ("draft", "item"),
    [
        (MessageDraft("msg_0", 0), OutputMessage("msg_0", "completed", [])),
        (MessageDraft("msg_0", 0, ["a", "b"]), OutputMessage("msg_0", "completed", [OutputText("ab")])),
        (ReasoningDraft("rs_0", 0), ReasoningItem("rs_0", "completed", [])),
        (ReasoningDraft("rs_0", 0, ["a", "b"]), ReasoningItem("rs_0", "completed", [ReasoningText("ab")])),
        (CallDraft("fc_0", 0, 7, "call_0", "f"), FunctionCall("fc_0", "completed", "call_0", "f", "")),
        (CallDraft("fc_0", 0, 7, "call_0", "f", ["1", "2"]), FunctionCall("fc_0", "completed", "call_0", "f", "12")),
    ],
)
def test_an_item_is_the_sum_of_its_pieces(draft: Draft, item: object) -> None:
    assert draft.item("completed") == item


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("TextDelta('')", "an empty delta"),
        ("ReasoningDelta('')", "an empty delta"),
        ("CallArguments(0, '')", "an empty delta"),
        ("CallArguments(1, '{}')", "no open call 1"),
        ("CallClosed(1)", "no open call 1"),
        ("CallOpened(0, 'f')", "call 0 was already opened"),
        ("CallOpened(1, 'f', 'call_0')", "call id 'call_0' is taken"),
    ],
)
def test_an_input_of_a_legal_kind_may_still_make_no_sense(text: str, reason: str) -> None:
    state = state_in(Phase.GENERATING)
    with pytest.raises(RefusedInput) as caught:
        state.admit(parse_input(text))
    assert caught.value.reason == reason


def test_a_call_number_stays_taken_after_the_call_is_closed() -> None:
    state = state_in(Phase.GENERATING)
    state.settle(state.calls[0], "completed")
    for text in ("CallOpened(0, 'f')", "CallOpened(1, 'f', 'call_0')", "CallArguments(0, '1')", "CallClosed(0)"):
        with pytest.raises(RefusedInput):
            state.admit(parse_input(text))


def test_nothing_is_counted_before_an_engine_started() -> None:
    state = ResponseState(RECORD)
    assert state.end("failed").usage is None


def test_counts_and_times_are_those_that_were_noted() -> None:
    state = ResponseState(RECORD)
    state.note(Begin(5.5))
    state.note(EngineStarted("e", 7))
    state.note(Tokens((1, 2)))
    state.note(Prefilled(3))
    state.note(EngineStarted("e2", 9))  # a take-over: the prompt's counts stay those of the first engine
    state.note(Prefilled(4))
    state.note(Tokens((3,)))
    state.note(Clock(9.9))
    state.note(Clock(8.0))
    state.note(Finish("stop", 1))
    final = state.end("completed")
    assert (final.created_at, final.completed_at) == (5, 9)
    assert final.usage == Usage(7, InputTokensDetails(cached_tokens=3), 3, OutputTokensDetails(1), 10)
    state.phase = Phase.CLOSED
    assert state.snapshot() is final


def test_a_snapshot_shows_open_items_as_in_progress() -> None:
    state = state_in(Phase.GENERATING)
    state.open(MessageDraft("msg_1", 1, ["half"]))
    state.settle(state.calls[0], "completed")
    snapshot = state.snapshot()
    assert (snapshot.status, snapshot.completed_at) == ("in_progress", None)
    assert [item.status for item in snapshot.output] == ["completed", "in_progress"]


@pytest.mark.parametrize("at", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_time_is_refused(at: float) -> None:
    with pytest.raises(RefusedInput, match="not a time"):
        ResponseState(RECORD).admit(Begin(at))


def test_asking_changes_nothing() -> None:
    state = ResponseState(RECORD)
    state.admit(PRELUDE[0])
    with pytest.raises(NotBegun):
        state.snapshot()

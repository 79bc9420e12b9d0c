"""The state: the table of transitions, the counts, the drafts."""

from __future__ import annotations

from typing import get_args

import pytest

from responses_api.inputs import TERMINAL, EngineInput
from responses_api.schema.items import FunctionCall, OutputMessage, OutputText, ReasoningItem, ReasoningText
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
"""Every pair of phase and input: the phase after it, or - where the input is refused. In `generating`, call 0 is open."""

ROWS = [line for line in GRID.strip("\n").splitlines()[1:]]
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


def test_asking_changes_nothing() -> None:
    state = ResponseState(RECORD)
    state.admit(PRELUDE[0])
    with pytest.raises(NotBegun):
        state.snapshot()

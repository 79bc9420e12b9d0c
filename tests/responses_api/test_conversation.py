"""Conversations as items go in, and chat messages as they come out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responses_api import ids
from responses_api.admission import admit, parse_request
from responses_api.admitted import Admitted, ModelCard
from responses_api.conversation import StoredTurn, Turn, assemble, chat_messages
from responses_api.errors import InvalidRequest
from responses_api.records import OutputFormat
from responses_api.schema import items
from tests.responses_api.chat_items import calls, chat_call, gives, message, says, thinks, tool

SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}


def admitted(**body: Any) -> Admitted:
    return admit(parse_request(json.dumps({"model": "m", **body}).encode()), model=ModelCard(name="m"))


def turn(*history: StoredTurn, **body: Any) -> Turn:
    return assemble(admitted(**body), history=history, response_id="resp_1")


def chat(*given: dict[str, Any], **body: Any) -> list[dict[str, Any]]:
    return turn(input=list(given), **body).request.messages


def refusal(*given: dict[str, Any]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        chat(*given)
    assert (caught.value.status, caught.value.param) == (400, "input")
    return caught.value.message


# System messages


def test_a_string_is_a_users_message() -> None:
    assert turn(input="hi").request.messages == [message("user", "hi")]


def test_instructions_and_all_leading_system_messages_are_one() -> None:
    got = chat(says("developer", "a", "b"), says("system", "c"), says("user", "hi"), instructions="Be brief.")
    assert got == [message("system", "Be brief.\n\na\nb\n\nc"), message("user", "hi")]


def test_later_system_and_developer_messages_stay_where_they_are() -> None:
    got = chat(says("user", "1"), says("developer", "2"), says("user", "3"), says("system", "4"))
    assert got == [message("user", "1"), message("system", "2"), message("user", "3"), message("system", "4")]


def test_a_system_message_behind_a_models_turn_is_a_later_one() -> None:
    assert chat(says("assistant", "a"), says("system", "b")) == [message("assistant", "a"), message("system", "b")]


def test_empty_instructions_are_no_message() -> None:
    assert chat(says("system", ""), says("user", "hi"), instructions="") == [message("user", "hi")]


def test_two_users_messages_in_a_row_stay_two() -> None:
    assert chat(says("user", "1"), says("user", "2")) == [message("user", "1"), message("user", "2")]


# The model's turns


def test_reasoning_a_message_and_calls_are_one_message() -> None:
    got = chat(
        says("user", "hi"),
        thinks("hm", "so"),
        says("assistant", "let me see"),
        calls("c1", '{"x": 1}'),
        calls("c2"),
        gives("c2", "two"),
        gives("c1", [{"type": "input_text", "text": "o"}, {"type": "input_text", "text": "ne"}]),
    )
    both = [chat_call("c1", '{"x": 1}'), chat_call("c2")]
    assert got == [
        message("user", "hi"),
        message("assistant", "let me see", reasoning="hm\nso", tool_calls=both),
        tool("c2", "two"),
        tool("c1", "o\nne"),
    ]


def test_calls_alone_have_no_content() -> None:
    got = chat(calls("c1"), gives("c1"))
    assert got == [message("assistant", None, tool_calls=[chat_call("c1")]), tool("c1")]


def test_each_run_of_the_models_items_is_a_message_of_its_own() -> None:
    got = chat(thinks("a"), calls("c1"), gives("c1"), thinks("b"), calls("c2"), gives("c2"), says("assistant", "done"))
    assert got == [
        message("assistant", None, reasoning="a", tool_calls=[chat_call("c1")]),
        tool("c1"),
        message("assistant", None, reasoning="b", tool_calls=[chat_call("c2")]),
        tool("c2"),
        message("assistant", "done"),
    ]


def test_messages_and_reasoning_of_one_run_are_joined() -> None:
    got = chat(thinks("a"), says("assistant", "b", "c"), thinks("d"), says("assistant", "e"))
    assert got == [message("assistant", "b\nc\n\ne", reasoning="a\n\nd")]


def test_a_message_after_a_call_is_of_the_same_turn() -> None:
    got = chat(calls("c1"), says("assistant", "calling"), gives("c1"))
    assert got == [message("assistant", "calling", tool_calls=[chat_call("c1")]), tool("c1")]


def test_a_refusal_is_text() -> None:
    given = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    assert chat(given) == [message("assistant", "no")]


@pytest.mark.parametrize("given", [thinks("cut"), says("assistant", ""), {"type": "reasoning"}])
def test_a_run_that_says_and_calls_nothing_is_left_out(given: dict[str, Any]) -> None:
    assert chat(says("user", "1"), given, says("user", "2")) == [message("user", "1"), message("user", "2")]


def test_a_summary_is_not_taken_for_reasoning() -> None:
    given = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]}
    assert chat(given, says("assistant", "a")) == [message("assistant", "a")]


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ('{"x": [1, {"y": null}]}', '{"x": [1, {"y": null}]}'),
        ("", "{}"),
        (" ", "{}"),
        ('{"x": ', '{"arguments": "{\\"x\\": "}'),
        ("[1]", '{"arguments": "[1]"}'),
        ('{"x": NaN}', '{"arguments": "{\\"x\\": NaN}"}'),
        ("[" * 5000, '{"arguments": "' + "[" * 5000 + '"}'),
        ("é", '{"arguments": "é"}'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_arguments_are_always_an_objects_json(text: str, rendered: str) -> None:
    assert chat(calls("c1", text), gives("c1"))[0]["tool_calls"] == [chat_call("c1", rendered)]


# Calls and outputs


def test_an_output_comes_right_behind_its_call_whatever_was_written_in_between() -> None:
    got = chat(calls("c1"), calls("c2"), gives("c1"), says("user", "wait"), gives("c2"), says("user", "go"))
    both = [chat_call("c1"), chat_call("c2")]
    asked = [message("user", "wait"), message("user", "go")]
    assert got == [message("assistant", None, tool_calls=both), tool("c1"), tool("c2"), *asked]


def test_an_output_without_a_call_is_refused() -> None:
    expected = "No tool call found for function call output with call_id c1."
    assert refusal(says("user", "hi"), gives("c1")) == expected
    assert refusal(gives("c1"), calls("c1")) == expected


@pytest.mark.parametrize(
    "given",
    [
        [calls("c1")],
        [calls("c1"), says("user", "hi")],
        [calls("c0"), calls("c1"), gives("c0")],
        [calls("c1"), says("user", "hi"), says("assistant", "a"), gives("c1")],
        [calls("c1"), says("user", "hi"), thinks("a"), gives("c1")],
        [calls("c1"), says("user", "hi"), calls("c2"), gives("c1"), gives("c2")],
    ],
)
def test_a_call_needs_its_output_before_the_models_next_turn(given: list[dict[str, Any]]) -> None:
    assert refusal(*given) == "No tool output found for function call c1."


def test_calls_and_outputs_come_once() -> None:
    assert refusal(calls("c1"), calls("c1"), gives("c1")) == "Duplicate function call with call_id c1."
    again = [calls("c1"), gives("c1"), calls("c1"), gives("c1")]
    assert refusal(*again) == "Duplicate function call with call_id c1."
    twice = [calls("c1"), gives("c1"), gives("c1")]
    assert refusal(*twice) == "Duplicate function call output with call_id c1."


@pytest.mark.parametrize("status", ["incomplete", "in_progress"])
def test_a_call_that_was_cut_is_left_out_and_asks_for_no_output(status: str) -> None:
    got = chat(says("user", "1"), says("assistant", "a"), calls("c1", '{"x', status=status), says("user", "2"))
    assert got == [message("user", "1"), message("assistant", "a"), message("user", "2")]


def test_a_call_that_was_cut_stays_if_its_output_is_there() -> None:
    got = chat(calls("c1", status="incomplete"), gives("c1"))
    assert got == [message("assistant", None, tool_calls=[chat_call("c1")]), tool("c1")]


def test_an_item_that_no_stored_response_can_hold_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="no such item"):
        chat_messages([{"type": "no_such"}])


# History

ANSWERED = StoredTurn(
    input_items=[
        {"type": "message", "id": "msg_0", "status": "completed", **says("developer", "Be kind.")},
        {"type": "message", "id": "msg_1", "status": "completed", **says("user", "hi")},
    ],
    output=[
        items.ReasoningItem(id="rs_1", status="completed", content=[items.ReasoningText("hm")]),
        items.OutputMessage(id="msg_2", status="completed", content=[items.OutputText("hello")]),
    ],
)
CALLED = StoredTurn(
    input_items=[{"type": "message", "id": "msg_3", "status": "completed", **says("user", "add")}],
    output=[items.FunctionCall(id="fc_1", status="completed", call_id="c1", name="f", arguments="{}")],
)


def test_earlier_turns_come_first_and_instructions_before_all() -> None:
    got = turn(ANSWERED, CALLED, input=[gives("c1")], instructions="Be brief.", previous_response_id="resp_0")
    assert got.request.messages == [
        message("system", "Be brief.\n\nBe kind."),
        message("user", "hi"),
        message("assistant", "hello", reasoning="hm"),
        message("user", "add"),
        message("assistant", None, tool_calls=[chat_call("c1")]),
        tool("c1"),
    ]


def test_output_may_be_given_as_json_too() -> None:
    plain = StoredTurn(input_items=ANSWERED.input_items, output=msgspec.to_builtins(ANSWERED.output))
    assert turn(plain, input="x").request == turn(ANSWERED, input="x").request


def test_only_new_items_belong_to_the_record() -> None:
    got = turn(ANSWERED, input="x", previous_response_id="resp_0")
    assert [item["content"][0]["text"] for item in got.record.input_items] == ["x"]
    assert got.record.echo.previous_response_id == "resp_0"


def test_a_call_of_an_earlier_turn_needs_its_output_now() -> None:
    with pytest.raises(InvalidRequest, match="No tool output found for function call c1"):
        turn(CALLED, input="never mind", previous_response_id="resp_0")
    with pytest.raises(InvalidRequest, match="No tool output found for function call c1"):
        turn(CALLED, previous_response_id="resp_0")


def test_an_earlier_response_that_was_cut_in_a_call_can_be_continued() -> None:
    half = items.FunctionCall(id="fc_1", status="incomplete", call_id="c1", name="f", arguments='{"x')
    cut = StoredTurn(input_items=CALLED.input_items, output=[half])
    got = turn(cut, input="again", previous_response_id="resp_0").request.messages
    assert got == [message("user", "add"), message("user", "again")]


def test_a_conversation_may_go_on_without_new_input() -> None:
    assert len(turn(ANSWERED, previous_response_id="resp_0").request.messages) == 3


# Ids


def test_each_input_item_gets_an_id_of_its_own() -> None:
    given = [
        says("user", "a"),
        says("user", "b") | {"id": "msg_mine"},
        thinks("c") | {"id": "msg_mine"},
        calls("c1") | {"id": ""},
        gives("c1") | {"id": None},
    ]
    got = [item["id"] for item in turn(input=given).record.input_items]
    assert got == [
        ids.input_item_id("resp_1", 0, "message"),
        "msg_mine",
        ids.input_item_id("resp_1", 2, "reasoning"),
        ids.input_item_id("resp_1", 3, "function_call"),
        ids.input_item_id("resp_1", 4, "function_call_output"),
    ]
    assert turn(input=given) == turn(input=given)


# What the engine is asked besides


def test_a_silent_request_leaves_all_to_the_engine() -> None:
    request = turn(input="hi").request
    assert (request.request_id, request.tools, request.tool_choice) == ("resp_1", [], "auto")
    assert (request.temperature, request.top_p, request.max_output_tokens) == (None, None, None)
    assert (request.output_format, request.reasoning_effort) == (OutputFormat(), None)
    assert request.parallel_tool_calls


def test_what_was_asked_reaches_the_engine() -> None:
    request = turn(
        input="hi",
        temperature=0,
        top_p=0.5,
        max_output_tokens=7,
        parallel_tool_calls=False,
        reasoning={"effort": "none"},
        text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    ).request
    assert (request.temperature, request.top_p, request.max_output_tokens) == (0.0, 0.5, 7)
    assert (request.parallel_tool_calls, request.reasoning_effort) == (False, "none")
    assert request.output_format == OutputFormat(kind="json_schema", schema=SCHEMA)


def test_tools_become_chat_tools_that_are_strict_unless_told_otherwise() -> None:
    sent = [
        {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": False},
        {"type": "function", "name": "g"},
    ]
    empty = {"type": "object", "properties": {}}
    assert [tool["function"] for tool in turn(input="hi", tools=sent).request.tools] == [
        {"name": "f", "description": "d", "parameters": SCHEMA, "strict": False},
        {"name": "g", "description": "", "parameters": empty, "strict": True},
    ]
    assert {tool["type"] for tool in turn(input="hi", tools=sent).request.tools} == {"function"}


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, "function:f"),
    ],
)
def test_a_tool_choice_is_one_word(sent: Any, asked: str) -> None:
    tools = [{"type": "function", "name": "f"}]
    assert turn(input="hi", tools=tools, tool_choice=sent).request.tool_choice == asked


# Properties

CALL_IDS = st.sampled_from(["c1", "c2", "c3"])
STEPS = st.one_of(
    st.builds(says, st.sampled_from(["user", "assistant", "system", "developer"]), st.sampled_from(["", "a", "b"])),
    st.builds(thinks, st.just("t")),
    st.builds(calls, CALL_IDS, st.sampled_from(["{}", "{"]), status=st.sampled_from(["completed", "incomplete"])),
    st.builds(gives, CALL_IDS),
)


@given(st.lists(STEPS, min_size=1, max_size=10))
def test_any_conversation_is_well_formed_chat_or_refused(given_items: list[dict[str, Any]]) -> None:
    try:
        got = chat(*given_items)
    except InvalidRequest:
        return
    open_calls: list[str] = []
    for at, entry in enumerate(got):
        if entry["role"] == "tool":
            assert got[at - 1]["role"] in {"assistant", "tool"}
            open_calls.remove(entry["tool_call_id"])
            continue
        assert open_calls == []
        open_calls = [call["id"] for call in entry.get("tool_calls", [])]
        assert entry["content"] or open_calls or entry["role"] != "assistant"
        assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in entry.get("tool_calls", []))
    assert open_calls == []
    leading = [entry["role"] for entry in got[:2]]
    assert leading != ["system", "system"]


@given(st.lists(STEPS, min_size=2, max_size=10), st.data())
def test_it_does_not_matter_what_was_stored_and_what_is_sent(given_items: list[dict[str, Any]], data: Any) -> None:
    whole = admitted(input=given_items).input_items
    at = data.draw(st.integers(1, len(whole) - 1))
    stored = StoredTurn(input_items=whole[:at], output=())
    try:
        expected = chat_messages(whole)
    except InvalidRequest:
        return
    assert turn(stored, input=given_items[at:], previous_response_id="resp_0").request.messages == expected

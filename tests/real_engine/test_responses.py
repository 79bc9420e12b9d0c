"""The whole product as its user runs it: `make serve`'s own launcher, vLLM, the published client over a socket."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.support.served import Served
from tests.support.waiting import eventually

pytestmark = [pytest.mark.serve, pytest.mark.real_engine]

MODEL = "smollm2-135m-instruct"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    "strict": True,
}
CAPITAL = "What is the capital of France? Answer in one short sentence."


@pytest.fixture
def client(real_server: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{real_server.url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        yield client


def is_weather_call(arguments: str) -> bool:
    """Whether these are arguments that the schema of `WEATHER` allows."""
    given = json.loads(arguments)
    return given.keys() == {"city", "unit"} and isinstance(given["city"], str) and given["unit"] in WEATHER_UNITS


WEATHER_UNITS = WEATHER["parameters"]["properties"]["unit"]["enum"]


def test_the_model_answers_a_question_in_plain_text(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input=CAPITAL, temperature=0, max_output_tokens=40)
    assert "Paris" in response.output_text
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.output_tokens > 0
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_stream_carries_the_same_answer_as_the_plain_response(client: OpenAI) -> None:
    plain = client.responses.create(model=MODEL, input=CAPITAL, temperature=0, max_output_tokens=40)
    with client.responses.stream(model=MODEL, input=CAPITAL, temperature=0, max_output_tokens=40) as stream:
        events = list(stream)
    final = stream.get_final_response()
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 3
    assert "".join(deltas) == final.output_text == plain.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[1].type, events[-1].type] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]


def test_instructions_reach_the_model(client: OpenAI) -> None:
    bare = client.responses.create(model=MODEL, input=CAPITAL, temperature=0, max_output_tokens=8)
    told = client.responses.create(
        model=MODEL, input=CAPITAL, instructions="You are a pirate.", temperature=0, max_output_tokens=8
    )
    assert bare.usage is not None
    assert told.usage is not None
    assert told.instructions == "You are a pirate."
    assert told.usage.input_tokens != bare.usage.input_tokens


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
def test_a_forced_call_streams_arguments_that_equal_the_final_item(client: OpenAI, choice: Any) -> None:
    with client.responses.stream(
        model=MODEL,
        input="What is the weather in Rome?",
        tools=[WEATHER],
        tool_choice=choice,
        temperature=0,
        max_output_tokens=400,
    ) as stream:
        events = list(stream)
    final = stream.get_final_response()
    calls = [item for item in final.output if item.type == "function_call"]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(calls) >= 1
    assert "".join(deltas) == "".join(call.arguments for call in calls)
    for call in calls:
        assert call.name == "get_weather"
        assert call.status == "completed"
        assert is_weather_call(call.arguments)


def test_parallel_tool_calls_off_gives_one_call(client: OpenAI) -> None:
    response = client.responses.create(
        model=MODEL,
        input="Weather in Rome, Paris and Oslo, please.",
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        max_output_tokens=200,
    )
    assert [item.type for item in response.output].count("function_call") == 1


def test_tool_choice_none_gives_text(client: OpenAI) -> None:
    response = client.responses.create(
        model=MODEL, input=CAPITAL, tools=[WEATHER], tool_choice="none", temperature=0, max_output_tokens=30
    )
    assert {item.type for item in response.output} == {"message"}


def test_tool_choice_auto_lets_the_model_answer(client: OpenAI) -> None:
    response = client.responses.create(
        model=MODEL, input=CAPITAL, tools=[WEATHER], tool_choice="auto", temperature=0, max_output_tokens=60
    )
    assert response.output
    assert {item.type for item in response.output} <= {"message", "function_call"}


@pytest.mark.parametrize("stored", [True, False])
def test_a_second_turn_returns_the_tools_output_to_the_model(client: OpenAI, stored: bool) -> None:
    question = "What is the weather in Rome?"
    # Greedy and bounded: so small a model may otherwise write for minutes.
    how: Any = {"model": MODEL, "tools": [WEATHER], "temperature": 0, "max_output_tokens": 100}
    first = client.responses.create(
        input=question, tool_choice="required", parallel_tool_calls=False, store=stored, **how
    )
    (call,) = [item for item in first.output if item.type == "function_call"]
    answer: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "It is 21 degrees and sunny."}
    if stored:
        second = client.responses.create(previous_response_id=first.id, input=[answer], tool_choice="none", **how)
        assert second.previous_response_id == first.id
    else:
        history: Any = [{"role": "user", "content": question}, *[item.model_dump() for item in first.output], answer]
        second = client.responses.create(input=history, tool_choice="none", **how)
    assert second.status in {"completed", "incomplete"}
    assert second.output_text
    bare = client.responses.create(model=MODEL, input=question, max_output_tokens=16)
    assert second.usage is not None
    assert bare.usage is not None
    # The call, with its arguments, and the output both reached the model.
    assert second.usage.input_tokens > bare.usage.input_tokens + 20


def test_a_strict_schema_is_kept_by_the_answer(client: OpenAI) -> None:
    schema: Any = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 30}, "age": {"type": "integer", "maximum": 150}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    response = client.responses.create(
        model=MODEL,
        input="Invent a person.",
        text={"format": {"type": "json_schema", "name": "person", "schema": schema, "strict": True}},
        temperature=0,
        max_output_tokens=200,
    )
    person = json.loads(response.output_text)
    assert person.keys() == {"name", "age"}
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


def test_json_object_gives_an_object(client: OpenAI) -> None:
    response = client.responses.create(
        model=MODEL,
        input='Reply with the JSON {"ok": true} only.',
        text={"format": {"type": "json_object"}},
        temperature=0,
        max_output_tokens=300,
    )
    if response.status == "completed":
        assert isinstance(json.loads(response.output_text), dict)
    else:
        assert response.output_text.lstrip().startswith("{")


def test_the_output_limit_ends_in_incomplete(client: OpenAI) -> None:
    stream = client.responses.create(model=MODEL, input="Tell me a long story.", max_output_tokens=16, stream=True)
    *_, last = stream
    assert last.type == "response.incomplete"
    final = last.response
    assert final.status == "incomplete"
    assert final.incomplete_details is not None
    assert final.incomplete_details.reason == "max_output_tokens"
    assert final.usage is not None
    assert final.usage.output_tokens == 16


def running(server: Served) -> int:
    """The real engine's own figure of requests that it is working on."""
    return server.engine_status(MODEL).running


def test_a_client_that_leaves_its_stream_stops_the_engine(client: OpenAI, real_server: Served) -> None:
    eventually(lambda: running(real_server) == 0, within_s=30)
    stream = client.responses.create(
        model=MODEL, input="Count from one to ten thousand.", max_output_tokens=3000, stream=True
    )
    response_id = ""
    for event in stream:
        if event.type == "response.created":
            response_id = event.response.id
        if event.type == "response.output_text.delta":
            break
    assert running(real_server) == 1
    stream.close()
    eventually(lambda: running(real_server) == 0, within_s=10)
    eventually(lambda: client.responses.retrieve(response_id).status == "cancelled", within_s=10)


def test_cancel_from_another_connection_ends_the_stream(client: OpenAI, real_server: Served) -> None:
    stream = client.responses.create(
        model=MODEL, input="Count from one to ten thousand.", max_output_tokens=3000, stream=True
    )
    last = ""
    for event in stream:
        last = event.type
        if event.type == "response.created":
            created = event.response.id
        if event.type == "response.output_text.delta" and event.sequence_number == 6:
            assert client.responses.cancel(created).status == "cancelled"
    assert last == "response.incomplete"
    assert running(real_server) == 0
    assert client.responses.cancel(created).status == "cancelled"


def test_a_stored_response_can_be_read_listed_and_deleted(client: OpenAI) -> None:
    first = client.responses.create(
        model=MODEL,
        input=[{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}],
        metadata={"team": "a"},
        max_output_tokens=16,
    )
    again = client.responses.retrieve(first.id)
    assert again.model_dump() == first.model_dump()
    assert again.metadata == {"team": "a"}
    page: Any = client.responses.input_items.list(first.id, limit=1, order="asc")
    assert page.has_more
    assert [item.content[0].text for item in page] == ["One.", "Two."]
    client.responses.delete(first.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(NotFoundError):
        client.responses.input_items.list(first.id)


def test_a_response_that_is_not_to_be_stored_is_not(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="Hello", store=False, max_output_tokens=16)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(response.id)


def test_the_models_are_listed(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"model": "gpt-unknown"}, "model", "model_not_found"),
        ({"input": "word " * 20_000}, "input", "context_length_exceeded"),
        ({"previous_response_id": "resp_0123"}, "previous_response_id", "previous_response_not_found"),
        ({"tool_choice": {"type": "function", "name": "nope"}}, "tool_choice", "invalid_value"),
        ({"temperature": "warm"}, "temperature", "invalid_type"),
        ({"background": True}, "background", "unsupported_parameter"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_input_is_refused_by_name_and_leaves_the_engine_alone(
    client: OpenAI, real_server: Served, changes: dict[str, Any], param: str, code: str, stream: bool
) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(**{"model": MODEL, "input": "Hello", "stream": stream, **changes})
    assert refused.value.param == param
    assert refused.value.code == code
    assert not re.search(r"Traceback|File \"", refused.value.message)
    assert running(real_server) == 0


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?<=x)["}}},
        {"type": "wrong"},
        {"$ref": "#"},
        {"type": "string", "minLength": -5},
        {"type": "string", "pattern": "(((((.{0,9}){0,9}){0,9}){0,9}){0,9}){0,9}Q"},
    ],
)
def test_a_schema_that_cannot_be_compiled_is_refused_and_the_engine_lives(client: OpenAI, schema: Any) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(
            model=MODEL,
            input="Hello",
            max_output_tokens=16,
            text={"format": {"type": "json_schema", "name": "s", "schema": schema}},
        )
    assert refused.value.param is not None
    assert refused.value.param.startswith("text.format")
    assert client.responses.create(model=MODEL, input=CAPITAL, max_output_tokens=16).output_text


def test_the_model_name_is_echoed_and_defaults_are_the_apis(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="Hello", max_output_tokens=16)
    assert response.model == MODEL
    assert response.temperature == 1.0
    assert response.top_p == 1.0
    assert response.tool_choice == "auto"
    assert response.truncation == "disabled"
    assert response.text is not None
    assert response.text.format is not None
    assert response.text.format.type == "text"

from __future__ import annotations

import asyncio
import json
import multiprocessing
from typing import Any

import jsonschema
import msgspec
import pytest

from deployments.engines.base import Engine, EngineDead, RequestRefused
from responses_api.errors import ContextLengthExceeded, InvalidRequest
from responses_api.inputs import (
    CallArguments,
    CallClosed,
    CallOpened,
    EngineInput,
    EngineStarted,
    Finish,
    Prefilled,
    TextDelta,
)
from responses_api.records import OutputFormat
from tests.deployments.engines.engine_contract import EngineCase, EngineContract, check_batches, eventually, said_by
from tests.support.vllm_fixture import REAL_ENGINE, answer, asking, token_ids, vllm_engine

__all__ = ["vllm_engine"]

pytestmark = REAL_ENGINE

CAPITAL = asking("What is the capital of France?")
STORY = asking("Tell me a long story about a fox.", max_output_tokens=400)
TOO_LONG = asking("word " * 5_000)

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"enum": [1, 2, 3]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


def tool(name: str, parameters: dict[str, Any] = CITY, *, strict: bool | None = True) -> dict[str, Any]:
    function = {"name": name, "description": f"Do {name} for a city", "parameters": parameters}
    return {"type": "function", "function": function if strict is None else {**function, "strict": strict}}


def text_of(said: list[EngineInput]) -> str:
    return "".join(got.text for got in said if isinstance(got, TextDelta))


def arguments_of(said: list[EngineInput], call: int = 0) -> str:
    return "".join(got.delta for got in said if isinstance(got, CallArguments) and got.call == call)


class TestContract(EngineContract):
    @pytest.fixture
    def case(self, vllm_engine: Engine) -> EngineCase:
        return EngineCase(engine=vllm_engine, short=CAPITAL, long=STORY, refused=TOO_LONG)


async def test_the_model_answers(vllm_engine: Engine) -> None:
    said = await answer(vllm_engine, CAPITAL)
    assert text_of(said) == "The capital of France is Paris."
    assert said[0] == EngineStarted(engine="replica-1", input_tokens=37)
    assert isinstance(said[1], Prefilled)
    assert said[-1] == Finish(reason="stop")


async def test_temperature_zero_repeats_itself_to_the_token(vllm_engine: Engine) -> None:
    first, second = [await answer(vllm_engine, asking("Name three colours.")) for _ in range(2)]
    assert token_ids(first) == token_ids(second)


async def test_a_prompt_seen_before_comes_from_the_cache(vllm_engine: Engine) -> None:
    request = asking("word " * 300, max_output_tokens=2)
    await answer(vllm_engine, request)
    (prefilled,) = [got for got in await answer(vllm_engine, request) if isinstance(got, Prefilled)]
    assert prefilled.cached_tokens >= 256


async def test_an_output_limit_beyond_the_context_is_cut_to_what_is_left(vllm_engine: Engine) -> None:
    said = await answer(vllm_engine, asking("What is the capital of France?", max_output_tokens=10**9))
    assert said[-1] == Finish(reason="stop")


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("choice", ["required", "function:get_time"])
async def test_a_forced_call_has_arguments_that_fit_its_schema(
    vllm_engine: Engine, choice: str, parallel: bool
) -> None:
    tools = [tool("get_weather"), tool("get_time")]
    request = asking("Paris, two days.", tools=tools, tool_choice=choice, parallel_tool_calls=parallel)
    said = await answer(vllm_engine, request)
    check_batches([[got] for got in said])
    opened = [got for got in said if isinstance(got, CallOpened)]
    assert opened[0].name in ({"get_time"} if choice != "required" else {"get_weather", "get_time"})
    assert opened[0].call_id is None
    assert parallel or len(opened) == 1
    jsonschema.validate(json.loads(arguments_of(said)), CITY)
    assert sum(isinstance(got, CallClosed) for got in said) == len(opened)
    assert said[-1] == Finish(reason="stop")


async def test_a_call_cut_by_the_limit_is_left_open(vllm_engine: Engine) -> None:
    request = asking("Paris.", tools=[tool("get_weather")], tool_choice="required", max_output_tokens=16)
    said = await answer(vllm_engine, request)
    assert any(isinstance(got, CallOpened) for got in said)
    assert not any(isinstance(got, CallClosed) for got in said)
    assert said[-1] == Finish(reason="length")


async def test_tools_may_be_offered_without_being_forced(vllm_engine: Engine) -> None:
    said = await answer(vllm_engine, asking("Hello!", tools=[tool("get_weather", strict=None)]))
    check_batches([[got] for got in said])
    assert text_of(said) or arguments_of(said)


async def test_tools_that_must_not_be_called_are_not_shown_to_the_model(vllm_engine: Engine) -> None:
    offered = asking("What is the capital of France?", tools=[tool("get_weather")], tool_choice="none")
    assert token_ids(await answer(vllm_engine, offered)) == token_ids(await answer(vllm_engine, CAPITAL))


async def test_an_answer_keeps_to_its_json_schema(vllm_engine: Engine) -> None:
    wanted = OutputFormat(kind="json_schema", schema=CITY)
    said = await answer(vllm_engine, asking("Plan a trip to Paris.", output_format=wanted))
    jsonschema.validate(json.loads(text_of(said)), CITY)


async def test_a_json_object_is_json_as_far_as_it_goes(vllm_engine: Engine) -> None:
    said = await answer(vllm_engine, asking("Describe Paris.", output_format=OutputFormat(kind="json_object")))
    assert text_of(said).startswith("{")


async def test_eight_streams_run_side_by_side(vllm_engine: Engine) -> None:
    requests = [msgspec.structs.replace(STORY, request_id=f"r{n}", max_output_tokens=30) for n in range(8)]
    for batches in await asyncio.gather(*(said_by(vllm_engine, request) for request in requests)):
        check_batches(batches)
        assert batches[-1][-1] == Finish(reason="length")


async def test_leaving_is_over_when_the_engine_has_stopped(vllm_engine: Engine) -> None:
    async with vllm_engine.generate(STORY) as batches:
        for _ in range(5):
            await anext(batches)
        assert (await vllm_engine.status()).running == 1
    status = await vllm_engine.status()
    assert (status.running, status.waiting, status.kv_usage) == (0, 0, 0.0)


# --- what is refused; the engine answers as before afterwards ---


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def matching(pattern: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}, "required": ["a"]}


BAD_SCHEMAS = {
    "a type that is no type": {"type": 5},
    "properties that are a list": {"type": "object", "properties": [1]},
    "a reference to nowhere": {"type": "object", "properties": {"a": {"$ref": "#/$defs/nowhere"}}},
    "too deep": nested(65),
    "far too deep": nested(400),
    "a pattern that is none": matching("(["),
    "a pattern that multiplies": matching("(a?){5000}a{5000}"),
    "a pattern of all patterns": matching("|".join("a" * n + "b" for n in range(1000))),
    "a huge enum": {"enum": [f"value{n}" for n in range(100_000)]},
    "too many properties": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(3_000)}},
    "half a character": {"enum": ["\ud800"]},
    "an enum of nothing": {"enum": []},
}


@pytest.mark.parametrize("schema", BAD_SCHEMAS.values(), ids=BAD_SCHEMAS.keys())
async def test_a_schema_that_is_no_grammar_is_refused(vllm_engine: Engine, schema: dict[str, Any]) -> None:
    wanted = OutputFormat(kind="json_schema", schema=schema)
    with pytest.raises(RequestRefused) as refused:
        await answer(vllm_engine, asking("Hi", output_format=wanted))
    assert isinstance(refused.value.error, InvalidRequest)
    assert refused.value.error.param == "text.format.schema"
    assert "/project/" not in refused.value.error.message
    with pytest.raises(RequestRefused) as refused:
        await answer(vllm_engine, asking("Hi", tools=[tool("f", schema)], tool_choice="required"))
    assert refused.value.error.param == "tools"
    assert text_of(await answer(vllm_engine, CAPITAL)) == "The capital of France is Paris."


ODD_SCHEMAS = {
    "nothing at all": {},
    "itself": {"$ref": "#"},
    "only itself, in a circle": {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "something elsewhere": {"$ref": "https://example.com/schema.json"},
    "never": {"not": {}},
    "a million items": {"type": "array", "items": {"type": "string"}, "minItems": 1_000_000},
    "a backtracking pattern": matching("(x+x+)+y"),
    "characters from all of Unicode": matching("[\\u0000-\\uffff]{1,500}x"),
}


@pytest.mark.parametrize("schema", ODD_SCHEMAS.values(), ids=ODD_SCHEMAS.keys())
async def test_an_odd_schema_does_the_engine_no_harm(vllm_engine: Engine, schema: dict[str, Any]) -> None:
    wanted = OutputFormat(kind="json_schema", schema=schema)
    try:
        await answer(vllm_engine, asking("Hi", output_format=wanted, max_output_tokens=4))
    except Exception as error:
        assert type(error).__name__ in {"RequestRefused", "EngineError"}  # noqa: PT017 - either, or no error at all
    assert text_of(await answer(vllm_engine, CAPITAL)) == "The capital of France is Paris."


async def test_a_prompt_beyond_the_context_is_refused_with_the_numbers(vllm_engine: Engine) -> None:
    for content in ("word " * 5_000, "word " * 500_000):
        with pytest.raises(RequestRefused) as refused:
            await answer(vllm_engine, asking(content))
        error = refused.value.error
        assert isinstance(error, ContextLengthExceeded)
        assert error.param == "input"
        assert "2048" in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "input"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "input"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}, "input"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 2.0}, "top_p"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"reasoning_effort": "sideways"}, "reasoning.effort"),
        ({"tools": [tool("f")], "tool_choice": "function:g"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools"),
    ],
    ids=str,
)
async def test_what_cannot_be_served_is_refused_by_name(
    vllm_engine: Engine, fields: dict[str, Any], param: str
) -> None:
    request = msgspec.structs.replace(CAPITAL, **fields)
    with pytest.raises(RequestRefused) as refused:
        await answer(vllm_engine, request)
    assert refused.value.error.param == param


# --- last, because nothing runs after it ---


async def test_the_death_of_vllms_process_ends_streams_and_the_engine(vllm_engine: Engine) -> None:
    async with asyncio.timeout(60):
        with pytest.raises(EngineDead):
            await _kill_and_read_on(vllm_engine)
        await eventually(lambda: _is_dead(vllm_engine))
        with pytest.raises(EngineDead):
            await vllm_engine.status()
        with pytest.raises(EngineDead):
            await answer(vllm_engine, CAPITAL)


async def _kill_and_read_on(engine: Engine) -> None:
    async with engine.generate(STORY) as batches:
        await anext(batches)
        for process in multiprocessing.active_children():
            process.kill()
        async for _ in batches:
            pass


async def _is_dead(engine: Engine) -> bool:
    try:
        await engine.check()
    except EngineDead:
        return True
    return False

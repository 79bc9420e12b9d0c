from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deployments.engines.base import EngineDead, RequestRefused
from deployments.engines.script import CallStep, Script, Step
from deployments.engines.scripted_engine import ScriptedEngine
from responses_api.errors import InvalidRequest, Overloaded
from responses_api.inputs import (
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
from responses_api.records import GenerationRequest, OutputFormat
from tests.deployments.engines.engine_contract import (
    LIMIT_S,
    ClosableEngineContract,
    EngineCase,
    EngineContract,
    check_batches,
    eventually,
    said_by,
    text_of,
)

PAIR: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 3}, "b": {"type": "string", "enum": ["x", "y"]}},
    "required": ["a", "b"],
}
SUM: dict[str, Any] = {"type": "function", "function": {"name": "add", "parameters": PAIR}}
NOW: dict[str, Any] = {"type": "function", "function": {"name": "now"}}


def asking(text: str, **fields: Any) -> GenerationRequest:
    """A request whose only message is the user's."""
    return GenerationRequest(request_id="r", messages=[{"role": "user", "content": text}], **fields)


def scripted(*steps: dict[str, Any], **options: Any) -> GenerationRequest:
    """A request that brings a script."""
    return asking("Please @script " + json.dumps({"steps": steps, **options}) + " now.")


def scripted_case() -> EngineCase:
    """The scripted engine's case of the contract."""
    return EngineCase(
        engine=ScriptedEngine("replica-1"),
        short=asking("hello"),
        long=scripted({"text": "word " * 400}, rate=2000),
        refused=scripted({"refuse": {"message": "no"}}),
    )


class TestScriptedEngine(EngineContract, ClosableEngineContract):
    @pytest.fixture
    async def case(self) -> EngineCase:
        return scripted_case()

    @pytest.fixture
    async def own_case(self) -> EngineCase:
        return scripted_case()


@pytest.fixture
async def engine() -> ScriptedEngine:
    return ScriptedEngine("replica-1")


def spoken(batches: list[list[EngineInput]]) -> list[EngineInput]:
    """What was said besides tokens."""
    return [got for batch in batches for got in batch if not isinstance(got, Tokens)]


async def test_steps_are_said_in_order_in_chunks(engine: ScriptedEngine) -> None:
    request = scripted(
        {"reasoning": "hmmm"}, {"call": {"name": "f", "arguments": '{"a":1}'}}, {"text": "hello"}, chunk=3, cached=2
    )
    batches = await said_by(engine, request)
    check_batches(batches)
    started, prefilled, *rest = spoken(batches)
    assert isinstance(started, EngineStarted)
    assert prefilled == Prefilled(2)
    assert rest == [
        ReasoningDelta("hmm"),
        ReasoningDelta("m"),
        CallOpened(0, "f"),
        CallArguments(0, '{"a'),
        CallArguments(0, '":1'),
        CallArguments(0, "}"),
        CallClosed(0),
        TextDelta("hel"),
        TextDelta("lo"),
        Finish("stop", 2),
    ]


async def test_the_same_request_says_the_same_tokens(engine: ScriptedEngine) -> None:
    first, second = [await said_by(engine, asking("hello")) for _ in range(2)]
    assert first == second


async def test_calls_can_be_open_side_by_side(engine: ScriptedEngine) -> None:
    calls = [{"name": "f", "arguments": {"a": 1}, "call_id": "call_1"}, {"name": "g", "arguments": "{}"}]
    batches = await said_by(engine, scripted({"calls": calls}, chunk=4))
    check_batches(batches)
    assert spoken(batches)[2:] == [
        CallOpened(0, "f", "call_1"),
        CallOpened(1, "g"),
        CallArguments(0, '{"a"'),
        CallArguments(1, "{}"),
        CallArguments(0, ": 1}"),
        CallClosed(0),
        CallClosed(1),
        Finish("stop"),
    ]


async def test_a_list_of_scripts_is_one_for_each_turn(engine: ScriptedEngine) -> None:
    text = '@script [{"steps":[{"call":{"name":"f"}}]},{"steps":[{"text":"done"}]}]'
    messages = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    assert CallOpened(0, "f") in spoken(await said_by(engine, GenerationRequest(request_id="r", messages=messages)))
    messages += [{"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "4"}]
    assert text_of(await said_by(engine, GenerationRequest(request_id="r", messages=messages))) == "done"
    messages += [{"role": "assistant", "content": "done"}, {"role": "tool", "content": "5"}]
    assert text_of(await said_by(engine, GenerationRequest(request_id="r", messages=messages))) == "You said: 5"


@pytest.mark.parametrize(
    "directive",
    [
        "{",
        '{"steps": 1}',
        '{"steps": [{}]}',
        '{"steps": [{"text": "a", "pause": 1}]}',
        '{"steps": [{"shout": "a"}]}',
        '{"steps": [{"pause": -1}]}',
        '{"steps": [{"text": "a"}, {"refuse": {}}]}',
        '{"steps": [], "rate": 0}',
        '{"steps": [], "speed": 1}',
        '[{"steps": []}, 1]',
    ],
)
async def test_a_malformed_script_is_an_invalid_input(engine: ScriptedEngine, directive: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        await said_by(engine, asking(f"@script {directive}"))
    assert isinstance(caught.value.error, InvalidRequest)
    assert caught.value.error.param == "input"
    assert "script" in caught.value.error.message


async def test_refusals_say_what_the_script_says(engine: ScriptedEngine) -> None:
    with pytest.raises(RequestRefused) as invalid:
        await said_by(engine, scripted({"refuse": {"message": "no", "param": "model"}}))
    assert (invalid.value.error.message, invalid.value.error.param) == ("no", "model")
    with pytest.raises(RequestRefused) as overloaded:
        await said_by(engine, scripted({"refuse": {"overloaded": True}}))
    assert isinstance(overloaded.value.error, Overloaded)


async def test_without_a_script_the_message_is_echoed(engine: ScriptedEngine) -> None:
    assert text_of(await said_by(engine, asking("hello there"))) == "You said: hello there"


async def test_a_default_script_is_used_where_the_request_has_none() -> None:
    engine = ScriptedEngine("r", script=Script(steps=[Step(text="default")]))
    assert text_of(await said_by(engine, asking("hello"))) == "default"
    assert text_of(await said_by(engine, scripted({"text": "own"}))) == "own"


@pytest.mark.parametrize(("choice", "name"), [("required", "now"), ("function:add", "add")])
async def test_a_forced_tool_is_called_with_arguments_of_its_schema(
    engine: ScriptedEngine, choice: str, name: str
) -> None:
    batches = await said_by(engine, asking("go", tools=[NOW, SUM], tool_choice=choice))
    check_batches(batches)
    said = spoken(batches)
    assert [got.name for got in said if isinstance(got, CallOpened)] == [name]
    arguments = json.loads("".join(got.delta for got in said if isinstance(got, CallArguments)))
    assert arguments == ({"a": 3, "b": "x"} if name == "add" else {})


@pytest.mark.parametrize("choice", ["required", "function:other"])
async def test_a_tool_that_is_not_there_cannot_be_forced(engine: ScriptedEngine, choice: str) -> None:
    tools = [] if choice == "required" else [SUM]
    with pytest.raises(RequestRefused) as caught:
        await said_by(engine, asking("go", tools=tools, tool_choice=choice))
    assert caught.value.error.param == "tool_choice"


async def test_a_json_format_gives_an_instance_of_the_schema(engine: ScriptedEngine) -> None:
    form = OutputFormat(kind="json_schema", schema=PAIR)
    assert json.loads(text_of(await said_by(engine, asking("go", output_format=form)))) == {"a": 3, "b": "x"}
    form = OutputFormat(kind="json_object")
    assert json.loads(text_of(await said_by(engine, asking("go", output_format=form)))) == {}


async def test_a_limit_that_is_just_enough_is_no_cut(engine: ScriptedEngine) -> None:
    request = scripted({"text": "abcdefgh"}, finish="stop")
    exact = await said_by(engine, msgspec.structs.replace(request, max_output_tokens=2))
    assert (text_of(exact), exact[-1]) == ("abcdefgh", [Finish("stop")])
    short = await said_by(engine, msgspec.structs.replace(request, max_output_tokens=1))
    assert (text_of(short), short[-1]) == ("abcd", [Finish("length")])


async def test_a_scripted_end_can_be_length(engine: ScriptedEngine) -> None:
    assert (await said_by(engine, scripted({"text": "a"}, finish="length")))[-1] == [Finish("length")]


async def test_death_comes_between_batches_or_on_entering(engine: ScriptedEngine) -> None:
    with pytest.raises(EngineDead):
        await said_by(engine, scripted({"error": "dead"}))
    async with engine.generate(scripted({"text": "a"}, {"error": "dead"})) as batches:
        assert text_of([await anext(batches) for _ in range(3)]) == "a"
        with pytest.raises(EngineDead):
            await anext(batches)
    assert (await engine.status()).running == 0
    assert engine.aborted == 0


async def test_an_abort_is_counted_and_an_end_is_not(engine: ScriptedEngine) -> None:
    async with engine.generate(scripted({"silence": True})) as batches:
        await anext(batches)
        assert (await engine.status()).running == 1
    assert engine.aborted == 1
    async with engine.generate(asking("hello")) as batches:
        async for batch in batches:
            if isinstance(batch[-1], Finish):
                break
    assert engine.aborted == 1


async def test_silence_lasts_until_the_engine_is_closed(engine: ScriptedEngine) -> None:
    silent = asyncio.create_task(said_by(engine, scripted({"silence": True})))
    async with asyncio.timeout(LIMIT_S):
        await eventually(lambda: _running(engine, 1))
        await engine.close()
        with pytest.raises(EngineDead):
            await silent


async def test_pauses_and_rates_take_their_time(engine: ScriptedEngine) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await said_by(engine, scripted({"pause": 0.05}, {"text": "abcdefgh"}, rate=100, chunk=1))
    assert loop.time() - begun >= 0.05 + 8 / 100


async def _running(engine: ScriptedEngine, count: int) -> bool:
    return (await engine.status()).running == count


_CRASH = """
import asyncio
from deployments.engines.scripted_engine import ScriptedEngine
from tests.deployments.engines.engine_contract import said_by
from tests.deployments.engines.test_scripted_engine import scripted

asyncio.run(said_by(ScriptedEngine("r"), scripted({"text": "a"}, {"crash": True})))
"""


async def test_a_crash_ends_the_process_at_once() -> None:
    root = Path(__file__).parents[3]
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _CRASH, cwd=root)
    async with asyncio.timeout(LIMIT_S):
        assert await process.wait() == 1


def test_a_call_steps_arguments_may_be_an_object() -> None:
    assert CallStep("f", {"a": 1}).text == '{"a": 1}'

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from deployments.engines import wire
from deployments.engines.base import EngineDead, EngineError, RequestRefused
from deployments.engines.scripted_engine import ScriptedEngine
from responses_api.errors import ApiError, InvalidRequest, ResponseNotFound, ServerError
from responses_api.inputs import EngineInput, EngineStarted, Finish, Prefilled
from responses_api.records import GenerationRequest
from tests.deployments.engines.engine_contract import LIMIT_S, eventually, text_of
from tests.deployments.engines.test_scripted_engine import asking, scripted


class _FailingEngine(ScriptedEngine):
    """Raises what it is given after its first batch."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__("r")
        self._failure = failure

    @asynccontextmanager
    async def generate(self, request: GenerationRequest) -> AsyncIterator[AsyncIterator[list[EngineInput]]]:
        async def batches() -> AsyncIterator[list[EngineInput]]:
            yield [EngineStarted("r", 1)]
            raise self._failure

        yield batches()


async def frames_of(engine: ScriptedEngine, request: GenerationRequest) -> list[bytes]:
    """All frames of one generation."""
    return [frame async for frame in wire.serve(engine, wire.encode_request(request))]


async def test_batches_cross_as_they_are() -> None:
    frames = await frames_of(ScriptedEngine("r"), asking("hello"))
    batches = [wire.inputs(frame) for frame in frames]
    assert text_of(batches) == "You said: hello"
    assert batches[-1] == [Finish("stop")]


@pytest.mark.parametrize("name", sorted(wire.REFUSALS))
async def test_each_refusal_crosses_as_its_own_kind(name: str) -> None:
    error = wire.REFUSALS[name]("words", param="input", code="a_code")
    (_, frame) = await frames_of(_FailingEngine(RequestRefused(error)), asking("x"))
    with pytest.raises(RequestRefused) as caught:
        wire.inputs(frame)
    assert type(caught.value.error) is type(error)
    assert caught.value.error.body() == error.body()


@pytest.mark.parametrize(
    ("error", "kind"), [(ResponseNotFound("resp_1"), ServerError), (ApiError("x", code="y"), ServerError)]
)
async def test_an_error_that_no_engine_should_raise_crosses_as_a_server_error(
    error: ApiError, kind: type[ApiError]
) -> None:
    (_, frame) = await frames_of(_FailingEngine(RequestRefused(error)), asking("x"))
    with pytest.raises(RequestRefused) as caught:
        wire.inputs(frame)
    assert type(caught.value.error) is kind
    assert caught.value.error.message == error.message


@pytest.mark.parametrize("failure", [EngineDead("gone"), asyncio.CancelledError(), ValueError("gone"), MemoryError()])
async def test_whatever_else_an_engine_raises_is_its_death(failure: BaseException) -> None:
    (_, frame) = await frames_of(_FailingEngine(failure), asking("x"))
    with pytest.raises(EngineDead):
        wire.inputs(frame)


async def test_a_generation_that_fails_by_itself_is_no_dead_engine() -> None:
    (_, frame) = await frames_of(_FailingEngine(EngineError("its grammar broke")), asking("x"))
    with pytest.raises(EngineError, match="its grammar broke") as caught:
        wire.inputs(frame)
    assert type(caught.value) is EngineError


async def test_a_request_that_cannot_be_read_is_no_crash() -> None:
    (frame,) = [frame async for frame in wire.serve(ScriptedEngine("r"), b"\x00")]
    with pytest.raises(EngineDead):
        wire.inputs(frame)


def test_a_frame_that_cannot_be_read_is_a_dead_engines() -> None:
    with pytest.raises(EngineDead, match="version"):
        wire.inputs(msgspec.msgpack.encode(["later", 1]))


async def test_a_refusal_of_a_later_version_is_a_server_error() -> None:
    frame = msgspec.msgpack.encode(wire.Refused("Later", "words", None, None))
    with pytest.raises(RequestRefused) as caught:
        wire.inputs(frame)
    assert isinstance(caught.value.error, ServerError)
    assert not isinstance(caught.value.error, InvalidRequest)


async def test_closing_the_frames_aborts_the_generation() -> None:
    engine = ScriptedEngine("r")
    frames = wire.serve(engine, wire.encode_request(scripted({"silence": True})))
    await anext(frames)
    await frames.aclose()
    assert (engine.aborted, (await engine.status()).running) == (1, 0)


async def test_cancelling_who_serves_aborts_the_generation_and_ends_cleanly() -> None:
    engine = ScriptedEngine("r")
    serving = asyncio.create_task(frames_of(engine, scripted({"silence": True})))
    async with asyncio.timeout(LIMIT_S):
        await eventually(lambda: _running(engine))
        serving.cancel()
        frames = await serving
    assert [type(got) for frame in frames for got in wire.inputs(frame)] == [EngineStarted, Prefilled]
    assert (engine.aborted, (await engine.status()).running) == (1, 0)


async def test_a_cancellation_thrown_between_frames_ends_cleanly() -> None:
    engine = ScriptedEngine("r")
    frames = wire.serve(engine, wire.encode_request(scripted({"silence": True})))
    await anext(frames)
    with pytest.raises(StopAsyncIteration):
        await frames.athrow(asyncio.CancelledError())
    assert (engine.aborted, (await engine.status()).running) == (1, 0)


async def _running(engine: ScriptedEngine) -> bool:
    return (await engine.status()).running == 1

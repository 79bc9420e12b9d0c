"""What every engine must do. An engine's own test module subclasses `EngineContract` and gives the fixture `case`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import pytest

from deployments.engines.base import Engine, EngineDead, RequestRefused
from responses_api.errors import ApiError
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
from responses_api.records import GenerationRequest

LIMIT_S = 120.0
"""Bound on every wait: a model on a slow processor needs its time."""


@dataclass(frozen=True)
class EngineCase:
    """An engine and what to ask of it. The request ids do not matter: the contract sets its own."""

    engine: Engine
    short: GenerationRequest
    """Ends by itself within a few tokens of text."""
    long: GenerationRequest
    """Says hundreds of tokens, the first of them soon."""
    refused: GenerationRequest
    """Is not accepted."""


def numbered(request: GenerationRequest, request_id: str, *, limit: int | None = None) -> GenerationRequest:
    """The request under another id, and with another output limit if one is given."""
    changed = msgspec.structs.replace(request, request_id=request_id)
    return changed if limit is None else msgspec.structs.replace(changed, max_output_tokens=limit)


async def said_by(engine: Engine, request: GenerationRequest) -> list[list[EngineInput]]:
    """All batches of one generation."""
    async with asyncio.timeout(LIMIT_S), engine.generate(request) as batches:
        return [batch async for batch in batches]


def text_of(batches: list[list[EngineInput]]) -> str:
    """The text that the batches add up to."""
    return "".join(got.text for batch in batches for got in batch if isinstance(got, TextDelta))


def check_batches(batches: list[list[EngineInput]]) -> None:
    """Assert all that the contract says of a whole generation."""
    assert [type(got) for got in batches[0]] == [EngineStarted]
    assert all(batches)
    said = [got for batch in batches for got in batch]
    assert isinstance(said[-1], Finish)
    assert sum(isinstance(got, Finish | EngineStarted) for got in said) == 2
    assert sum(isinstance(got, Prefilled) for got in said) <= 1
    assert not any(isinstance(got, Begin | Clock | Cancel | Fail) for got in said)
    for batch in batches:
        kinds = [type(got) for got in batch if not isinstance(got, Prefilled)]
        assert Tokens not in kinds[1:], "a batch has one Tokens, and it comes before what was parsed from them"
    assert all(got.text for got in said if isinstance(got, TextDelta | ReasoningDelta))
    _check_calls(said)


def _check_calls(said: list[EngineInput]) -> None:
    opened: set[int] = set()
    closed: set[int] = set()
    for got in said:
        match got:
            case CallOpened():
                assert got.call not in opened
                opened.add(got.call)
            case CallArguments():
                assert got.call in opened - closed
                assert got.delta
            case CallClosed():
                assert got.call in opened - closed
                closed.add(got.call)
            case _:
                pass


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it holds, for at most `LIMIT_S`."""
    async with asyncio.timeout(LIMIT_S):
        while not await holds():  # noqa: ASYNC110 - what is asked may be another process's
            await asyncio.sleep(0.01)


class EngineContract:
    """Subclasses give the fixture `case`, an `EngineCase`. Nothing else may run on its engine."""

    async def test_a_generation_keeps_the_order_of_the_contract(self, case: EngineCase) -> None:
        batches = await said_by(case.engine, numbered(case.short, "order"))
        check_batches(batches)
        assert text_of(batches)
        finish = batches[-1][-1]
        assert isinstance(finish, Finish)
        assert finish.reason == "stop"
        (started,) = batches[0]
        assert isinstance(started, EngineStarted)
        assert started.input_tokens > 0
        assert started.engine

    async def test_the_output_limit_ends_a_generation_as_length(self, case: EngineCase) -> None:
        batches = await said_by(case.engine, numbered(case.long, "limit", limit=5))
        check_batches(batches)
        finish = batches[-1][-1]
        assert isinstance(finish, Finish)
        assert finish.reason == "length"
        assert sum(len(got.ids) for batch in batches for got in batch if isinstance(got, Tokens)) == 5

    async def test_a_refused_request_raises_on_entering_and_leaves_the_engine_unharmed(self, case: EngineCase) -> None:
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(RequestRefused) as caught:
                await said_by(case.engine, numbered(case.refused, "refused"))
        assert isinstance(caught.value.error, ApiError)
        assert caught.value.error.message
        check_batches(await said_by(case.engine, numbered(case.short, "after-refusal")))

    async def test_running_generations_are_counted(self, case: EngineCase) -> None:
        await eventually(lambda: self._running(case, 0))
        async with asyncio.timeout(LIMIT_S), case.engine.generate(numbered(case.long, "counted")) as batches:
            await anext(batches)
            await eventually(lambda: self._running(case, 1))
        await eventually(lambda: self._running(case, 0))

    async def test_leaving_between_batches_aborts_the_work(self, case: EngineCase) -> None:
        async with asyncio.timeout(LIMIT_S), case.engine.generate(numbered(case.long, "left")) as batches:
            for _ in range(4):
                await anext(batches)
        await eventually(lambda: self._running(case, 0))

    async def test_leaving_before_the_first_batch_aborts_the_work(self, case: EngineCase) -> None:
        async with asyncio.timeout(LIMIT_S), case.engine.generate(numbered(case.long, "unread")):
            pass
        await eventually(lambda: self._running(case, 0))

    async def test_cancelling_a_reader_aborts_the_work_and_is_not_swallowed(self, case: EngineCase) -> None:
        reading = asyncio.Event()

        async def read() -> None:
            async with case.engine.generate(numbered(case.long, "cancelled")) as batches:
                async for _ in batches:
                    reading.set()

        task = asyncio.create_task(read())
        async with asyncio.timeout(LIMIT_S):
            await reading.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await eventually(lambda: self._running(case, 0))

    async def test_cancelling_at_any_moment_of_entering_leaves_nothing_running(self, case: EngineCase) -> None:
        async def enter(n: int) -> None:
            async with case.engine.generate(numbered(case.long, f"entering-{n}")) as batches:
                await anext(batches)

        for turns in range(8):
            task = asyncio.create_task(enter(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=LIMIT_S)
            assert task.done()
        await eventually(lambda: self._running(case, 0))

    async def test_an_error_inside_the_context_comes_out_and_aborts_the_work(self, case: EngineCase) -> None:
        async def fail() -> None:
            async with asyncio.timeout(LIMIT_S), case.engine.generate(numbered(case.long, "error")) as batches:
                await anext(batches)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        await eventually(lambda: self._running(case, 0))

    async def test_generations_side_by_side_do_not_mix(self, case: EngineCase) -> None:
        requests = [numbered(case.short if n % 2 else case.long, f"side-{n}", limit=12) for n in range(6)]
        for batches in await asyncio.gather(*(said_by(case.engine, request) for request in requests)):
            check_batches(batches)
        await eventually(lambda: self._running(case, 0))

    async def test_a_healthy_engine_passes_its_check(self, case: EngineCase) -> None:
        async with asyncio.timeout(LIMIT_S):
            await case.engine.check()

    async def _running(self, case: EngineCase, count: int) -> bool:
        status = await case.engine.status()
        return status.running + status.waiting == count


class ClosableEngineContract:
    """For engines that `close` really stops. Subclasses give the fixture `own_case`, whose engine is nobody else's."""

    async def test_a_closed_engine_is_dead(self, own_case: EngineCase) -> None:
        engine = own_case.engine
        async with asyncio.timeout(LIMIT_S):
            await engine.close()
            await engine.close()
            with pytest.raises(EngineDead):
                await engine.check()
            with pytest.raises(EngineDead):
                await said_by(engine, numbered(own_case.short, "closed"))

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from ray import serve

from deployments.engines.base import EngineDead, RequestRefused
from deployments.engines.remote_engine import RemoteEngine, transport_limit
from responses_api.errors import InvalidRequest, Overloaded, RequestTooLarge
from responses_api.inputs import Finish
from tests.deployments.engines.engine_contract import (
    LIMIT_S,
    EngineCase,
    EngineContract,
    eventually,
    numbered,
    said_by,
    text_of,
)
from tests.deployments.engines.test_scripted_engine import asking, scripted
from tests.support.scripted_host import ScriptedHostImpl

# One loop for all: where Serve's router shares the caller's loop, a handle belongs to the loop it was first used in.
pytestmark = [pytest.mark.serve, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def handle(ray_cluster: None) -> AsyncIterator[Any]:
    """A deployment with one replica that takes eight calls at a time and lets sixteen more wait."""
    host = serve.deployment(
        ScriptedHostImpl,
        name="ScriptedHost",
        max_ongoing_requests=8,
        max_queued_requests=16,
        health_check_period_s=1,
        graceful_shutdown_timeout_s=1,
        ray_actor_options={"num_cpus": 0},
    )
    serve.start(proxy_location="Disabled")
    yield await asyncio.to_thread(serve.run, host.bind(), name="scripted", route_prefix=None)
    await serve.shutdown_async()


@pytest_asyncio.fixture(loop_scope="module")
async def engine(handle: Any) -> RemoteEngine:
    return RemoteEngine(handle)


class TestRemoteEngine(EngineContract):
    @pytest_asyncio.fixture(loop_scope="module")
    async def case(self, engine: RemoteEngine) -> EngineCase:
        return EngineCase(
            engine=engine,
            short=asking("hello"),
            long=scripted({"text": "word " * 400}, rate=400),
            refused=scripted({"refuse": {"message": "no"}}),
        )


async def test_what_the_engine_says_arrives_as_it_was_said(engine: RemoteEngine) -> None:
    batches = await said_by(engine, asking("hello there"))
    assert text_of(batches) == "You said: hello there"
    assert batches[-1] == [Finish("stop")]


async def test_a_client_that_leaves_a_silent_engine_aborts_it(engine: RemoteEngine, handle: Any) -> None:
    before = await handle.aborted.remote()
    async with asyncio.timeout(LIMIT_S), engine.generate(scripted({"silence": True})) as batches:
        await anext(batches)
    await eventually(lambda: _equal(handle.aborted, before + 1))


async def test_a_generation_read_to_its_finish_is_no_abort(engine: RemoteEngine, handle: Any) -> None:
    before = await handle.aborted.remote()
    for n in range(5):
        async with asyncio.timeout(LIMIT_S), engine.generate(numbered(asking("hello"), f"whole-{n}")) as batches:
            async for batch in batches:
                if isinstance(batch[-1], Finish):
                    break
    assert (await engine.status()).running == 0
    assert await handle.aborted.remote() == before


async def test_refusals_cross_with_their_words(engine: RemoteEngine) -> None:
    with pytest.raises(RequestRefused) as invalid:
        await said_by(engine, scripted({"refuse": {"message": "no", "param": "tools"}}))
    assert type(invalid.value.error) is InvalidRequest
    assert invalid.value.error.body()["error"] == {
        "message": "no",
        "type": "invalid_request_error",
        "param": "tools",
        "code": "invalid_value",
    }
    with pytest.raises(RequestRefused) as overloaded:
        await said_by(engine, scripted({"refuse": {"overloaded": True}}))
    assert isinstance(overloaded.value.error, Overloaded)


async def test_a_dead_engine_is_dead_here_too(engine: RemoteEngine) -> None:
    with pytest.raises(EngineDead, match="the script says so"):
        await said_by(engine, scripted({"text": "a"}, {"error": "dead"}))


async def test_a_request_beyond_the_transports_limit_is_refused_before_it_is_sent(engine: RemoteEngine) -> None:
    with pytest.raises(RequestRefused) as caught:
        await said_by(engine, asking("x" * transport_limit()))
    assert isinstance(caught.value.error, RequestTooLarge)
    assert (caught.value.error.param, caught.value.error.code) == ("input", "request_too_large")


async def test_the_largest_request_that_is_sent_arrives(engine: RemoteEngine) -> None:
    request = asking("word " * ((transport_limit() - 1024) // 5), max_output_tokens=1)
    assert (await said_by(engine, request))[-1] == [Finish("length")]


async def test_a_full_replica_is_overloaded_after_the_wait_for_admission(handle: Any) -> None:
    engine = RemoteEngine(handle, admission_timeout_s=0.5)
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        holding = [asyncio.Event() for _ in range(8)]
        release = asyncio.Event()
        for held in holding:
            group.create_task(_hold(engine, held, release))
        for held in holding:
            await held.wait()
        outcomes = await asyncio.gather(*(said_by(engine, asking("x")) for _ in range(30)), return_exceptions=True)
        release.set()
    for outcome in outcomes:
        assert isinstance(outcome, RequestRefused)
        assert isinstance(outcome.error, Overloaded)
    await eventually(lambda: _idle(engine))


async def test_a_replica_that_fails_its_check_is_dead(engine: RemoteEngine, handle: Any) -> None:
    await handle.set_sick.remote(True)
    with pytest.raises(EngineDead, match="sick"):
        await engine.check()
    await handle.set_sick.remote(False)
    await engine.check()


async def test_a_replica_that_is_killed_ends_its_generation_as_dead_and_is_replaced(
    engine: RemoteEngine, handle: Any
) -> None:
    async with asyncio.timeout(LIMIT_S):
        pid = await handle.pid.remote()
        async with engine.generate(scripted({"text": "a"}, {"silence": True})) as batches:
            await anext(batches)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(EngineDead):
                await _read(batches)
        await eventually(lambda: _serves(engine))
        assert await handle.pid.remote() != pid


async def test_a_replica_that_crashes_at_once_is_dead_on_entering_or_after(engine: RemoteEngine) -> None:
    with pytest.raises(EngineDead):
        await said_by(engine, scripted({"text": "a"}, {"crash": True}))
    await eventually(lambda: _serves(engine))


async def _read(batches: Any) -> None:
    async for _ in batches:
        pass


async def _hold(engine: RemoteEngine, held: asyncio.Event, release: asyncio.Event) -> None:
    async with engine.generate(scripted({"silence": True})):
        held.set()
        await release.wait()


async def _equal(method: Any, value: int) -> bool:
    return bool(await method.remote() == value)


async def _idle(engine: RemoteEngine) -> bool:
    return (await engine.status()).running == 0


async def _serves(engine: RemoteEngine) -> bool:
    try:
        await said_by(engine, asking("hello"))
    except EngineDead:
        return False
    return True

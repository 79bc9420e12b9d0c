from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator

import pytest

from deployments.engines.base import Engine, EngineDead, EngineError, RequestRefused
from deployments.engines.scripted_engine import ScriptedEngine
from deployments.stores.base import Store, StoreUnavailable
from deployments.stores.memory import MemoryStore
from deployments.streaming import ENGINE_LOST, INTERNAL, UNFINISHED, LiveResponse
from responses_api.emitter import ResponseEmitter, replay
from responses_api.errors import ResponseNotFound
from responses_api.inputs import Begin, Cancel, EngineStarted, Fail, Finish, TextDelta, Tokens
from responses_api.records import GenerationRequest, ResponseRecord, StoredResponse
from responses_api.schema.response import Echo
from responses_api.sse import DONE, encode_event
from tests.support.engines import HesitantEngine, ReciterEngine
from tests.support.raw_http import events
from tests.support.scripts import script
from tests.support.stores import UNREACHABLE, CutOffStore, HeldStore

RECORD = ResponseRecord(
    response_id="resp_0123456789abcdef0123456789abcdef", echo=Echo(model="scripted"), input_items=[]
)
SILENT = script({"text": "One. "}, {"silence": True})
PATIENT_S = 3600.0


@pytest.fixture(autouse=True)
async def bound() -> AsyncIterator[None]:
    async with asyncio.timeout(30):
        yield


def live_response(store: Store | None) -> LiveResponse:
    clock = itertools.count(1000)
    return LiveResponse("tenant", RECORD, store=store, owner="gateway-0", now=lambda: float(next(clock)))


def request(text: str) -> GenerationRequest:
    return GenerationRequest(request_id=RECORD.response_id, messages=[{"role": "user", "content": text}])


async def started(engine: Engine, text: str, store: Store | None = None) -> LiveResponse:
    live = live_response(store)
    await live.start(engine, request(text))
    return live


async def body(live: LiveResponse) -> bytes:
    """The whole stream."""
    return b"".join([chunk async for chunk in live.frames(keepalive_s=PATIENT_S)])


async def until(live: LiveResponse, text: str) -> None:
    """Read until the output has this text."""
    seen = b""
    async with contextlib.aclosing(live.frames(keepalive_s=PATIENT_S)) as frames:  # type: ignore[type-var] # a generator
        async for chunk in frames:
            seen += chunk
            if f'"delta":"{text}"'.encode() in seen:
                return
    raise AssertionError(f"the stream ended without {text!r}")


async def kept(store: Store) -> StoredResponse:
    return await store.get("tenant", RECORD.response_id)


def names(stream: bytes) -> list[str]:
    return [name for name, _ in events(stream)]


def stream_of(stored: StoredResponse) -> bytes:
    """The stream that a log tells."""
    emitter = ResponseEmitter(stored.record)
    return b"".join(encode_event(event) for got in stored.log for event in emitter.feed(got)) + DONE


async def test_the_stream_is_what_the_stored_log_tells_and_so_is_the_response() -> None:
    store = MemoryStore()
    said = script({"reasoning": "Let me see."}, {"call": {"name": "f", "arguments": {"a": 1}}}, {"text": "One. Two."})
    live = await started(ScriptedEngine("replica-1"), said, store)
    stream = await body(live)
    stored = await kept(store)
    assert stream == stream_of(stored)
    assert stored.closed
    assert isinstance(stored.log[-1], Finish)
    assert await live.wait() == replay(stored) == live.response
    assert live.response.status == "completed"


async def test_the_first_record_is_stored_before_the_first_event_leaves() -> None:
    store = MemoryStore()
    live = await started(ScriptedEngine("replica-1"), SILENT, store)
    stored = await kept(store)
    assert not stored.closed
    assert stored.owner == "gateway-0"
    assert [type(got) for got in stored.log] == [Begin, EngineStarted]
    assert replay(stored).status == "in_progress"
    live.interrupt(Cancel())
    await live.wait()


async def test_the_end_is_stored_before_the_terminal_event_leaves() -> None:
    store = MemoryStore()
    live = await started(ScriptedEngine("replica-1"), script({"text": "One."}), store)
    seen = b""
    async for chunk in live.frames(keepalive_s=PATIENT_S):
        seen += chunk
        if b"event: response.completed" in seen:
            assert (await kept(store)).closed
    assert seen.endswith(DONE)


async def test_a_response_without_a_store_runs_to_its_end() -> None:
    live = await started(ScriptedEngine("replica-1"), script({"text": "One."}))
    assert names(await body(live))[-1] == "response.completed"


async def test_a_refused_request_begins_nothing() -> None:
    store = MemoryStore()
    with pytest.raises(RequestRefused):
        await started(ScriptedEngine("replica-1"), script({"refuse": {}}), store)
    with pytest.raises(ResponseNotFound):
        await kept(store)


async def test_an_engine_that_is_dead_at_the_start_begins_nothing() -> None:
    store = MemoryStore()
    with pytest.raises(EngineDead):
        await started(ScriptedEngine("replica-1"), script({"error": "dead"}), store)
    with pytest.raises(ResponseNotFound):
        await kept(store)


async def test_an_engine_that_dies_in_mid_stream_fails_the_response() -> None:
    store = MemoryStore()
    live = await started(ScriptedEngine("replica-1"), script({"text": "One. "}, {"error": "dead"}), store)
    stream = await body(live)
    assert names(stream)[-2:] == ["response.output_item.done", "response.failed"]
    response = replay(await kept(store))
    assert response.status == "failed"
    assert response.error is not None
    assert (response.error.code, response.error.message) == (ENGINE_LOST.code, ENGINE_LOST.message)
    assert response.output == live.response.output != []


@pytest.mark.parametrize(
    ("engine", "ending"),
    [
        (ReciterEngine([EngineStarted("r", 1)], [Tokens((1,)), TextDelta("One.")]), ENGINE_LOST),
        (ReciterEngine([EngineStarted("r", 1)], failure=EngineDead("gone")), ENGINE_LOST),
        (ReciterEngine([EngineStarted("r", 1)], failure=EngineError("its grammar broke")), UNFINISHED),
        (ReciterEngine([EngineStarted("r", 1)], failure=ZeroDivisionError()), INTERNAL),
        (ReciterEngine([EngineStarted("r", 1)], [TextDelta("")], [Finish("stop")]), INTERNAL),
    ],
    ids=["ends without finishing", "dies", "gives up", "raises", "says what is not legal"],
)
async def test_an_engine_that_breaks_its_contract_fails_the_response(engine: ReciterEngine, ending: Fail) -> None:
    store = MemoryStore()
    live = await started(engine, "hello", store)
    assert names(await body(live))[-1] == "response.failed"
    response = replay(await kept(store))
    assert response.error is not None
    assert response.error.message == ending.message


async def test_an_engine_that_accepts_nothing_and_ends_is_dead() -> None:
    with pytest.raises(EngineDead):
        await started(ReciterEngine(), "hello")


async def test_an_interruption_aborts_the_engine_and_is_stored() -> None:
    store, engine = MemoryStore(), ScriptedEngine("replica-1")
    live = await started(engine, SILENT, store)
    await until(live, "One.")
    live.interrupt(Cancel())
    response = await live.wait()
    assert response.status == "cancelled"
    assert engine.aborted == 1
    assert (await engine.status()).running == 0
    stored = await kept(store)
    assert isinstance(stored.log[-1], Cancel)
    assert replay(stored) == response
    assert names(await body(live))[-1] == "response.incomplete"


async def test_the_first_interruption_counts_and_one_after_the_end_does_nothing() -> None:
    store = MemoryStore()
    live = await started(ScriptedEngine("replica-1"), SILENT, store)
    live.interrupt(Cancel())
    live.interrupt(Fail("server_error", "too late"))
    assert (await live.wait()).status == "cancelled"
    before = await kept(store)
    live.interrupt(Fail("server_error", "too late"))
    assert (await live.wait()).status == "cancelled"
    assert await kept(store) == before


async def test_a_caller_that_leaves_before_the_engine_decided_leaves_nothing() -> None:
    store, engine = MemoryStore(), HesitantEngine()
    live = live_response(store)
    start = asyncio.create_task(live.start(engine, request("hello")))
    await engine.asked.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await engine.left.wait()
    with pytest.raises(ResponseNotFound):
        await kept(store)


async def test_a_caller_that_leaves_while_the_record_is_written_ends_it_as_cancelled() -> None:
    store, engine = HeldStore(), ScriptedEngine("replica-1")
    live = live_response(store)
    start = asyncio.create_task(live.start(engine, request(SILENT)))
    await store.creating.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    store.release.set()
    response = await live.wait()
    stored = await kept(store)
    assert stored.closed
    assert response == replay(stored)
    assert response.status == "cancelled"
    assert engine.aborted == 1
    assert names(await body(live)) == ["response.created", "response.in_progress", "response.incomplete"]


@pytest.mark.parametrize("failure", [UNREACHABLE, ZeroDivisionError()])
async def test_a_store_that_is_gone_at_the_start_stops_the_engine(failure: Exception) -> None:
    store, engine = CutOffStore(failure), ScriptedEngine("replica-1")
    with pytest.raises(type(failure)):
        await started(engine, SILENT, store)
    assert engine.aborted == 1


@pytest.mark.parametrize("failure", [UNREACHABLE, ZeroDivisionError()])
async def test_a_store_that_is_gone_at_the_end_does_not_keep_the_stream_from_its_end(failure: Exception) -> None:
    store = CutOffStore()
    live = await started(ScriptedEngine("replica-1"), script({"text": "One."}, {"pause": 0}), store)
    store.failure = failure
    assert names(await body(live))[-1] == "response.completed"
    assert not (await kept(store)).closed


async def test_a_response_that_is_deleted_while_it_runs_ends_and_stays_deleted() -> None:
    store = MemoryStore()
    live = await started(ScriptedEngine("replica-1"), script({"text": "One."}), store)
    await store.delete("tenant", RECORD.response_id)
    assert names(await body(live))[-1] == "response.completed"
    with pytest.raises(ResponseNotFound):
        await kept(store)


async def test_a_silent_engine_is_covered_by_keepalive_frames_that_take_no_number() -> None:
    live = await started(ScriptedEngine("replica-1"), SILENT)
    await until(live, "One.")
    kept_alive = 0
    stream = b""
    async for chunk in live.frames(keepalive_s=0.01):
        stream += chunk
        kept_alive += chunk.startswith(b"event: keepalive")
        if kept_alive == 3:
            live.interrupt(Cancel())
    numbers = [(name, json.loads(data)["sequence_number"]) for name, data in events(stream)]
    real = [number for name, number in numbers if name != "keepalive"]
    assert real == list(range(len(real)))
    for (_, before), (name, number) in itertools.pairwise(numbers):
        assert number == (before if name == "keepalive" else before + 1)


async def test_a_keepalive_is_not_sent_to_who_is_not_waiting() -> None:
    live = await started(ScriptedEngine("replica-1"), script({"text": "One. Two. Three."}))
    await live.wait()
    stream = b"".join([chunk async for chunk in live.frames(keepalive_s=0.0)])
    assert "keepalive" not in names(stream)


async def test_readers_get_equal_bytes_whenever_they_come_and_however_slow_they_are() -> None:
    live = await started(ScriptedEngine("replica-1"), script({"text": "word " * 50}, rate=5000))
    slow = live.frames(keepalive_s=PATIENT_S)
    first = await anext(slow)
    beside, also = await asyncio.gather(body(live), body(live))
    late = await body(live)
    rest = b"".join([chunk async for chunk in slow])
    assert beside == also == late == first + rest


async def test_every_chunk_holds_whole_frames() -> None:
    live = await started(ScriptedEngine("replica-1"), script({"text": "word " * 50}))
    async for chunk in live.frames(keepalive_s=PATIENT_S):
        assert chunk.startswith((b"event: ", b"data: [DONE]"))
        assert chunk.endswith(b"\n\n")


async def test_a_reader_that_leaves_does_not_disturb_the_response() -> None:
    live = await started(ScriptedEngine("replica-1"), script({"text": "One. Two."}))
    await until(live, "One.")
    assert (await live.wait()).status == "completed"


async def test_what_comes_after_the_end_is_called_once() -> None:
    live = await started(ScriptedEngine("replica-1"), script({"text": "One."}))
    ended = asyncio.Event()
    live.on_end(ended.set)
    await ended.wait()
    assert (await live.wait()).status == "completed"


async def test_an_unreachable_store_is_said_to_be_so() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await started(ScriptedEngine("replica-1"), "hello", CutOffStore(UNREACHABLE))

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deployments.engines.scripted_engine import ScriptedEngine
from deployments.service import ResponsesService
from deployments.stores.memory import MemoryStore
from deployments.streaming import SHUTDOWN, LiveResponse
from responses_api.emitter import replay
from responses_api.errors import ApiError, InvalidRequest, Overloaded, ResponseNotFound, Unavailable
from responses_api.inputs import Begin, Cancel, EngineStarted
from responses_api.records import ResponseRecord
from responses_api.schema.items import FunctionCall
from responses_api.schema.response import Echo, Response
from tests.support.engines import HesitantEngine, RecordingEngine
from tests.support.gateway import MODEL, Catalogue, Replicas, body, gateway
from tests.support.raw_http import events
from tests.support.scripts import script, scripts
from tests.support.stores import UNREACHABLE, CutOffStore, HeldStore

T = "tenant"
ADD: dict[str, Any] = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}}
SILENT = script({"text": "One. "}, {"silence": True})


@pytest.fixture(autouse=True)
async def bound() -> AsyncIterator[None]:
    async with asyncio.timeout(30):
        yield


@pytest.fixture
def engine() -> RecordingEngine:
    return RecordingEngine()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def service(engine: RecordingEngine, store: MemoryStore) -> ResponsesService:
    return gateway(engine, store)


async def begun(service: ResponsesService, given: Any, **more: Any) -> LiveResponse:
    live, _ = await service.create(T, body(given, **more))
    return live


async def answered(service: ResponsesService, given: Any, **more: Any) -> Response:
    """A response run to its end."""
    return await (await begun(service, given, **more)).wait()


async def stream(service: ResponsesService, live: LiveResponse) -> list[tuple[str, Any]]:
    whole = b"".join([chunk async for chunk in service.frames(live)])
    return [(name, json.loads(data)) for name, data in events(whole)]


async def refusal(service: ResponsesService, given: Any, **more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await service.create(T, body(given, **more))
    return caught.value


async def test_a_response_is_made_and_kept(service: ResponsesService) -> None:
    live, streamed = await service.create(T, body("Hello", stream=True))
    assert streamed
    name, data = (await stream(service, live))[-1]
    assert name == "response.completed"
    response = await service.retrieve(T, live.record.response_id)
    assert response == live.response
    assert data["response"]["id"] == response.id
    assert await service.input_items(T, response.id) == live.record.input_items


async def test_ids_of_responses_come_from_the_randomness_given(service: ResponsesService) -> None:
    first, second = await answered(service, "Hello"), await answered(service, "Hello")
    assert first.id != second.id
    again = gateway(ScriptedEngine("replica-1"), MemoryStore())
    assert (await answered(again, "Hello")).id == first.id


async def test_streaming_or_not_is_the_requests_word(service: ResponsesService) -> None:
    for given, expected in (
        ({}, False),
        ({"stream": False}, False),
        ({"stream": None}, False),
        ({"stream": True}, True),
    ):
        live, streamed = await service.create(T, body("Hello", **given))
        assert streamed is expected
        await live.wait()


async def test_store_false_keeps_nothing_while_it_runs_or_after(service: ResponsesService) -> None:
    live = await begun(service, SILENT, store=False)
    response_id = live.record.response_id
    for _ in range(2):
        with pytest.raises(ResponseNotFound):
            await service.retrieve(T, response_id)
        with pytest.raises(ResponseNotFound):
            await service.input_items(T, response_id)
        with pytest.raises(ResponseNotFound):
            await service.delete(T, response_id)
        live.interrupt(Cancel())
        await live.wait()


async def test_what_the_engine_refuses_is_refused_and_not_kept(service: ResponsesService, store: MemoryStore) -> None:
    error = await refusal(service, script({"refuse": {"message": "no", "param": "tools"}}))
    assert isinstance(error, InvalidRequest)
    assert (error.message, error.param) == ("no", "tools")
    assert isinstance(await refusal(service, script({"refuse": {"overloaded": True}})), Overloaded)
    assert await kept(store) == 0


async def kept(store: MemoryStore) -> int:
    """How many of the ids that this module's services give are in the store."""
    probe = gateway(ScriptedEngine("replica-1"), MemoryStore())
    found = 0
    for _ in range(4):
        response = await answered(probe, "Hello")
        try:
            await store.get(T, response.id)
            found += 1
        except ResponseNotFound:
            pass
    return found


async def test_what_can_be_seen_to_be_wrong_never_reaches_the_engine(
    service: ResponsesService, engine: RecordingEngine, store: MemoryStore
) -> None:
    for given, more, param in (
        (7, {}, "input"),
        ("Hello", {"model": "unknown"}, "model"),
        ("Hello", {"tool_choice": "required"}, "tool_choice"),
        ([{"type": "function_call_output", "call_id": "call_1", "output": "3"}], {}, "input"),
        ("Hello", {"previous_response_id": "resp_unknown"}, "previous_response_id"),
    ):
        error = await refusal(service, given, **more)
        assert isinstance(error, InvalidRequest)
        assert error.param == param
    with pytest.raises(InvalidRequest):
        await service.create(T, b"{")
    assert engine.asked == []
    assert await kept(store) == 0


async def test_without_an_engine_or_a_catalogue_the_model_is_unavailable() -> None:
    assert isinstance(
        await refusal(gateway(ScriptedEngine("r"), MemoryStore()), script({"error": "dead"})), Unavailable
    )
    catalogue = Catalogue()
    catalogue.is_dead = True
    service = ResponsesService(
        models=catalogue,
        store=MemoryStore(),
        peers=Replicas(),
        replica_id="gateway-0",
        now=lambda: 0.0,
        random=bytes,
        keepalive_s=60,
    )
    assert isinstance(await refusal(service, "Hello"), Unavailable)
    with pytest.raises(Unavailable):
        await service.models()
    assert await service.ready() == {}


async def test_a_store_that_is_gone_at_the_start_is_unavailable_and_stops_the_engine() -> None:
    engine = ScriptedEngine("replica-1")
    service = gateway(engine, CutOffStore(UNREACHABLE))
    assert isinstance(await refusal(service, SILENT), Unavailable)
    assert engine.aborted == 1


async def test_a_store_that_is_gone_at_the_end_does_not_keep_the_stream_from_its_end() -> None:
    store = CutOffStore()
    service = gateway(ScriptedEngine("replica-1"), store)
    live = await begun(service, "Hello")
    store.failure = UNREACHABLE
    assert (await stream(service, live))[-1][0] == "response.completed"


async def test_a_closed_store_is_unavailable_to_every_operation(service: ResponsesService, store: MemoryStore) -> None:
    response = await answered(service, "Hello")
    await store.close()
    for operation in (service.retrieve, service.input_items, service.cancel, service.delete):
        with pytest.raises(Unavailable):
            await operation(T, response.id)
    assert isinstance(await refusal(service, "Hello", previous_response_id=response.id), Unavailable)


async def test_the_models_and_their_engines_are_told() -> None:
    service = gateway(ScriptedEngine("replica-1"), MemoryStore(), other=ScriptedEngine("replica-2"))
    assert [card.name for card in await service.models()] == [MODEL, "other"]
    live = await begun(service, SILENT)
    ready = await service.ready()
    assert {name: status.running for name, status in ready.items()} == {MODEL: 1, "other": 0}
    live.interrupt(Cancel())
    await live.wait()


async def test_a_model_whose_engine_does_not_answer_hides_no_other() -> None:
    closed = ScriptedEngine("replica-3")
    await closed.close()
    service = gateway(ScriptedEngine("replica-1"), MemoryStore(), loading=HesitantEngine(), closed=closed)
    assert list(await service.ready(timeout_s=0.1)) == [MODEL]


async def test_a_response_can_be_read_while_it_runs(service: ResponsesService) -> None:
    live = await begun(service, SILENT)
    assert (await service.retrieve(T, live.record.response_id)).status == "in_progress"
    live.interrupt(Cancel())
    await live.wait()


async def test_cancel_ends_a_running_response_and_then_returns_it_as_it_is(
    service: ResponsesService, engine: RecordingEngine
) -> None:
    live = await begun(service, SILENT)
    cancelled = await service.cancel(T, live.record.response_id)
    assert cancelled.status == "cancelled"
    assert engine.aborted == 1
    assert await service.cancel(T, live.record.response_id) == cancelled
    done = await answered(service, "Hello")
    assert await service.cancel(T, done.id) == done
    with pytest.raises(ResponseNotFound):
        await service.cancel(T, "resp_unknown")


async def test_two_that_cancel_at_once_get_the_same_response(service: ResponsesService) -> None:
    live = await begun(service, SILENT)
    one, two = await asyncio.gather(*(service.cancel(T, live.record.response_id) for _ in range(2)))
    assert one == two
    assert one.status == "cancelled"


async def test_another_replica_can_read_cancel_and_delete_a_running_response(store: MemoryStore) -> None:
    peers, engine = Replicas(), ScriptedEngine("replica-1")
    here, there = gateway(engine, store, peers=peers), gateway(engine, store, peers=peers)
    live = await begun(here, SILENT)
    assert (await there.retrieve(T, live.record.response_id)).status == "in_progress"
    cancelled = await there.cancel(T, live.record.response_id)
    assert cancelled == live.response
    assert cancelled.status == "cancelled"
    live = await begun(here, SILENT)
    await there.delete(T, live.record.response_id)
    assert (await live.wait()).status == "cancelled"
    assert engine.aborted == 2
    for service in (here, there):
        with pytest.raises(ResponseNotFound):
            await service.retrieve(T, live.record.response_id)


async def test_a_response_that_nobody_runs_any_more_is_ended_by_cancel(
    service: ResponsesService, store: MemoryStore
) -> None:
    record = ResponseRecord(response_id="resp_orphan", echo=Echo(model=MODEL), input_items=[])
    await store.create(T, record, owner="gateway-gone", log=[Begin(5.0), EngineStarted("replica-gone", 3)])
    assert (await service.retrieve(T, "resp_orphan")).status == "in_progress"
    cancelled = await service.cancel(T, "resp_orphan")
    assert cancelled.status == "cancelled"
    assert (await store.get(T, "resp_orphan")).closed
    assert await service.cancel(T, "resp_orphan") == cancelled


async def test_a_response_that_nobody_runs_any_more_can_be_deleted(
    service: ResponsesService, store: MemoryStore
) -> None:
    record = ResponseRecord(response_id="resp_orphan", echo=Echo(model=MODEL), input_items=[])
    await store.create(T, record, owner="gateway-gone", log=[Begin(5.0)])
    await service.delete(T, "resp_orphan")
    with pytest.raises(ResponseNotFound):
        await service.retrieve(T, "resp_orphan")


async def test_deleting_a_running_response_stops_it(service: ResponsesService, engine: RecordingEngine) -> None:
    live = await begun(service, SILENT)
    await service.delete(T, live.record.response_id)
    assert live.response.status == "cancelled"
    assert engine.aborted == 1
    assert (await stream(service, live))[-1][0] == "response.incomplete"
    for operation in (service.retrieve, service.delete, service.cancel, service.input_items):
        with pytest.raises(ResponseNotFound):
            await operation(T, live.record.response_id)


async def test_tenants_do_not_see_each_other(service: ResponsesService) -> None:
    live = await begun(service, SILENT)
    response_id = live.record.response_id
    for operation in (service.retrieve, service.input_items, service.cancel, service.delete):
        with pytest.raises(ResponseNotFound):
            await operation("stranger", response_id)
    assert not await service.cancel_local("stranger", response_id)
    with pytest.raises(InvalidRequest) as caught:
        await service.create("stranger", body("Hello", previous_response_id=response_id))
    assert caught.value.param == "previous_response_id"
    assert (await service.retrieve(T, response_id)).status == "in_progress"
    assert await service.cancel_local(T, response_id)


async def test_close_ends_everything_that_runs(service: ResponsesService, engine: RecordingEngine) -> None:
    running = [await begun(service, SILENT) for _ in range(3)]
    await answered(service, "Hello")
    await service.close()
    for live in running:
        assert live.response.status == "failed"
        assert live.response.error is not None
        assert live.response.error.message == SHUTDOWN.message
        assert (await stream(service, live))[-1][0] == "response.failed"
    assert engine.aborted == 3
    await service.close()


async def test_what_close_ended_is_stored_as_it_was_seen(engine: RecordingEngine) -> None:
    lasting = _Lasting()
    service = gateway(engine, lasting)
    live = await begun(service, SILENT)
    await service.close()
    assert replay(await lasting.get(T, live.record.response_id)) == live.response


class _Lasting(MemoryStore):
    """A store whose content outlives its closing, as a file's does."""

    async def close(self) -> None:
        pass


async def test_a_chain_of_turns_gives_the_engine_the_whole_conversation(
    service: ResponsesService, engine: RecordingEngine
) -> None:
    said = scripts([{"reasoning": "Add."}, {"call": {"name": "add", "arguments": {"a": 1}}}], [{"text": "It is 3."}])
    first = await answered(service, said, instructions="Be brief.", tools=[ADD])
    call = next(item for item in first.output if isinstance(item, FunctionCall))
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "3"}
    second = await answered(service, [output], previous_response_id=first.id, tools=[ADD])
    third = await answered(service, "Thanks.", previous_response_id=second.id, instructions="Be polite.")
    called = {
        "role": "assistant",
        "content": None,
        "reasoning": "Add.",
        "tool_calls": [
            {"id": call.call_id, "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        ],
    }
    turns = [
        {"role": "user", "content": said},
        called,
        {"role": "tool", "tool_call_id": call.call_id, "content": "3"},
        {"role": "assistant", "content": "It is 3."},
        {"role": "user", "content": "Thanks."},
    ]
    assert [request.messages for request in engine.asked] == [
        [{"role": "system", "content": "Be brief."}, *turns[:1]],
        turns[:3],
        [{"role": "system", "content": "Be polite."}, *turns],
    ]
    assert third.previous_response_id == second.id
    assert (await service.input_items(T, third.id))[0]["content"][0]["text"] == "Thanks."


async def test_a_chain_needs_the_outputs_of_its_calls(service: ResponsesService, engine: RecordingEngine) -> None:
    first = await answered(service, script({"call": {"name": "add"}}), tools=[ADD])
    error = await refusal(service, "And now?", previous_response_id=first.id)
    assert error.param == "input"
    assert len(engine.asked) == 1


async def test_a_chain_forks_where_two_responses_continue_one(
    service: ResponsesService, engine: RecordingEngine
) -> None:
    first = await answered(service, "Hello")
    for text in ("Left.", "Right."):
        await answered(service, text, previous_response_id=first.id)
    assert [request.messages[-1]["content"] for request in engine.asked[1:]] == ["Left.", "Right."]
    assert engine.asked[1].messages[:-1] == engine.asked[2].messages[:-1]


async def test_a_chain_with_a_deleted_link_cannot_be_continued(
    service: ResponsesService, engine: RecordingEngine
) -> None:
    first = await answered(service, "One.")
    second = await answered(service, "Two.", previous_response_id=first.id)
    await service.delete(T, first.id)
    error = await refusal(service, "Three.", previous_response_id=second.id)
    assert isinstance(error, InvalidRequest)
    assert (error.param, error.code) == ("previous_response_id", "previous_response_not_found")
    assert len(engine.asked) == 2
    assert (await service.retrieve(T, second.id)).status == "completed"


async def test_a_response_that_was_not_kept_cannot_be_continued(service: ResponsesService) -> None:
    first = await answered(service, "Hello", store=False)
    assert (await refusal(service, "And?", previous_response_id=first.id)).param == "previous_response_id"


async def test_a_cancelled_turn_can_be_continued(service: ResponsesService, engine: RecordingEngine) -> None:
    live = await begun(service, SILENT)
    async for chunk in service.frames(live):
        if b"output_text.delta" in chunk:
            break
    await service.cancel(T, live.record.response_id)
    await answered(service, "Go on.", previous_response_id=live.record.response_id)
    assert [message["role"] for message in engine.asked[-1].messages] == ["user", "assistant", "user"]


async def test_a_client_that_leaves_while_the_record_is_written_leaves_no_running_response() -> None:
    held, engine = HeldStore(), ScriptedEngine("replica-1")
    service = gateway(engine, held)
    creating = asyncio.create_task(service.create(T, body(SILENT)))
    await held.creating.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    held.release.set()
    probe = await answered(gateway(ScriptedEngine("replica-1"), MemoryStore()), "Hello")
    while not (await _closed(held, probe.id)):  # noqa: ASYNC110 - the store has no event for it
        await asyncio.sleep(0)
    assert (await service.retrieve(T, probe.id)).status == "cancelled"
    assert engine.aborted == 1


async def _closed(store: MemoryStore, response_id: str) -> bool:
    try:
        return (await store.get(T, response_id)).closed
    except ResponseNotFound:
        return False

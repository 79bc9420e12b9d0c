"""What every store must do. A store's own test module subclasses `StoreContract` and says how to open the store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from deployments.stores.base import LogClosed, Store, StoreError, StoreUnavailable
from responses_api.errors import ResponseNotFound
from responses_api.inputs import (
    TERMINAL,
    Begin,
    CallArguments,
    Cancel,
    EngineInput,
    EngineStarted,
    Fail,
    Finish,
    TextDelta,
    Tokens,
)
from responses_api.records import ResponseRecord, StoredResponse
from responses_api.schema.response import Echo

T = TypeVar("T")
OpenStore = Callable[[], Awaitable[Store]]
_serial = itertools.count()


def record(response_id: str, *, previous: str | None = None, text: str = "hi") -> ResponseRecord:
    """A record with one message of input."""
    items = [{"type": "message", "id": f"msg_{response_id}", "content": [{"type": "input_text", "text": text}]}]
    return ResponseRecord(
        response_id=response_id, echo=Echo(model="m", previous_response_id=previous), input_items=items
    )


def fresh_tenant() -> str:
    """A tenant that no other test uses, since some stores are shared by all tests of a module."""
    return f"tenant-{next(_serial)}"


BEGIN: list[EngineInput] = [Begin(1.5), EngineStarted("replica", 7)]


class StoreContract:
    """Subclasses give the fixture `open_store`; each store it opens may hold other tenants' data."""

    machine_examples = 60

    @pytest.fixture
    async def store(self, open_store: OpenStore) -> Any:
        store = await open_store()
        yield store
        await store.close()

    @pytest.fixture
    def tenant(self) -> str:
        return fresh_tenant()

    async def test_a_response_is_read_as_it_was_written(self, store: Store, tenant: str) -> None:
        kept = record("resp_1", previous="resp_0", text="grüße \x00 😀")
        await store.create(tenant, kept, owner="gateway-1", log=BEGIN)
        assert await store.get(tenant, "resp_1") == StoredResponse(
            record=kept, log=BEGIN, closed=False, owner="gateway-1"
        )

    async def test_appends_are_read_in_their_order(self, store: Store, tenant: str) -> None:
        await store.create(tenant, record("resp_1"), owner="g", log=BEGIN)
        chunks: list[list[EngineInput]] = [[Tokens((n, n + 1)), TextDelta(f"{n}")] for n in range(40)]
        for chunk in chunks:
            await store.append(tenant, "resp_1", chunk)
        assert (await store.get(tenant, "resp_1")).log == BEGIN + [got for chunk in chunks for got in chunk]

    @pytest.mark.parametrize("terminal", [Finish("stop", 3), Fail("server_error", "no"), Cancel()])
    async def test_a_terminal_input_closes_the_log(self, store: Store, tenant: str, terminal: EngineInput) -> None:
        await store.create(tenant, record("resp_1"), owner="g", log=BEGIN)
        await store.append(tenant, "resp_1", [TextDelta("x"), terminal])
        with pytest.raises(LogClosed):
            await store.append(tenant, "resp_1", [TextDelta("y")])
        stored = await store.get(tenant, "resp_1")
        assert stored.closed
        assert stored.log == [*BEGIN, TextDelta("x"), terminal]

    async def test_a_response_can_be_created_closed(self, store: Store, tenant: str) -> None:
        await store.create(tenant, record("resp_1"), owner="g", log=[*BEGIN, Cancel()])
        assert (await store.get(tenant, "resp_1")).closed
        with pytest.raises(LogClosed):
            await store.append(tenant, "resp_1", [Cancel()])

    async def test_nothing_can_follow_a_terminal_input_in_one_append(self, store: Store, tenant: str) -> None:
        await store.create(tenant, record("resp_1"), owner="g")
        with pytest.raises(StoreError):
            await store.append(tenant, "resp_1", [Cancel(), TextDelta("x")])
        assert (await store.get(tenant, "resp_1")).log == []

    async def test_an_id_is_taken_once(self, store: Store, tenant: str) -> None:
        await store.create(tenant, record("resp_1", text="first"), owner="g", log=BEGIN)
        with pytest.raises(StoreError) as caught:
            await store.create(tenant, record("resp_1", text="second"), owner="h")
        assert not isinstance(caught.value, StoreUnavailable)
        assert await store.get(tenant, "resp_1") == StoredResponse(
            record=record("resp_1", text="first"), log=BEGIN, closed=False, owner="g"
        )

    async def test_what_is_not_there_is_not_found(self, store: Store, tenant: str) -> None:
        for call in (store.get, store.chain, store.delete):
            with pytest.raises(ResponseNotFound) as caught:
                await call(tenant, "resp_1")
            assert caught.value.response_id == "resp_1"
        with pytest.raises(ResponseNotFound):
            await store.append(tenant, "resp_1", [TextDelta("x")])

    async def test_an_append_never_brings_a_deleted_response_back(self, store: Store, tenant: str) -> None:
        await store.create(tenant, record("resp_1"), owner="g", log=BEGIN)
        await store.delete(tenant, "resp_1")
        with pytest.raises(ResponseNotFound):
            await store.append(tenant, "resp_1", [TextDelta("x")])
        with pytest.raises(ResponseNotFound):
            await store.get(tenant, "resp_1")

    async def test_an_id_that_was_deleted_starts_empty(self, store: Store, tenant: str) -> None:
        await store.create(tenant, record("resp_1"), owner="g", log=[*BEGIN, Cancel()])
        await store.delete(tenant, "resp_1")
        await store.create(tenant, record("resp_1"), owner="g")
        stored = await store.get(tenant, "resp_1")
        assert (stored.log, stored.closed) == ([], False)

    async def test_no_method_reaches_another_tenant(self, store: Store) -> None:
        mine, other = fresh_tenant(), fresh_tenant()
        await store.create(mine, record("resp_1"), owner="g", log=BEGIN)
        for call in (store.get, store.chain, store.delete):
            with pytest.raises(ResponseNotFound):
                await call(other, "resp_1")
        with pytest.raises(ResponseNotFound):
            await store.append(other, "resp_1", [TextDelta("x")])
        await store.create(other, record("resp_1", text="theirs"), owner="g")
        await store.create(other, record("resp_2", previous="resp_1"), owner="g")
        assert (await store.chain(other, "resp_2"))[0].record == record("resp_1", text="theirs")
        await store.delete(other, "resp_1")
        assert (await store.get(mine, "resp_1")).log == BEGIN

    async def test_a_chain_does_not_lead_into_another_tenant(self, store: Store) -> None:
        mine, other = fresh_tenant(), fresh_tenant()
        await store.create(mine, record("resp_1"), owner="g")
        await store.create(other, record("resp_2", previous="resp_1"), owner="g")
        with pytest.raises(ResponseNotFound) as caught:
            await store.chain(other, "resp_2")
        assert caught.value.response_id == "resp_1"

    async def test_a_chain_is_read_oldest_first(self, store: Store, tenant: str) -> None:
        previous = None
        for n in range(12):
            await store.create(tenant, record(f"resp_{n}", previous=previous), owner="g", log=[Begin(n)])
            await store.append(tenant, f"resp_{n}", [TextDelta(f"{n}"), Finish("stop")])
            previous = f"resp_{n}"
        chain = await store.chain(tenant, "resp_9")
        assert [link.record.response_id for link in chain] == [f"resp_{n}" for n in range(10)]
        assert [link.log[1] for link in chain] == [TextDelta(f"{n}") for n in range(10)]

    async def test_a_chain_with_a_deleted_link_is_not_found_by_that_links_id(self, store: Store, tenant: str) -> None:
        await store.create(tenant, record("resp_1"), owner="g")
        await store.create(tenant, record("resp_2", previous="resp_1"), owner="g")
        await store.create(tenant, record("resp_3", previous="resp_2"), owner="g")
        await store.delete(tenant, "resp_1")
        with pytest.raises(ResponseNotFound) as caught:
            await store.chain(tenant, "resp_3")
        assert caught.value.response_id == "resp_1"
        assert (await store.get(tenant, "resp_3")).record.response_id == "resp_3"

    async def test_a_chain_that_leads_back_to_itself_ends(self, store: Store, tenant: str) -> None:
        await store.create(tenant, record("resp_1", previous="resp_2"), owner="g")
        await store.create(tenant, record("resp_2", previous="resp_1"), owner="g")
        await store.create(tenant, record("resp_3", previous="resp_3"), owner="g")
        for response_id in ("resp_1", "resp_3"):
            with pytest.raises(StoreError, match="back"):
                await store.chain(tenant, response_id)
            assert (await store.get(tenant, response_id)).record.response_id == response_id

    async def test_what_was_given_can_be_changed_afterwards(self, store: Store, tenant: str) -> None:
        kept = record("resp_1")
        log = list(BEGIN)
        await store.create(tenant, kept, owner="g", log=log)
        log.clear()
        kept.input_items.clear()
        stored = await store.get(tenant, "resp_1")
        assert (stored.record, stored.log) == (record("resp_1"), BEGIN)

    async def test_large_responses_are_kept_whole(self, store: Store, tenant: str) -> None:
        kept = record("resp_1", text="x" * 3_000_000)
        log: list[EngineInput] = [CallArguments(0, "y" * 1_000_000)]
        await store.create(tenant, kept, owner="g", log=log)
        assert await store.get(tenant, "resp_1") == StoredResponse(record=kept, log=log, closed=False, owner="g")

    async def test_a_refused_write_spoils_none_of_those_beside_it(self, store: Store, tenant: str) -> None:
        for n in range(8):
            await store.create(tenant, record(f"resp_{n}"), owner="g", log=[Cancel()] if n % 4 == 1 else BEGIN)
        writes = [store.append(tenant, f"resp_{n}", [TextDelta("x")]) for n in range(8)]
        writes += [
            store.append(tenant, "resp_none", [TextDelta("x")]),
            store.create(tenant, record("resp_0"), owner="g"),
        ]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds == [LogClosed if n % 4 == 1 else type(None) for n in range(8)] + [ResponseNotFound, StoreError]
        logs = [(await store.get(tenant, f"resp_{n}")).log for n in range(8)]
        assert logs == [[Cancel()] if n % 4 == 1 else [*BEGIN, TextDelta("x")] for n in range(8)]

    async def test_many_writers_at_once_lose_nothing(self, store: Store, tenant: str) -> None:
        async def write(name: str) -> None:
            await store.create(tenant, record(name), owner="g")
            for n in range(20):
                await store.append(tenant, name, [Tokens((n,))])

        names = [f"resp_{n}" for n in range(30)]
        await asyncio.gather(*(write(name) for name in names))
        for name in names:
            assert (await store.get(tenant, name)).log == [Tokens((n,)) for n in range(20)]

    async def test_a_closed_store_is_unavailable(self, open_store: OpenStore, tenant: str) -> None:
        store = await open_store()
        await store.create(tenant, record("resp_1"), owner="g")
        await store.close()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.get(tenant, "resp_1")
        with pytest.raises(StoreUnavailable):
            await store.append(tenant, "resp_1", [TextDelta("x")])

    def test_any_history_reads_as_in_a_plain_dictionary(self, open_store: OpenStore) -> None:
        class Histories(_Histories):
            def __init__(self) -> None:
                super().__init__(open_store)

        run_state_machine_as_test(
            Histories, settings=settings(max_examples=self.machine_examples, stateful_step_count=30)
        )


_IDS = st.sampled_from(["resp_a", "resp_b", "resp_c", "resp_d"])
_WHO = st.integers(0, 1)
_INPUTS: st.SearchStrategy[EngineInput] = st.one_of(
    st.builds(TextDelta, st.text(st.characters(exclude_categories=["Cs"]), min_size=1)),
    st.builds(Tokens, st.lists(st.integers(0, 2**31)).map(tuple)),
    st.builds(Begin, st.floats(0, 4e9)),
)
_LOGS = st.tuples(st.lists(_INPUTS, max_size=4), st.lists(st.just(Cancel()) | st.just(Finish("stop")), max_size=1)).map(
    lambda parts: parts[0] + parts[1]
)


class _Histories(RuleBasedStateMachine):
    """Any sequence of calls, on a store and on a dictionary."""

    def __init__(self, open_store: OpenStore) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = self.run(open_store())
        self.tenants = [fresh_tenant(), fresh_tenant()]
        self.model: dict[tuple[int, str], StoredResponse] = {}

    def run(self, call: Awaitable[T]) -> T:
        async def within() -> T:
            async with asyncio.timeout(60):
                return await call

        return self.runner.run(within())

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()

    @rule(who=_WHO, response_id=_IDS, previous=st.none() | _IDS, log=_LOGS)
    def create(self, who: int, response_id: str, previous: str | None, log: list[EngineInput]) -> None:
        kept = record(response_id, previous=previous)
        call = self.store.create(self.tenants[who], kept, owner="g", log=log)
        if (who, response_id) in self.model:
            with pytest.raises(StoreError):
                self.run(call)
            return
        self.run(call)
        self.model[who, response_id] = StoredResponse(record=kept, log=log, closed=_closed(log), owner="g")

    @rule(who=_WHO, response_id=_IDS, log=_LOGS)
    def append(self, who: int, response_id: str, log: list[EngineInput]) -> None:
        call = self.store.append(self.tenants[who], response_id, log)
        there = self.model.get((who, response_id))
        if there is None or there.closed:
            with pytest.raises(ResponseNotFound if there is None else LogClosed):
                self.run(call)
            return
        self.run(call)
        self.model[who, response_id] = StoredResponse(
            record=there.record, log=there.log + log, closed=_closed(log), owner="g"
        )

    @rule(who=_WHO, response_id=_IDS)
    def get(self, who: int, response_id: str) -> None:
        call = self.store.get(self.tenants[who], response_id)
        if (who, response_id) in self.model:
            assert self.run(call) == self.model[who, response_id]
            return
        with pytest.raises(ResponseNotFound):
            self.run(call)

    @rule(who=_WHO, response_id=_IDS)
    def chain(self, who: int, response_id: str) -> None:
        chain: list[StoredResponse] = []
        seen: set[str] = set()
        link: str | None = response_id
        while link is not None and link not in seen and (who, link) in self.model:
            seen.add(link)
            chain.insert(0, self.model[who, link])
            link = chain[0].record.echo.previous_response_id
        call = self.store.chain(self.tenants[who], response_id)
        if link is None:
            assert self.run(call) == chain
            return
        with pytest.raises(StoreError if link in seen else ResponseNotFound) as caught:
            self.run(call)
        if isinstance(caught.value, ResponseNotFound):
            assert caught.value.response_id == link

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        who, response_id = data.draw(st.sampled_from(sorted(self.model)))
        self.run(self.store.delete(self.tenants[who], response_id))
        del self.model[who, response_id]


def _closed(log: list[EngineInput]) -> bool:
    return bool(log) and isinstance(log[-1], TERMINAL)

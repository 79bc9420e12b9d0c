from __future__ import annotations

import pytest

from deployments.stores.base import Store
from deployments.stores.memory import MemoryStore
from responses_api.inputs import TextDelta
from tests.deployments.stores.store_contract import OpenStore, StoreContract, record


class TestMemoryStore(StoreContract):
    machine_examples = 200

    @pytest.fixture
    def open_store(self) -> OpenStore:
        async def opened() -> Store:
            return MemoryStore()

        return opened


async def test_a_repeated_write_is_made_once() -> None:
    store = MemoryStore()
    for _ in range(2):
        await store.create("t", record("resp_1"), owner="g", log=[TextDelta("a")], write=1)
    for write in (2, 2, 3):
        await store.append("t", "resp_1", [TextDelta("b")], write=write)
    assert (await store.get("t", "resp_1")).log == [TextDelta("a"), TextDelta("b"), TextDelta("b")]

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from deployments.stores import wire
from deployments.stores.base import Store, StoreError, StoreUnavailable
from deployments.stores.owner import NAMESPACE, OwnedStore, StoreKind, owner_name
from responses_api.errors import ResponseNotFound
from responses_api.inputs import Cancel, TextDelta, Tokens
from tests.deployments.stores.store_contract import OpenStore, StoreContract, fresh_tenant, record

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(180)]


def _actor(kind: StoreKind, path: Path) -> Any:
    return ray.get_actor(owner_name(kind, path), namespace=NAMESPACE)


@pytest.fixture(scope="module")
def shared_path(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One owner of each kind serves the whole contract: tests keep apart by their tenants."""
    return tmp_path_factory.mktemp("owned") / "responses.sqlite3"


class _OwnedContract(StoreContract):
    kind: StoreKind
    machine_examples = 8

    @pytest.fixture
    def open_store(self, shared_path: Path) -> OpenStore:
        async def opened() -> Store:
            return await OwnedStore.connect(self.kind, shared_path, patience_s=60)

        return opened


class TestOwnedMemoryStore(_OwnedContract):
    kind = "memory"


class TestOwnedSqliteStore(_OwnedContract):
    kind = "sqlite"


@pytest.fixture
def path(ray_cluster: None, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "responses.sqlite3"
    yield path
    ray.kill(_actor("sqlite", path))


async def test_two_clients_of_one_path_share_the_store_and_closing_one_leaves_it(path: Path) -> None:
    tenant = fresh_tenant()
    one = await OwnedStore.connect("sqlite", path)
    two = await OwnedStore.connect("sqlite", path)
    await one.create(tenant, record("resp_1"), owner="g")
    await one.close()
    assert (await two.get(tenant, "resp_1")).record == record("resp_1")


async def test_two_paths_have_two_owners(path: Path) -> None:
    other = path.with_name("other.sqlite3")
    one = await OwnedStore.connect("sqlite", path)
    two = await OwnedStore.connect("sqlite", other)
    await one.create("t", record("resp_1"), owner="g")
    with pytest.raises(ResponseNotFound):
        await two.get("t", "resp_1")
    ray.kill(_actor("sqlite", other))


async def test_a_killed_owner_is_unavailable_to_the_impatient_and_comes_back_with_the_data(path: Path) -> None:
    store = await OwnedStore.connect("sqlite", path, patience_s=60)
    impatient = await OwnedStore.connect("sqlite", path, patience_s=0.2)
    await store.create("t", record("resp_1"), owner="g", log=[TextDelta("a")])
    before = await _kill(path)
    with pytest.raises(StoreUnavailable):
        await impatient.append("t", "resp_1", [TextDelta("lost or not")])
    with pytest.raises(StoreUnavailable):
        await impatient.get("t", "resp_1")
    await store.append("t", "resp_1", [TextDelta("b")])
    log = (await store.get("t", "resp_1")).log
    assert log[0] == TextDelta("a")
    assert log[-1] == TextDelta("b")
    assert await _actor("sqlite", path).pid.remote() != before


async def test_writes_under_way_when_the_owner_dies_are_made_exactly_once(path: Path) -> None:
    store = await OwnedStore.connect("sqlite", path, patience_s=90)
    names = [f"resp_{n}" for n in range(8)]
    killed = asyncio.Event()
    begun = 0

    async def write(name: str) -> None:
        nonlocal begun
        await store.create("t", record(name), owner="g")
        for n in range(60):
            begun += 1
            if begun == 150:
                killed.set()
            await store.append("t", name, [Tokens((n,))])
        await store.append("t", name, [Cancel()])
        if name == names[-1]:
            await store.delete("t", name)

    async def kill() -> None:
        await killed.wait()
        os.kill(pid, signal.SIGKILL)

    pid = await _actor("sqlite", path).pid.remote()
    async with asyncio.timeout(120):
        await asyncio.gather(kill(), *(write(name) for name in names))
    for name in names[:-1]:
        assert (await store.get("t", name)).log == [*(Tokens((n,)) for n in range(60)), Cancel()]
    with pytest.raises(ResponseNotFound):
        await store.get("t", names[-1])
    assert await _actor("sqlite", path).pid.remote() != pid


async def test_a_delete_whose_answer_was_lost_succeeds(path: Path) -> None:
    store = await OwnedStore.connect("sqlite", path, patience_s=60)
    await store.create("t", record("resp_1"), owner="g")
    await _kill(path)
    await store.delete("t", "resp_1")
    with pytest.raises(ResponseNotFound):
        await store.get("t", "resp_1")


async def test_a_cancelled_writer_disturbs_no_other(path: Path) -> None:
    store = await OwnedStore.connect("sqlite", path, patience_s=60)
    writers = [asyncio.create_task(store.create("t", record(f"resp_{n}"), owner="g")) for n in range(20)]
    await asyncio.sleep(0)
    for writer in writers[::2]:
        writer.cancel()
    outcomes = await asyncio.gather(*writers, return_exceptions=True)
    assert outcomes[1::2] == [None] * 10
    for n in range(1, 20, 2):
        await store.get("t", f"resp_{n}")


async def test_a_path_that_cannot_be_used_is_refused_on_connecting(path: Path) -> None:
    await asyncio.to_thread(path.write_text, "this is no database, and long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match="not a SQLite file") as caught:
        await OwnedStore.connect("sqlite", path, patience_s=60)
    assert not isinstance(caught.value, StoreUnavailable)
    await asyncio.to_thread(path.unlink)
    store = await OwnedStore.connect("sqlite", path, patience_s=60)
    await store.create("t", record("resp_1"), owner="g")


async def test_an_owner_that_is_gone_for_good_is_unavailable(ray_cluster: None, tmp_path: Path) -> None:
    store = await OwnedStore.connect("memory", tmp_path, patience_s=60)
    ray.kill(_actor("memory", tmp_path))
    impatient = OwnedStore(store._actor, patience_s=0.5)
    with pytest.raises(StoreUnavailable):
        await impatient.get("t", "resp_1")


@pytest.mark.parametrize(
    "outcome", [wire.Done(), wire.Found([]), wire.Failed("closed", "log"), wire.Failed("not_found", "resp_1")]
)
def test_outcomes_cross_as_they_are(outcome: wire.Outcome) -> None:
    assert wire.decode_outcomes(wire.encode_outcomes([outcome])) == [outcome]


async def _kill(path: Path) -> int:
    """Kill the owner's process, and return its id."""
    pid: int = await _actor("sqlite", path).pid.remote()
    os.kill(pid, signal.SIGKILL)
    return pid

"""Appends a second of the SQLite store, alone and behind its owner, against the same inserts by bare SQLite.

Run by `make bench-store`. Every figure is for appends that are durable when they are counted: the floor commits each
insert in the same journal mode, with the same synchronisation.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw

from deployments.stores.base import Store
from deployments.stores.sqlite import SqliteStore
from responses_api.inputs import Begin, EngineInput, TextDelta, Tokens, encode_inputs
from responses_api.records import ResponseRecord
from responses_api.schema.response import Echo

STEP: list[EngineInput] = [Tokens((12_345,)), TextDelta(" word")]
WRITERS = (1, 64)


def floor(path: Path, *, group: int, seconds: float) -> float:
    """Inserts a second of bare SQLite with `group` inserts a commit."""
    db = apsw.Connection(str(path))
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, response INTEGER, inputs BLOB)")
    db.execute("CREATE INDEX log_of_response ON log (response)")
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        db.execute("BEGIN IMMEDIATE")
        for writer in range(group):
            db.execute("INSERT INTO log (response, inputs) VALUES (?, ?)", (writer, encode_inputs(STEP)))
        db.execute("COMMIT")
        done += group
    rate = done / (time.perf_counter() - begun)
    db.close()
    return rate


async def appends(store: Store, *, writers: int, seconds: float) -> float:
    """Appends a second of a store with so many writers, each of which waits for its append before the next."""
    tenant = f"bench-{writers}"
    for n in range(writers):
        record = ResponseRecord(response_id=f"resp_{n}", echo=Echo(model="m"), input_items=[])
        await store.create(tenant, record, owner="bench", log=[Begin(0)])
    done, begun = 0, time.perf_counter()

    async def write(response_id: str) -> None:
        nonlocal done
        while time.perf_counter() - begun < seconds:
            await store.append(tenant, response_id, STEP)
            done += 1

    await asyncio.gather(*(write(f"resp_{n}") for n in range(writers)))
    return done / (time.perf_counter() - begun)


async def measure(
    name: str, open_store: Callable[[], Awaitable[Store]], floors: dict[int, float], seconds: float
) -> None:
    """Print one store's figures."""
    store = await open_store()
    for writers in WRITERS:
        rate = await appends(store, writers=writers, seconds=seconds)
        print(f"{name:<24}{writers:>8}{rate:>14,.0f}{rate / floors[1]:>14.2f}{rate / floors[writers]:>14.2f}")
    await store.close()


async def main(directory: Path, seconds: float) -> None:
    """Measure the floors, then the stores."""
    print(f"{'':<24}{'writers':>8}{'appends/s':>14}{'x 1 a commit':>14}{'x same group':>14}")
    floors = {group: floor(directory / f"floor-{group}", group=group, seconds=seconds) for group in WRITERS}
    for group, rate in floors.items():
        print(f"{f'bare SQLite, {group} a commit':<24}{'':>8}{rate:>14,.0f}{rate / floors[1]:>14.2f}{1:>14.2f}")

    async def alone() -> Store:
        return SqliteStore(directory / "alone.sqlite3")

    await measure("SqliteStore", alone, floors, seconds)

    os.environ["RAY_AUTH_MODE"] = "disabled"  # before Ray is imported, which reads it
    import ray

    from deployments.stores.owner import OwnedStore

    root = str(Path(__file__).parents[2])
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": root}})

    async def owned() -> Store:
        return await OwnedStore.connect("sqlite", directory / "owned.sqlite3", patience_s=60)

    await measure("OwnedStore", owned, floors, seconds)
    ray.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    parser.add_argument("--directory", type=Path, help="where to write, on the disk in question (default: temporary)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as temporary:
        asyncio.run(main(Path(temporary), options.seconds))

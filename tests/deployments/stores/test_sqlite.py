from __future__ import annotations

import asyncio
import itertools
import resource
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from deployments.stores.base import Store, StoreError, StoreUnavailable
from deployments.stores.sqlite import SCHEMA_VERSION, SqliteStore
from responses_api.inputs import Cancel, TextDelta, Tokens
from tests.deployments.stores.store_contract import OpenStore, StoreContract, record

SECRET = "the-secret-that-must-go"


class TestSqliteStore(StoreContract):
    machine_examples = 40

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        serial = itertools.count()

        async def opened() -> Store:
            return SqliteStore(tmp_path / f"{next(serial)}.sqlite3")

        return opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "directories" / "responses.sqlite3"


async def test_a_closed_file_holds_everything_when_it_is_opened_again(path: Path) -> None:
    first = SqliteStore(path)
    await first.create("t", record("resp_1"), owner="g", log=[TextDelta("a")])
    await first.append("t", "resp_1", [TextDelta("b")])
    await first.close()
    second = SqliteStore(path)
    assert (await second.get("t", "resp_1")).log == [TextDelta("a"), TextDelta("b")]
    await second.close()


_WRITE_AND_DIE = """
import asyncio, os, sys
from pathlib import Path
from deployments.stores.sqlite import SqliteStore
from responses_api.inputs import Tokens
from tests.deployments.stores.store_contract import record

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.create("t", record("resp_1"), owner="g")
    for n in range(50):
        await store.append("t", "resp_1", [Tokens((n,))])
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_killed_process(path: Path) -> None:
    root = Path(__file__).parents[3]
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITE_AND_DIE, str(path), cwd=root)
    async with asyncio.timeout(60):
        assert await writer.wait() == -9
    store = SqliteStore(path)
    assert (await store.get("t", "resp_1")).log == [Tokens((n,)) for n in range(50)]
    await store.close()


async def test_a_repeated_write_is_made_once(path: Path) -> None:
    store = SqliteStore(path)
    for _ in range(2):
        await store.create("t", record("resp_1"), owner="g", log=[TextDelta("a")], write=1)
    for write in (2, 2, 3):
        await store.append("t", "resp_1", [TextDelta("b")], write=write)
    for _ in range(2):
        await store.append("t", "resp_1", [Cancel()], write=4)
    with pytest.raises(StoreError):
        await store.create("t", record("resp_1"), owner="g", write=9)
    assert (await store.get("t", "resp_1")).log == [TextDelta("a"), TextDelta("b"), TextDelta("b"), Cancel()]
    await store.close()


async def test_deleted_bytes_are_in_no_file_any_more(path: Path) -> None:
    store = SqliteStore(path)
    await store.create("t", record("resp_1", text=f"{SECRET} {'x' * 20_000}"), owner="g")
    await store.create("t", record("resp_2"), owner="g")
    for _ in range(50):
        await store.append("t", "resp_1", [TextDelta(SECRET)])
    assert SECRET.encode() in _files(path)
    await store.delete("t", "resp_1")
    await store.append("t", "resp_2", [TextDelta("x")])  # comes after the wiping on the writer's thread
    assert SECRET.encode() not in _files(path)
    await store.close()
    assert SECRET.encode() not in _files(path)


async def test_deleted_bytes_go_once_a_reader_no_longer_needs_them(path: Path) -> None:
    store = SqliteStore(path)
    await store.create("t", record("resp_1", text=SECRET), owner="g")
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM responses").get == 1
    await store.delete("t", "resp_1")
    await store.create("t", record("resp_2"), owner="g")
    assert SECRET.encode() in _files(path)
    reader.execute("ROLLBACK")
    reader.close()
    await store.append("t", "resp_2", [TextDelta("x")])
    await store.append("t", "resp_2", [TextDelta("y")])
    assert SECRET.encode() not in _files(path)
    await store.close()


async def test_a_full_disk_is_unavailable_and_leaves_nothing_half_written(path: Path) -> None:
    store = SqliteStore(path)
    await store.create("t", record("resp_1"), owner="g", log=[TextDelta("a")])
    with _files_no_larger_than(512 * 1024):
        with pytest.raises(StoreUnavailable):
            await store.create("t", record("resp_2", text="x" * 2_000_000), owner="g")
        with pytest.raises(StoreUnavailable):
            await store.append("t", "resp_1", [TextDelta("y" * 2_000_000)])
        assert (await store.get("t", "resp_1")).log == [TextDelta("a")]
        large, small = await asyncio.gather(
            store.append("t", "resp_1", [TextDelta("y" * 2_000_000)]),
            store.create("t", record("resp_3"), owner="g"),
            return_exceptions=True,
        )
        assert isinstance(large, StoreUnavailable)
        assert small is None
    await store.create("t", record("resp_2", text="x" * 2_000_000), owner="g")
    await store.append("t", "resp_1", [TextDelta("b")])
    assert (await store.get("t", "resp_1")).log == [TextDelta("a"), TextDelta("b")]
    await store.close()
    assert apsw.Connection(str(path)).execute("PRAGMA integrity_check").get == "ok"


async def test_a_locked_file_is_unavailable_and_then_usable(path: Path) -> None:
    store = SqliteStore(path)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await store.create("t", record("resp_1"), owner="g")
    other.execute("ROLLBACK")
    other.close()
    await store.create("t", record("resp_1"), owner="g")
    await store.close()


async def test_an_unreadable_record_is_an_error_of_the_store(path: Path) -> None:
    store = SqliteStore(path)
    await store.create("t", record("resp_1"), owner="g")
    other = apsw.Connection(str(path))
    other.execute("UPDATE records SET record = x'00'")
    other.close()
    with pytest.raises(StoreError, match="cannot be read"):
        await store.get("t", "resp_1")
    await store.close()


async def test_a_text_that_sqlite_cannot_hold_is_refused_alone(path: Path) -> None:
    store = SqliteStore(path)
    bad, good = await asyncio.gather(
        store.create("\ud800", record("resp_1"), owner="g"),
        store.create("t", record("resp_1"), owner="g"),
        return_exceptions=True,
    )
    assert isinstance(bad, StoreError)
    assert good is None
    await store.close()


async def test_a_later_version_is_refused_by_name(path: Path) -> None:
    await SqliteStore(path).close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", SCHEMA_VERSION + 1)
    db.close()
    with pytest.raises(StoreError, match="later version"):
        SqliteStore(path)


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database at all, and long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match="not a SQLite file"):
        SqliteStore(tmp_path / "text")
    other = apsw.Connection(str(tmp_path / "other"))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(tmp_path / "other")
    with pytest.raises(StoreUnavailable):
        SqliteStore(tmp_path)


async def test_only_its_owner_may_read_the_file(path: Path) -> None:
    store = SqliteStore(path)
    await store.create("t", record("resp_1"), owner="g")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file.name
    await store.close()


def _files(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


@contextmanager
def _files_no_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to write beyond `size`, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

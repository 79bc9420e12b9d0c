"""Responses in one SQLite file. The only file that imports apsw.

One connection writes, on a thread of its own, and groups what waits into one durable commit; a few others read.
`records` and `log` hold the bytes of `codec`; `responses` holds what must be found or changed without reading them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import apsw

from deployments.stores.base import LogClosed, StoreError, StoreUnavailable
from deployments.stores.codec import CHAIN_LIMIT, decode_stored, encode_chunk, encode_record
from deployments.stores.filesystem import NETWORK_TYPES, filesystem_type
from deployments.stores.group_commit import GroupCommit, Outcome, Work
from responses_api.errors import ApiError, ResponseNotFound
from responses_api.inputs import EngineInput
from responses_api.records import ResponseRecord, StoredResponse

T = TypeVar("T")

SCHEMA_VERSION = 1
OLDEST_SQLITE = (3, 51, 3)
"""Earlier releases can corrupt a file in WAL mode when a checkpoint races with a writer that restarts the log."""

_READERS = 4
_BUSY_MS = 5_000

_SCHEMA = """
CREATE TABLE responses (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    response_id TEXT NOT NULL,
    previous_response_id TEXT,
    owner TEXT NOT NULL,
    closed INTEGER NOT NULL,
    created REAL NOT NULL DEFAULT (unixepoch('subsec')),
    write INTEGER,
    UNIQUE (tenant, response_id)
) STRICT;
CREATE TABLE records (
    response INTEGER PRIMARY KEY REFERENCES responses (id) ON DELETE CASCADE,
    record BLOB NOT NULL
) STRICT;
CREATE TABLE log (
    id INTEGER PRIMARY KEY,
    response INTEGER NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    write INTEGER,
    inputs BLOB NOT NULL
) STRICT;
CREATE INDEX log_of_response ON log (response);
"""

_CREATE = """
INSERT INTO responses (tenant, response_id, previous_response_id, owner, closed, write) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING id
"""
_WRITE_OF = "SELECT write FROM responses WHERE tenant = ? AND response_id = ?"
_FIND = "SELECT id, closed, owner FROM responses WHERE tenant = ? AND response_id = ?"
_LAST_WRITE = "SELECT write FROM log WHERE response = ? ORDER BY id DESC LIMIT 1"
_APPEND = "INSERT INTO log (response, write, inputs) VALUES (?, ?, ?)"
_CLOSE = "UPDATE responses SET closed = 1 WHERE id = ?"
_DELETE = "DELETE FROM responses WHERE tenant = ? AND response_id = ?"
_RECORD = "SELECT record FROM records WHERE response = ?"
_LOG = "SELECT inputs FROM log WHERE response = ? ORDER BY id"
_LINKS = """
WITH RECURSIVE link (response_id, previous, id, closed, owner) AS (
    SELECT response_id, previous_response_id, id, closed, owner FROM responses WHERE tenant = ?1 AND response_id = ?2
    UNION
    SELECT r.response_id, r.previous_response_id, r.id, r.closed, r.owner
    FROM link JOIN responses AS r ON r.tenant = ?1 AND r.response_id = link.previous
    LIMIT ?3
)
SELECT response_id, previous, id, closed, owner FROM link
"""


class SqliteStore:
    """The store contract over the file at `path`, which is made, with its directories, where there is none.

    `write` tells one write from another: a repetition of a response's latest write with the same number changes nothing
    and succeeds. None is never a repetition.

    Raises:
        StoreError: the file is no store, a later version's, or on a file system where SQLite is not safe.
        StoreUnavailable: the file cannot be opened now.
    """

    def __init__(self, path: Path) -> None:
        self._db = _open(path)
        self._wipe = False
        self._readers: SimpleQueue[apsw.Connection] = SimpleQueue()
        for _ in range(_READERS):
            self._readers.put(_connect(path, "query_only = 1"))
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")
        self._writer = GroupCommit(self._commit, tidy=self._wipe_deleted)
        self._closing: asyncio.Lock = asyncio.Lock()
        self._closed = False

    async def create(
        self,
        tenant: str,
        record: ResponseRecord,
        *,
        owner: str,
        log: Sequence[EngineInput] = (),
        write: int | None = None,
    ) -> None:
        """Keep a new response. See `Store.create`."""
        chunk, closed = encode_chunk(log)
        blob = encode_record(record)

        def work() -> None:
            keys = (tenant, record.response_id, record.echo.previous_response_id, owner, closed, write)
            key = self._db.execute(_CREATE, keys).get
            if key is None:
                there = self._db.execute(_WRITE_OF, (tenant, record.response_id)).get
                if write is not None and there == write:
                    return
                raise StoreError(f"a response with id {record.response_id!r} exists already")
            self._db.execute("INSERT INTO records VALUES (?, ?)", (key, blob))
            self._db.execute(_APPEND, (key, write, chunk))

        await self._writer.run(work)

    async def append(
        self, tenant: str, response_id: str, inputs: Sequence[EngineInput], *, write: int | None = None
    ) -> None:
        """Append to a log. See `Store.append`."""
        chunk, closes = encode_chunk(inputs)

        def work() -> None:
            found = self._db.execute(_FIND, (tenant, response_id)).fetchone()
            if found is None:
                raise ResponseNotFound(response_id)
            key, closed, _ = found
            if write is not None and write == self._db.execute(_LAST_WRITE, (key,)).get:
                return
            if closed:
                raise LogClosed(f"the log of {response_id!r} is closed")
            self._db.execute(_APPEND, (key, write, chunk))
            if closes:
                self._db.execute(_CLOSE, (key,))

        await self._writer.run(work)

    async def get(self, tenant: str, response_id: str) -> StoredResponse:
        """A response. See `Store.get`."""
        return await self._read(partial(_read_one, tenant, response_id))

    async def chain(self, tenant: str, response_id: str) -> list[StoredResponse]:
        """A response and those before it. See `Store.chain`."""
        return await self._read(partial(_read_chain, tenant, response_id))

    async def delete(self, tenant: str, response_id: str) -> None:
        """Remove a response; its bytes leave the file and its write-ahead log soon after. See `Store.delete`."""

        def work() -> None:
            self._db.execute(_DELETE, (tenant, response_id))
            if not self._db.changes():
                raise ResponseNotFound(response_id)
            self._wipe = True

        await self._writer.run(work)

    async def close(self) -> None:
        """Finish what is being written and close the file. Idempotent."""
        async with self._closing:
            if self._closed:
                return
            self._closed = True
            await self._writer.close()
            await asyncio.to_thread(self._threads.shutdown)
            for _ in range(_READERS):
                self._readers.get_nowait().close()
            self._db.close()

    def _commit(self, works: Sequence[Work]) -> list[Outcome]:
        """Make a group durable in one transaction. A work that breaks the transaction fails alone."""
        try:
            return self._transaction(works)
        except Exception as exc:  # whatever it is, each waiting writer must get an answer
            failure = _failure(exc)
            if self._db.in_transaction:
                self._roll_back()
        if len(works) == 1 or isinstance(failure.__cause__, apsw.BusyError):
            return [failure] * len(works)
        return [outcome for work in works for outcome in self._commit([work])]

    def _transaction(self, works: Sequence[Work]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        self._db.execute("BEGIN IMMEDIATE")
        for work in works:
            try:
                work()
            except (StoreError, ApiError) as refusal:
                outcomes.append(refusal)
            else:
                outcomes.append(None)
        self._db.execute("COMMIT")
        return outcomes

    def _roll_back(self) -> None:
        with suppress(apsw.Error):  # where this fails too, the next BEGIN says so
            self._db.execute("ROLLBACK")

    def _wipe_deleted(self) -> bool:
        """Move the zeroes over deleted bytes into the file and empty the write-ahead log, once no reader needs it."""
        if not self._wipe:
            return False
        self._db.set_busy_timeout(0)
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            return True
        finally:
            self._db.set_busy_timeout(_BUSY_MS)
        self._wipe = False
        return False

    async def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._with_reader, read)

    def _with_reader(self, read: Callable[[apsw.Connection], T]) -> T:
        db = self._readers.get()
        try:
            return read(db)
        except apsw.Error as exc:
            raise _failure(exc) from exc
        finally:
            self._readers.put(db)


def _failure(exc: Exception) -> StoreError:
    failure = (
        StoreUnavailable(f"the file cannot be used: {exc}") if isinstance(exc, apsw.Error) else StoreError(str(exc))
    )
    failure.__cause__ = exc
    return failure


@contextmanager
def _snapshot(db: apsw.Connection) -> Iterator[None]:
    """All reads inside see the file at one moment."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def _read_one(tenant: str, response_id: str, db: apsw.Connection) -> StoredResponse:
    with _snapshot(db):
        row = db.execute(_FIND, (tenant, response_id)).fetchone()
        if row is None:
            raise ResponseNotFound(response_id)
        kept = _read_kept(db, *row)
    return kept()


def _read_chain(tenant: str, response_id: str, db: apsw.Connection) -> list[StoredResponse]:
    kept: dict[str, Callable[[], StoredResponse]] = {}
    link: str | None = response_id
    with _snapshot(db):
        rows = db.execute(_LINKS, (tenant, response_id, CHAIN_LIMIT))
        links = {found: (previous, row) for found, previous, *row in rows}
        while link is not None:
            if link in kept:
                raise StoreError(f"the chain of {response_id!r} leads back to {link!r}")
            if link not in links:
                raise ResponseNotFound(link)
            previous, row = links[link]
            kept[link] = _read_kept(db, *row)
            link = previous
    return [decode() for decode in reversed(kept.values())]


def _read_kept(db: apsw.Connection, key: int, closed: int, owner: str) -> Callable[[], StoredResponse]:
    """Read a response's bytes; what is returned decodes them, which needs the file no more."""
    record = db.execute(_RECORD, (key,)).get
    chunks = [row[0] for row in db.execute(_LOG, (key,))]
    return partial(decode_stored, record, chunks, closed=bool(closed), owner=owner)


def _open(path: Path) -> apsw.Connection:
    """The writing connection to a file that is ours and of our version."""
    _check_library()
    _check_filesystem(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        db = _connect(path, "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON")
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
    except apsw.NotADBError as exc:
        raise StoreError(f"{path} is not a SQLite file; the store needs a path of its own") from exc
    except (apsw.Error, OSError) as exc:
        raise StoreUnavailable(f"{path} cannot be opened: {exc}") from exc
    return db


def _connect(path: Path, *pragmas: str) -> apsw.Connection:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    db.set_busy_timeout(_BUSY_MS)
    for pragma in pragmas:
        db.execute(f"PRAGMA {pragma}")
    return db


def _prepare(db: apsw.Connection, path: Path) -> None:
    """Check the file's version, and make the tables in a new file."""
    version = db.pragma("user_version")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a later version (its schema is {version}, this one knows {SCHEMA_VERSION}): "
            "upgrade, or give the store another path"
        )
    if version == 0 and db.execute("SELECT count(*) FROM sqlite_schema").get:
        raise StoreError(f"{path} belongs to another program; the store needs a path of its own")
    mode = db.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StoreError(f"{path} cannot be used with a write-ahead log (its journal mode stays {mode!r})")
    db.execute("BEGIN IMMEDIATE")
    if db.pragma("user_version") == 0:
        db.execute(_SCHEMA)
        db.pragma("user_version", SCHEMA_VERSION)
    db.execute("COMMIT")


def _check_library() -> None:
    found = apsw.sqlite_lib_version()
    if tuple(int(part) for part in found.split(".")) < OLDEST_SQLITE:
        oldest = ".".join(str(part) for part in OLDEST_SQLITE)
        raise StoreError(f"SQLite {found} is too old, {oldest} or later is needed: upgrade the package apsw")


def _check_filesystem(path: Path) -> None:
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return  # not Linux: the mount table cannot be asked
    kind = filesystem_type(path.resolve(), mounts)
    if kind in NETWORK_TYPES:
        raise StoreError(
            f"{path} is on a network file system ({kind}), where SQLite can lose data: "
            "give the store a path on a local disk"
        )

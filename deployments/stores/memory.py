"""Responses in this process's memory: for tests and for `store: memory`. They are gone when the process ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from deployments.stores.base import LogClosed, StoreError, StoreUnavailable
from deployments.stores.codec import decode_stored, encode_chunk, encode_record
from responses_api.errors import ResponseNotFound
from responses_api.inputs import EngineInput
from responses_api.records import ResponseRecord, StoredResponse


@dataclass(slots=True)
class _Kept:
    """One response in the bytes that a file would hold, so that nothing kept can be changed from outside."""

    record: bytes
    previous: str | None
    owner: str
    write: int | None
    closed: bool
    chunks: list[bytes] = field(default_factory=list)

    def stored(self) -> StoredResponse:
        return decode_stored(self.record, self.chunks, closed=self.closed, owner=self.owner)


class MemoryStore:
    """The store contract over a dictionary.

    `write` tells one write from another: a repetition of a response's latest write with the same number changes nothing
    and succeeds. None is never a repetition.
    """

    def __init__(self) -> None:
        self._tenants: dict[str, dict[str, _Kept]] = {}
        self._open = True

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
        there = self._find(tenant, record.response_id)
        if there is not None:
            if write is not None and there.write == write:
                return
            raise StoreError(f"a response with id {record.response_id!r} exists already")
        kept = _Kept(encode_record(record), record.echo.previous_response_id, owner, write, closed, [chunk])
        self._tenants.setdefault(tenant, {})[record.response_id] = kept

    async def append(
        self, tenant: str, response_id: str, inputs: Sequence[EngineInput], *, write: int | None = None
    ) -> None:
        """Append to a log. See `Store.append`."""
        found = self._found(tenant, response_id)
        chunk, closes = encode_chunk(inputs)
        if write is not None and found.write == write:
            return
        if found.closed:
            raise LogClosed(f"the log of {response_id!r} is closed")
        found.chunks.append(chunk)
        found.closed = closes
        found.write = write

    async def get(self, tenant: str, response_id: str) -> StoredResponse:
        """A response. See `Store.get`."""
        return self._found(tenant, response_id).stored()

    async def chain(self, tenant: str, response_id: str) -> list[StoredResponse]:
        """A response and those before it. See `Store.chain`."""
        links: dict[str, _Kept] = {}
        link: str | None = response_id
        while link is not None:
            if link in links:
                raise StoreError(f"the chain of {response_id!r} leads back to {link!r}")
            links[link] = self._found(tenant, link)
            link = links[link].previous
        return [kept.stored() for kept in reversed(links.values())]

    async def delete(self, tenant: str, response_id: str) -> None:
        """Remove a response. See `Store.delete`."""
        self._found(tenant, response_id)
        del self._tenants[tenant][response_id]

    async def close(self) -> None:
        """Forget everything. Idempotent."""
        self._open = False
        self._tenants.clear()

    def _find(self, tenant: str, response_id: str) -> _Kept | None:
        if not self._open:
            raise StoreUnavailable("the store is closed")
        return self._tenants.get(tenant, {}).get(response_id)

    def _found(self, tenant: str, response_id: str) -> _Kept:
        found = self._find(tenant, response_id)
        if found is None:
            raise ResponseNotFound(response_id)
        return found

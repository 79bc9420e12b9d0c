"""Stores over a `MemoryStore` that can be slow or unreachable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from deployments.stores.base import StoreUnavailable
from deployments.stores.memory import MemoryStore
from responses_api.inputs import EngineInput
from responses_api.records import ResponseRecord


class HeldStore(MemoryStore):
    """`create` begins, sets `creating`, and goes on when `release` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.creating = asyncio.Event()
        self.release = asyncio.Event()

    async def create(
        self,
        tenant: str,
        record: ResponseRecord,
        *,
        owner: str,
        log: Sequence[EngineInput] = (),
        write: int | None = None,
    ) -> None:
        self.creating.set()
        await self.release.wait()
        await super().create(tenant, record, owner=owner, log=log, write=write)


class CutOffStore(MemoryStore):
    """Writes fail with `failure` while it is set; reads go on."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.failure = failure

    async def create(
        self,
        tenant: str,
        record: ResponseRecord,
        *,
        owner: str,
        log: Sequence[EngineInput] = (),
        write: int | None = None,
    ) -> None:
        self._check()
        await super().create(tenant, record, owner=owner, log=log, write=write)

    async def append(
        self, tenant: str, response_id: str, inputs: Sequence[EngineInput], *, write: int | None = None
    ) -> None:
        self._check()
        await super().append(tenant, response_id, inputs, write=write)

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure


UNREACHABLE = StoreUnavailable("the store cannot be reached")

"""One process on the cluster owns a store, and everybody else writes through it.

Several processes that write to one SQLite file starve each other, and memory cannot be shared at all. So the store is
in a named, detached Ray actor, on the node of whoever asked for it first, and all others call it through `OwnedStore`.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import itertools
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from deployments.stores import wire
from deployments.stores.base import StoreError, StoreUnavailable
from deployments.stores.memory import MemoryStore
from deployments.stores.sqlite import SqliteStore
from responses_api.inputs import EngineInput
from responses_api.records import ResponseRecord, StoredResponse

StoreKind = Literal["memory", "sqlite"]

NAMESPACE = "ray-responses"
PATIENCE_S = 20.0
"""How long a call waits for an owner that does not answer; a killed owner is back within a few seconds."""

_CONCURRENCY = 1_000
_LARGEST_GROUP = 256
_AGAIN_S = 0.1


def owner_name(kind: StoreKind, path: Path) -> str:
    """Name of the actor that owns this store, in the namespace `NAMESPACE`. Different stores have different names."""
    digest = hashlib.sha256(f"{kind}:{os.path.abspath(path)}".encode()).hexdigest()
    return f"store-{kind}-{digest[:16]}"


class StoreOwner:
    """The actor. Bytes in, bytes out, and no exception of our own ever leaves it."""

    def __init__(self, kind: StoreKind, path: Path) -> None:
        self._kind = kind
        self._path = path
        self._store: wire.RepeatableStore | None = None

    async def open(self) -> bytes:
        """Open the store unless it is open. One outcome."""
        try:
            self._opened()
        except StoreUnavailable as exc:
            return wire.encode_outcomes([wire.Failed("unavailable", str(exc))])
        except StoreError as exc:
            return wire.encode_outcomes([wire.Failed("store", str(exc))])
        return wire.encode_outcomes([wire.Done()])

    async def call(self, calls: bytes) -> bytes:
        """Perform calls side by side, started in their order. One outcome for each."""
        asked = wire.decode_calls(calls)
        try:
            store = self._opened()
        except StoreError as exc:
            return wire.encode_outcomes([wire.Failed("unavailable", str(exc)) for _ in asked])
        return wire.encode_outcomes(await asyncio.gather(*(wire.perform(store, call) for call in asked)))

    async def pid(self) -> int:
        """The owner's process id, for operators and tests."""
        return os.getpid()

    def _opened(self) -> wire.RepeatableStore:
        if self._store is None:
            self._store = MemoryStore() if self._kind == "memory" else SqliteStore(self._path)
        return self._store


class OwnedStore:
    """The store contract over calls to the owner.

    Writes that are asked for while others are under way travel together. A call without an answer is asked again, which
    is safe because each write carries a number. After `patience_s` it is `StoreUnavailable`; whether a write was
    made is then unknown: read the response before writing to it again. An instance belongs to one event loop.
    """

    def __init__(self, actor: Any, *, patience_s: float = PATIENCE_S) -> None:
        self._actor = actor
        self._patience_s = patience_s
        self._numbers = itertools.count(secrets.randbits(62))
        self._waiting: list[tuple[wire.Call, asyncio.Future[wire.Outcome]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def connect(cls, kind: StoreKind, path: Path, *, patience_s: float = PATIENCE_S) -> OwnedStore:
        """The store of this kind at this path, through its owner, which is started here if there is none.

        Raises:
            StoreError: the owner cannot use the path; the message says why.
            StoreUnavailable: the owner does not answer.
        """
        if not ray.is_initialized():
            raise StoreUnavailable("Ray is not running in this process")
        path = Path(os.path.abspath(path))  # noqa: ASYNC240 - asks only for the working directory
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = (
            ray.remote(StoreOwner)
            .options(
                name=owner_name(kind, path),
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                max_restarts=-1,
                max_concurrency=_CONCURRENCY,
                scheduling_strategy=here,
            )
            .remote(kind, path)
        )
        store = cls(actor, patience_s=patience_s)
        (outcome,), _ = await store._ask(actor.open)
        wire.responses(outcome)
        return store

    async def create(self, tenant: str, record: ResponseRecord, *, owner: str, log: Sequence[EngineInput] = ()) -> None:
        """Keep a new response. See `Store.create`."""
        await self._write(wire.Create(tenant, record, owner, tuple(log), next(self._numbers)))

    async def append(self, tenant: str, response_id: str, inputs: Sequence[EngineInput]) -> None:
        """Append to a log. See `Store.append`."""
        await self._write(wire.Append(tenant, response_id, tuple(inputs), next(self._numbers)))

    async def get(self, tenant: str, response_id: str) -> StoredResponse:
        """A response. See `Store.get`."""
        (stored,) = await self._read(wire.Get(tenant, response_id))
        return stored

    async def chain(self, tenant: str, response_id: str) -> list[StoredResponse]:
        """A response and those before it. See `Store.chain`."""
        return await self._read(wire.Chain(tenant, response_id))

    async def delete(self, tenant: str, response_id: str) -> None:
        """Remove a response. See `Store.delete`."""
        await self._write(wire.Delete(tenant, response_id))

    async def close(self) -> None:
        """Finish what is being written. The owner lives on for others. Idempotent."""
        self._closed = True
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=2 * self._patience_s)

    async def _read(self, call: wire.Call) -> list[StoredResponse]:
        self._check_open()
        (outcome,), _ = await self._ask(self._actor.call, wire.encode_calls([call]))
        return wire.responses(outcome)

    async def _write(self, call: wire.Call) -> None:
        self._check_open()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[wire.Outcome] = loop.create_future()
        self._waiting.append((call, done))
        if self._sending is None or self._sending.done():
            # An empty context: the task serves all callers, so it must not be cancelled with the request of one.
            self._sending = loop.create_task(self._send(), context=contextvars.Context())
        wire.responses(await done)

    async def _send(self) -> None:
        """Send groups of writes, one after the other, until none waits."""
        while self._waiting:
            group = self._waiting[:_LARGEST_GROUP]
            del self._waiting[:_LARGEST_GROUP]
            calls = [call for call, _ in group]
            try:
                outcomes, repeated = await self._ask(self._actor.call, wire.encode_calls(calls))
            except StoreUnavailable as exc:
                outcomes, repeated = [wire.Failed("unavailable", str(exc))] * len(group), False
            for (call, done), outcome in zip(group, outcomes, strict=True):
                if not done.done():
                    done.set_result(_settled(call, outcome) if repeated else outcome)

    async def _ask(self, method: Any, *args: bytes) -> tuple[list[wire.Outcome], bool]:
        """The outcomes, and whether the owner was asked more than once."""
        repeated = False
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    try:
                        return wire.decode_outcomes(await method.remote(*args)), repeated
                    except RayActorError:
                        repeated = True
                        await asyncio.sleep(_AGAIN_S)
        except TimeoutError as exc:
            raise StoreUnavailable(f"the store's owner did not answer within {self._patience_s:g} s") from exc
        except RayError as exc:
            raise StoreUnavailable(f"the store's owner failed: {exc}") from exc

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")


def _settled(call: wire.Call, outcome: wire.Outcome) -> wire.Outcome:
    """The outcome of a call that may have been performed before: what was to be deleted and is gone, is deleted."""
    if isinstance(call, wire.Delete) and isinstance(outcome, wire.Failed) and outcome.error == "not_found":
        return wire.Done()
    return outcome

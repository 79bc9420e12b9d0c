"""An engine behind a Ray Serve handle, seen as an `Engine`: the asking half of `wire`, whose `serve` is the other.

The handle's deployment has `generate(bytes)`, which yields the frames of `wire`, `status()`, which returns an
`EngineStatus` as msgpack, and `check()`, which raises where it must.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from ray.serve.exceptions import BackPressureError

from deployments.engines import wire
from deployments.engines.base import EngineDead, EngineStatus, RequestRefused
from responses_api.errors import Overloaded, RequestTooLarge
from responses_api.inputs import EngineInput, Finish
from responses_api.records import GenerationRequest

ADMISSION_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 10.0
_LEAVE_TIMEOUT_S = 1.0

_TRANSPORT_LIMIT = 4 * 2**20
_ENVELOPE = 64 * 2**10
"""What Serve adds to a request's bytes, with room to spare."""


def transport_limit() -> int:
    """Largest request in bytes, by the cap of Serve's gRPC transport, which all of its processes must share."""
    return int(os.environ.get("RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH", _TRANSPORT_LIMIT)) - _ENVELOPE


class RemoteEngine:
    """The engine contract over a deployment's handle. Any of the deployment's replicas may serve a call.

    Leaving a generation asks its replica to abort, which it does some milliseconds later. A replica that falls silent
    while its connection stands is not noticed here.
    """

    def __init__(
        self,
        handle: Any,
        *,
        admission_timeout_s: float = ADMISSION_TIMEOUT_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        # By reference, each frame would be an object of Ray's own store: four times the cost.
        self._generate = handle.options(method_name="generate", stream=True, _by_reference=False)
        self._handle = handle
        self._check = handle.options(method_name="check")
        self._admission_timeout_s = admission_timeout_s
        self._answer_timeout_s = answer_timeout_s

    @asynccontextmanager
    async def generate(self, request: GenerationRequest) -> AsyncIterator[AsyncIterator[list[EngineInput]]]:
        """Generate one response. See `Engine.generate`.

        A request that no replica takes within `admission_timeout_s`, or that finds the queue full, is refused as
        `Overloaded`; one that is larger than the transport carries, as `RequestTooLarge`.
        """
        data = wire.encode_request(request)
        if len(data) > transport_limit():
            message = f"The request has {len(data)} bytes; at most {transport_limit()} can be sent to the model."
            raise RequestRefused(RequestTooLarge(message, param="input"))
        call = _Call(self._generate, data)
        try:
            accepted = await call.accepted(self._admission_timeout_s)
            async with aclosing(call.batches(accepted)) as batches:
                yield batches
        finally:
            await call.leave()

    async def status(self) -> EngineStatus:
        """What all replicas are doing now, together: sums of requests, the highest KV usage. See `Engine.status`."""
        try:
            answers = await contextvars.Context().run(
                lambda: self._handle.broadcast("status").results_async(timeout_s=self._answer_timeout_s)
            )
        except Exception as exc:  # as in `_ask`
            raise EngineDead(f"{type(exc).__name__}: {exc}") from exc
        if not answers:
            raise EngineDead("no replica runs")
        replicas = [wire.decode_status(answer) for answer in answers]
        return EngineStatus(
            running=sum(replica.running for replica in replicas),
            waiting=sum(replica.waiting for replica in replicas),
            kv_usage=max(replica.kv_usage for replica in replicas),
        )

    async def check(self) -> None:
        """Return if one of the replicas answers that it can generate. See `Engine.check`."""
        await self._ask(self._check)

    async def close(self) -> None:
        """Nothing is held here; the replicas are Serve's."""

    async def _ask(self, handle: Any) -> Any:
        response = start_call(handle)
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                return await response
        except TimeoutError as exc:
            _cancel(response)
            raise EngineDead(f"no answer within {self._answer_timeout_s:g} s") from exc
        except asyncio.CancelledError as exc:
            _cancel(response)
            if wire.being_cancelled():
                raise
            raise EngineDead("the engine's replica cancelled the call") from exc
        except Exception as exc:  # a replica's EngineDead comes as one of several types, and so does its death
            raise EngineDead(f"{type(exc).__name__}: {exc}") from exc


class _Call:
    """One streaming handle call. Whatever happens, `leave` cancels what is still running."""

    def __init__(self, handle: Any, request: bytes) -> None:
        self._frames = start_call(handle, request)
        self._ended = False
        # A task, so that cancelling who waits for it cannot lose the call between its start and the first frame.
        self._first: asyncio.Task[bytes] = asyncio.create_task(self._frames.__anext__())

    async def accepted(self, timeout_s: float) -> list[EngineInput]:
        """The first batch.

        Raises:
            RequestRefused: by the engine, or because no replica had room in time.
            EngineDead: the replica died, or there is none.
        """
        done, _ = await asyncio.wait([self._first], timeout=timeout_s)
        if not done:
            raise RequestRefused(Overloaded("The model is overloaded: no engine took the request in time."))
        return await self._batch(self._first)

    async def batches(self, batch: list[EngineInput]) -> AsyncGenerator[list[EngineInput], None]:
        """All batches: the first one, which is given, and those that follow, until one ends in `Finish`."""
        yield batch
        while not self._ended:
            yield await self._batch(self._frames.__anext__())

    async def leave(self) -> None:
        """End the call, and wait until nothing of it is left here."""
        try:
            if self._ended:
                await self._drain()
            elif not self._first.done():
                # A call that was just assigned to a replica is cancelled only if the task has seen it.
                await asyncio.sleep(0)
        finally:
            _cancel(self._frames)
        if not self._first.done():
            await asyncio.wait([self._first], timeout=_LEAVE_TIMEOUT_S)
        if not self._first.cancel() and not self._first.cancelled():
            self._first.exception()  # seen, so that nobody reports it as lost

    async def _batch(self, coming: Awaitable[bytes]) -> list[EngineInput]:
        frame = await _frame(coming)
        self._ended = True
        batch = wire.inputs(frame)
        self._ended = isinstance(batch[-1], Finish)
        return batch

    async def _drain(self) -> None:
        """Let a call that said all it has to say end by itself, so that Serve counts it as served."""
        with suppress(TimeoutError, RequestRefused, EngineDead):
            async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                await _frame(self._frames.__anext__())


def start_call(handle: Any, *args: Any) -> Any:
    """Start a handle call that no request owns: Serve cancels the calls made in a request's context when it ends."""
    return contextvars.Context().run(handle.remote, *args)


def _cancel(response: Any) -> None:
    """Cancel a handle call. One that found no replica would raise here again what it raised before."""
    with suppress(Exception):
        response.cancel()


async def _frame(coming: Awaitable[bytes]) -> bytes:
    """The next frame. What Serve, Ray and gRPC may raise instead becomes one of an engine's two errors."""
    try:
        return await coming
    except StopAsyncIteration as exc:
        raise EngineDead("the engine's stream ended before it finished") from exc
    except BackPressureError as exc:
        raise RequestRefused(Overloaded("The model is overloaded: too many requests are waiting for it.")) from exc
    except asyncio.CancelledError as exc:
        if wire.being_cancelled():
            raise
        raise EngineDead("the engine's replica cancelled the call") from exc
    except Exception as exc:
        raise EngineDead(f"{type(exc).__name__}: {exc}") from exc

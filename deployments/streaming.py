"""The pump: one task that owns a running response, from the engine's acceptance to the terminal event.

It feeds the engine's inputs to the emitter, keeps the log, and hands encoded events to whoever reads. Readers only look
at the frames; none of them can disturb the response but by `interrupt`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable

from deployments.engines.base import Engine, EngineDead, EngineError, RequestRefused
from deployments.stores.base import Store, StoreError
from responses_api.emitter import ResponseEmitter
from responses_api.errors import ResponseNotFound
from responses_api.inputs import TERMINAL, Begin, Cancel, Clock, EngineInput, Fail
from responses_api.records import GenerationRequest, ResponseRecord
from responses_api.schema.events import StreamEvent
from responses_api.schema.response import Response
from responses_api.sse import DONE, encode_event, keepalive

log = logging.getLogger(__name__)

ENGINE_LOST = Fail("server_error", "The model's engine stopped while it was generating. Please try again.")
UNFINISHED = Fail("server_error", "The model's engine could not finish this response.")
INTERNAL = Fail("server_error", "The server had an internal error while it was generating. Please try again.")
SHUTDOWN = Fail("server_error", "The server is shutting down. Please try again.")


class LiveResponse:
    """A response while it runs.

    `store` is None for a response that is not to be kept; `now` gives unix seconds.
    """

    def __init__(
        self, tenant: str, record: ResponseRecord, *, store: Store | None, owner: str, now: Callable[[], float]
    ) -> None:
        self.tenant = tenant
        self.record = record
        self._store = store
        self._owner = owner
        self._now = now
        self._emitter = ResponseEmitter(record)
        self._events: list[StreamEvent] = []
        self._unstored: list[EngineInput] = []
        self._waiting: list[asyncio.Future[bool]] = []
        self._ending: EngineInput | None = None
        self._interruptible = True
        self._accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    @property
    def response(self) -> Response:
        """The response object as of now."""
        return self._emitter.snapshot

    async def start(self, engine: Engine, request: GenerationRequest) -> None:
        """Run the response in a task of its own; return once an engine accepted it and its first record is stored.

        The task gets a fresh context: Serve cancels whatever shares the context of a request that ended.

        Raises:
            RequestRefused, EngineDead, StoreError: nothing was begun and nothing is stored.
        """
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(engine, request), context=contextvars.Context())
        try:
            await asyncio.shield(self._accepted)
        except asyncio.CancelledError:
            self.interrupt(Cancel())
            raise

    def interrupt(self, ending: Cancel | Fail) -> None:
        """End the response with `ending`, unless it is ending already, and abort the engine's work."""
        if self._task is None or self._ending is not None:
            return
        self._ending = ending
        if self._interruptible:
            self._task.cancel()

    def on_end(self, then: Callable[[], object]) -> None:
        """Call `then` once, when the response is final. Only after `start`."""
        assert self._task is not None
        self._task.add_done_callback(lambda _: then())

    async def wait(self) -> Response:
        """The final response object, when it is final."""
        if self._task is not None:
            await asyncio.wait([self._task])
        return self.response

    async def frames(self, *, keepalive_s: float) -> AsyncIterator[bytes]:
        """All events from the first, encoded: whole frames, several in one chunk where several are ready."""
        sent = 0
        while True:
            if sent < len(self._events):
                ready = self._events[sent:]
                sent += len(ready)
                yield b"".join([encode_event(event) for event in ready])
            elif self._emitter.closed:
                yield DONE
                return
            elif not await self._changed(keepalive_s):
                yield keepalive(sent - 1)

    async def _changed(self, timeout_s: float) -> bool:
        """Wait for more events; False if none came in time."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(timeout_s, _settle, waiter, False)
        self._waiting.append(waiter)
        try:
            return await waiter
        finally:
            timer.cancel()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            _settle(waiter, True)

    async def _run(self, engine: Engine, request: GenerationRequest) -> None:
        try:
            await self._generate(engine, request)
        except asyncio.CancelledError:
            await self._end(self._ending or SHUTDOWN)
        except (RequestRefused, StoreError) as exc:
            await self._end(INTERNAL, reason=exc)
        except EngineDead as exc:
            log.warning("response %s: engine lost: %s", self.record.response_id, exc)
            await self._end(ENGINE_LOST, reason=exc)
        except EngineError as exc:
            log.error("response %s: the engine gave up: %s", self.record.response_id, exc)  # noqa: TRY400 - the trace is the engine's to log
            await self._end(UNFINISHED, reason=exc)
        except Exception as exc:
            log.exception("response %s: generation failed", self.record.response_id)
            await self._end(INTERNAL, reason=exc)

    async def _generate(self, engine: Engine, request: GenerationRequest) -> None:
        async with engine.generate(request) as batches:
            async for batch in batches:
                if not self._accepted.done():
                    await self._accept(batch)
                    continue
                for got in batch:
                    if isinstance(got, TERMINAL):
                        await self._close(got)
                        return
                    self._feed(got)
                self._wake()
        raise EngineDead("the engine ended its stream without finishing")

    async def _accept(self, first: list[EngineInput]) -> None:
        """Write the first record, then let the first events out. An interruption waits: the record must get its end."""
        opening = [Begin(self._now()), *first]
        self._interruptible = False
        if self._store is not None:
            await self._store.create(self.tenant, self.record, owner=self._owner, log=opening)
        for got in opening:
            self._feed(got)
        self._unstored.clear()
        self._accepted.set_result(None)
        self._wake()
        self._interruptible = True
        if self._ending is not None:
            raise asyncio.CancelledError

    def _feed(self, got: EngineInput) -> None:
        self._events += self._emitter.feed(got)
        self._unstored.append(got)

    async def _end(self, ending: EngineInput, *, reason: Exception | None = None) -> None:
        """End a response that cannot or may not go on."""
        if self._accepted.done():
            await self._close(ending)
        elif reason is None:
            self._accepted.cancel()
        else:
            self._accepted.set_exception(reason)
            self._accepted.exception()  # a caller that left must not make it "never retrieved"

    async def _close(self, terminal: EngineInput) -> None:
        """Write the log to its end, then let the terminal event out: who saw the end can build on it."""
        self._interruptible = False
        ending = [Clock(self._now()), terminal]
        if self._store is not None:
            try:
                await self._store.append(self.tenant, self.record.response_id, [*self._unstored, *ending])
            except ResponseNotFound:
                log.info("response %s was deleted while it ran", self.record.response_id)
            except StoreError as exc:
                log.error("response %s: its end could not be stored: %s", self.record.response_id, exc)  # noqa: TRY400 - the cause is the store's to log
            except Exception:
                # Whatever it is, the readers get their terminal event.
                log.exception("response %s: its end could not be stored", self.record.response_id)
        for got in ending:
            self._feed(got)
        self._unstored.clear()
        self._wake()


def _settle(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)

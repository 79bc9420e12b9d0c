"""Engines that keep the contract in ways that the scripted one does not, or break it in one way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deployments.engines.base import EngineStatus
from deployments.engines.scripted_engine import ScriptedEngine
from responses_api.inputs import EngineInput
from responses_api.records import GenerationRequest


class RecordingEngine(ScriptedEngine):
    """The scripted engine, which remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("replica-1")
        self.asked: list[GenerationRequest] = []

    @asynccontextmanager
    async def generate(self, request: GenerationRequest) -> AsyncIterator[AsyncIterator[list[EngineInput]]]:
        self.asked.append(request)
        async with super().generate(request) as batches:
            yield batches


class HesitantEngine(ScriptedEngine):
    """Accepts a request, or answers a check, only when `decide` is set; `asked` tells that it was asked."""

    def __init__(self) -> None:
        super().__init__("replica-1")
        self.asked = asyncio.Event()
        self.decide = asyncio.Event()
        self.left = asyncio.Event()

    @asynccontextmanager
    async def generate(self, request: GenerationRequest) -> AsyncIterator[AsyncIterator[list[EngineInput]]]:
        try:
            await self.check()
            async with super().generate(request) as batches:
                yield batches
        finally:
            self.left.set()

    async def check(self) -> None:
        self.asked.set()
        await self.decide.wait()


class ReciterEngine:
    """Says these batches, whatever it is asked, and then raises `failure` or ends; both break the contract."""

    def __init__(self, *batches: list[EngineInput], failure: Exception | None = None) -> None:
        self._batches = batches
        self._failure = failure

    @asynccontextmanager
    async def generate(self, request: GenerationRequest) -> AsyncIterator[AsyncIterator[list[EngineInput]]]:
        yield self._recite()

    async def _recite(self) -> AsyncIterator[list[EngineInput]]:
        for batch in self._batches:
            yield batch
        if self._failure is not None:
            raise self._failure

    async def status(self) -> EngineStatus:
        return EngineStatus(running=0, waiting=0)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass

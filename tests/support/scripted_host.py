"""A Serve deployment that hosts a scripted engine: the other side of `RemoteEngine` in its tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
from ray import serve

from deployments.engines import wire
from deployments.engines.base import EngineDead
from deployments.engines.scripted_engine import ScriptedEngine


class ScriptedHostImpl:
    """What `RemoteEngine` expects of a deployment, and what its tests ask besides."""

    def __init__(self) -> None:
        self._engine = ScriptedEngine(serve.get_replica_context().replica_id.unique_id)
        self._sick = False

    async def generate(self, request: bytes) -> AsyncIterator[bytes]:
        if request == b"cut":
            yield b"no frame"
            return
        async with aclosing(wire.serve(self._engine, request)) as frames:
            async for frame in frames:
                yield frame

    async def status(self) -> bytes:
        return msgspec.msgpack.encode(await self._engine.status())

    async def check(self) -> None:
        if self._sick:
            raise EngineDead("sick")
        await self._engine.check()

    async def set_sick(self, sick: bool) -> None:
        self._sick = sick

    async def aborted(self) -> int:
        return self._engine.aborted

    async def pid(self) -> int:
        return os.getpid()

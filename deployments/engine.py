"""The engine deployments: one Serve replica hosts one engine, and answers through the wire format of `engines.wire`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from ray import serve

from deployments import loopback  # noqa: F401 - its import is its effect
from deployments.config import ModelSettings, ScriptedSettings
from deployments.engines import wire
from deployments.engines.base import Card, Engine
from deployments.engines.scripted_engine import ScriptedEngine

Backend = Literal["mp", "ray"] | None
"""How vLLM runs its workers (see `engines.parallelism`); None for one worker or no vLLM."""


class EngineImpl:
    """A replica of one model. Serve's handle calls `generate`, `status` and `check`; its controller `check_health`."""

    async def __init__(self, settings: ModelSettings, backend: Backend) -> None:  # type: ignore[misc] # Serve awaits it
        replica_id = serve.get_replica_context().replica_id.unique_id
        self._engine = await _start(settings, backend, replica_id)

    async def generate(self, request: bytes) -> AsyncIterator[bytes]:
        """The frames of one generation; ends when the engine finished, refused or died."""
        # Closed here and not by the garbage collector: an asker who leaves between two frames stops the work at once.
        async with aclosing(wire.serve(self._engine, request)) as frames:
            async for frame in frames:
                yield frame

    async def status(self) -> bytes:
        """The engine's `EngineStatus` as msgpack."""
        return msgspec.msgpack.encode(await self._engine.status())

    async def check(self) -> None:
        """Raise unless the engine can generate."""
        await self._engine.check()

    async def check_health(self) -> None:
        """Raise unless the engine can generate; Serve replaces a replica that does so three times."""
        await self._engine.check()

    async def __del__(self) -> None:
        """Awaited by Serve when the replica stops, also if it never came up."""
        if (engine := getattr(self, "_engine", None)) is not None:
            await engine.close()


async def _start(settings: ModelSettings, backend: Backend, replica_id: str) -> Engine:
    if isinstance(settings, ScriptedSettings):
        return ScriptedEngine(replica_id)
    # vLLM takes seconds to import and is absent where only the gateway runs.
    from deployments.engines.vllm_engine import VllmEngine

    return await VllmEngine.start(settings, replica_id=replica_id, distributed_executor_backend=backend)


class CatalogueImpl:
    """Root of the engines application: knows which models it serves. Holds no engine itself."""

    def __init__(self, cards: list[Card], *engines: Any) -> None:
        """`engines` are the handles that make the engine deployments part of this application."""
        self._cards = msgspec.msgpack.encode(cards)

    async def models(self) -> bytes:
        """The cards of all models as msgpack."""
        return self._cards

"""The engine contract. vLLM, an engine behind a Serve handle and the scripted engine keep it, and pass one suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from responses_api.errors import ApiError
from responses_api.inputs import EngineInput
from responses_api.records import GenerationRequest


class EngineError(Exception):
    """Base of what an engine raises. The message is for logs and operators."""


class EngineDead(EngineError):
    """The engine cannot generate any more; another replica may."""


class RequestRefused(EngineError):
    """The engine did not accept the request and is unharmed. `error` says to the client why."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        self.error = error


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is doing now. `kv_usage` is the used share of the KV cache, 0 to 1."""

    running: int
    waiting: int
    kv_usage: float = 0.0


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A model as the cluster's catalogue tells it.

    `name` is what clients use, `deployment` what serves it, `created` the unix time of its configuration;
    `calls_functions` says whether the engine can read the model's function calls.
    """

    name: str
    deployment: str
    created: int
    calls_functions: bool


class Engine(Protocol):
    """A source of engine inputs for one model."""

    def generate(self, request: GenerationRequest) -> AbstractAsyncContextManager[AsyncIterator[list[EngineInput]]]:
        """Generate one response; leaving the context aborts what is still running and waits until it is.

        Entering admits the request: it raises `RequestRefused` before any work is done, else the first batch is exactly
        `[EngineStarted]`. One batch an engine step follows: `Tokens` first, then what was parsed from them. The last
        batch ends in `Finish`. No batch is empty. Times (`Begin`, `Clock`), `Cancel` and `Fail` are never an engine's
        to say.

        Raises:
            RequestRefused: the request cannot be served by this engine.
            EngineDead: on entering or between batches.
            EngineError: between batches; this generation failed, the engine is unharmed.
        """
        ...

    async def status(self) -> EngineStatus:
        """What the engine is doing now.

        Raises:
            EngineDead: the engine cannot answer.
        """
        ...

    async def check(self) -> None:
        """Return if the engine can generate.

        Raises:
            EngineDead: it cannot.
        """
        ...

    async def close(self) -> None:
        """Stop the engine and free what it holds. Idempotent."""
        ...

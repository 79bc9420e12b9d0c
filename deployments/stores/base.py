"""The store contract. Every store keeps it and passes one suite.

A store holds a record and an append-only log for each response and knows nothing else of the protocol. The tenant is
the first argument of every method: no method can reach over to another tenant's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from responses_api.inputs import EngineInput
from responses_api.records import ResponseRecord, StoredResponse


class StoreError(Exception):
    """Base of what a store raises besides `ResponseNotFound`."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or cannot write; what was acknowledged is safe."""


class LogClosed(StoreError):
    """An append came after the log's terminal input. Nothing was changed."""


class Store(Protocol):
    """Where responses are kept. A method that returned has made its effect durable."""

    async def create(self, tenant: str, record: ResponseRecord, *, owner: str, log: Sequence[EngineInput] = ()) -> None:
        """Keep a new response with the first inputs of its log.

        Raises:
            StoreError: the id is taken.
            StoreUnavailable: nothing was kept.
        """
        ...

    async def append(self, tenant: str, response_id: str, inputs: Sequence[EngineInput]) -> None:
        """Append inputs to a response's log; a terminal input as the last one closes it.

        Raises:
            ResponseNotFound: there is no such response (any more): an append never brings one back.
            LogClosed: the log is closed already.
            StoreUnavailable: nothing was appended.
        """
        ...

    async def get(self, tenant: str, response_id: str) -> StoredResponse:
        """A response's record and log so far.

        Raises:
            ResponseNotFound: there is none.
        """
        ...

    async def chain(self, tenant: str, response_id: str) -> list[StoredResponse]:
        """The responses from the first of a chain to `response_id`, following `previous_response_id`, oldest first.

        A link whose response was deleted ends the chain: it is then `ResponseNotFound` with that link's id, since the
        context the model saw cannot be rebuilt.

        Raises:
            ResponseNotFound: `response_id` or a link before it is gone.
        """
        ...

    async def delete(self, tenant: str, response_id: str) -> None:
        """Remove a response, its record and its log.

        Raises:
            ResponseNotFound: there is none.
        """
        ...

    async def close(self) -> None:
        """Release what the store holds. Idempotent."""
        ...

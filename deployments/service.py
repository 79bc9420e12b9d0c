"""The responses service: what each endpoint means, without HTTP and without Ray.

Owns the running responses of this replica. Every operation takes the tenant first and raises the errors of
`responses_api.errors`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from deployments.engines.base import Card, Engine, EngineDead, EngineError, EngineStatus, RequestRefused
from deployments.stores.base import LogClosed, Store, StoreError
from deployments.streaming import SHUTDOWN, LiveResponse
from responses_api import ids
from responses_api.admission import admit, parse_request, unknown_model
from responses_api.admitted import ModelCard
from responses_api.conversation import StoredTurn, assemble
from responses_api.emitter import replay
from responses_api.errors import InvalidRequest, ResponseNotFound, Unavailable
from responses_api.inputs import Cancel, Clock
from responses_api.records import StoredResponse
from responses_api.schema.response import Response

log = logging.getLogger(__name__)


class Models(Protocol):
    """Where the service finds engines."""

    async def models(self) -> list[Card]:
        """All models. Raises `EngineDead` where nobody can tell."""
        ...

    async def find(self, model: str) -> tuple[Card, Engine] | None:
        """A model and its engine, or None where there is no such model. Raises `EngineDead` like `models`."""
        ...


class Peers(Protocol):
    """The other replicas of the gateway."""

    async def cancel(self, tenant: str, response_id: str) -> bool:
        """Ask every replica to cancel a response; True if one of them ran it and it ended."""
        ...


class ResponsesService:
    """The operations of `/v1/responses`.

    `now` gives unix seconds and `random` that many random bytes: effects are arguments.
    """

    def __init__(
        self,
        *,
        models: Models,
        store: Store,
        peers: Peers,
        replica_id: str,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        keepalive_s: float,
    ) -> None:
        self._models = models
        self._store = store
        self._peers = peers
        self._replica_id = replica_id
        self._now = now
        self._random = random
        self._keepalive_s = keepalive_s
        self._live: dict[str, LiveResponse] = {}

    async def create(self, tenant: str, body: bytes) -> tuple[LiveResponse, bool]:
        """Begin a response: checked, assembled, accepted by an engine and, where it is to be kept, stored.

        Returns it with whether the client wants its events.

        Raises:
            InvalidRequest: nothing was stored and no engine worked.
            Unavailable, Overloaded: no engine or no store can take it now; likewise.
        """
        request = parse_request(body)
        with _translated():
            found = await self._models.find(request.model)
            if found is None:
                raise unknown_model(request.model)
            card, engine = found
            admitted = admit(request, model=ModelCard(name=card.name, calls_functions=card.calls_functions))
            history = await self._history(tenant, admitted.echo.previous_response_id)
            turn = assemble(admitted, history=history, response_id=ids.response_id_from(self._random(24)))
            live = LiveResponse(
                tenant,
                turn.record,
                store=self._store if admitted.echo.store else None,
                owner=self._replica_id,
                now=self._now,
            )
            await live.start(engine, turn.request)
        self._keep(live)
        return live, admitted.stream

    def frames(self, live: LiveResponse) -> AsyncIterator[bytes]:
        """The response's events from the first on, encoded, until `[DONE]`."""
        return live.frames(keepalive_s=self._keepalive_s)

    async def retrieve(self, tenant: str, response_id: str) -> Response:
        """The response object as of now.

        Raises:
            ResponseNotFound: unknown, deleted, not kept or another tenant's.
        """
        live = self._live_of(tenant, response_id)
        if live is not None and live.record.echo.store:
            return live.response
        return replay(await self._stored(tenant, response_id))

    async def input_items(self, tenant: str, response_id: str) -> list[dict[str, Any]]:
        """The items that the response's request brought, in their order.

        Raises:
            ResponseNotFound: as for `retrieve`.
        """
        return (await self._stored(tenant, response_id)).record.input_items

    async def cancel(self, tenant: str, response_id: str) -> Response:
        """Stop a response wherever it runs; one that has ended already is returned as it is.

        Raises:
            ResponseNotFound: unknown, deleted or another tenant's.
        """
        live = self._live_of(tenant, response_id)
        if live is not None:
            live.interrupt(Cancel())
            return await live.wait()
        stored = await self._stored(tenant, response_id)
        if not stored.closed and not await self._peers.cancel(tenant, response_id):
            await self._close_orphan(tenant, response_id)
        return replay(await self._stored(tenant, response_id))

    async def cancel_local(self, tenant: str, response_id: str) -> bool:
        """Stop a response if it runs here; True once it has ended."""
        live = self._live_of(tenant, response_id)
        if live is None:
            return False
        live.interrupt(Cancel())
        await live.wait()
        return True

    async def delete(self, tenant: str, response_id: str) -> None:
        """Remove a response; one that runs is stopped.

        Raises:
            ResponseNotFound: unknown, deleted already or another tenant's.
        """
        stored = await self._stored(tenant, response_id)
        if not stored.closed and not await self.cancel_local(tenant, response_id):
            await self._peers.cancel(tenant, response_id)
        with _translated():
            await self._store.delete(tenant, response_id)

    async def models(self) -> list[Card]:
        """The models that can be asked for."""
        with _translated():
            return await self._models.models()

    async def ready(self, *, timeout_s: float = 5.0) -> dict[str, EngineStatus]:
        """The models that can generate now, each with what its engines are doing."""
        try:
            async with asyncio.timeout(timeout_s):
                cards = await self._models.models()
        except (EngineDead, TimeoutError):
            return {}
        found = await asyncio.gather(*(self._status_of(card.name, timeout_s) for card in cards))
        return {card.name: status for card, status in zip(cards, found, strict=True) if status is not None}

    async def close(self) -> None:
        """End what still runs and release the store."""
        running = list(self._live.values())
        for live in running:
            live.interrupt(SHUTDOWN)
        await asyncio.gather(*(live.wait() for live in running))
        await self._store.close()

    async def _status_of(self, model: str, timeout_s: float) -> EngineStatus | None:
        """What a model's engines are doing, or None if none of them can generate."""
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._models.find(model)
                if found is None:
                    return None
                _, engine = found
                await engine.check()
                return await engine.status()
        except (EngineDead, TimeoutError):
            return None

    async def _history(self, tenant: str, previous_response_id: str | None) -> list[StoredTurn]:
        if previous_response_id is None:
            return []
        try:
            chain = await self._store.chain(tenant, previous_response_id)
        except ResponseNotFound as exc:
            raise InvalidRequest(
                f"Previous response with id '{previous_response_id}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            ) from exc
        return [StoredTurn(input_items=link.record.input_items, output=replay(link).output) for link in chain]

    async def _stored(self, tenant: str, response_id: str) -> StoredResponse:
        with _translated():
            return await self._store.get(tenant, response_id)

    async def _close_orphan(self, tenant: str, response_id: str) -> None:
        """End the log of a response that no replica runs any more."""
        with _translated():
            try:
                await self._store.append(tenant, response_id, [Clock(self._now()), Cancel()])
            except LogClosed:
                log.info("response %s ended while it was being cancelled", response_id)

    def _live_of(self, tenant: str, response_id: str) -> LiveResponse | None:
        live = self._live.get(response_id)
        return live if live is not None and live.tenant == tenant else None

    def _keep(self, live: LiveResponse) -> None:
        """Know a response for as long as it runs."""
        response_id = live.record.response_id
        self._live[response_id] = live
        live.on_end(lambda: self._live.pop(response_id, None))


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what engines and stores raise into what a client may see, in one place."""
    try:
        yield
    except RequestRefused as exc:
        raise exc.error from exc
    except EngineError as exc:
        log.warning("no engine: %s", exc)
        raise Unavailable("The model is not available at the moment. Please try again.") from exc
    except StoreError as exc:
        log.error("no store: %s", exc)  # noqa: TRY400 - the cause is the store's to log
        raise Unavailable("Stored responses are not available at the moment. Please try again.") from exc

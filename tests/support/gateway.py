"""A gateway in this process: the service over an engine and a store, without Ray and without HTTP."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

from deployments.engines.base import Card, Engine, EngineDead
from deployments.service import ResponsesService
from deployments.stores.base import Store

MODEL = "scripted"
OTHER = "other"


class Catalogue:
    """`Models` over engines in this process; nobody answers while `is_dead`."""

    def __init__(self, **engines: Engine) -> None:
        self._engines = engines
        self.is_dead = False

    async def models(self) -> list[Card]:
        if self.is_dead:
            raise EngineDead("nobody answers")
        return [Card(name=name, deployment=name, created=1, calls_functions=True) for name in self._engines]

    async def find(self, model: str) -> tuple[Card, Engine] | None:
        cards = {card.name: card for card in await self.models()}
        return (cards[model], self._engines[model]) if model in cards else None


class Replicas:
    """`Peers` over the services in this process, as a broadcast reaches all of them."""

    def __init__(self) -> None:
        self.services: list[ResponsesService] = []

    async def cancel(self, tenant: str, response_id: str) -> bool:
        return any([await service.cancel_local(tenant, response_id) for service in self.services])


def gateway(
    engine: Engine, store: Store, *, peers: Replicas | None = None, keepalive_s: float = 60.0, **engines: Engine
) -> ResponsesService:
    """A service that joins `peers`. Its clock ticks a second each time it is read, and its ids are of a seed."""
    peers = peers or Replicas()
    clock = itertools.count(1000)
    service = ResponsesService(
        models=Catalogue(**{MODEL: engine}, **engines),
        store=store,
        peers=peers,
        replica_id=f"gateway-{len(peers.services)}",
        now=lambda: float(next(clock)),
        random=random.Random(len(peers.services)).randbytes,
        keepalive_s=keepalive_s,
    )
    peers.services.append(service)
    return service


def body(given: Any, **more: Any) -> bytes:
    """The body of a request for the one model."""
    return json.dumps({"model": MODEL, "input": given, **more}).encode()

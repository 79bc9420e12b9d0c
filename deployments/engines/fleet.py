"""The engines of the cluster as the gateway sees them: which models there are, and an `Engine` for each."""

from __future__ import annotations

import asyncio
import logging
import time

import msgspec
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from deployments.engines.base import Card, Engine, EngineDead
from deployments.engines.remote_engine import RemoteEngine, start_call

log = logging.getLogger(__name__)

_PAUSE_S = 1.0
"""How long a catalogue that did not answer is not asked again."""

_cards = msgspec.msgpack.Decoder(list[Card])


class Fleet:
    """The engines application, by its catalogue. The catalogue is asked again when it is old or a name is not in it."""

    def __init__(self, app: str, *, max_age_s: float = 30.0, timeout_s: float = 5.0) -> None:
        self._app = app
        self._max_age_s = max_age_s
        self._timeout_s = timeout_s
        self._models: dict[str, Card] = {}
        self._engines: dict[str, RemoteEngine] = {}
        self._asked_at = float("-inf")
        self._failed_at = float("-inf")
        self._asking = asyncio.Lock()

    async def models(self) -> list[Card]:
        """All models, in the order of the configuration.

        Raises:
            EngineDead: the engines application does not answer, and never did.
        """
        await self._refresh(self._max_age_s)
        return list(self._models.values())

    async def find(self, model: str) -> tuple[Card, Engine] | None:
        """A model's card and its engine, or None where there is no such model.

        Raises:
            EngineDead: as for `models`.
        """
        await self._refresh(self._max_age_s)
        if model not in self._models:
            await self._refresh(1.0)
        card = self._models.get(model)
        if card is None:
            return None
        if card.deployment not in self._engines:
            handle = serve.get_deployment_handle(card.deployment, app_name=self._app)
            self._engines[card.deployment] = RemoteEngine(handle)
        return card, self._engines[card.deployment]

    async def _refresh(self, max_age_s: float) -> None:
        async with self._asking:
            if time.monotonic() - self._asked_at < max_age_s:
                return
            if time.monotonic() - self._failed_at < _PAUSE_S:
                # Those who waited for the answer that did not come share that, instead of each waiting in turn.
                if not self._models:
                    raise EngineDead(f"the application {self._app!r} does not answer")
                return
            try:
                handle = serve.get_app_handle(self._app)
                cards = _cards.decode(await asyncio.wait_for(start_call(handle.models), self._timeout_s))
            except (RayError, RayServeException, TimeoutError) as exc:
                self._failed_at = time.monotonic()
                if not self._models:
                    raise EngineDead(f"the application {self._app!r} does not answer: {exc}") from exc
                log.warning("the application %r does not answer; its last catalogue stays in use: %s", self._app, exc)
            else:
                self._models = {card.name: card for card in cards}
                self._asked_at = time.monotonic()

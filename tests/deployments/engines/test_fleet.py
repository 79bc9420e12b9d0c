from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from ray import serve

from deployments.app import build_engines
from deployments.config import EnginesSettings
from deployments.engines.base import EngineDead
from deployments.engines.fleet import Fleet
from tests.deployments.engines.engine_contract import LIMIT_S, said_by, text_of
from tests.deployments.engines.test_scripted_engine import asking

pytestmark = [pytest.mark.serve, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

NAMES = ["b", "org/a"]


class HangingCatalogueImpl:
    """A catalogue that was asked and does not answer."""

    async def models(self) -> bytes:
        await asyncio.Event().wait()
        return b""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(ray_cluster: None) -> AsyncIterator[None]:
    """The applications `engines`, with two models, and `hanging`."""
    models = [{"name": name, "engine": "scripted"} for name in NAMES]
    engines = build_engines(EnginesSettings.model_validate({"models": models}))
    hanging = serve.deployment(HangingCatalogueImpl, name="Hanging", ray_actor_options={"num_cpus": 0})
    hanging = hanging.options(max_ongoing_requests=1000, graceful_shutdown_timeout_s=0)
    # Only handles are used here, and the proxy's port may be somebody else's.
    await asyncio.to_thread(serve.start, proxy_location="Disabled")
    await asyncio.to_thread(serve.run, engines, name="engines", route_prefix=None)
    await asyncio.to_thread(serve.run, hanging.bind(), name="hanging", route_prefix=None)
    yield
    await serve.shutdown_async()


async def test_the_models_come_in_the_order_of_the_configuration(serving: None) -> None:
    cards = await Fleet("engines").models()
    assert [card.name for card in cards] == NAMES
    assert [card.deployment for card in cards] == ["b", "org--a"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_model_is_found_with_an_engine_that_generates(serving: None, name: str) -> None:
    fleet = Fleet("engines")
    async with asyncio.timeout(LIMIT_S):
        found = await fleet.find(name)
        again = await fleet.find(name)
    assert found is not None
    assert found == again
    card, engine = found
    assert card.name == name
    assert text_of(await said_by(engine, asking("hello"))) == "You said: hello"


async def test_an_unknown_model_is_not_found(serving: None) -> None:
    assert await Fleet("engines").find("c") is None


async def test_an_application_that_is_not_there_is_dead(serving: None) -> None:
    fleet = Fleet("nowhere")
    for _ in range(2):
        with pytest.raises(EngineDead, match="nowhere"):
            await fleet.models()
        with pytest.raises(EngineDead, match="nowhere"):
            await fleet.find("b")


async def test_all_who_wait_for_a_catalogue_that_does_not_answer_are_told_together(serving: None) -> None:
    fleet = Fleet("hanging", timeout_s=2)
    async with asyncio.timeout(LIMIT_S):
        told = await asyncio.gather(*(fleet.models() for _ in range(200)), return_exceptions=True)
    assert {type(error) for error in told} == {EngineDead}


# Last: it takes the application away.
async def test_the_last_catalogue_stays_in_use_when_the_application_is_gone(serving: None) -> None:
    fleet = Fleet("engines", max_age_s=0)
    cards = await fleet.models()
    await asyncio.to_thread(serve.delete, "engines")
    assert await fleet.models() == cards
    found = await fleet.find("b")
    assert found is not None
    assert found[0] == cards[0]
    assert await fleet.find("c") is None

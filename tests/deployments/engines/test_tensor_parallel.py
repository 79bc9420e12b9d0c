"""Tensor parallelism for real: two worker processes share the layers of a tiny model. Its answers mean nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deployments.engines.base import Engine
from deployments.engines.parallelism import placement
from deployments.vllm_settings import VllmSettings
from responses_api.inputs import Finish
from tests.deployments.engines.engine_contract import ClosableEngineContract, EngineCase, check_batches, said_by
from tests.support.vllm_fixture import REAL_ENGINE, answer, asking, running_engine, tiny_llama, token_ids

pytestmark = REAL_ENGINE

REQUEST = asking("Say something.", max_output_tokens=20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def halves(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """The tiny model on two workers."""
    folder: Path = tiny_llama(tmp_path_factory.mktemp("tiny"))
    settings = VllmSettings(name="tiny", model=str(folder), tensor_parallel_size=2)
    backend = placement(tensor_parallel_size=2, device="cpu").distributed_executor_backend
    async with running_engine(settings, distributed_executor_backend=backend) as engine:
        yield engine


async def test_two_workers_generate_one_answer(halves: Engine) -> None:
    first, second = [await answer(halves, REQUEST) for _ in range(2)]
    assert 1 <= len(token_ids(first)) <= 20
    assert token_ids(first) == token_ids(second)
    assert isinstance(first[-1], Finish)


async def test_two_workers_run_several_streams(halves: Engine) -> None:
    for batches in await asyncio.gather(*(said_by(halves, REQUEST) for _ in range(4))):
        check_batches(batches)


class TestClosing(ClosableEngineContract):
    """Last in this module: it closes the module's engine."""

    @pytest.fixture
    def own_case(self, halves: Engine) -> EngineCase:
        return EngineCase(engine=halves, short=REQUEST, long=REQUEST, refused=REQUEST)

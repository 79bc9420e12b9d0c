"""vLLM for tests: the embedded model's engine, started once for a module, and a tiny model that takes seconds to load.

A module that uses `vllm_engine` carries `REAL_ENGINE` as its `pytestmark`: the engine lives on the module's event loop.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deployments.engines.base import Engine
from deployments.engines.embedded_model import resolve_model
from deployments.vllm_settings import VllmSettings
from responses_api.inputs import EngineInput, Tokens
from responses_api.records import GenerationRequest

REAL_ENGINE = [
    pytest.mark.real_engine,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),  # the first test of a module waits for the engine to start
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
    # What vLLM and torch warn of when they are imported is theirs to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
"""What vLLM's processes see: no network, and 1 GiB of KV cache."""

EMBEDDED_SETTINGS = VllmSettings(
    name="smollm2-135m-instruct", model="smollm2-135m-instruct", tool_parser="hermes", max_model_len=2048
)


@asynccontextmanager
async def running_engine(settings: VllmSettings, **options: Any) -> AsyncIterator[Engine]:
    """A `VllmEngine` that is closed at the end; `options` go to its `start`."""
    os.environ.update(ENVIRONMENT)  # before vLLM's import, which reads some of it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from deployments.engines.vllm_engine import VllmEngine

    engine = await VllmEngine.start(settings, replica_id="replica-1", **options)
    try:
        yield engine
    finally:
        await engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vllm_engine() -> AsyncIterator[Engine]:
    """The embedded model's engine."""
    async with running_engine(EMBEDDED_SETTINGS) as engine:
        yield engine


def asking(content: str, **more: Any) -> GenerationRequest:
    """A greedy request of one user message; `more` are fields of `GenerationRequest`."""
    fields: dict[str, Any] = {"request_id": "a-request", "temperature": 0.0, "max_output_tokens": 64} | more
    return GenerationRequest(messages=[{"role": "user", "content": content}], **fields)


async def answer(engine: Engine, request: GenerationRequest) -> list[EngineInput]:
    """All that the engine says, batches put together."""
    async with engine.generate(request) as batches:
        return [got async for batch in batches for got in batch]


def token_ids(said: list[EngineInput]) -> list[int]:
    """The ids of all tokens; how many came in one batch depends on how fast they were read."""
    return [token for got in said if isinstance(got, Tokens) for token in got.ids]


def tiny_llama(folder: Path) -> Path:
    """A Llama of two layers and four heads with random weights, and the embedded model's tokenizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(resolve_model("smollm2-135m-instruct"))
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=512,
            bos_token_id=1,
            eos_token_id=2,
            tie_word_embeddings=True,
        )
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder

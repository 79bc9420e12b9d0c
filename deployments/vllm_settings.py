"""What an operator says about one vLLM engine. Pure: `vllm_engine.engine_args` checks what only vLLM knows."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

OWN_ARGUMENTS = {
    "model": "model",
    "served_model_name": "name",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "max_model_len": "max_model_len",
    "reasoning_parser": "reasoning_parser",
}
"""The vLLM engine arguments that have a setting of their own, by that setting's name: `vllm` may not repeat them."""


class VllmSettings(BaseModel):
    """One model on one vLLM engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    """The name under which clients ask for the model."""
    model: str = Field(min_length=1)
    """What vLLM loads: a folder, or a name on a hub. Embedded models are resolved to their folder before."""
    tensor_parallel_size: PositiveInt = 1
    """GPUs (or CPU worker processes) that share each layer."""
    pipeline_parallel_size: PositiveInt = 1
    """Stages that the layers are split into."""
    tool_parser: str | None = None
    """vLLM's name for how the model writes tool calls. Without it requests with tools are refused."""
    reasoning_parser: str | None = None
    """vLLM's name for how the model writes its reasoning. Without it reasoning is part of the text."""
    chat_template: str | None = None
    """A Jinja template, or the path of one, instead of the model's own."""
    max_model_len: PositiveInt | None = None
    """Longest context in tokens, prompt and answer together. None: what the model allows."""
    vllm: dict[str, Any] = Field(default_factory=dict)
    """Any further engine argument of vLLM by its name in vLLM's own command line, with underscores."""

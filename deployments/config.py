"""The settings of the two applications, as `serve_config.yaml` gives them in `args`.

Every model forbids unknown keys, so a misspelt setting fails at start by its name. Serve's own keys (replica counts,
autoscaling, ports) stay Serve's: they are set beside `args`, and `check_config` holds the whole file to Serve's schema.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deployments.vllm_settings import VllmSettings


class _Settings(BaseModel):
    """Base of all settings: unknown keys are errors, and nothing changes after start."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedSettings(_Settings):
    """A model answered by the scripted engine: deterministic, without weights; for tests and load figures."""

    engine: Literal["scripted"]
    name: str = Field(min_length=1, max_length=256)


class VllmModelSettings(VllmSettings):
    """A model served by vLLM, with the processor it runs on."""

    engine: Literal["vllm"] = "vllm"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto`: the processor of the installed vLLM distribution."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the engine's processes, vLLM's own `VLLM_…` among them."""


ModelSettings = Annotated[VllmModelSettings | ScriptedSettings, Field(discriminator="engine")]

CATALOGUE = "Catalogue"
"""Name of the engines application's root deployment."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")


def deployment_name(model: str) -> str:
    """The deployment of a model: its name, with what Serve's names may not hold replaced."""
    return model.replace("/", "--")


class EnginesSettings(_Settings):
    """`args` of the engines application: the models it serves, each a deployment of its own."""

    models: list[ModelSettings] = Field(min_length=1)

    @field_validator("models", mode="before")
    @classmethod
    def _default_engine(cls, models: object) -> object:
        """A model without `engine` is vLLM's; the discriminator itself knows no default."""
        if not isinstance(models, list):
            return models
        return [{"engine": "vllm", **model} if isinstance(model, dict) else model for model in models]

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        names = [model.name for model in self.models]
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"models: the name {name!r} may hold letters, digits and . _ : / - only")
        # Serve renames a deployment whose name is taken, and requests would go to the other one.
        deployments = [CATALOGUE, *map(deployment_name, names)]
        for name in names:
            if deployments.count(deployment_name(name)) > 1:
                raise ValueError(f"models: the name {name!r} is taken; names must differ, also with '/' as '--'")
        return self


class StoreSettings(_Settings):
    """Where responses are kept.

    `sqlite` keeps them in the file `path` through restarts; `memory` until the store's process ends.
    """

    kind: Literal["sqlite", "memory"] = "sqlite"
    path: Path = Path("data/responses.sqlite3")


class GatewaySettings(_Settings):
    """`args` of the gateway application."""

    engines_app: str = "engines"
    """Name of the engines application in the same file."""
    store: StoreSettings = StoreSettings()
    max_request_bytes: int = Field(default=8 * 2**20, ge=1024)
    """Largest accepted request body, in bytes."""
    keepalive_s: float = Field(default=15.0, gt=0)
    """A stream that was silent for this many seconds gets a keep-alive event."""

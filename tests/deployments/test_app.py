from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from ray import cloudpickle
from ray.serve import Application, Deployment
from starlette.routing import Route

from deployments.app import build_engines, build_gateway
from deployments.config import EnginesSettings, GatewaySettings, VllmModelSettings
from deployments.engine import CatalogueImpl, EngineImpl
from deployments.engines.base import Card
from deployments.ingress import http
from tests.support.served import ROOT

SCRIPTED = {"name": "echo", "engine": "scripted"}
VLLM: dict[str, Any] = {"name": "org/qwen", "model": "/models/qwen", "accelerator": "gpu"}


def deployment_of(app: Application) -> Deployment:
    return app._bound_deployment


def engines_of(*models: dict[str, Any]) -> tuple[list[Card], list[Deployment]]:
    """The catalogue's cards, and the deployments behind it."""
    catalogue = deployment_of(build_engines(EnginesSettings.model_validate({"models": list(models)})))
    assert catalogue.name == "Catalogue"
    cards, *engines = catalogue.init_args
    return cards, [deployment_of(engine) for engine in engines]


def engine_of(**settings: Any) -> Deployment:
    _, (engine,) = engines_of({**VLLM, **settings})
    return engine


def test_each_model_is_a_deployment_with_a_card_in_the_catalogue() -> None:
    cards, engines = engines_of(SCRIPTED, VLLM)
    assert [(card.name, card.deployment) for card in cards] == [("echo", "echo"), ("org/qwen", "org--qwen")]
    assert [engine.name for engine in engines] == ["echo", "org--qwen"]
    assert all(card.created > 0 for card in cards)


def test_the_card_says_whether_the_engine_reads_calls() -> None:
    (scripted, silent, calling), _ = engines_of(SCRIPTED, VLLM, {**VLLM, "name": "b", "tool_parser": "hermes"})
    assert [scripted.calls_functions, silent.calls_functions, calling.calls_functions] == [True, False, True]


def test_the_catalogue_takes_no_cpu() -> None:
    catalogue = deployment_of(build_engines(EnginesSettings.model_validate({"models": [SCRIPTED]})))
    assert catalogue.ray_actor_options["num_cpus"] == 0


def test_a_tensor_parallel_replica_holds_one_bundle_of_gpus_and_runs_vllms_workers_as_processes() -> None:
    engine = engine_of(tensor_parallel_size=2)
    assert engine.ray_actor_options["num_gpus"] == 2
    assert engine._replica_config.placement_group_bundles == [{"CPU": 1, "GPU": 2}]
    settings, backend = engine.init_args
    assert isinstance(settings, VllmModelSettings)
    assert backend == "mp"


def test_a_models_environment_goes_to_its_replicas_alone() -> None:
    _, (echo, qwen) = engines_of(SCRIPTED, {**VLLM, "env": {"VLLM_CPU_KVCACHE_SPACE": "1"}})
    assert qwen.ray_actor_options["runtime_env"]["env_vars"] == {"VLLM_CPU_KVCACHE_SPACE": "1"}
    assert not echo.ray_actor_options.get("runtime_env")


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_the_accelerator_decides_what_a_replica_asks_for(accelerator: str) -> None:
    options = engine_of(accelerator=accelerator).ray_actor_options
    assert bool(options.get("num_gpus")) is (accelerator == "gpu")


def test_streams_do_not_wait_for_each_other_and_are_drained() -> None:
    for deployment in (engine_of(), deployment_of(build_gateway(GatewaySettings()))):
        assert deployment.max_ongoing_requests > 100
        assert deployment._deployment_config.graceful_shutdown_timeout_s >= 600


def test_a_new_gateway_is_up_before_the_old_one_goes() -> None:
    gateway = deployment_of(build_gateway(GatewaySettings(keepalive_s=3)))
    assert gateway.name == "Gateway"
    assert gateway.init_args == (GatewaySettings(keepalive_s=3),)
    assert gateway._deployment_config.max_surge_percent == 100


def test_the_classes_cross_to_the_replicas_and_those_of_the_engines_by_name() -> None:
    for implementation in (EngineImpl, CatalogueImpl):
        assert pickle.loads(cloudpickle.dumps(implementation)) is implementation
    assert pickle.loads(cloudpickle.dumps(deployment_of(build_gateway(GatewaySettings())).func_or_class))


def test_every_endpoint_is_in_the_readme_and_no_other() -> None:
    _, _, rest = (ROOT / "README.md").read_text().partition("\n## Endpoints\n")
    documented = set(re.findall(r"`(GET|POST|DELETE) ([^`]+)`", rest.partition("\n## ")[0]))
    served = {
        (method, re.sub(r"\{[^}]*\}", "{id}", route.path))
        for route in http.routes
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method != "HEAD"
    }
    assert documented == served

"""Which resources a replica of an engine asks of Ray, and how vLLM runs its workers on them. Pure; imports no vLLM.

A replica is one actor. Where all of its GPUs are on one node, the actor itself holds them, so that Ray sets
CUDA_VISIBLE_DEVICES for it and vLLM's worker processes inherit that. Where they may be on several nodes, vLLM starts
one Ray actor a GPU within the replica's placement group, and the replica's own actor holds none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

CPU_SHARE = 0.5
"""What Ray's books count for one CPU worker. vLLM itself decides on which cores it runs (VLLM_CPU_OMP_THREADS_BIND)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a Serve deployment says to Ray, in Serve's words, and what its engine then says to vLLM."""

    ray_actor_options: dict[str, Any]
    placement_group_bundles: list[dict[str, float]] | None = None
    placement_group_strategy: Literal["PACK", "STRICT_PACK"] | None = None
    distributed_executor_backend: Literal["mp", "ray"] | None = None

    def deployment_options(self) -> dict[str, Any]:
        """The keyword arguments of `serve.deployment` that place a replica; new dictionaries on each call."""
        options: dict[str, Any] = {"ray_actor_options": dict(self.ray_actor_options)}
        if self.placement_group_bundles is not None:
            options["placement_group_bundles"] = [dict(bundle) for bundle in self.placement_group_bundles]
            options["placement_group_strategy"] = self.placement_group_strategy
        return options


def placement(
    *, tensor_parallel_size: int = 1, pipeline_parallel_size: int = 1, device: Literal["cpu", "gpu"] = "gpu"
) -> Placement:
    """The placement of one replica: each layer on `tensor_parallel_size` devices, in `pipeline_parallel_size` stages.

    Raises:
        ValueError: a size is below one.
    """
    if tensor_parallel_size < 1 or pipeline_parallel_size < 1:
        raise ValueError("tensor_parallel_size and pipeline_parallel_size start at 1")
    if device == "cpu":
        return _on_cpus(tensor_parallel_size * pipeline_parallel_size)
    if pipeline_parallel_size == 1:
        return _on_one_node(tensor_parallel_size)
    return _across_nodes(tensor_parallel_size * pipeline_parallel_size)


def cpu_binding(cores: Iterable[int], *, workers: int) -> str:
    """A share of `cores` for each of `workers` CPU workers, as VLLM_CPU_OMP_THREADS_BIND takes it: `0,1|2,3`.

    Of itself vLLM gives each worker a NUMA node, and fails where there are fewer of them than workers.
    """
    ordered = sorted(cores)
    share = len(ordered) // workers
    if share == 0:
        return "nobind"
    return "|".join(",".join(map(str, ordered[n * share : (n + 1) * share])) for n in range(workers))


def _on_cpus(workers: int) -> Placement:
    """No bundles: Ray binds no cores anyway. Its books count a share of a core for each worker process."""
    return Placement(
        ray_actor_options={"num_cpus": CPU_SHARE * workers},
        distributed_executor_backend="mp" if workers > 1 else None,
    )


def _on_one_node(gpus: int) -> Placement:
    """One bundle, which Ray can only place whole, and the actor takes all of it."""
    return Placement(
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
        placement_group_bundles=[{"CPU": 1, "GPU": gpus}],
        placement_group_strategy="STRICT_PACK",
        distributed_executor_backend="mp" if gpus > 1 else None,
    )


def _across_nodes(gpus: int) -> Placement:
    """A bundle for each GPU, as vLLM's Ray executor wants it: its workers take the GPUs, the actor the first's CPU."""
    first: dict[str, float] = {"CPU": 1, "GPU": 1}
    return Placement(
        ray_actor_options={"num_cpus": 1, "num_gpus": 0},
        placement_group_bundles=[first, *({"GPU": 1.0} for _ in range(gpus - 1))],
        placement_group_strategy="PACK",
        distributed_executor_backend="ray",
    )

from __future__ import annotations

import pytest

from deployments.engines.parallelism import CPU_SHARE, cpu_binding, placement


def test_one_gpu_is_the_actors_own_and_needs_no_executor() -> None:
    got = placement(device="gpu")
    assert got.ray_actor_options == {"num_cpus": 1, "num_gpus": 1}
    assert got.placement_group_bundles == [{"CPU": 1, "GPU": 1}]
    assert got.distributed_executor_backend is None


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_a_tensor_parallel_group_is_one_bundle_that_the_actor_takes_whole(gpus: int) -> None:
    got = placement(tensor_parallel_size=gpus, device="gpu")
    assert got.placement_group_bundles == [{"CPU": 1, "GPU": gpus}]
    assert got.ray_actor_options == {"num_cpus": 1, "num_gpus": gpus}
    assert got.distributed_executor_backend == "mp"


def test_stages_on_gpus_get_a_bundle_a_gpu_and_leave_the_gpus_to_vllms_workers() -> None:
    got = placement(tensor_parallel_size=2, pipeline_parallel_size=2, device="gpu")
    assert got.placement_group_bundles == [{"CPU": 1, "GPU": 1}, {"GPU": 1}, {"GPU": 1}, {"GPU": 1}]
    assert got.ray_actor_options == {"num_cpus": 1, "num_gpus": 0}
    assert got.placement_group_strategy == "PACK"
    assert got.distributed_executor_backend == "ray"


@pytest.mark.parametrize(("tensor", "pipeline", "backend"), [(1, 1, None), (2, 1, "mp"), (1, 2, "mp")])
def test_cpu_workers_are_processes_of_one_replica(tensor: int, pipeline: int, backend: str | None) -> None:
    got = placement(tensor_parallel_size=tensor, pipeline_parallel_size=pipeline, device="cpu")
    assert got.ray_actor_options == {"num_cpus": CPU_SHARE * tensor * pipeline}
    assert got.distributed_executor_backend == backend
    assert got.deployment_options() == {"ray_actor_options": got.ray_actor_options}


def test_the_first_bundle_holds_the_actor() -> None:
    """Ray puts a replica's actor into the first bundle, and would never place one that does not fit."""
    for tensor in (1, 2, 4):
        for pipeline in (1, 2):
            got = placement(tensor_parallel_size=tensor, pipeline_parallel_size=pipeline, device="gpu")
            assert got.placement_group_bundles is not None
            first = got.placement_group_bundles[0]
            assert got.ray_actor_options["num_cpus"] <= first["CPU"]
            assert got.ray_actor_options["num_gpus"] <= first["GPU"]
            assert sum(bundle["GPU"] for bundle in got.placement_group_bundles) == tensor * pipeline


def test_options_are_new_dictionaries_that_the_caller_may_change() -> None:
    got = placement(device="gpu")
    got.deployment_options()["ray_actor_options"]["num_cpus"] = 9
    assert got.deployment_options()["ray_actor_options"]["num_cpus"] == 1


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_sizes_start_at_one(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        placement(tensor_parallel_size=sizes[0], pipeline_parallel_size=sizes[1])


def test_cores_are_shared_out_among_cpu_workers() -> None:
    assert cpu_binding({3, 2, 1, 0}, workers=2) == "0,1|2,3"
    assert cpu_binding([0, 1, 2], workers=2) == "0|1"
    assert cpu_binding([4, 7], workers=1) == "4,7"


def test_workers_without_a_core_of_their_own_are_not_bound() -> None:
    assert cpu_binding([0], workers=2) == "nobind"

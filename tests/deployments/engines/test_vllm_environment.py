from __future__ import annotations

import os

import pytest

from deployments.engines.parallelism import cpu_binding
from deployments.engines.vllm_environment import environment, process_defaults

NEW = "RAY_RESPONSES_TEST_NEW"
GIVEN = "RAY_RESPONSES_TEST_GIVEN"


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GIVEN, "the operator's")
    monkeypatch.delenv(NEW, raising=False)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_vllms_own_executor_spawns_its_processes(on_cpu: bool) -> None:
    got = process_defaults(workers=1, on_cpu=on_cpu, ray_executor=False)
    assert got == {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}


def test_the_ray_executor_is_left_to_find_out_by_itself() -> None:
    assert process_defaults(workers=4, on_cpu=False, ray_executor=True) == {}


def test_several_cpu_workers_share_the_cores_of_this_process() -> None:
    got = process_defaults(workers=2, on_cpu=True, ray_executor=False)
    assert got["VLLM_CPU_OMP_THREADS_BIND"] == cpu_binding(os.sched_getaffinity(0), workers=2)


@pytest.mark.parametrize(("workers", "on_cpu"), [(1, True), (2, False)])
def test_one_cpu_worker_and_workers_on_gpus_are_not_bound(workers: int, on_cpu: bool) -> None:
    assert "VLLM_CPU_OMP_THREADS_BIND" not in process_defaults(workers=workers, on_cpu=on_cpu, ray_executor=False)


def test_a_variable_is_set_for_as_long_as_the_context_lasts() -> None:
    with environment({NEW: "1"}):
        assert os.environ[NEW] == "1"
    assert NEW not in os.environ


def test_what_the_operator_set_stays() -> None:
    with environment({GIVEN: "ours", NEW: "1"}):
        assert os.environ[GIVEN] == "the operator's"
    assert os.environ[GIVEN] == "the operator's"


def test_a_variable_that_is_set_and_empty_counts_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GIVEN, "")
    with environment({GIVEN: "ours"}):
        assert os.environ[GIVEN] == ""


def test_an_error_within_the_context_undoes_it_too() -> None:
    with pytest.raises(LookupError), environment({NEW: "1"}):
        raise LookupError
    assert NEW not in os.environ


def test_a_variable_that_was_removed_within_the_context_is_no_error() -> None:
    with environment({NEW: "1"}):
        del os.environ[NEW]
    assert NEW not in os.environ

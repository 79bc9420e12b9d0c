"""Environment variables under which the processes of vLLM start. Imports no vLLM."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from deployments.engines.parallelism import cpu_binding


def process_defaults(*, workers: int, on_cpu: bool, ray_executor: bool) -> dict[str, str]:
    """What vLLM's processes need where the operator has said nothing."""
    defaults = {}
    if not ray_executor:
        # A fork of a process with threads can hang, and passes by the orphan guard. With the Ray executor vLLM must
        # find out by itself that it has to spawn: only then does it tell the child of the cluster.
        defaults["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    if on_cpu and workers > 1:
        defaults["VLLM_CPU_OMP_THREADS_BIND"] = cpu_binding(os.sched_getaffinity(0), workers=workers)
    return defaults


@contextmanager
def environment(defaults: dict[str, str]) -> Iterator[None]:
    """Set the variables that are not set, for as long as the context lasts."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)

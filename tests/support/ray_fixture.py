"""A Ray cluster of one node for the tests that need one, started once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray with one logical CPU in this process, and its workers able to import the project and its tests.

    Each folder that imports this fixture has it as its own; the first one asked for starts Ray for all.
    """
    # Without this, ray.init() turns token authentication on for every later Ray of this user.
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray  # Ray reads the variable when it is imported

    if ray.is_initialized():
        yield
        return
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    start = partial(
        ray.init,
        num_cpus=1,
        include_dashboard=False,
        configure_logging=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    try:
        start()
    except Exception:  # on a very busy machine Ray gives its node up after 30 s, and says so by a bare Exception
        ray.shutdown()
        start()
    yield
    ray.shutdown()

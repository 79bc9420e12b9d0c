"""Fixtures of the engine tests."""

from __future__ import annotations

import pytest

from tests.support.ray_fixture import ray_cluster

pytest.register_assert_rewrite("tests.deployments.engines.engine_contract")

__all__ = ["ray_cluster"]

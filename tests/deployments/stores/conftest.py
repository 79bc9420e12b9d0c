"""Fixtures of the store tests."""

from __future__ import annotations

import pytest

from tests.support.ray_fixture import ray_cluster

pytest.register_assert_rewrite("tests.deployments.stores.store_contract")

__all__ = ["ray_cluster"]

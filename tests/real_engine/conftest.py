"""One real server for the suite: the committed configuration, started as `make serve` starts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.served import Served, serving


@pytest.fixture(scope="session")
def real_server() -> Iterator[Served]:
    config = yaml.safe_load((Path(__file__).parents[2] / "serve_config.yaml").read_text())
    with serving(config) as served:
        yield served

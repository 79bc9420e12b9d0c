"""One real server for the suite: the committed configuration, started as `make serve` starts it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.support.served import ROOT, Served, serving


@pytest.fixture(scope="session")
def real_server() -> Iterator[Served]:
    with serving(yaml.safe_load((ROOT / "serve_config.yaml").read_text()), ready_s=600) as served:
        yield served

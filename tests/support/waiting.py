"""Waiting for what another process does: ask again, up to a bound."""

from __future__ import annotations

import time
from collections.abc import Callable

_PAUSE_S = 0.05


def eventually(holds: Callable[[], object], *, within_s: float) -> None:
    """Return as soon as `holds()` is true; an AssertionError if it is not within `within_s` seconds."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"it did not come true within {within_s:g} s"
        time.sleep(_PAUSE_S)

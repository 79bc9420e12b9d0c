"""Hypothesis profiles: `normal` for every run, `long` by `pytest --hypothesis-profile=long`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Examples differ in length, and machines in speed: no deadline.
settings.register_profile("normal", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("normal"), max_examples=10_000)
settings.load_profile("normal")

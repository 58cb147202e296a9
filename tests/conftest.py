"""Settings for every test run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No deadlines: the machines that run this are shared, and tests don't time. The same
# examples each run, so that a red run is red again for whoever looks into it.
settings.register_profile(
    "mmr",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mmr")

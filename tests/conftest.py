from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from circuitbreaker import ManualClock, Registry

# In CI the same examples each time; `--hypothesis-profile=long`, or HYPOTHESIS_PROFILE=long, looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture(autouse=True)
def sandbox() -> Iterator[Registry]:
    """Every test has a default registry of its own."""
    with Registry().as_default() as registry:
        yield registry

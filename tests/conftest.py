from __future__ import annotations

from collections.abc import Iterator

import pytest

from circuitbreaker import ManualClock, Registry


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture(autouse=True)
def sandbox() -> Iterator[Registry]:
    """Every test has a default registry of its own."""
    with Registry().as_default() as registry:
        yield registry

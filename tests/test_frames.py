"""The roads through the package are short, and stay so."""

from __future__ import annotations

import pytest

pytest.importorskip("benchmarks", reason="the benchmarks are not part of the wheel")

from benchmarks.frames import frames_of, journeys
from circuitbreaker import CircuitBreaker


def test_a_closed_decorated_call_is_one_frame() -> None:
    guarded = CircuitBreaker()(lambda: None)
    assert frames_of(guarded) == (1, 1, 1)


@pytest.mark.parametrize(("journey", "entered", "depth"), [("trip", 35, 13), ("recovery", 50, 14)])
def test_a_journey_enters_few_frames(journey: str, entered: int, depth: int) -> None:
    """Of a decorated function: a reader can follow them."""
    frames = journeys("decorated")[journey]
    assert frames.entered <= entered
    assert frames.depth <= depth

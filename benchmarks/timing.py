"""Best of many, in turns: a short run of one, a short run of the other, and the fastest run of each.

Noise only ever adds time, so the minimum has the least of it, and a temporary slowdown of the machine affects both.
"""

from __future__ import annotations

import gc
from time import perf_counter

from .loops import Loop

__all__ = ["best_of_many"]


def best_of_many(floor: Loop, ours: Loop, number: int, seconds: float) -> tuple[float, float]:
    """Seconds per operation of each, in runs of `number` operations, trying for `seconds` in all."""
    best_floor = best_ours = float("inf")
    gc.collect()
    gc.disable()
    end = perf_counter() + seconds
    try:
        while perf_counter() < end:
            best_floor = min(best_floor, _time(floor, number))
            best_ours = min(best_ours, _time(ours, number))
    finally:
        gc.enable()
    return best_floor / number, best_ours / number


def _time(loop: Loop, number: int) -> float:
    start = perf_counter()
    loop(number)
    return perf_counter() - start

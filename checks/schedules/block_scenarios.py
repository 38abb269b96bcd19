"""`with` blocks that meet, and orders from outside while calls are under way."""

from __future__ import annotations

from .scenario import Scene, opened_and_due, scenario
from .subject import Pause, Subject

# Blocks


@scenario(2, 3)
def two_blocks(pause: Pause) -> Scene:
    """W4: the first of all; both may make a token, or an entry."""
    subject = Subject(pause)
    subject.block_succeeds()
    return Scene({"a block": subject.block_succeeds, "another block": subject.block_succeeds}, subject.result)


@scenario(1, 2)
def two_first_blocks(pause: Pause) -> Scene:
    """W4: no block was there before."""
    subject = Subject(pause)
    return Scene({"a block": subject.block_succeeds, "another block": subject.block_succeeds}, subject.result)


@scenario(1, 2)
def a_block_beside_one_of_a_new_period(pause: Pause) -> Scene:
    """W4, E1: a token of the old period, while the other thread resets the circuit and enters a block."""
    subject = Subject(pause)
    subject.block_succeeds()

    def reset_and_enter() -> str:
        subject.breaker.reset()
        pause()
        return subject.block_succeeds()

    return Scene({"a block": subject.block_succeeds, "reset, then a block": reset_and_enter}, subject.result)


@scenario(1, 2, loose="failure_count")
def a_block_beside_one_that_trips(pause: Pause) -> Scene:
    """W4, C2. Loose as `a_success_beside_a_trip` is."""
    subject = Subject(pause)
    subject.block_succeeds()
    return Scene({"a block": subject.block_succeeds, "a block fails and trips": subject.block_fails}, subject.result)


@scenario(0, 1)
def two_blocks_of_trials(pause: Pause) -> Scene:
    """W4, H1."""
    subject = opened_and_due(pause, half_open_max_attempts=1)
    return Scene({"a block": subject.block_succeeds, "another block": subject.block_succeeds}, subject.result)


# Control


@scenario(1, 2)
def a_call_beside_reset(pause: Pause) -> Scene:
    """E1, M1: the success is of the old period or of the new one, and counts in the totals."""
    subject = Subject(pause)
    return Scene({"a call succeeds": subject.succeeds, "reset": subject.breaker.reset}, subject.result)


@scenario(1, 2)
def a_failing_call_beside_open_and_reset(pause: Pause) -> Scene:
    """E1, E5, M1."""
    subject = Subject(pause)

    def open_and_reset() -> None:
        subject.breaker.open()
        pause()
        subject.breaker.reset()

    return Scene({"a call fails": subject.fails, "open, then reset": open_and_reset}, subject.result)


@scenario(1, 2)
def a_call_beside_force_open(pause: Pause) -> Scene:
    """M2, E6: it is admitted or refused, and counted."""
    subject = Subject(pause)
    return Scene({"a call succeeds": subject.succeeds, "force_open": subject.breaker.force_open}, subject.result)


@scenario(1, 2)
def a_failing_call_beside_force_closed(pause: Pause) -> Scene:
    """M2: under the hold nobody judges."""
    subject = Subject(pause)
    return Scene({"a call fails": subject.fails, "force_closed": subject.breaker.force_closed}, subject.result)


@scenario(1, 2)
def a_call_beside_shadow(pause: Pause) -> Scene:
    """M2, E6: the circuit is open; the call is refused, or runs beside the open period."""
    subject = Subject(pause)
    subject.fails()
    return Scene({"a call succeeds": subject.succeeds, "shadow": subject.breaker.shadow}, subject.result)


@scenario(1, 2)
def a_call_in_shadow_beside_reset(pause: Pause) -> Scene:
    """M2, E6: it runs beside the open period; reset ends both."""
    subject = Subject(pause)
    subject.breaker.shadow()
    subject.fails()
    return Scene({"a call succeeds": subject.succeeds, "reset": subject.breaker.reset}, subject.result)


@scenario(1, 2)
def a_call_in_shadow_beside_force_open(pause: Pause) -> Scene:
    """M2: it runs beside the open period, or the new hold refuses it."""
    subject = Subject(pause)
    subject.breaker.shadow()
    subject.fails()
    return Scene({"a call succeeds": subject.succeeds, "force_open": subject.breaker.force_open}, subject.result)


@scenario(1, 2)
def a_call_under_force_closed_beside_reset(pause: Pause) -> Scene:
    """M2, C1: the circuit is open, and forced closed; reset ends both."""
    subject = Subject(pause)
    subject.fails()
    subject.breaker.force_closed()
    return Scene({"a call succeeds": subject.succeeds, "reset": subject.breaker.reset}, subject.result)

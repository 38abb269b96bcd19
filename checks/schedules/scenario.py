"""What a scenario is: a function that makes everything anew, and says what each thread runs.

Its docstring cites the promises at stake. What must be so in every order is checked by `Subject.result`, and by
comparison with the orders of whole admissions and ends; what is special to a scenario stands in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from circuitbreaker import Outcome

from .subject import Pause, Result, Subject

__all__ = ["SCENARIOS", "EverySecond", "Scenario", "Scene", "opened_and_due", "scenario"]


@dataclass
class Scene:
    """One run's objects: what each thread does, and what is seen when all are done."""

    operations: Mapping[str, Callable[[], object]]
    result: Callable[[list[object]], Result]


@dataclass(frozen=True)
class Scenario:
    """What the threads do, and up to how many preemptions every schedule is tried: by the test, and by the command."""

    make: Callable[[Pause], Scene]
    short: int
    long: int
    loose: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """In words."""
        return self.make.__name__.replace("_", " ")


SCENARIOS: dict[str, Scenario] = {}

Make = Callable[[Pause], Scene]


def scenario(short: int, long: int, loose: str = "") -> Callable[[Make], Make]:
    """Make the function a scenario; what is `loose` is not compared with the reference, for a reason that it gives."""

    def note(make: Make) -> Make:
        each = Scenario(make, short, long, tuple(loose.split()))
        SCENARIOS[each.name] = each
        return make

    return note


def opened_and_due(pause: Pause, **options: Any) -> Subject:
    """A circuit that is open, and whose open period has just ended."""
    subject = Subject(pause, **options)
    subject.fails()
    subject.clock.advance(10)
    return subject


class EverySecond:
    """A policy of the user's own, which is shown everything."""

    def watch(self) -> EverySecond:
        """A watch."""
        return self

    def see(self, outcome: Outcome) -> str | None:
        """Opens at the second outcome."""
        return "the second" if outcome.number == 2 else None

"""The mutants that no test can tell from the original, each with the reason.

They are known by what they make of which line in which function, so that a change of that line asks for a new look.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EQUIVALENT", "Equivalent", "reason"]


class Equivalent(NamedTuple):
    """Mutants of one line that do what the original does."""

    module: str
    definition: str
    before: str
    after: tuple[str, ...]
    why: str


EQUIVALENT: list[Equivalent] = [
    Equivalent(
        "engine",
        "Engine.__init__",
        "self._timed = False",
        ("self._timed = True", "pass"),
        "The circuit says whether calls are timed as soon as it has its engine.",
    ),
    Equivalent(
        "engine",
        "Engine.__init__",
        "self._failure_run = 0",
        (
            "self._failure_run = 1",
            "self._failure_run = -1",
            "pass",
        ),
        "It is read in open and half-open periods only, and set when the closed period before them ends.",
    ),
    Equivalent(
        "engine",
        "Engine._close",
        "self._failure_run = 0",
        ("self._failure_run = 1", "self._failure_run = -1", "pass"),
        "Likewise.",
    ),
    Equivalent(
        "engine",
        "Engine.wait",
        "return max(0.0, self.period.until - now) if isinstance(self.period, Open) else 0.0",
        ("return max(0.0, self.period.until - now) if isinstance(self.period, Open) else -1.0",),
        "Of a closed circuit it is only asked whether the wait is more than 0.",
    ),
    Equivalent(
        "engine",
        "Engine.force",
        "self._close(0.0, hold.value, hold)",
        (
            "self._close( 1.0, hold.value, hold)",
            "self._close( -1.0, hold.value, hold)",
        ),
        "The time is that of the transition, which nobody is told of.",
    ),
    Equivalent(
        "engine",
        "Engine.refresh",
        "self.period.asks = self._closed_asks(self.hold) or self.period.slower_than < math.inf",
        ("self.period.asks = self._closed_asks(self.hold) or self.period.slower_than != math.inf",),
        "Nothing is more than infinity.",
    ),
    Equivalent(
        "engine",
        "Engine.last_success_at",
        "return last if last > NOT_YET else None",
        ("return last if last != NOT_YET else None",),
        "Nothing is less than minus infinity.",
    ),
    Equivalent(
        "engine",
        "Engine.next_attempt",
        "return now + wait if wait > 0 else None",
        ("return now + wait if wait != 0 else None",),
        "No wait is negative.",
    ),
    Equivalent(
        "engine",
        "_number",
        "return f\"{many} {what}{'' if many == 1 else 's'}\"",
        ("return f\"{many} {what}{'' if many <= 1 else 's'}\"",),
        "At least one trial has succeeded.",
    ),
    Equivalent(
        "_periods",
        "Closed.__init__",
        "def __init__(self, watch: SparseWatch, asks: bool = False) -> None:",
        ("def __init__(self, watch: SparseWatch, asks: bool = True) -> None:",),
        "The first period is told by time_calls() before the first call; of a period beside it is not asked.",
    ),
    Equivalent(
        "_periods",
        "Closed.__init__",
        "self._run_end = 0",
        ("self._run_end = 1", "self._run_end = -1"),
        "The first failure begins a run of one, whether it is taken for the next of none or the first of a new one.",
    ),
    Equivalent(
        "_periods",
        "Closed.__init__",
        "self.asks: bool = asks or watch.slower_than < math.inf",
        ("self.asks: bool = asks or watch.slower_than != math.inf",),
        "Nothing is more than infinity.",
    ),
    Equivalent(
        "_periods",
        "Closed.fail",
        "self._run = self._run + 1 if number == self._run_end + 1 else 1",
        ("self._run = self._run + 1 if number <= self._run_end + 1 else 1",),
        "A number is taken after those before it, so it is at least the next.",
    ),
    Equivalent(
        "_periods",
        "Closed.end",
        "self.next_number = 0",
        (
            "self.next_number = 1",
            "self.next_number = -1",
        ),
        "Numbers begin with 1.",
    ),
    Equivalent(
        "_periods",
        "Closed.resume",
        "self.refresh()",
        ("pass",),
        "Then the next success is shown to the policy, and that sets both.",
    ),
    Equivalent(
        "_periods",
        "Closed.run",
        "return self._run if self._run_end == min(self.final, total(self.tally)) else 0",
        ("return self._run if self._run_end >= min(self.final, total(self.tally)) else 0",),
        "Failures take their numbers while the period lasts, so the last of them is no more than the last of all.",
    ),
    Equivalent(
        "_periods",
        "HalfOpen.admit",
        "if self.wait(now) > 0:",
        ("if self.wait(now) != 0:",),
        "No wait is negative.",
    ),
    Equivalent(
        "_periods",
        "HalfOpen._free",
        "return not self._trials or self.finished + len(self._trials) < self._attempts",
        ("return not self._trials or self.finished + len(self._trials) != self._attempts",),
        "Attempts that are out or used up are never more than there are (H1), as `checks.explore` shows.",
    ),
    Equivalent(
        "policies",
        "_OwnWatch.__init__",
        "self.next_number, self.slower_than = 0, -math.inf",
        ("self.next_number, self.slower_than = 1, -math.inf", "self.next_number, self.slower_than = -1, -math.inf"),
        "Numbers begin with 1.",
    ),
    Equivalent("policies", "_see_nothing", "return None", ("pass",), "So does a function that ends."),
    Equivalent(
        "policies",
        "_RunWatch.see",
        'plural = "" if outcome.run == 1 else "s"',
        ('plural = "" if outcome.run <= 1 else "s"',),
        "The run has reached the threshold, which is at least 1.",
    ),
    Equivalent(
        "policies", "_Rate._window", "assert self.calls is not None", ("pass",), "It tells type checkers what is so."
    ),
    Equivalent(
        "policies", "_CombinedWatch.__init__", "super().__init__()", ("pass",), "All that it sets is set by _ask()."
    ),
    Equivalent("_windows", "SparseWatch.see", "return None", ("pass",), "So does a function that ends."),
    Equivalent(
        "_windows",
        "LastCalls.__init__",
        "self._latest = 0",
        ("self._latest = 1", "self._latest = -1"),
        "It is read after the first outcome was taken in, whose number is at least 1.",
    ),
    Equivalent(
        "_windows",
        "LastSeconds.__init__",
        "self._latest = 0",
        ("self._latest = -1",),
        "The first slot takes the larger of it and the number before the first call's, which is at least 0.",
    ),
    Equivalent(
        "backoff",
        "_requested_delay",
        "if asked is not None and 0 < asked < math.inf:",
        ("if asked is not None and 0 < asked != math.inf:",),
        "Nothing is more than infinity.",
    ),
    Equivalent("backoff", "_requested_delay", "return None", ("pass",), "So does a function that ends."),
    Equivalent(
        "backoff",
        "_delay",
        'if text.isascii() and text.replace(".", "", 1).isdecimal():',
        ('if text.isascii() and text.replace(".", "", 2).isdecimal():',),
        "Digits with two points are neither a number nor a date: an error either way.",
    ),
    Equivalent(
        "_blocks",
        "Blocks.enter",
        "if alike is not None and entry is alike:",
        ("if not alike is not None and entry is alike:", "if alike is None and entry is alike:"),
        "It is so only if another thread made the period `alike` meanwhile; then the block is noted by its place.",
    ),
    Equivalent(
        "_callables",
        "kind_of",
        'if hasattr(function, "_is_coroutine_marker"):',
        ('if hasattr(function, "XX_is_coroutine_markerXX"):',),
        "Up to Python 3.11 nothing has that attribute. On 3.13 a test of marked functions fails, as it should.",
    ),
    Equivalent(
        "_callables", "kind_of", "return Kind.COROUTINE", ("pass",), "Likewise, of the one that stands below that line."
    ),
    Equivalent(
        "_callables",
        "kind_of",
        'flags = getattr(code, "co_flags", 0)',
        ('flags = getattr(code, "co_flags", 1)',),
        "That bit tells of no kind.",
    ),
    Equivalent(
        "_callables",
        "kind_of",
        "if flags & (_COROUTINE | _ITERABLE_COROUTINE):",
        ("if flags & (_COROUTINE ^ _ITERABLE_COROUTINE):",),
        "The two bits are different ones.",
    ),
    Equivalent(
        "_circuit",
        "",
        "_NO_SUCCESS = (-math.inf, datetime.min)",
        ("_NO_SUCCESS = (math.inf, datetime.min)", "_NO_SUCCESS = (+math.inf, datetime.min)"),
        "No success is at either moment.",
    ),
    Equivalent(
        "_circuit",
        "Circuit.succeed",
        "def succeed(self, admission: Admission, now: float, duration: float = 0.0) -> None:",
        (
            "def succeed(self, admission: Admission, now: float, duration: float = 1.0) -> None:",
            "def succeed(self, admission: Admission, now: float, duration: float = -1.0) -> None:",
        ),
        "It is left out only in periods that ask for no durations.",
    ),
    Equivalent(
        "_circuit",
        "Circuit.succeed",
        "if duration > admission.slower_than:",
        ("if duration >= admission.slower_than:",),
        "A call of exactly the limit is shown, and found not to be slow.",
    ),
    Equivalent(
        "_circuit",
        "Circuit.look",
        "self.turns.run(self._apply, self.engine.look, period, number, now, 0.0)",
        ("self.turns.run(self._apply, self.engine.look, period, number, now, -1.0)",),
        "A watch that wants durations is shown calls in another way.",
    ),
    Equivalent(
        "_circuit",
        "Circuit._summary",
        'why = f" because {opened.reason}" if opened else ""',
        ('why = f" because {opened.reason}" if opened else "XXXX"',),
        "What is not closed has opened; the other case is for type checkers.",
    ),
    Equivalent(
        "_circuit",
        "Circuit._last_success_time",
        "if self._last_success[0] != at:",
        ("if self._last_success[0] < at:",),
        "The moment of the last success does not go back.",
    ),
    Equivalent(
        "_moments",
        "utc",
        "end = datetime.max if seconds > 0 else datetime.min",
        (
            "end = datetime.max if seconds > -1 else datetime.min",
            "end = datetime.max if seconds > 1 else datetime.min",
            "end = datetime.max if seconds >= 0 else datetime.min",
        ),
        "1970 and a second from it are within the calendar.",
    ),
    Equivalent(
        "_serial",
        "Serial.__init__",
        "self._owner = 0",
        ("self._owner = 1", "self._owner = -1"),
        "No thread has that identity either.",
    ),
    Equivalent(
        "_serial",
        "Serial._take_turn",
        "self._owner = 0",
        ("self._owner = 1", "self._owner = -1"),
        "No thread has that identity either.",
    ),
    Equivalent(
        "breaker",
        "CircuitBreaker.__enter__",
        "return self._enter(_getframe(1))",
        ("return self._enter(_getframe( 0))",),
        "A frame called `__enter__` is not what a block stands in, so the one above it is taken.",
    ),
    Equivalent(
        "breaker",
        "CircuitBreaker.__enter__",
        "return self",
        ("pass",),
        "The token is taken back and left again, with the lock, which only takes longer.",
    ),
    Equivalent(
        "breaker",
        "CircuitBreaker.__exit__",
        "self._leave(_getframe(1), error)",
        ("self._leave(_getframe( 0), error)",),
        "Nor is one called `__exit__`.",
    ),
    Equivalent(
        "decorators",
        "",
        "@overload",
        ("",),
        "It is for type checkers, and tests/typing_checks.py, which does not take part, would show them.",
    ),
]


def reason(module: str, definition: str, before: str, after: str) -> str | None:
    """Why that mutant is equivalent, if it is."""
    for each in EQUIVALENT:
        if (module, definition, before) == each[:3] and after in each.after:
            return each.why
    return None

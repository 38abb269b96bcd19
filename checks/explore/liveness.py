"""What can only be seen on the whole graph: that nothing lasts for ever.

A healthy move lets time pass, makes a call that succeeds, or ends an old call in whatever way; so the old calls may
come back in any order, or never. Along healthy moves every state that is neither closed nor forced must lead to closed:
there is no way round in circles and no end elsewhere, whatever order the moves come in.
"""

from __future__ import annotations

import math
from array import array

__all__ = ["Graph", "Unhealthy"]

_FOR_EVER = 255


class Unhealthy(Exception):
    """What is wrong with a state, by its number."""

    def __init__(self, promise: str, state: int, how: str) -> None:
        super().__init__(how)
        self.promise = promise
        self.state = state
        self.how = how


class Graph:
    """The healthy moves between states, which are numbered in the order in which they were found."""

    def __init__(self) -> None:
        self._lasting = bytearray()  # whether the state is neither closed nor forced: 1, or 2 if new calls move it on
        self._start = array("I", [0])  # where the edges of each state start
        self._edges = array("I")
        self._wait = bytearray()  # what a call made here is told to wait
        self._tick = array("I")  # the state when one unit of time has passed

    def begin(self, lasting: bool) -> int:
        """Begin the next state, and return its number."""
        here = len(self._lasting)
        self._lasting.append(lasting)
        self._start.append(len(self._edges))
        self._wait.append(0)
        self._tick.append(here)
        return here

    def add(self, what: str, there: int, refused: float | None) -> None:
        """A healthy move leads from the state that was begun last to another."""
        here = len(self._lasting) - 1
        if what == "tick":
            self._tick[here] = there
        elif what == "call" and refused is not None:
            self._wait[here] = _FOR_EVER if refused == math.inf else int(refused)
        if self._lasting[here] and there != here:
            if what in ("tick", "call"):
                self._lasting[here] = 2
            self._edges.append(there)
            self._start[-1] = len(self._edges)

    def judge_waits(self) -> None:
        """Each wait that a refusal names comes true: a unit later it is one less, and when it is over a call may go."""
        for state, wait in enumerate(self._wait):
            then = self._wait[self._tick[state]]
            if 0 < wait < _FOR_EVER and then != wait - 1:
                later = f"is to wait for {then}" if then else "is admitted"
                raise Unhealthy("wait", state, f"a call is told to wait for {wait}; one unit later another {later}")

    def longest_recovery(self) -> int:
        """The longest way from any state back to closed."""
        self._height = array("H", bytes(2 * len(self._lasting)))
        colour = bytearray(len(self._lasting))
        if (stuck := self._lasting.find(1)) >= 0:
            raise Unhealthy("liveness", stuck, "if no call that is out returns, none is admitted any more")
        for state, lasting in enumerate(self._lasting):
            if lasting and not colour[state]:
                self._walk(state, colour)
        return max(self._height)

    def _walk(self, first: int, colour: bytearray) -> None:
        """Measure `first` and all that follow it, depth first: 1 for those on the way, 2 for those measured."""
        stack = [first]
        while stack:
            state = stack[-1]
            following = self._edges[self._start[state] : self._start[state + 1]]
            if colour[state]:
                stack.pop()
                if colour[state] == 1:
                    self._height[state] = 1 + max(self._height[each] for each in following)
                colour[state] = 2
                continue
            colour[state] = 1
            if any(colour[each] == 1 for each in following):
                raise Unhealthy("liveness", state, "from here on calls succeed and the circuit goes round in circles")
            stack += [each for each in following if self._lasting[each] and not colour[each]]

"""What can happen in a state, and one move of both: the shipped breaker, and the account beside it."""

from __future__ import annotations

from typing import NamedTuple

from .account import PRESENT, SETTLED, TRIAL, Account
from .checks import Broken, check
from .subject import Subject
from .worlds import World

__all__ = ["HEALTHY", "Bench", "Move"]


class Move(NamedTuple):
    """Something that happens, to the call at a place in the row of calls if it happens to one."""

    what: str
    which: int = 0


BY_PERMIT = ("success", "failure", "release")
BY_FUNCTION = {"leave by success": "success", "leave by failure": "failure", "leave by release": "release"}
NEUTRAL = ("release", "drop", "leave by release")
ENDS = (*BY_PERMIT, "drop", *BY_FUNCTION)
"""How a call may end: by its permit, by the permit's being dropped, or as a decorated function's that joined."""

HEALTHY = frozenset({"tick", "call", *ENDS})
"""What happens while the dependency is healthy: new calls succeed, and old ones end, or do not, in whatever way."""


class Bench:
    """A world's breaker and its account, moved together."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.subject = Subject(world)
        self.account = Account(world)
        self.shuffled = False  # whether the calls stand in another order than in the state
        self.refused: float | None = None  # the wait that the last move's call was told, if it was told one

    # States

    def put(self, key: bytes) -> None:
        """Be in the state `key`: the row of the engine, that of the account, and the calls."""
        middle = 2 + key[0]
        end = middle + key[1]
        self.subject.put(key[2:middle], [call & 15 for call in key[end:]])
        self.account.put(key[middle:end], [call >> 4 for call in key[end:]])

    def begin(self) -> None:
        """Make the next move from where the last one led, without being put there."""
        self.subject.begin()
        self.account.begin()

    def key(self) -> bytes:
        """The state, the same for calls that are alike, whatever their order."""
        row, account = self.subject.row(), self.account.row()
        pairs = self.pairs()
        calls = sorted(pairs)
        self.shuffled = calls != pairs
        return bytes((len(row), len(account), *row, *account, *calls))

    def pairs(self) -> list[int]:
        """What each call is to the engine and to the account, as one number."""
        both = zip(self.subject.codes(), self.account.calls, strict=True)
        return [code + 16 * call for code, call in both]

    # Moves

    def moves(self) -> list[Move]:
        """All that can happen in the present state. Of calls that are alike, it happens to one."""
        account, full = self.account, self.account.full
        found = [Move("admit")] if account.out < self.world.bounds.out else []
        found += [Move("tick"), Move("read")] if full else [Move("call"), Move("tick"), Move("read")]
        found += [Move(order) for order in self.world.orders]
        pairs = self.pairs()
        for which, call in enumerate(account.calls):
            if pairs.index(pairs[which]) == which:
                found += [Move(what, which) for what in self._ends(which, full and call == PRESENT)]
        return found

    def _ends(self, which: int, neutral: bool) -> list[str]:
        if self.account.calls[which] == SETTLED:
            return ["again"]
        within = ["within"] if self.world.nested and self.account.calls[which] >= TRIAL else []
        joined = self.subject.joined(which)
        ends = NEUTRAL if neutral else ENDS
        return within + [end for end in ends if joined or end not in BY_FUNCTION]

    def make(self, move: Move, before: bytes) -> bytes:
        """Make one move and return the state after it; `Broken` if that breaks a promise."""
        self.refused = None
        self._make(*move)
        check(move.what, self.subject, self.account, self.refused)
        after = self.key()
        if after != before and move.what in ("read", "again"):
            raise Broken(self.account.because, "the inner state changed")
        return after

    def _make(self, what: str, which: int) -> None:
        subject, account = self.subject, self.account
        if what == "admit":
            self.refused = subject.admit()
            account.admit()
        elif what == "call":
            self.refused = subject.call()
            account.call()
        elif what == "within":
            self.refused = subject.call_within(which)
            account.call_within(which)
        elif what == "tick":
            subject.tick()
            account.tick()
        elif what == "read":
            account.read()
            if subject.read() != (subject.engine.period.state, subject.engine.hold):
                raise Broken("O3", "the metrics tell of another state")
        elif what in self.world.orders:
            subject.order(what)
            account.order(what)
        else:
            self._end(what, which)

    def _end(self, what: str, which: int) -> None:
        subject, account = self.subject, self.account
        if what == "again":
            subject.settle_again(which)
            account.settle_again(which)
        elif what == "drop":
            subject.drop(which)
            account.settle(which, "release")
        elif what in BY_FUNCTION:
            subject.leave(which, BY_FUNCTION[what])
            account.settle(which, BY_FUNCTION[what])
        else:
            subject.settle(which, what)
            account.settle(which, what)
            self._keep_settled()

    def _keep_settled(self) -> None:
        """Keep the permit that was settled last, so that it may be settled again."""
        calls = self.account.calls
        if SETTLED in calls:
            old = calls.index(SETTLED)
            del calls[old], self.subject.calls[old]
        calls.append(SETTLED)

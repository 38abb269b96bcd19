"""Where a move of the shipped breaker differs from what the account says, and which promise that breaks."""

from __future__ import annotations

from .account import SHADOW, Account
from .subject import HOLDS, STATES, Subject

__all__ = ["PROMISES", "Broken", "check"]

PROMISES = {
    "C1": "A closed circuit admits every call.",
    "C2": "The policy sees each outcome of its closed period once; the circuit opens when it says so, and only then.",
    "O1": "No call runs before the open period has passed, and a refusal names the time that is left.",
    "O3": "Time that passes and reading change nothing: a circuit stays open until a call is admitted as a trial.",
    "O4": "Each open period is as long as reset_timeout says for its round.",
    "H1": "A half-open period admits at most half_open_max_attempts trials; all other calls are rejected.",
    "H2": "success_threshold successful trials close the circuit. One failed trial opens it again.",
    "H3": "An attempt that was given back, or not yet taken, goes to the next call.",
    "H4": "A trial that stays out too long gives its attempt to the next call; its own verdict still counts.",
    "H5": "A call inside a trial rides on that trial: it takes no attempt, and only the outermost settles it.",
    "E1": "A result of an earlier period counts in the totals and changes nothing else.",
    "E2": "A permit is settled once. Settling it again does nothing.",
    "E5": "Each transition is told of once, in order, and nothing is told that did not happen.",
    "E6": "Totals are exact.",
    "M1": "open() opens as a trip would; reset() closes and forgets counts, holds and growth.",
    "M2": "A hold lasts until reset() or another hold, beside the state, and outcomes do not move a forced circuit.",
    "liveness": "From every state, a healthy dependency leads back to closed.",
    "wait": "After the wait that a refusal names, and no earlier, a call is admitted.",
}
"""What is checked, in the words of its counterexamples."""


class Broken(Exception):
    """A promise is broken."""

    def __init__(self, promise: str, found: str) -> None:
        super().__init__(f"{promise}: {found}")
        self.promise = promise
        self.found = found


def check(what: str, subject: Subject, account: Account, refused: float | None) -> None:
    """Raise `Broken` unless the move ended as the account says."""
    expected = None if account.hold == SHADOW else account.wait
    if (refused is None) != (expected is None):
        _wrongly_admitted(account, refused, expected)
    state, hold = subject.engine.period.state, subject.engine.hold
    if state is not STATES[account.state]:
        raise Broken(account.because, f"the circuit is {state}, and must be {STATES[account.state]}")
    if hold is not HOLDS[account.hold]:
        raise Broken("M1" if what == "reset" else "M2", f"the hold is {hold}, and must be {HOLDS[account.hold]}")
    if refused != expected:
        raise Broken(_named(account), f"the refusal names a wait of {refused:g}, and must name {expected:g}")
    if subject.totals != account.totals:
        _miscounted(what, subject, account)
    if subject.told != account.told:
        _mistold(what, subject, account)
    if not subject.idle:
        raise Broken("E5", "something is left to be done or told")


def _wrongly_admitted(account: Account, refused: float | None, expected: float | None) -> None:
    if refused is None:
        raise Broken(account.because, f"a call is admitted that must be refused, wait {expected:g}")
    raise Broken(account.because, f"a call is refused, wait {refused:g}, that must be admitted")


def _named(account: Account) -> str:
    return "H4" if account.because == "H1" else account.because


def _miscounted(what: str, subject: Subject, account: Account) -> None:
    names = ("successes", "failures", "ignored", "rejections", "shadow rejections")
    wrong = [
        f"{found} {name} counted, and must be {expected}"
        for name, found, expected in zip(names, subject.totals, account.totals, strict=True)
        if found != expected
    ]
    raise Broken({"again": "E2", "drop": "H3"}.get(what, "E6"), "; ".join(wrong))


def _mistold(what: str, subject: Subject, account: Account) -> None:
    lengths = [(old, new) for old, new, *_ in subject.told] == [(old, new) for old, new, *_ in account.told]
    opened_wrongly = lengths and any(len(each) == 3 for each in account.told)
    promise = ("M1" if account.opening == 1 else "O4") if opened_wrongly else "E5"
    raise Broken(promise, f"told of {_events(subject.told)}, and must tell of {_events(account.told)}")


def _events(told: list[tuple[object, ...]]) -> str:
    return ", ".join(_event(*each) for each in told) or "nothing"


def _event(*event: object) -> str:
    if event[0] == "rejected":
        return f"a rejection in shadow ({event[2]})" if event[3] else f"a rejection ({event[2]})"
    return f"{event[0]} -> {event[1]} for {event[2]} units"

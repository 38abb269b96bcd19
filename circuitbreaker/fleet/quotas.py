"""What one process's options mean for the records: its quotas, and by which durations calls are classed."""

from __future__ import annotations

from collections.abc import Iterator

from .._values import Value
from ..options import Settings
from ..policies import AllOf, AnyOf, FailureRate, SlowCallRate, TripPolicy
from .messages import Quotas

__all__ = ["quotas", "slow_thresholds"]


def quotas(settings: Settings, quorum: int, expire: int) -> Quotas:
    """The quotas of a breaker with these settings."""
    rates = [each for each in _parts(settings.trip) if isinstance(each, FailureRate | SlowCallRate)]
    return Quotas(
        attempts=settings.half_open_max_attempts,
        successes=settings.success_threshold,
        lease=settings.half_open_timeout,
        quorum=quorum,
        span=max((each.seconds or 0.0 for each in rates), default=0.0),
        calls=max((each.calls or 0 for each in rates), default=0),
        expire=expire,
        digest=_digest(settings),
    )


def slow_thresholds(policy: TripPolicy) -> tuple[float, ...]:
    """The durations in seconds beyond which `policy` takes a call for slow, the shortest first."""
    return tuple(sorted({each.slower_than for each in _parts(policy) if isinstance(each, SlowCallRate)}))


def _parts(policy: TripPolicy) -> Iterator[TripPolicy]:
    """The policies that `policy` is combined from."""
    if isinstance(policy, AnyOf | AllOf):
        for each in policy.policies:
            yield from _parts(each)
    else:
        yield policy


def _digest(settings: Settings) -> str:
    """A text that is the same for the same options. The user's own code appears in it by its name."""
    numbers = (settings.success_threshold, settings.half_open_max_attempts, settings.half_open_timeout)
    trip = " ".join(_name(each) for each in _parts(settings.trip))
    return f"{trip}; {_name(settings.reset_timeout)}; {numbers}"


def _name(thing: object) -> str:
    if isinstance(thing, Value):
        return repr(thing)
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))

"""Circuit breakers: stop calling what fails, fail fast meanwhile, and find out carefully whether it is back.

from circuitbreaker import circuit

@circuit(failure_threshold=5, reset_timeout=30)
def charge(card): ...
"""

from sys import modules as _modules

from ._circuit.circuit import Circuit as _Circuit
from ._circuit.listeners import Listener
from .backoff import ExponentialBackoff, Opening, RetryAfter, Strategy
from .breaker import CircuitBreaker
from .clock import Clock, ManualClock, SystemClock
from .decorators import circuit
from .errors import CircuitBreakerError, CircuitOpenError
from .events import (
    CallFailed,
    CallIgnored,
    CallRejected,
    CallSucceeded,
    CircuitState,
    Event,
    EventName,
    Hold,
    LastFailure,
    Metrics,
    StateChange,
    StoreChange,
)
from .keyed import KeyedBreakers
from .options import Options
from .outcomes import ErrorFilter
from .permit import Permit
from .policies import AllOf, AnyOf, ConsecutiveFailures, FailureRate, Outcome, SlowCallRate, TripPolicy, Watch
from .registry import Registry, get_breaker, registry

__version__ = "0.1.0"

__all__ = [
    "AllOf",
    "AnyOf",
    "CallFailed",
    "CallIgnored",
    "CallRejected",
    "CallSucceeded",
    "CircuitBreaker",
    "CircuitBreakerError",
    "CircuitOpenError",
    "CircuitState",
    "Clock",
    "ConsecutiveFailures",
    "ErrorFilter",
    "Event",
    "EventName",
    "ExponentialBackoff",
    "FailureRate",
    "Hold",
    "KeyedBreakers",
    "LastFailure",
    "Listener",
    "ManualClock",
    "Metrics",
    "Opening",
    "Options",
    "Outcome",
    "Permit",
    "Registry",
    "RetryAfter",
    "SlowCallRate",
    "StateChange",
    "StoreChange",
    "Strategy",
    "SystemClock",
    "TripPolicy",
    "Watch",
    "circuit",
    "get_breaker",
    "registry",
]

for _public in [globals()[_name] for _name in __all__]:  # They say where they are found, not where they are made.
    if isinstance(_public, type) and _public.__module__.startswith("circuitbreaker."):
        _public.__module__ = "circuitbreaker"

# A circle of imports keeps these modules from importing what their annotations name; typing.get_type_hints looks there.
_modules["circuitbreaker.registry"].CircuitBreaker = CircuitBreaker  # type: ignore[attr-defined]
_modules["circuitbreaker.permit"].Circuit = _Circuit  # type: ignore[attr-defined]

"""How breakers and guarded functions are pickled: by the breaker's name.

The default registry of the process that unpickles finds the breaker. If it has none of that name, as in a worker of
joblib, it makes one with the same options, if these can be pickled, and holds it. A function that is pickled by value,
as cloudpickle does for those of `__main__`, takes along the inside of its breaker: that is found in the same way.
"""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any

from .._circuit.circuit import Circuit
from .._engine.engine import Engine
from .._fork import all_renewable
from ..registry import default_registry

if TYPE_CHECKING:
    from ..breaker import CircuitBreaker

__all__ = ["reduce_breaker"]


def reduce_breaker(breaker: CircuitBreaker) -> tuple[Any, ...]:
    """What pickle keeps of `breaker`. Raises `TypeError` if the default registry does not know it."""
    name = breaker.name
    if _known(name) is not breaker:
        raise TypeError(
            f"cannot pickle a breaker: the default registry does not know {breaker!r}, so another process could not "
            "find it. Give it a name there, or leave it out of what is pickled"
        )
    return _find, (name, _packed(breaker))


def _packed(breaker: CircuitBreaker) -> bytes | None:
    """The breaker's options; `None` if they cannot be pickled: a lambda, a store."""
    import pickle

    try:
        return pickle.dumps(breaker._settings)
    except Exception:  # whatever the user's own values raise
        return None


def _known(name: str) -> CircuitBreaker | None:
    registry = default_registry()
    return registry.get(name) if name in registry else None


def _find(name: str, packed: bytes | None) -> CircuitBreaker:
    known = _known(name)
    if known is not None:
        return known
    import pickle

    cause: Exception | None = None
    if packed is not None:
        try:
            return default_registry().get_or_create(name, **pickle.loads(packed).options())
        except Exception as error:  # such as a function of the other process's __main__
            cause = error
    raise pickle.UnpicklingError(
        f"no breaker is called {name!r} in this process, and its options did not come along: import the module that "
        "makes it before unpickling what refers to it"
    ) from cause


def _reduce_circuit(circuit: Circuit) -> tuple[Any, ...]:
    breaker = _known(circuit.name)
    if breaker is not None and breaker._circuit is circuit:
        return _circuit_of, (breaker,)
    raise TypeError(
        f"cannot pickle what is guarded by the breaker {circuit.name!r}: the default registry does not know it, so "
        "another process could not find it. Give it a name there, or put the function into a module that both import"
    )


def _reduce_engine(engine: Engine) -> tuple[Any, ...]:
    owner = next(each for each in all_renewable() if isinstance(each, Circuit) and each.engine is engine)
    return _engine_of, (owner,)


def _circuit_of(breaker: CircuitBreaker) -> Circuit:
    return breaker._circuit


def _engine_of(circuit: Circuit) -> Engine:
    return circuit.engine


copyreg.pickle(Circuit, _reduce_circuit)
copyreg.pickle(Engine, _reduce_engine)

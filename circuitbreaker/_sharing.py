"""The two Protocols between a circuit and a store: the option `store` takes a `Sharing`, a circuit has a `Membership`.

The core knows stores by these alone. Without a store, nothing of `fleet` and `stores` is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ._circuit.circuit import Circuit
    from ._circuit.rules import LocalRules
    from ._engine.engine import Engine, Rules
    from .options import Settings

__all__ = ["Membership", "Sharing"]


class Sharing(Protocol):
    """Shares circuits with other processes. `circuitbreaker.stores` has the implementations."""

    def attach(self, circuit: Circuit, rules: LocalRules, settings: Settings) -> Membership:
        """Begin to share `circuit`, which would have these `rules` alone. It has no engine yet."""
        ...


class Membership(Protocol):
    """One circuit's share in a fleet, as the circuit uses it."""

    @property
    def unused(self) -> bool:
        """Whether no call and no override came yet. `begin` is called while it is true."""
        ...

    @property
    def status(self) -> str:
        """`"connecting"`, `"connected"`, or `"unreachable: "` and why: what metrics show of the store."""
        ...

    def rules(self) -> Rules:
        """The rules for the circuit's engine."""
        ...

    def begin(self, engine: Engine) -> None:
        """The first call comes. Never blocks."""
        ...

    def share_override(self, engine: Engine) -> None:
        """A person changed the circuit's state or hold. Runs in the circuit's turn; never blocks."""
        ...

"""Circuits in classes: methods of every kind, and who shares a circuit with whom.

    python examples/classes.py

`@circuit` makes one breaker for what it decorates. A method is one function, so all instances share its breaker. To
share one among several methods, decorate them with the breaker; to have one for each account, or host, give a `key`.
"""

import asyncio
from collections.abc import Callable

from circuitbreaker import CircuitBreaker, CircuitOpenError, circuit

database = CircuitBreaker("database", failure_threshold=2)


class Orders:
    """Several methods, one dependency, one circuit: they fail together and recover together."""

    @database
    def find(self, number: int) -> str:
        """Look an order up."""
        raise TimeoutError("the database is slow")

    @database
    async def save(self, number: int) -> None:
        """Store an order."""


class Payments:
    """A circuit for each method, because each talks to something else."""

    def __init__(self, account: str) -> None:
        self.account = account

    @circuit(failure_threshold=2)
    def charge(self, amount: int) -> str:
        """Take money."""
        raise ConnectionError("the bank is closed")

    @circuit
    async def refund(self, amount: int) -> str:
        """Give it back."""
        return f"{amount} back to {self.account}"

    @circuit
    @classmethod
    def currencies(cls) -> str:
        """Name the currencies."""
        return f"{cls.__name__} in EUR, USD"

    @staticmethod  # `@circuit` works above and below `staticmethod` and `classmethod`.
    @circuit
    def valid(card: str) -> bool:
        """Check a card."""
        return card.isdecimal()

    @circuit(key=lambda self: self.account, failure_threshold=2)
    def balance(self) -> int:
        """Ask for the balance, with a circuit for each account."""
        if self.account == "empty":
            raise LookupError("no such account")
        return 100


def trip(method: Callable[..., object], *args: int) -> None:
    for _ in range(2):
        try:
            method(*args)
        except Exception as error:
            print(f"  {type(error).__name__}: {error}")


async def main() -> None:
    print("Orders.find fails, and Orders.save is refused with it:")
    trip(Orders().find, 7)
    try:
        await Orders().save(7)
    except CircuitOpenError as error:
        print(f"  {error.name} is {error.state}: {error.reason}")

    print("Payments.charge fails, for all instances; the other methods go on:")
    ada, bob = Payments("ada"), Payments("bob")
    trip(ada.charge, 30)
    print(f"  {ada.charge.breaker is bob.charge.breaker = }, {bob.charge.breaker.state = !s}")
    print(f"  {await ada.refund(30)}; {Payments.currencies()}; {Payments.valid('4711') = }")

    print("Payments.balance fails for one account:")
    trip(Payments("empty").balance)
    print(f"  {ada.balance() = }, {[f'{key}: {each.state}' for key, each in Payments.balance.breakers.items()]}")


if __name__ == "__main__":
    asyncio.run(main())

"""Circuits in classes: all kinds of methods, and which of them share a circuit.

    python examples/classes.py

`@circuit` makes one breaker per decorated function, so all instances share the breaker of a method. To share a breaker
among several methods, decorate them with it. To have one breaker per account or host, pass a `key`.
"""

import asyncio
from collections.abc import Callable

from circuitbreaker import CircuitBreaker, CircuitOpenError, circuit

database = CircuitBreaker("database", failure_threshold=2)


class Orders:
    """Two methods use one dependency, so they share one circuit: it opens and closes for both."""

    @database
    def find(self, number: int) -> str:
        """Look up an order."""
        raise TimeoutError("the database is slow")

    @database
    async def save(self, number: int) -> None:
        """Store an order."""


class Payments:
    """Each method has its own circuit, because each uses a different dependency."""

    def __init__(self, account: str) -> None:
        self.account = account

    @circuit(failure_threshold=2)
    def charge(self, amount: int) -> str:
        """Charge an amount."""
        raise ConnectionError("the bank is closed")

    @circuit
    async def refund(self, amount: int) -> str:
        """Refund an amount."""
        return f"{amount} back to {self.account}"

    @circuit
    @classmethod
    def currencies(cls) -> str:
        """List the currencies."""
        return f"{cls.__name__} in EUR, USD"

    @staticmethod  # `@circuit` works above and below `staticmethod` and `classmethod`.
    @circuit
    def valid(card: str) -> bool:
        """Check a card."""
        return card.isdecimal()

    @circuit(key=lambda self: self.account, failure_threshold=2)
    def balance(self) -> int:
        """Query the balance, with one circuit per account."""
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
    print("Orders.find fails; Orders.save shares its circuit and is refused:")
    trip(Orders().find, 7)
    try:
        await Orders().save(7)
    except CircuitOpenError as error:
        print(f"  {error.name} is {error.state}: {error.reason}")

    print("Payments.charge fails for all instances; the other methods keep working:")
    ada, bob = Payments("ada"), Payments("bob")
    trip(ada.charge, 30)
    print(f"  {ada.charge.breaker is bob.charge.breaker = }, {bob.charge.breaker.state = !s}")
    print(f"  {await ada.refund(30)}; {Payments.currencies()}; {Payments.valid('4711') = }")

    print("Payments.balance fails for one account only:")
    trip(Payments("empty").balance)
    print(f"  {ada.balance() = }, {[f'{key}: {each.state}' for key, each in Payments.balance.breakers.items()]}")


if __name__ == "__main__":
    asyncio.run(main())

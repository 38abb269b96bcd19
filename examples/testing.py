"""Tests of code guarded by a circuit: without waiting, without mocks, and without state that leaks into other tests.

    python examples/testing.py
    pytest examples/testing.py

During a test, a `Registry` with a `ManualClock` replaces the default registry. Breakers made in the test belong to it
and use its clock.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock, Registry, circuit, get_breaker

# The code under test.


class Shop:
    """Takes card payments while the bank answers, and returns "pay later" while the circuit is open."""

    def __init__(self, bank: Callable[[int], str]) -> None:
        self.bank = bank
        self.breaker = CircuitBreaker("bank", failure_threshold=3, reset_timeout=30)

    def pay(self, amount: int) -> str:
        """Pay now, or later."""
        try:
            return self.breaker.call(self.bank, amount)
        except CircuitOpenError:
            return "pay later"


@circuit(fallback=lambda parcel: f"{parcel} will be sent tomorrow")
def deliver(parcel: str) -> str:
    return f"{parcel} is on its way"


# Its tests.


class Bank:
    """A bank for tests, which answers or fails, and counts its calls."""

    answers = True
    calls = 0

    def __call__(self, amount: int) -> str:
        """Pay `amount`."""
        self.calls += 1
        if not self.answers:
            raise ConnectionError("no answer")
        return f"paid {amount}"


@contextmanager
def fresh_shop() -> Iterator[tuple[Shop, Bank, ManualClock]]:  # In pytest this would be a fixture.
    clock = ManualClock()
    with Registry(clock=clock).as_default():
        bank = Bank()
        yield Shop(bank), bank, clock


def fail_three_times(shop: Shop, bank: Bank) -> None:
    bank.answers = False
    for _ in range(3):
        with suppress(ConnectionError):
            shop.pay(1)


def test_after_three_failures_the_shop_does_not_call_the_bank() -> None:
    with fresh_shop() as (shop, bank, _):
        fail_three_times(shop, bank)
        assert shop.pay(5) == "pay later"
        assert bank.calls == 3


def test_the_shop_calls_the_bank_again_after_30_seconds() -> None:
    with fresh_shop() as (shop, bank, clock):
        fail_three_times(shop, bank)
        bank.answers = True
        clock.advance(29.9)
        assert shop.pay(5) == "pay later"
        clock.advance(0.1)
        assert shop.pay(5) == "paid 5"
        assert get_breaker("bank").state is CircuitState.CLOSED


def test_a_circuit_that_is_forced_open_refuses_calls() -> None:
    with fresh_shop() as (shop, bank, _):
        get_breaker("bank").force_open()
        assert shop.pay(5) == "pay later"
        assert bank.calls == 0


def test_a_parcel_waits_while_the_circuit_is_open() -> None:
    deliver.breaker.open()  # Made at import, in the default registry, so the test must reset it.
    try:
        assert deliver("a book") == "a book will be sent tomorrow"
    finally:
        deliver.breaker.reset()
    assert deliver("a book") == "a book is on its way"


def main() -> None:
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print(f"passed: {name}")


if __name__ == "__main__":
    main()

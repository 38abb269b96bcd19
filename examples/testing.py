"""Tests of code that is guarded by a circuit: no waiting, no mocks, and nothing left over for the next test.

    python examples/testing.py
    pytest examples/testing.py

A `Registry` of the test's own, with a `ManualClock` in it, takes the default one's place while the test runs. Breakers
that are made meanwhile belong to it and take their time from its clock.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock, Registry, circuit, get_breaker

# The code under test.


class Shop:
    """Takes payments by card while the bank answers, and says "pay later" while it is known not to."""

    def __init__(self, bank: Callable[[int], str]) -> None:
        self.bank = bank
        self.breaker = CircuitBreaker("bank", failure_threshold=3, reset_timeout=30)

    def pay(self, amount: int) -> str:
        """Pay at once, or later."""
        try:
            return self.breaker.call(self.bank, amount)
        except CircuitOpenError:
            return "pay later"


@circuit(fallback=lambda parcel: f"{parcel} will go tomorrow")
def deliver(parcel: str) -> str:
    return f"{parcel} is on its way"


# Its tests.


class Bank:
    """Answers, or does not."""

    answers = True
    asked = 0

    def __call__(self, amount: int) -> str:
        """Take `amount`."""
        self.asked += 1
        if not self.answers:
            raise ConnectionError("no answer")
        return f"paid {amount}"


@contextmanager
def fresh_shop() -> Iterator[tuple[Shop, Bank, ManualClock]]:  # With pytest, make it a fixture.
    clock = ManualClock()
    with Registry(clock=clock).as_default():
        bank = Bank()
        yield Shop(bank), bank, clock


def let_the_bank_fail(shop: Shop, bank: Bank) -> None:
    bank.answers = False
    for _ in range(3):
        with suppress(ConnectionError):
            shop.pay(1)


def test_three_failures_make_the_shop_stop_asking_the_bank() -> None:
    with fresh_shop() as (shop, bank, _):
        let_the_bank_fail(shop, bank)
        assert shop.pay(5) == "pay later"
        assert bank.asked == 3


def test_the_shop_asks_again_after_half_a_minute() -> None:
    with fresh_shop() as (shop, bank, clock):
        let_the_bank_fail(shop, bank)
        bank.answers = True
        clock.advance(29.9)
        assert shop.pay(5) == "pay later"
        clock.advance(0.1)
        assert shop.pay(5) == "paid 5"
        assert get_breaker("bank").state is CircuitState.CLOSED


def test_a_circuit_that_is_forced_open_keeps_the_shop_from_the_bank() -> None:
    with fresh_shop() as (shop, bank, _):
        get_breaker("bank").force_open()
        assert shop.pay(5) == "pay later"
        assert bank.asked == 0


def test_a_parcel_waits_while_the_circuit_is_open() -> None:
    deliver.breaker.open()  # It was made at import, in the default registry: put it back afterwards.
    try:
        assert deliver("a book") == "a book will go tomorrow"
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

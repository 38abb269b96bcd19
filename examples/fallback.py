"""A cached answer instead of an error while the circuit is open.

    python examples/fallback.py

The fallback is used only for calls that the circuit refuses. The failures that open the circuit still reach their
callers. A `ManualClock` takes the place of real time, so the example need not wait.
"""

from circuitbreaker import ManualClock, circuit

clock = ManualClock()  # Leave `clock` out in real code.
bank = {"open": True, "EUR": 1.08}
last_known: dict[str, float] = {}


def last_known_rate(currency: str) -> float:
    """Receives the arguments of the refused call. An error it raises, here a `KeyError`, reaches the caller."""
    return last_known[currency]


@circuit(failure_threshold=3, reset_timeout=60, fallback=last_known_rate, clock=clock)
def rate(currency: str) -> float:
    if not bank["open"]:
        raise ConnectionError("the bank does not answer")
    last_known[currency] = bank[currency]
    return bank[currency]


def ask(currency: str) -> None:
    try:
        answer = str(rate(currency))
    except Exception as error:
        answer = repr(error)
    print(f"{clock.monotonic():4.0f} s  rate({currency!r}) -> {answer:<44}  the circuit is {rate.breaker.state}")


def main() -> None:
    ask("EUR")

    bank.update({"open": False, "EUR": 1.11})
    for _ in range(3):  # The bank's error reaches the caller; the third one opens the circuit.
        ask("EUR")

    ask("EUR")  # From the cache; the bank is not called.
    ask("USD")  # Not in the cache.

    bank["open"] = True
    clock.advance(60)
    ask("EUR")  # The trial succeeds, so the answer comes from the bank again.


if __name__ == "__main__":
    main()

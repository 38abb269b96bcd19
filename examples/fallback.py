"""A cached answer in place of an error, while the circuit is open.

    python examples/fallback.py

The fallback stands in for calls that the circuit refuses, and for nothing else: the failures that open it still reach
their callers, who can tell a failure from old news. The clock is moved by hand, so nobody waits.
"""

from circuitbreaker import ManualClock, circuit

clock = ManualClock()  # Leave `clock` out, and time passes by itself.
bank = {"open": True, "EUR": 1.08}
last_known: dict[str, float] = {}


def last_known_rate(currency: str) -> float:
    """Takes the arguments of the call that was refused. What it raises, here a `KeyError`, is the caller's."""
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
    for _ in range(3):  # The bank's own error, untouched; the third one opens the circuit.
        ask("EUR")

    ask("EUR")  # From the cache: the bank is not asked.
    ask("USD")  # Not in the cache.

    bank["open"] = True
    clock.advance(60)
    ask("EUR")  # The trial succeeds, and the answer is the bank's again.


if __name__ == "__main__":
    main()

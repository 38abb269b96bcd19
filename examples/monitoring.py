"""Log what happens to every circuit, and print the metrics of one.

    python examples/monitoring.py

A listener on the registry receives the events of all its breakers, including those made later. It is called with no
lock held. If it raises, the error is logged and the caller is not affected.
"""

import logging
import sys
import time
from contextlib import suppress

from circuitbreaker import CallFailed, CallRejected, CircuitOpenError, CircuitState, StateChange, circuit, registry

log = logging.getLogger("shop.circuits")


@registry.on("state_change")
def log_change(change: StateChange) -> None:
    level = logging.WARNING if change.new_state is CircuitState.OPEN else logging.INFO
    log.log(level, "%s: %s -> %s, because %s", change.name, change.old_state, change.new_state, change.reason)


@registry.on("failure")
def log_failure(failure: CallFailed) -> None:
    log.info("%s: a call failed after %.3f s: %r", failure.name, failure.duration, failure.error)


@registry.on("rejected")
def log_rejection(rejection: CallRejected) -> None:
    log.info("%s: a call was rejected, next trial in %.2f s", rejection.name, rejection.retry_after)


@circuit(name="mail", failure_threshold=2, reset_timeout=0.1)
def send(letter: str, *, working: bool = True) -> None:
    if not working:
        raise ConnectionError("mail server is down")


def main() -> None:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)-7s %(name)s  %(message)s")

    send("first")
    for letter in ("second", "third", "fourth"):
        with suppress(ConnectionError, CircuitOpenError):  # The listeners log them.
            send(letter, working=False)
    time.sleep(0.15)
    send("fifth")

    print(f"\n{send.breaker}")
    for field, value in send.breaker.metrics()._asdict().items():
        print(f"  {field:<18} {value}".rstrip())


if __name__ == "__main__":
    main()

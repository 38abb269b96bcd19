"""A circuit around callback code, where a call begins in one place and ends in another.

    python examples/callbacks.py

`acquire()` admits one call, or raises `CircuitOpenError` before any work starts. The permit it returns can be passed
around, and settled in any thread once the outcome is known.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event

from circuitbreaker import CircuitBreaker, CircuitOpenError, Permit

breaker = CircuitBreaker("reports", failure_threshold=2)


def submit(pool: ThreadPoolExecutor, job: Callable[[], object]) -> Future[object]:
    permit = breaker.acquire()
    future = pool.submit(job)  # If this raises, the permit is garbage-collected, which releases it.
    future.add_done_callback(partial(settle, permit))
    return future


def settle(permit: Permit, future: Future[object]) -> None:
    if future.cancelled():
        permit.release()  # It never ran, so it says nothing about the service.
    elif (error := future.exception()) is not None:
        permit.failure(error)
    else:
        permit.success()


def fail() -> None:
    raise ConnectionError("the report server is down")


def show(what: str) -> None:
    now = breaker.metrics()
    numbers = f"{now.total_successes} succeeded, {now.total_failures} failed, {now.total_ignored} released"
    print(f"{what:<21} {now.state!s:<7} {numbers}")


def main() -> None:
    with ThreadPoolExecutor(max_workers=1) as pool:  # Leaving the block waits for the callbacks.
        gate = Event()
        submit(pool, gate.wait)
        submit(pool, fail).cancel()  # The only worker is waiting at the gate, so this never starts.
        gate.set()
    show("one ran, one did not")

    with ThreadPoolExecutor(max_workers=1) as pool:
        submit(pool, fail)
        submit(pool, fail)
    show("two failed")

    with ThreadPoolExecutor() as pool:
        try:
            submit(pool, fail)
        except CircuitOpenError as error:
            print(f"refused: {error.reason}")

    breaker.reset()
    permit = breaker.acquire()
    permit.success()
    permit.failure(ConnectionError("too late"))  # A permit is settled once: this does nothing.
    show("settled twice")


if __name__ == "__main__":
    main()

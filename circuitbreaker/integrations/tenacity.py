"""tenacity: retries that do not hammer an open circuit. The retry goes outside, so that the breaker sees each attempt.

    @retry(retry=retry_unless_open(), wait=wait_random_exponential(max=10), stop=stop_after_attempt(4))
    @circuit
    def charge(card): ...

To wait for the circuit instead of giving up, within a budget:

    @retry(
        retry=retry_unless_open(longer_than=60),
        wait=wait_random_exponential(max=10) + wait_for_circuit(),
        stop=stop_before_delay(120),
    )

Both pieces know a refusal also behind an error that was raised from it, as SDKs do with the errors of their clients.
"""

from __future__ import annotations

from datetime import timedelta

from tenacity import RetryCallState, retry_if_exception
from tenacity.wait import wait_base

from ..retries import RefusalWait, refusal_cause

__all__ = ["retry_unless_open", "wait_for_circuit"]


class retry_unless_open(retry_if_exception):  # noqa: N801 - as tenacity names its own
    """Retry any `Exception`, but not what an open circuit refused: then the refusal itself is raised, no `RetryError`.

    Combine it as all of tenacity's: `retry_if_exception_type(OSError) & retry_unless_open()`, or
    `retry_unless_open() | retry_if_result(is_stale)`.

    Args:
        longer_than: retry a refusal too, if its `retry_after` is at most so long, in seconds or as a `timedelta`; use
            it with `wait_for_circuit`. A circuit that is forced open is given up all the same.

    Raises:
        ValueError: `longer_than` is not positive, or not finite.
        TypeError: `longer_than` is no time.
    """

    def __init__(self, *, longer_than: float | timedelta | None = None) -> None:
        self._patience = RefusalWait(longer_than)
        super().__init__(self._is_worth_a_retry)

    def _is_worth_a_retry(self, error: BaseException) -> bool:
        if not isinstance(error, Exception):
            return False
        refusal = refusal_cause(error)
        return refusal is None or self._patience.worth_it(refusal)


class wait_for_circuit(wait_base):  # noqa: N801 - as tenacity names its own
    """After a refusal wait for its `retry_after`, and up to `jitter` seconds more; after anything else not at all.

    Add it to the strategy for other failures, which comes on top: `wait_random_exponential(max=10) +
    wait_for_circuit()`. Give up by `retry_unless_open(longer_than=...)`: this piece waits for as long as it is told.
    While a circuit is forced open there is no time to wait for, and only `jitter` is added.

    Args:
        jitter: seconds, or a `timedelta`; how much of it is drawn for each wait. All who were refused wait for the
            same moment, whenever they came, and would be back at once.

    Raises:
        ValueError: `jitter` is not positive, or not finite.
        TypeError: `jitter` is no time.
    """

    def __init__(self, *, jitter: float | timedelta = 1.0) -> None:
        self._patience = RefusalWait(jitter=jitter)

    def __call__(self, retry_state: RetryCallState) -> float:
        """The seconds to wait."""
        refusal = refusal_cause(retry_state.outcome.exception() if retry_state.outcome else None)
        return 0.0 if refusal is None else self._patience.wait(refusal)

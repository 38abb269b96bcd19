"""tenacity: retries that do not hammer an open circuit. The retry goes outside, so the breaker sees each attempt.

    @retry(retry=retry_unless_open(), wait=wait_random_exponential(max=10), stop=stop_after_attempt(4))
    @circuit
    def charge(card): ...

To wait for the circuit instead of giving up, within a budget:

    @retry(
        retry=retry_unless_open(longer_than=60),
        wait=wait_random_exponential(max=10) + wait_for_circuit(),
        stop=stop_before_delay(120),
    )

Both also recognize a refusal behind an error that was raised from it, as SDKs do with the errors of their clients.
"""

from __future__ import annotations

from datetime import timedelta

from tenacity import RetryCallState, retry_if_exception
from tenacity.wait import wait_base

from ..retries import RefusalWait, refusal_cause

__all__ = ["retry_unless_open", "wait_for_circuit"]


class retry_unless_open(retry_if_exception):  # noqa: N801 - as tenacity names its own
    """Retry any `Exception` but a refusal by an open circuit, which is raised as it is, not as a `RetryError`.

    Combine it like tenacity's own: `retry_if_exception_type(OSError) & retry_unless_open()`, or
    `retry_unless_open() | retry_if_result(is_stale)`.

    Args:
        longer_than: retry a refusal too, unless its `retry_after` is longer than this, in seconds or as a `timedelta`;
            use it with `wait_for_circuit`. While a circuit is forced open, a refusal is not retried.

    Raises:
        ValueError: `longer_than` is not positive, or not finite.
        TypeError: `longer_than` is neither a number nor a `timedelta`.
    """

    def __init__(self, *, longer_than: float | timedelta | None = None) -> None:
        self._refusals = RefusalWait(longer_than)
        super().__init__(self._is_worth_a_retry)

    def _is_worth_a_retry(self, error: BaseException) -> bool:
        if not isinstance(error, Exception):
            return False
        refusal = refusal_cause(error)
        return refusal is None or self._refusals.worth_it(refusal)


class wait_for_circuit(wait_base):  # noqa: N801 - as tenacity names its own
    """Wait for `retry_after` plus up to `jitter` seconds after a refusal, and 0 seconds after anything else.

    Add it to the wait for other failures, which then also applies to refusals: `wait_random_exponential(max=10) +
    wait_for_circuit()`. It waits however long `retry_after` is; use `retry_unless_open(longer_than=...)` to give up.
    While a circuit is forced open the wait is unknown, and only the jitter is waited for.

    Args:
        jitter: a random part of this is added to each wait, in seconds or as a `timedelta`. All refused callers wait
            for the same time, whenever they called, and would return together.

    Raises:
        ValueError: `jitter` is not positive, or not finite.
        TypeError: `jitter` is neither a number nor a `timedelta`.
    """

    def __init__(self, *, jitter: float | timedelta = 1.0) -> None:
        self._refusals = RefusalWait(jitter=jitter)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds to wait."""
        refusal = refusal_cause(retry_state.outcome.exception() if retry_state.outcome else None)
        return 0.0 if refusal is None else self._refusals.wait(refusal)

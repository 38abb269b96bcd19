"""What a call's end says about the dependency: success, failure, or nothing.

Only an `Exception` can be a failure. Any other `BaseException` (cancellation, `KeyboardInterrupt`, `GeneratorExit`)
comes from the caller's side, and is ignored whatever the options say (E3).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, cast

from ._callables import is_awaitable, plain_callable
from ._values import Value

__all__ = ["NO_RESULT", "ErrorFilter", "Outcomes", "Verdict"]

ErrorFilter = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
"""Exception type(s), or a predicate on the error."""


NO_RESULT = object()
"""The result of blocks and permits, which return nothing for `is_failure_result` to judge."""


class Verdict(Enum):
    """How a call's end counts."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"


class Outcomes(Value):
    """Judges how calls end. What the user's predicates raise passes through; the circuit handles it (E4)."""

    __slots__ = ("is_failure", "ignore", "is_failure_result")
    is_failure: ErrorFilter
    ignore: ErrorFilter
    is_failure_result: Callable[[Any], bool] | None

    def __init__(
        self, is_failure: ErrorFilter, ignore: ErrorFilter, is_failure_result: Callable[[Any], bool] | None
    ) -> None:
        if is_failure_result is not None:
            plain_callable("is_failure_result", is_failure_result)
        self._set(
            is_failure=_error_filter("is_failure", is_failure),
            ignore=_error_filter("ignore", ignore),
            is_failure_result=is_failure_result,
        )

    def of_error(self, error: BaseException) -> Verdict:
        """The verdict on a call that raised. An error that is neither ignored nor a failure is an answer: a success."""
        if not isinstance(error, Exception) or _matches(self.ignore, error):
            return Verdict.IGNORED
        return Verdict.FAILURE if _matches(self.is_failure, error) else Verdict.SUCCESS

    def of_result(self, result: object) -> Verdict:
        """The verdict on a call that returned `result`."""
        failed = self.is_failure_result is not None and self.is_failure_result(result)
        return Verdict.FAILURE if failed else Verdict.SUCCESS

    def ignores(self, error: BaseException) -> bool:
        """Whether `error` says nothing about the dependency."""
        return not isinstance(error, Exception) or _matches(self.ignore, error)


def _matches(errors: ErrorFilter, error: Exception) -> bool:
    return isinstance(error, errors) if isinstance(errors, type | tuple) else bool(errors(error))


def _error_filter(name: str, errors: Any) -> ErrorFilter:
    kinds: Any = errors if isinstance(errors, tuple) else (errors,)  # pyright: ignore[reportUnknownVariableType]
    if all(_is_exception_type(kind) for kind in kinds):
        return cast("ErrorFilter", errors)
    predicate: Any = errors  # pyright: ignore[reportUnknownVariableType]
    if isinstance(predicate, type) or not (callable(predicate) or is_awaitable(predicate)):
        raise TypeError(f"{name} must be an exception type, a tuple of them, or a predicate, got {errors!r}")
    return plain_callable(name, predicate)


def _is_exception_type(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)

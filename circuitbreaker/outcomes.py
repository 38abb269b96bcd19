"""What a call's end says about the dependency: success, failure, or nothing.

Types that the options name are looked for in all that an error is made of (E11); predicates get the error as it is.
What comes from the caller's side (a cancellation, `KeyboardInterrupt`, `GeneratorExit`) is ignored whatever the options
say, and so is any other `BaseException` outside `Exception`, and a refusal by a circuit, unless `is_failure` names its
type (E3).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, cast

from ._callables import is_awaitable, plain_callable
from ._causes import Chain, errors_in, head_of, is_cancellation, of_the_caller
from ._values import Value
from .errors import CircuitBreakerError, CircuitOpenError

__all__ = ["NO_RESULT", "ErrorFilter", "Outcomes", "Verdict"]

ErrorFilter = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
"""Exception type(s), or a predicate on the error."""

_EVERYTHING = (Exception, BaseException)
"""As `is_failure`, these stand for whatever no option names."""
_ANSWERS = (StopIteration, StopAsyncIteration)
Types = tuple[type[BaseException], ...]

NO_RESULT = object()
"""The result of blocks and permits, which return nothing for `is_failure_result` to judge."""


class Verdict(Enum):
    """How a call's end counts."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"


class Outcomes(Value):
    """Judges how calls end. What the user's predicates raise passes through; the circuit handles it (E4)."""

    __slots__ = ("is_failure", "ignore", "is_failure_result", "_ignored", "_named", "_refusals", "_unnamed")
    is_failure: ErrorFilter
    ignore: ErrorFilter
    is_failure_result: Callable[[Any], bool] | None
    # What follows from them, so that a failure need not work it out
    _ignored: Types
    _named: Types
    _refusals: Types
    _unnamed: Verdict | None

    def __init__(
        self, is_failure: ErrorFilter, ignore: ErrorFilter, is_failure_result: Callable[[Any], bool] | None
    ) -> None:
        if is_failure_result is not None:
            plain_callable("is_failure_result", is_failure_result)
        self._set(
            is_failure=_nameable("is_failure", _error_filter("is_failure", is_failure)),
            ignore=_error_filter("ignore", ignore),
            is_failure_result=is_failure_result,
        )
        failures = _types(is_failure)
        self._set(
            _ignored=_types(ignore),
            _named=tuple(kind for kind in failures if kind not in _EVERYTHING),
            _refusals=tuple(kind for kind in failures if issubclass(kind, CircuitBreakerError)),
            _unnamed=_verdict_on_the_rest(is_failure),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.is_failure, self.ignore, self.is_failure_result)

    def of_error(self, error: BaseException, circuit_id: int) -> Verdict:
        """The verdict on a call of the circuit `circuit_id` that raised.

        Of all that `error` is made of, one failure is enough, and it is ignored only if all of it is. An error that is
        neither is an answer: a success.
        """
        if not self._ignored and _says(self.ignore, error):
            return Verdict.IGNORED
        found, unnamed = Verdict.IGNORED, self._unnamed
        for chain in errors_in(error):
            verdict = self._of_chain(chain, circuit_id)
            if verdict is None:
                verdict = unnamed = unnamed or self._ask(error)
            if verdict is Verdict.FAILURE:
                return verdict
            if verdict is Verdict.SUCCESS:
                found = verdict
        return found

    def _of_chain(self, chain: Chain, circuit_id: int) -> Verdict | None:
        """The verdict on `chain`, if its types say one."""
        head = chain[0] if len(chain) == 1 else head_of(chain)
        if not isinstance(head, Exception):
            return Verdict.FAILURE if isinstance(head, self._named) else Verdict.IGNORED
        if is_cancellation(head):
            return Verdict.IGNORED
        for each in chain:
            # An error may lie about its class, but not about its type.
            if issubclass(type(each), CircuitOpenError) and self._ignores_refusal(each, circuit_id):
                return Verdict.IGNORED
        for each in chain:  # The outermost error that an option names decides.
            if isinstance(each, self._ignored) and isinstance(each, Exception):
                return Verdict.IGNORED
            if isinstance(each, self._named):
                return Verdict.FAILURE
        return Verdict.SUCCESS if isinstance(head, _ANSWERS) else None

    def _ignores_refusal(self, refusal: BaseException, circuit_id: int) -> bool:
        """Whether `refusal` is one by this very circuit, or one that `is_failure` does not name."""
        # Subclasses of the user's need not have called __init__.
        return vars(refusal).get("circuit_id") == circuit_id or not isinstance(refusal, self._refusals)

    def _ask(self, error: BaseException) -> Verdict:
        """The verdict of the predicate `is_failure`."""
        if not isinstance(error, Exception):
            return Verdict.IGNORED  # A group with an interrupt in it is nothing that a predicate expects.
        return Verdict.FAILURE if _says(self.is_failure, error) else Verdict.SUCCESS

    def of_result(self, result: object) -> Verdict:
        """The verdict on a call that returned `result`."""
        failed = self.is_failure_result is not None and self.is_failure_result(result)
        return Verdict.FAILURE if failed else Verdict.SUCCESS

    def ignores(self, error: BaseException, circuit_id: int) -> bool:
        """Whether `error` says nothing about the dependency of the circuit `circuit_id`."""
        if _says(self.ignore, error):
            return True
        return all(self._of_chain(chain, circuit_id) is Verdict.IGNORED for chain in errors_in(error))


def _types(errors: ErrorFilter) -> Types:
    """The types in a filter; none in a predicate."""
    if isinstance(errors, tuple):
        return errors  # pyright: ignore[reportUnknownVariableType]
    return (errors,) if isinstance(errors, type) else ()


def _verdict_on_the_rest(is_failure: ErrorFilter) -> Verdict | None:
    """The verdict on what no option names; `None` if a predicate decides."""
    if not isinstance(is_failure, type | tuple):
        return None
    kinds = _types(is_failure)  # pyright: ignore[reportUnknownArgumentType]
    return Verdict.FAILURE if any(kind in _EVERYTHING for kind in kinds) else Verdict.SUCCESS


def _says(errors: ErrorFilter, error: BaseException) -> bool:
    """Whether `errors` is a predicate that matches `error`."""
    return not isinstance(errors, type | tuple) and isinstance(error, Exception) and bool(errors(error))


def _nameable(name: str, errors: ErrorFilter) -> ErrorFilter:
    for kind in _types(errors):
        if of_the_caller(kind):
            raise ValueError(f"{name} must not name what comes from the caller's side, which is ignored: got {kind!r}")
    return errors


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

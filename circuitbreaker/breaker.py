"""CircuitBreaker: guard calls with one circuit, read it, control it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from sys import _getframe
from types import EllipsisType, FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ._callables import any_callable
from ._calls.calls import call
from ._calls.guard import guard
from ._calls.travel import reduce_breaker
from ._circuit.blocks import Blocks
from ._circuit.circuit import Circuit
from ._circuit.listeners import Listener
from ._circuit.observable import Observable
from ._definitions import Execution, execution
from ._engine.periods import Closed
from ._typing import Self, Unpack
from ._values import quoted
from ._values import seconds as in_seconds
from .events import CircuitState, EventName, Hold, Metrics
from .options import Options, Settings, merged
from .permit import Permit
from .registry import Registry, resolve_registry

if TYPE_CHECKING:
    from ._calls.types import Guarded, M
else:
    Guarded = Callable  # for typing.get_type_hints

__all__ = ["CircuitBreaker"]

P = ParamSpec("P")
R = TypeVar("R")


class CircuitBreaker(Observable):
    """Guards calls to one dependency.

        breaker = CircuitBreaker("search", failure_threshold=5, reset_timeout=15)

        with breaker: ...                        # a block, sync
        async with breaker: ...                  # and async
        breaker.call(search, "question")         # a call; to be awaited if `search` is a coroutine function
        guarded = breaker(search)                # a function
        permit = breaker.acquire()               # callback code

    A refused call raises `CircuitOpenError`, or returns what `fallback` returns. The guarded code's own exceptions
    pass untouched (C3). Any thread or task may use any member, and no member waits for a guarded call to end. A copy of
    a breaker is that breaker. A pickle has its name and its options: where it is unpickled, the default registry finds
    or makes it.

    Args:
        name: what `get_breaker` finds it by, for as long as it lives. Without a name it is in no registry.
        registry: where it is found, and whose defaults apply: the default registry if not given, `None` for none.
        options: see `Options`.

    Raises:
        ValueError: the name is taken by a living breaker, or an option breaks its rule.
        TypeError: an option is unknown, or of the wrong type.
    """

    __slots__ = ("__weakref__", "_blocks", "_circuit", "_clock", "_defined", "_engine", "_settings")

    def __init__(
        self, name: str | None = None, *, registry: Registry | EllipsisType | None = ..., **options: Unpack[Options]
    ) -> None:
        home = resolve_registry(registry, name)
        self._settings = Settings(options if home is None else merged(home.defaults, options))
        if self._settings.store is not None and name is None:
            raise ValueError("a breaker with a store needs a name, by which other processes know it: got name=None")
        self._circuit = Circuit("unnamed" if name is None else name, self._settings)
        self._engine, self._clock = self._circuit.engine, self._circuit.clock
        self._blocks = Blocks()
        self._defined: Execution | None = None  # set by whoever registers it under a name that may be taken over
        if self._settings.auto_half_open:
            from ._circuit.waking import Waker  # It has a thread, which others need not import.

            self._circuit.listen("state_change", Waker(self._circuit, self._settings.clock), object())
        if self._settings.on_state_change is not None:
            self.on("state_change", self._settings.on_state_change)
        if home is not None and name is not None:
            home._define(self, execution())

    # Ways in

    def __enter__(self) -> Self:
        """Admit one call, or raise `CircuitOpenError`. Never blocks."""
        # The usual case, in which Blocks lets a block enter without the lock: 300 ns for a block in place of 800.
        period = self._blocks.common
        if period is None or period is not self._engine.period or period.needs_permit:
            return self._enter(_getframe(1))
        period.blocks.append(None)
        if self._blocks.common is period:
            return self
        period.blocks.pop()
        return self._enter(_getframe(1))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        period = self._blocks.common
        if error is not None or period is None or not period.blocks:
            self._leave(_getframe(1), error)
            return
        period.blocks.pop()
        # settle_joined(period, None), written out as in _calls/guard.py
        period.last_success = now = self._clock.monotonic()
        if (number := next(period.tally)) >= period.next_number or now >= period.next_time:
            self._circuit.observe(period, number, now)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _enter(self, frame: FrameType) -> Self:
        period: Any = self._engine.period  # Any: a period that does not ask is a closed one
        entry = self._acquire(enter=True) if period.needs_permit else period
        self._circuit.turns.run_now(self._blocks.enter, frame, entry)
        return self

    def _leave(self, frame: FrameType, error: BaseException | None) -> None:
        left = self._circuit.turns.run_now(self._blocks.leave, frame)
        if left is None:
            return  # This exit has no entry.
        entry, certain = left
        if isinstance(entry, Closed):
            self._circuit.settle_joined(entry, error)
        elif certain:
            entry.settle(error)
        else:
            entry.release()  # It may be another block's trial, about which this block's end says nothing.

    def acquire(self) -> Permit:
        """Admit one call, or raise `CircuitOpenError`. Never blocks. Settle the permit when the call has ended."""
        return self._acquire(enter=False)

    def _acquire(self, enter: bool) -> Permit:
        permit = self._circuit.admit(enter)
        if isinstance(permit, tuple):
            raise self._circuit.error(permit)
        return permit

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` guarded, and return what it returns; for a coroutine function, a coroutine.

        `function` may be a class, whose instance is made guarded.

        If a plain function returns a call that is not over, this one lasts until that is: a coroutine, a generator, a
        future or task (which is returned as it is), a context manager that `contextlib` made of a generator. Any other
        awaitable is replaced by a coroutine.

        Raises:
            CircuitOpenError: the circuit refused, and there is no `fallback`.
            TypeError: `function` cannot be called, or is the result of a call.
        """
        result: R = call(self._circuit, any_callable("function", function, classes=True), args, kwargs)
        return result

    @overload
    def __call__(self, function: M, /) -> M: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Guarded[P, R]: ...
    def __call__(self, function: Any, /) -> Any:
        """`function`, guarded: see `circuit`. Any number of functions may share one breaker."""
        return guard(self._circuit, self, function)

    # Copies: the circuit is where it is, so a copy is the breaker itself, and a pickle finds it by its name.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return reduce_breaker(self)

    # Reading

    @property
    def name(self) -> str:
        """The breaker's name."""
        return self._circuit.name

    @property
    def state(self) -> CircuitState:
        """The circuit's state; reading changes nothing. It stays `OPEN` until a call is admitted as a trial (O3).

        With `auto_half_open`, it becomes `HALF_OPEN` when the wait is over.
        """
        return self._circuit.engine.period.state

    @property
    def hold(self) -> Hold | None:
        """The hold that `force_open()`, `force_closed()` or `shadow()` set, until `reset()` (M2)."""
        return self._circuit.engine.hold

    def metrics(self) -> Metrics:
        """The breaker's numbers, all of one moment."""
        return self._circuit.metrics()

    def _subscribe(self, event: EventName, listener: Listener) -> Callable[[], None]:
        token = object()
        self._circuit.listen(event, listener, token)
        return partial(self._circuit.unlisten, token)

    # Control

    def open(self, seconds: float | timedelta | None = None) -> None:
        """Open as a trip would, for `reset_timeout` (M1). Do nothing if the circuit is open.

        With `seconds`, a number or a `timedelta`, open for this long from now on, also if the circuit is open.

        Raises:
            ValueError: `seconds` is negative, or not finite.
            TypeError: `seconds` is neither a number nor a `timedelta`.
        """
        length = None if seconds is None else in_seconds("seconds", seconds, zero=True)
        self._circuit.override(self._circuit.engine.open, length)

    def reset(self) -> None:
        """Close, and forget the counts, the hold and the growth of `reset_timeout` (M1). Totals stay."""
        self._circuit.override(self._circuit.engine.reset)

    def force_open(self) -> None:
        """Refuse every call until `reset()`, in any state (M2)."""
        self._circuit.override(self._circuit.engine.force, Hold.FORCED_OPEN)

    def force_closed(self) -> None:
        """Admit every call until `reset()`. Calls count in the totals; the policy does not see them (M2)."""
        self._circuit.override(self._circuit.engine.force, Hold.FORCED_CLOSED)

    def shadow(self) -> None:
        """Refuse no call until `reset()`, let the state move as it would, and report what would have been refused (M2).

        Such a call is published as `"rejected"` with `shadow=True`, and counted in `metrics().shadow_rejections`.
        """
        self._circuit.override(self._circuit.engine.force, Hold.SHADOW)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {quoted(self.name)} {self._circuit.summary()}>"

"""Breakers by name.

A registry finds a named breaker for as long as anything refers to it. The registry itself keeps references to those
made by `get_or_create` and by `@circuit(name=...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from threading import RLock
from types import EllipsisType
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ._circuit.listeners import Listener
from ._circuit.observable import Observable
from ._definitions import Execution, execution
from ._fork import renew_in_child
from ._log import log
from ._typing import Self, Unpack
from ._values import one_line, quoted
from .events import EventName
from .options import Options, Settings, merged

if TYPE_CHECKING:
    from .breaker import CircuitBreaker

__all__ = ["Registry", "default_registry", "get_breaker", "registry"]

_TRIES = 4
_NUMBERED = 1000
_AGAIN = "circuit %s: %s is executed again; %s"


class Registry(Observable):
    """A collection of breakers by name, with default options for those made in it.

    Iteration yields the breakers, `len()` is their number, and `in` takes a name. Any thread may call any method. It is
    true, even if it is empty. Copies of a registry are that registry.

    A module that is executed again (a reload, a cell of a notebook) takes its definitions over: a breaker that it makes
    with other options than before replaces the one that it made then, and the log says so in a line.

    Args:
        defaults: see `Options`.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: an option is unknown, or of the wrong kind.
    """

    def __init__(self, **defaults: Unpack[Options]) -> None:
        Settings(defaults)
        self.defaults: Options = defaults
        self._lock = RLock()
        self._breakers: WeakValueDictionary[str, CircuitBreaker] = WeakValueDictionary()
        self._held: dict[str, CircuitBreaker] = {}
        self._listeners: list[tuple[EventName, Listener, object]] = []
        self._numbers: dict[str, tuple[int, int]] = {}
        renew_in_child(self)

    def get(self, name: str) -> CircuitBreaker:
        """Return the breaker called `name`. Raises `KeyError`, with the names most like it, if there is none."""
        found = self._breakers.get(name)
        if found is None:
            raise KeyError(f"no breaker is called {_shown(name)}; {_nearest(name, [each.name for each in self])}")
        return found

    def get_or_create(self, name: str, **options: Unpack[Options]) -> CircuitBreaker:
        """Return the breaker called `name`; if there is none, make it with `options` over the registry's defaults.

        Either way the registry keeps a reference to it.

        Raises:
            ValueError: there is one with other options, and the message shows the difference; or an option breaks its
                rule. If the lines that made it are executed again, the new options apply instead, to a new breaker.
            TypeError: an option is unknown, or of the wrong kind.
        """
        defined = execution()
        self._take_over(name, defined, options)
        with self._lock:
            found = self._breakers.get(name)
            if found is None:
                found = self._make(name, options)
                if found is None:
                    return self.get_or_create(name, **options)
            elif differences := self._differences(found, options):
                raise ValueError(f"the name {quoted(name)} is taken by a breaker with other options: {differences}")
            found._defined = defined
            self._held[name] = found
            return found

    def clear(self) -> None:
        """Forget all breakers. Those still referred to elsewhere go on working, but are no longer found here."""
        for breaker in self:
            self.discard(breaker)

    def _subscribe(self, event: EventName, listener: Listener) -> Callable[[], None]:
        entry = (event, listener, object())
        with self._lock:
            self._listeners.append(entry)
            present = list(self)
        for breaker in present:  # without the lock, which a policy may be waiting for, inside the breaker's own lock
            breaker._circuit.listen(*entry)

        def unsubscribe() -> None:
            with self._lock:
                if entry in self._listeners:
                    self._listeners.remove(entry)
                present = list(self)
            for breaker in present:
                breaker._circuit.unlisten(entry[2])

        return unsubscribe

    @contextmanager
    def as_default(self) -> Generator[Self]:
        """Within the block, in all threads, `get_breaker`, `circuit` and `CircuitBreaker` use this registry.

        Breakers that exist already stay where they are.
        """
        _defaults.append(self)
        try:
            yield self
        finally:  # Blocks in several threads may end in any order, so this entry need not be the last one.
            del _defaults[max(index for index, each in enumerate(_defaults) if each is self)]

    def add(self, breaker: CircuitBreaker) -> None:
        """Make `breaker` found here. Raises `ValueError` if another living breaker has its name."""
        with self._lock:
            taken = self._breakers.get(breaker.name)  # looked up once: another thread may drop it at any moment
            if taken is None:
                for entry in self._listeners:  # before it can be found, so that no call can be inside it
                    breaker._circuit.listen(*entry)
                taken = self._breakers.setdefault(breaker.name, breaker)  # A signal handler may have added another.
        if taken is not breaker:
            raise ValueError(
                f"name {quoted(breaker.name)} is taken by {taken!r}; "
                "use get_breaker(), get_or_create(), or registry=None"
            )

    def discard(self, breaker: CircuitBreaker) -> None:
        """Remove `breaker` and this registry's listeners to it, and free its name. Does nothing if it is not here."""
        with self._lock:
            if self._breakers.get(breaker.name) is not breaker:
                return
            del self._breakers[breaker.name]
            self._held.pop(breaker.name, None)
            listeners = list(self._listeners)
        for _, _, token in listeners:
            breaker._circuit.unlisten(token)

    def _define(self, breaker: CircuitBreaker, defined: Execution | None) -> None:
        """Add a breaker that is `defined` by its constructor."""
        breaker._defined = defined
        self._take_over(breaker.name, defined, None)
        self.add(breaker)

    def _create(self, name: str, options: Options, defined: Execution | None = None) -> CircuitBreaker:
        """Return a breaker called `name`, or `name#2`, `name#3` ... if that is taken. Keeps no reference to it.

        It is new, unless this is the definition of one that has the same options, `defined` again.
        """
        with self._lock:
            while True:
                free = self._free_name(name, defined)
                self._take_over(free, defined, options)
                found = self._breakers.get(free)
                if found is not None and defined is not None and defined.repeats(found._defined):
                    log("info", _AGAIN, quoted(free), defined.module, "the circuit is the same")
                    found._defined = defined
                    return found
                made = self._make(free, options, defined)
                if made is not None:  # pragma: no branch - a signal handler took the name: test_signals.py has it
                    return made

    def _free_name(self, name: str, defined: Execution | None) -> str:
        """`name`, or the first of a few numbered ones that is free, or else one with a higher number than any before.

        Trying a few for each that is made finds numbers that have become free, and costs the same however many there
        are.
        """
        if self._is_free(name, defined):
            return name
        if len(self._numbers) >= _NUMBERED:
            self._numbers.clear()  # What is kept of names is bounded (E7).
        next_, highest = self._numbers.get(name, (2, 1))
        for _ in range(_TRIES):
            next_ = next_ if next_ <= highest else 2
            found, next_ = next_, next_ + 1
            if self._is_free(f"{name}#{found}", defined):
                break
        else:
            found = highest + 1
            while not self._is_free(f"{name}#{found}", defined):
                found += 1
        self._numbers[name] = next_, max(highest, found)
        return f"{name}#{found}"

    def _is_free(self, name: str, defined: Execution | None) -> bool:
        taken = self._breakers.get(name)
        return taken is None or (defined is not None and defined.repeats(taken._defined))

    def _take_over(self, name: str, defined: Execution | None, options: Options | None) -> None:
        """Make the name free if its breaker was made by the lines that are now `defined` again, with other options."""
        old = self._breakers.get(name)
        if old is None or defined is None or not defined.repeats(old._defined):
            return
        differences = None if options is None else self._differences(old, options)
        if differences != "":
            self.discard(old)
            what = "a new breaker" if differences is None else f"a breaker with other options ({differences})"
            log("info", _AGAIN, quoted(name), defined.module, f"{what} takes its place")

    def _differences(self, breaker: CircuitBreaker, options: Options) -> str:
        return Settings(merged(self.defaults, options)).differences(breaker._settings)

    def _make(self, name: str, options: Options, defined: Execution | None = None) -> CircuitBreaker | None:
        """Return a new breaker called `name`; `None` if this thread took the name meanwhile.

        A signal handler may do that, or user code that runs while the breaker is made.
        """
        from .breaker import CircuitBreaker  # That module imports this one.

        breaker = CircuitBreaker(name, registry=None, **merged(self.defaults, options))
        breaker._defined = defined
        try:
            self.add(breaker)
        except ValueError:
            return None
        return breaker

    def _renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child, make a new lock: a thread of the parent may have held the old one (E9)."""
        self._lock = RLock()

    def __iter__(self) -> Iterator[CircuitBreaker]:
        with self._lock:
            found = [reference() for reference in self._breakers.valuerefs()]  # a copy: breakers may be collected
        return iter([breaker for breaker in found if breaker is not None])

    def __bool__(self) -> bool:
        return True

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> str:
        if self is registry:
            return "registry"
        raise TypeError(f"cannot pickle {self!r}: another process could not find it, unlike the default registry")

    def __len__(self) -> int:
        return len(self._breakers)

    def __contains__(self, name: object) -> bool:
        return name in self._breakers

    def __repr__(self) -> str:
        return f"<Registry of {len(self)} breakers>"


_COMPARED = 500
"""How many known names on either side of an unknown one, in their order, are compared with it."""


def _nearest(name: object, known: list[str]) -> str:
    """The few known names that are most like `name`, or the first ones; and how many others there are."""
    from bisect import bisect  # Only mistakes need these two, which are slow to import.
    from difflib import get_close_matches

    known.sort()
    asked = str(name)[:200]
    at = bisect(known, asked)
    near = get_close_matches(asked, known[max(0, at - _COMPARED) : at + _COMPARED], n=5) or known[:5]
    others = len(known) - len(near)
    return f"known: {', '.join(map(quoted, near)) or 'none'}{f', and {others} more' if others else ''}"


def _shown(name: object) -> str:
    return quoted(name) if isinstance(name, str) else one_line(repr(name))


registry: Registry = Registry()
"""The default registry."""

_defaults = [registry]


def default_registry() -> Registry:
    """Return the registry in force: `registry`, or that of the latest `as_default()`."""
    return _defaults[-1]


def resolve_registry(registry: Registry | EllipsisType | None, name: str | None) -> Registry | None:
    """Return the registry that `registry` stands for, where `...` is the default one. Checks both types."""
    home = default_registry() if registry is ... else registry
    if not (home is None or isinstance(home, Registry)):
        raise TypeError(f"registry must be a Registry or None, got {registry!r}")
    if not (name is None or isinstance(name, str)):
        raise TypeError(f"name must be a string, got {name!r}")
    return home


def get_breaker(name: str) -> CircuitBreaker:
    """Return the default registry's breaker called `name`. Raises `KeyError`, with names like it, if it has none."""
    return default_registry().get(name)

"""Frozen values, and checks of the numbers in them: each returns the number, or raises `ValueError` or `TypeError`.

`dataclasses` would do, but it imports `inspect`, which would double the time to import this package.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from operator import index
from typing import Any, ClassVar

__all__ = [
    "Value",
    "at_least",
    "boolean",
    "counted",
    "format_seconds",
    "one_line",
    "positive_count",
    "quoted",
    "ratio",
    "seconds",
]


class Value:
    """A frozen value. `_set` sets its slots, once; two values are equal if their types and public slots are."""

    __slots__ = ()
    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = cls.__dict__.get("__slots__", ())
        cls._names = (*cls._names, *(name for name in own if not name.startswith("_")))

    def _set(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _fields(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self._names}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and type(other) is type(self) and other._fields() == self._fields()

    def __hash__(self) -> int:
        return hash((type(self), *self._fields().values()))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self._fields().items() if value is not None)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._fields())


def _rebuild(kind: type[Value], fields: dict[str, object]) -> Value:
    value = kind.__new__(kind)
    value._set(**fields)
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_whole(value: object) -> bool:
    """Whether `value` is a whole number, such as numpy's, which are no `int`."""
    return hasattr(type(value), "__index__") and not isinstance(value, bool)


def boolean(name: str, value: Any) -> bool:
    """Return `value` if it is `True` or `False`, or raise `TypeError`.

    A text such as `"false"` counts as true, and would reveal what may be a secret.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def positive_count(name: str, value: Any) -> int:
    """`value`, if it is a whole number and at least 1."""
    if not _is_whole(value):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if (number := index(value)) < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")
    return number


def one_line(text: str, most: int = 200) -> str:
    """`text` as it can be shown, logged and kept: at most `most` characters, on one line, all of them visible.

    Line breaks, control characters, changes of direction and lone surrogates are escaped as in a `repr`.
    """
    text = str.__str__(text)  # A subclass might hold the error itself.
    if len(text) <= most and text.isprintable():
        return text
    shown = "".join(_visible(each) for each in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def quoted(name: str) -> str:
    """The `repr` of a name, cut."""
    return repr(name if len(name) <= 200 else f"{name[:197]}...")


def _visible(character: str) -> str:
    if character.isprintable() or (character.isspace() and character > "\x9f" and character not in "\u2028\u2029"):
        return character  # a space, also one of those that do not break, or that are as wide as an ideograph
    return character.encode("unicode_escape").decode()


def format_seconds(seconds: float) -> str:
    """`seconds` for people: three significant digits, or all digits of the whole part if those are more."""
    return f"{seconds:.3g}" if seconds < 999.5 else f"{seconds:.0f}"


def counted(number: int, noun: str) -> str:
    """`number` and `noun`, in the plural if there is not one of it."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def at_least(name: str, value: Any, least: float) -> float:
    """`value`, if it is finite and at least `least`."""
    if not _is_number(value):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not least <= value <= sys.float_info.max:
        raise ValueError(f"{name} must be at least {least:g} and finite, got {value!r}")
    return float(value)


def ratio(name: str, value: Any) -> float:
    """`value`, if it is in (0, 1]."""
    if not _is_number(value):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 < value <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {value!r}")
    return float(value)


def seconds(name: str, value: Any, zero: bool = False) -> float:
    """`value`, a number of seconds or a `timedelta`, in seconds, if it is more than 0 and finite.

    With `zero`, it may be 0.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if not _is_number(value):
        raise TypeError(f"{name} must be a number of seconds or a timedelta, got {value!r}")
    if not (0 < value <= sys.float_info.max or (zero and value == 0)):
        rule = "at least 0 seconds" if zero else "more than 0 seconds"
        raise ValueError(f"{name} must be {rule} and finite, got {value!r}")
    return float(value)

"""What `typing.get_type_hints` finds for names that type checkers take from `typing_extensions`.

This package does not need `typing_extensions` to run, and Python 3.10 has neither name.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

__all__ = ["Self", "Unpack"]

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack
else:

    class _Unpack:
        def __class_getitem__(cls, options: type) -> type:
            return options  # pragma: no cover - Python 3.10

    Self = getattr(typing, "Self", Any)
    Unpack = getattr(typing, "Unpack", _Unpack)

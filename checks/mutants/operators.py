"""The mutations that cosmic-ray lacks, in its own form: where they can be made in a parso tree, and making one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import parso
from cosmic_ray.operators.operator import Operator
from parso.python.tree import Keyword

__all__ = ["OWN"]

_Position = tuple[tuple[int, int], tuple[int, int]]


class DeleteStatement(Operator):  # type: ignore[misc]
    """A statement in a function becomes `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[_Position]:
        """Simple statements, but for imports, docstrings, and what does nothing anyway."""
        if node.type == "simple_stmt" and _in_function(node):
            first = node.children[0]
            if not (first.type in _NO_STATEMENT or first.get_code().strip() in ("pass", "...")):
                yield first.start_pos, first.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The statement, as `pass`."""
        first = node.children[0]
        node.children[0] = Keyword("pass", first.start_pos, first.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None."""
        return ()


_NO_STATEMENT = {"string", "strings", "import_name", "import_from", "global_stmt", "nonlocal_stmt"}


class SwapMembership(Operator):  # type: ignore[misc]
    """`in` becomes `not in`, and the reverse."""

    def mutation_positions(self, node: Any) -> Iterator[_Position]:
        """Comparisons by `in`."""
        if node.type == "comparison":
            yield from ((each.start_pos, each.end_pos) for each in node.children[1::2] if _code(each) in _SWAPPED)

    def mutate(self, node: Any, index: int) -> Any:
        """The comparison, negated."""
        place = [at for at in range(1, len(node.children), 2) if _code(node.children[at]) in _SWAPPED][index]
        node.children[place] = parso.parse(" " + _SWAPPED[_code(node.children[place])])
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None."""
        return ()


_SWAPPED = {"in": "not in", "not in": "in"}


class ReplaceAugmented(Operator):  # type: ignore[misc]
    """`+=` becomes `-=` and `=`, and so on."""

    def mutation_positions(self, node: Any) -> Iterator[_Position]:
        """Augmented assignments."""
        if node.type == "operator" and node.value in _AUGMENTED:
            yield from [(node.start_pos, node.end_pos)] * 2

    def mutate(self, node: Any, index: int) -> Any:
        """Another assignment."""
        node.value = _AUGMENTED[node.value][index]
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None."""
        return ()


_AUGMENTED = {"+=": ("-=", "="), "-=": ("+=", "="), "*=": ("/=", "="), "|=": ("&=", "="), "&=": ("|=", "=")}


class ReplaceString(Operator):  # type: ignore[misc]
    """A string in a function gets `XX` before and behind it. f-strings are left alone, docstrings are no code."""

    def mutation_positions(self, node: Any) -> Iterator[_Position]:
        """String literals that are values."""
        if node.type == "string" and node.parent.type not in ("simple_stmt", "file_input") and _in_function(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The literal, changed."""
        start = node.value.index(node.value[-1]) + 1
        node.value = f"{node.value[:start]}XX{node.value[start:-1]}XX{node.value[-1]}"
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None."""
        return ()


def _code(node: Any) -> str:
    return " ".join(node.get_code().split())


def _in_function(node: Any) -> bool:
    while node is not None:
        if node.type in ("funcdef", "lambdef"):
            return True
        node = node.parent
    return False


OWN: dict[str, type[Operator]] = {
    each.__name__: each for each in (DeleteStatement, SwapMembership, ReplaceAugmented, ReplaceString)
}

"""Every mutant of a module, but those of code that never runs.

No mutant is made of annotations (never evaluated, by `from __future__ import annotations`), of the first argument of
`cast`, of `if TYPE_CHECKING:` blocks, of `@overload` stubs, and of what `# pragma: no cover` marks (it runs in forked
children, whose coverage and verdict the tests cannot see). A mutation that Python cannot compile is none either.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.provider import OperatorProvider

from .config import OPERATORS
from .operators import OWN

__all__ = ["Kind", "Mutant", "Place", "mutant", "places"]

_Position = tuple[int, int]


class Kind(NamedTuple):
    """The mutants of one definition by one operator."""

    module: str
    definition: str
    """The qualified name of the function or class, empty for the module itself."""
    operator: str
    """As in `config.OPERATORS`, without what comes before the stroke."""


class Place(NamedTuple):
    """Where and how a module can be mutated: the `occurrence`th place for an operator."""

    module: str
    definition: str
    operator: str
    occurrence: int

    @property
    def kind(self) -> Kind:
        """The kind of the mutant made here."""
        return Kind(self.module, self.definition, self.operator.partition("/")[2])


class Mutant(NamedTuple):
    """A mutated module, and the difference."""

    source: str
    line: int
    body: range
    """The lines of the function that is mutated; empty outside functions, and for decorators and defaults."""
    before: str
    after: str


def places(module: str, source: str) -> list[Place]:
    """Every place of `source` that can be mutated, those of one kind together."""
    tree, no_code = get_ast(source), list(_no_code(source))
    found = [
        Place(module, _definition(source, start[0])[0], name, occurrence)
        for name in OPERATORS
        for occurrence, (start, end) in enumerate(_positions(tree, _operator(name)))
        if not any(first <= start and end <= last for first, last in no_code)
    ]
    return sorted(found, key=lambda place: place.kind)  # it keeps their order within a kind


def _positions(tree: Any, operator: Any) -> Iterator[tuple[_Position, _Position]]:
    for node in ast_nodes(tree):
        yield from operator.mutation_positions(node)


@cache
def _operator(name: str) -> Any:
    family, _, kind = name.partition("/")
    return (OWN if family == "own" else OperatorProvider())[kind]()


def mutant(place: Place, source: str) -> Mutant | None:
    """`source`, mutated at `place`; `None` if that does not compile."""
    mutated = MutationVisitor.mutate_code(source, _operator(place.operator), place.occurrence)
    try:
        compile(mutated, place.module, "exec")
    except SyntaxError:
        return None
    before, after = _difference(source.splitlines(), mutated.splitlines())
    line = before[0] + 1
    return Mutant(mutated, line, _definition(source, line)[1], before[1], after)


def _difference(old: list[str], new: list[str]) -> tuple[tuple[int, str], str]:
    """The first line that differs with its index, the lines up to the last that does, and what became of them."""
    first = next(index for index, (a, b) in enumerate(zip(old, new)) if a != b)  # noqa: B905 - a line may be gone
    last = next(back for back, (a, b) in enumerate(zip(old[::-1], new[::-1])) if a != b)  # noqa: B905
    return (first, _joined(old[first : len(old) - last])), _joined(new[first : len(new) - last])


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(_COMMENT.sub("", line) for line in lines).split())


_COMMENT = re.compile("  # .*")


# What is no code


def _no_code(source: str) -> Iterator[tuple[_Position, _Position]]:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        for part in _typing_only(node):
            yield _span(part, lines)
        if isinstance(node, ast.stmt | ast.ExceptHandler) and "# pragma: no cover" in lines[node.lineno - 1]:
            yield _span(node, lines)


def _typing_only(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
        yield node.annotation
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if node.returns:
            yield node.returns
        if any(ast.unparse(each) == "overload" for each in node.decorator_list):
            yield node
            yield from node.decorator_list
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "cast":
        yield node.args[0]
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        yield node


def _span(node: Any, lines: list[str]) -> tuple[_Position, _Position]:
    """From where to where, as parso counts: in characters, a decorator with its `@`, a block with its last line."""
    first, last = lines[node.lineno - 1].encode(), lines[node.end_lineno - 1].encode()
    start = len(first[: node.col_offset].decode())
    end = (node.end_lineno, len(last[: node.end_col_offset].decode()))
    whole = node.end_col_offset == len(last)
    return (node.lineno, max(0, start - 1)), (node.end_lineno + 1, 0) if whole else end


def _definition(source: str, line: int) -> tuple[str, range]:
    """The qualified name of what stands in that line, and the lines of its body if it is a function and they run."""
    names: list[str] = []
    body = range(0)
    node: Any = _parsed(source)
    while node is not None:
        inner = (each for each in ast.iter_child_nodes(node) if isinstance(each, _DEFINITIONS))
        node = next((each for each in inner if _first_line(each) <= line <= (each.end_lineno or line)), None)
        if node is not None:
            names.append(node.name)
            lines = range(node.body[0].lineno, node.end_lineno + 1)
            body = lines if line in lines and not isinstance(node, ast.ClassDef) else range(0)
    return ".".join(names), body


_parsed = cache(ast.parse)
_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _first_line(node: Any) -> int:
    first: int = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return first

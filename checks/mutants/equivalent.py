"""How many mutants of each kind no test can tell from the original, and why.

A kind is an operator in a definition. If more survive there than are listed, the others are alive.
"""

from __future__ import annotations

from typing import NamedTuple

from .mutations import Kind

__all__ = ["EQUIVALENT", "Equivalent", "equivalent"]


class Equivalent(NamedTuple):
    """So many mutants of one kind do what the original does."""

    module: str
    definition: str
    operator: str
    """As in `config.OPERATORS`."""
    count: int
    why: str

    @property
    def kind(self) -> Kind:
        """The kind of these mutants."""
        return Kind(self.module, self.definition, self.operator)


EQUIVALENT: list[Equivalent] = [
    Equivalent(
        "_engine/engine",
        "Engine.__init__",
        "core/ReplaceFalseWithTrue",
        1,
        "The circuit sets `_timed` as soon as it has its engine.",
    ),
    Equivalent(
        "_engine/engine",
        "Engine.__init__",
        "core/NumberReplacer",
        2,
        "`_failure_streak` is set when the first closed period ends, and not read before.",
    ),
    Equivalent(
        "_engine/engine",
        "Engine.__init__",
        "own/DeleteStatement",
        2,
        "The circuit sets `_timed` as soon as it has its engine; `_failure_streak` is set when the first closed period ends.",
    ),
    Equivalent(
        "_engine/engine",
        "Engine.refresh",
        "core/ReplaceComparisonOperator_Lt_NotEq",
        1,
        "Nothing is more than infinity.",
    ),
    Equivalent(
        "_engine/engine",
        "Engine.last_success_at",
        "core/ReplaceComparisonOperator_Gt_NotEq",
        1,
        "Nothing is less than minus infinity.",
    ),
    Equivalent(
        "_engine/engine", "Engine.next_attempt", "core/ReplaceComparisonOperator_Gt_NotEq", 1, "No wait is negative."
    ),
    Equivalent(
        "_engine/engine",
        "Engine.restore",
        "own/ReplaceString",
        1,
        "The reason is for the transition, which a restore does not publish.",
    ),
    Equivalent(
        "_engine/periods",
        "Closed.__init__",
        "core/ReplaceFalseWithTrue",
        1,
        "The first period is asked after the circuit has set it; whether the bypass needs permits is never asked.",
    ),
    Equivalent(
        "_engine/periods",
        "Closed.__init__",
        "core/NumberReplacer",
        2,
        "The first failure begins a streak of one, whether it follows `_streak_end` or not.",
    ),
    Equivalent(
        "_engine/periods",
        "Closed.__init__",
        "core/ReplaceComparisonOperator_Lt_NotEq",
        1,
        "Nothing is more than infinity.",
    ),
    Equivalent(
        "_engine/periods",
        "Closed.fail",
        "core/ReplaceComparisonOperator_Eq_LtE",
        1,
        "A number is taken after those before it, so it is at least the next.",
    ),
    Equivalent(
        "_engine/periods",
        "Closed.refresh",
        "core/ReplaceComparisonOperator_Eq_GtE",
        1,
        "No number is larger than `NEVER`.",
    ),
    Equivalent(
        "_engine/periods",
        "Closed.end",
        "core/NumberReplacer",
        2,
        "Numbers begin with 1, so `next_number` may be 1 or less.",
    ),
    Equivalent(
        "_engine/periods",
        "Closed.end",
        "core/ReplaceComparisonOperator_Eq_GtE",
        1,
        "No failure's number is larger than the last number.",
    ),
    Equivalent(
        "_engine/periods",
        "Closed.streak",
        "core/ReplaceComparisonOperator_Eq_GtE",
        1,
        "Failures take their numbers while the period lasts, so none of them is larger than the last.",
    ),
    Equivalent(
        "_engine/watches", "SparseWatch.see", "own/DeleteStatement", 1, "A function that ends returns `None` too."
    ),
    Equivalent(
        "_engine/watches",
        "LastCalls.__init__",
        "core/NumberReplacer",
        2,
        "`_latest` is read after the first outcome was counted, whose number is at least 1.",
    ),
    Equivalent(
        "_engine/watches",
        "LastCalls.restore",
        "own/DeleteStatement",
        1,
        "Every number that is counted after a restore is larger than `_latest`.",
    ),
    Equivalent(
        "_engine/watches",
        "LastSeconds.__init__",
        "core/NumberReplacer",
        1,
        "The first slot takes the larger of -1 and the number before the first call's, which is at least 0.",
    ),
    Equivalent("policies", "_UserWatch", "core/NumberReplacer", 1, "Numbers begin with 1, so `next_number` may be -1."),
    Equivalent("policies", "_see_nothing", "own/DeleteStatement", 1, "A function that ends returns `None` too."),
    Equivalent("policies", "_Rate._window", "own/DeleteStatement", 1, "The `assert` is for type checkers."),
    Equivalent(
        "backoff", "_requested_delay", "core/ReplaceComparisonOperator_Lt_NotEq", 1, "Nothing is more than infinity."
    ),
    Equivalent("backoff", "_requested_delay", "own/DeleteStatement", 1, "A function that ends returns `None` too."),
    Equivalent(
        "backoff",
        "_delay",
        "core/NumberReplacer",
        1,
        "Digits with two points are neither a number nor a date: an error either way.",
    ),
    Equivalent(
        "_circuit/blocks",
        "Blocks.enter",
        "core/AddNot",
        1,
        "A block that finds `common` to be its period may be noted by its place all the same: it leaves with the same entry.",
    ),
    Equivalent(
        "_circuit/blocks",
        "Blocks.enter",
        "core/ReplaceComparisonOperator_IsNot_Is",
        1,
        "A block that finds `common` to be its period may be noted by its place all the same: it leaves with the same entry.",
    ),
]


def equivalent(kind: Kind) -> int:
    """How many mutants of this kind are equivalent."""
    return sum(each.count for each in EQUIVALENT if each.kind == kind)

"""How many mutants of each kind no test can tell from the original, and why.

A kind is an operator in a definition: if more survive there than are listed, the others are alive.
"""

from __future__ import annotations

from collections.abc import Iterator

from .mutations import Kind

__all__ = ["equivalent", "listed"]

_EQUIVALENT: dict[str, dict[str, dict[str, tuple[int, str]]]] = {
    "_engine/engine": {
        "Engine.__init__": {
            "ReplaceFalseWithTrue": (1, "The circuit sets `_timed` as soon as it has its engine."),
            "NumberReplacer": (2, "`_failure_streak` is set when the first closed period ends, and not read before."),
            "DeleteStatement": (2, "Both are set before they are read."),
        },
        "Engine.is_ahead": {
            "ReplaceComparisonOperator_Lt_LtE": (1, "Nothing changes for what happened at this moment.")
        },
        "Engine.release": {
            "ReplaceComparisonOperator_LtE_Eq": (1, "The watch itself counts no call that was not slower."),
            "ReplaceComparisonOperator_LtE_Lt": (1, "The watch itself counts no call that was not slower."),
        },
        "Engine._release_trial": {"DeleteStatement": (1, "A function that ends returns `None` too.")},
        "Engine.refresh": {"ReplaceComparisonOperator_Lt_NotEq": (1, "Nothing is more than infinity.")},
        "Engine.last_success_at": {
            "ReplaceComparisonOperator_Gt_NotEq": (1, "Nothing is less than minus infinity."),
        },
        "Engine.next_attempt": {"ReplaceComparisonOperator_Gt_NotEq": (1, "No wait is negative.")},
        "Engine.restore": {
            "ReplaceString": (1, "The reason is for the transition, which a restore does not publish."),
        },
    },
    "_engine/periods": {
        "Closed.__init__": {
            "ReplaceFalseWithTrue": (1, "The circuit sets it for its first period; nothing asks a bypass."),
            "NumberReplacer": (2, "The first failure begins a streak of 1, wherever the last one ended."),
            "ReplaceComparisonOperator_Lt_NotEq": (1, "Nothing is more than infinity."),
        },
        "Closed.fail": {
            "ReplaceComparisonOperator_Eq_LtE": (1, "A new number is never less than the next."),
        },
        "Closed.refresh": {"ReplaceComparisonOperator_Eq_GtE": (1, "No number is larger than `NEVER`.")},
        "Closed.end": {
            "NumberReplacer": (2, "Numbers begin with 1, so `next_number` may be 1 or less."),
            "ReplaceComparisonOperator_Eq_GtE": (1, "No failure's number is larger than the last number."),
        },
        "Closed.streak": {
            "ReplaceComparisonOperator_Eq_GtE": (1, "No failure's number is larger than the last number."),
        },
    },
    "_engine/watches": {
        "SparseWatch.see": {"DeleteStatement": (1, "A function that ends returns `None` too.")},
        "LastCalls.__init__": {
            "NumberReplacer": (2, "`_latest` is read after the first number was counted, which is at least 1."),
        },
        "LastCalls.restore": {
            "DeleteStatement": (1, "Every number that is counted later is larger than `_latest`."),
        },
        "LastSeconds.__init__": {
            "NumberReplacer": (1, "The first slot takes the number before the first one if that is larger; it is 0."),
        },
    },
    "policies": {
        "_UserWatch": {"NumberReplacer": (1, "Numbers begin with 1, so `next_number` may be -1.")},
        "_see_nothing": {"DeleteStatement": (1, "A function that ends returns `None` too.")},
        "_Rate._window": {"DeleteStatement": (1, "The `assert` is for type checkers.")},
    },
    "backoff": {
        "_requested_delay": {
            "ReplaceComparisonOperator_Lt_NotEq": (1, "Nothing is more than infinity."),
            "DeleteStatement": (1, "A function that ends returns `None` too."),
        },
        "_delay": {"NumberReplacer": (1, "Digits with two points are an error either way.")},
    },
    "_circuit/blocks": {
        "Blocks.enter": {
            "AddNot": (1, "In this race a block may also be noted by its place: it leaves with the same entry."),
            "ReplaceComparisonOperator_IsNot_Is": (
                1,
                "In this race a block may also be noted by its place: it leaves with the same entry.",
            ),
        },
    },
}
"""By module, definition and operator."""


def listed() -> Iterator[tuple[Kind, int, str]]:
    """The kinds that have equivalent mutants, how many they are, and why."""
    for module, definitions in _EQUIVALENT.items():
        for definition, operators in definitions.items():
            for operator, (many, why) in operators.items():
                yield Kind(module, definition, operator), many, why


_COUNTS = {kind: many for kind, many, _ in listed()}


def equivalent(kind: Kind) -> int:
    """How many mutants of this kind are equivalent."""
    return _COUNTS.get(kind, 0)

"""What is mutated and how, which tests come first, and what no mutant is.

An operator is exchanged for each other one of its family: `<` for the other five comparisons, `+` for the other six of
arithmetic, and so on. Across families (`is` for `<`, `+` for `|`) a mutant is hardly ever anything but a `TypeError`.
"""

from __future__ import annotations

from itertools import permutations

__all__ = ["FIRST", "MODULES", "OPERATORS", "SLOW", "TESTS", "stages"]

_FAMILIES = {
    "ReplaceComparisonOperator": (("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"), ("Is", "IsNot")),
    "ReplaceBinaryOperator": (("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"), ("BitOr", "BitAnd", "BitXor")),
}

OPERATORS = [
    *(
        f"core/{kind}_{one}_{other}"
        for kind, families in _FAMILIES.items()
        for family in families
        for one, other in permutations(family, 2)
    ),
    "core/ReplaceUnaryOperator_Delete_Not",
    "core/ReplaceUnaryOperator_USub_UAdd",
    "core/ReplaceUnaryOperator_Delete_USub",
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
    "core/AddNot",
    "core/NumberReplacer",
    "core/ExceptionReplacer",
    "core/RemoveDecorator",
    "core/ZeroIterationForLoop",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "own/DeleteStatement",
    "own/SwapMembership",
    "own/ReplaceAugmented",
    "own/ReplaceString",
]
"""All of cosmic-ray's that take no arguments, by family, and four of our own: it deletes no statement, and leaves `in`,
`+=` and strings alone. Statements and strings are mutated inside functions only."""

MODULES = [
    "engine",
    "_periods",
    "policies",
    "_windows",
    "backoff",
    "outcomes",
    "_blocks",
    "_callables",
    "_circuit",
    "_fork",
    "_moments",
    "_own_code",
    "_proxies",
    "_rules",
    "_runs",
    "_serial",
    "_values",
    "breaker",
    "clock",
    "decorators",
    "errors",
    "events",
    "keyed",
    "listeners",
    "options",
    "permit",
    "registry",
]
"""All but `__init__`, which has no code, and `_types`, which type checkers alone read. The first six are the core."""

TESTS = [
    "test_closed.py",
    "test_open.py",
    "test_half_open.py",
    "test_control.py",
    "test_blocks.py",
    "test_listeners.py",
    "test_options.py",
    "test_backoff.py",
    "test_registry.py",
    "test_keyed.py",
    "test_wrapping.py",
    "test_every_state.py",
    "test_house.py",
    "test_policies.py",
    "test_async_libraries.py",
    "test_hard_weather.py",
    "test_forks.py",
]
"""The tests that judge a mutant: those that end in seconds. One that only the others would kill counts as alive."""

FIRST = {
    "engine": ["half_open", "open", "closed", "control"],
    "_periods": ["half_open", "open", "closed", "control"],
    "policies": ["closed", "policies"],
    "_windows": ["policies"],
    "backoff": ["backoff"],
    "outcomes": ["options", "every_state"],
    "_blocks": ["blocks"],
    "_callables": ["options", "wrapping"],
    "_fork": ["every_state", "keyed"],
    "_moments": ["open"],
    "_own_code": ["every_state"],
    "_proxies": ["wrapping"],
    "_runs": ["wrapping", "half_open"],
    "_serial": ["every_state", "listeners"],
    "_values": ["options", "policies"],
    "clock": ["options"],
    "decorators": ["wrapping", "registry", "keyed"],
    "errors": ["open"],
    "events": ["listeners", "open"],
    "keyed": ["keyed"],
    "listeners": ["listeners"],
    "options": ["options"],
    "permit": ["control", "half_open", "every_state"],
    "registry": ["registry"],
}
"""The tests that are about a module: they go first, for a mutant is dead at the first test that fails."""


_HEART = ["engine", "_periods", "_circuit", "_serial", "_blocks", "breaker", "permit", "listeners", "_own_code"]
_ABOUT = {
    "test_backoff_model.py": ["backoff"],
    "test_window_models.py": ["policies", "_windows"],
    "test_keyed_model.py": ["keyed"],
    "test_breaker_model.py": _HEART,
    "test_exploration.py::test_every_order_of_events_keeps_the_promises": ["engine", "_periods"],
    "test_schedules.py::test_no_schedule_breaks_a_promise": [*_HEART, "_windows", "keyed"],
    "test_interrupts.py": [*_HEART, "keyed", "registry"],
}
SLOW = list(_ABOUT)
"""Those that are worth their time for what survives all others, of the modules that they are about."""


def stages(module: str) -> tuple[list[str], list[str], list[str]]:
    """The tests about `module`, all others, and the slow ones."""
    first = [f"test_{name}.py" for name in FIRST.get(module, ["closed", "open", "half_open", "control"])]
    return first, [name for name in TESTS if name not in first], [name for name in SLOW if module in _ABOUT[name]]

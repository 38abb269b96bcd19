"""What is mutated and how, and which tests judge it.

An operator is exchanged for each other one of its family: `<` for the other five comparisons, `+` for the other six of
arithmetic, and so on. Across families (`is` for `<`, `+` for `|`) a mutant is hardly ever anything but a `TypeError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

__all__ = ["MODULES", "OPERATORS", "slow", "stages", "tests"]

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

_CORE = [
    "_engine/engine",
    "_engine/periods",
    "_engine/watches",
    "policies",
    "backoff",
    "outcomes",
    "_circuit/blocks",
    "_circuit/circuit",
    "_circuit/listeners",
    "_circuit/observable",
    "_circuit/readings",
    "_circuit/rules",
    "_circuit/turns",
    "_circuit/user_clock",
    "_circuit/user_code",
    "_circuit/waking",
    "_calls/anew",
    "_calls/calls",
    "_calls/guard",
    "_calls/proxies",
    "_calls/results",
    "_calls/travel",
    "_callables",
    "_causes",
    "_definitions",
    "_fork",
    "_log",
    "_values",
    "breaker",
    "clock",
    "decorators",
    "errors",
    "events",
    "keyed",
    "options",
    "permit",
    "registry",
]
_FLEET = [
    "fleet/agreement",
    "fleet/counts",
    "fleet/decisions",
    "fleet/leases",
    "fleet/link",
    "fleet/member",
    "fleet/messages",
    "fleet/outbox",
    "fleet/quotas",
    "fleet/record",
    "fleet/rules",
    "fleet/tallies",
    "fleet/watch",
    "stores/_at_exit",
    "stores/_loop",
    "stores/_redis_clients",
    "stores/_redis_listener",
    "stores/courier",
    "stores/encoding",
    "stores/memory",
    "stores/redis",
    "stores/store",
]
MODULES = [*_CORE, *_FLEET]
"""All but the integrations and what is built on them, those without code (`__init__`, `_engine/snapshot`, `_typing`,
`_sharing`, `stores/backend`), and `_calls/types`, which type checkers alone read."""

_TESTS = [
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
    "test_snapshots.py",
    "test_frames.py",
    "test_policies.py",
    "test_slow_calls.py",
    "test_verdicts.py",
    "test_auto_half_open.py",
    "test_clocks.py",
    "test_definitions.py",
    "test_results.py",
    "test_texts.py",
    "test_travel.py",
    "test_nested.py",
    "test_exits.py",
    "test_forks.py",
    "test_tasks_of_one_thread.py",
]
_TESTS_OF_FLEETS = [
    "test_fleet_by_hand.py",
    "test_fleet_model.py",
    "test_fleet.py",
    "test_fleet_records.py",
    "test_fleet_leases.py",
    "test_fleet_corners.py",
    "test_fleet_readers.py",
]
"""The tests that judge each mutant of the core, and each of `fleet` and `stores`: those that end in seconds."""

_USUAL = ["half_open", "open", "closed", "control"]
_FIRST = {
    "_engine/watches": ["policies", "snapshots"],
    "policies": ["closed", "policies"],
    "backoff": ["backoff"],
    "outcomes": ["options", "every_state"],
    "_circuit/blocks": ["blocks"],
    "_circuit/listeners": ["listeners"],
    "_circuit/observable": ["listeners", "control"],
    "_circuit/user_clock": ["clocks"],
    "_circuit/waking": ["auto_half_open"],
    "_circuit/readings": ["open", "control", "listeners"],
    "_circuit/turns": ["every_state", "listeners"],
    "_circuit/user_code": ["every_state"],
    "_calls/calls": ["wrapping", "half_open"],
    "_calls/guard": ["wrapping", "closed"],
    "_calls/proxies": ["wrapping"],
    "_calls/anew": ["results", "wrapping"],
    "_calls/results": ["results"],
    "_calls/travel": ["travel"],
    "_callables": ["options", "wrapping"],
    "_causes": ["verdicts", "options"],
    "_definitions": ["definitions"],
    "_log": ["texts", "every_state"],
    "_fork": ["every_state", "keyed"],
    "_values": ["options", "policies"],
    "clock": ["options", "open"],
    "decorators": ["wrapping", "registry", "keyed"],
    "errors": ["open"],
    "events": ["listeners", "open"],
    "keyed": ["keyed"],
    "options": ["options"],
    "permit": ["control", "half_open", "every_state"],
    "registry": ["registry"],
    "fleet/record": ["fleet_records", "fleet_by_hand"],
    "fleet/tallies": ["fleet_by_hand", "fleet_model", "fleet_records"],
    "fleet/messages": ["fleet_records", "fleet"],
}
"""The tests that are about a module: they go first, for a mutant is dead at the first test that fails."""


_PURE = ["_engine/engine", "_engine/periods", "_engine/watches"]
_HEART = [*_PURE, "_circuit/circuit", "_circuit/turns", "_circuit/blocks", "_circuit/listeners", "_circuit/user_code"]
_ALL_OF_A_CALL = [*_HEART, "_calls/calls", "_calls/guard", "breaker", "permit"]
_SHARED = [*_HEART, "_circuit/readings", "_values", "breaker", "errors", "events", "options", "policies"]
_PURE_FLEET = [module for module in _FLEET if module.startswith("fleet/")]
_SLOW = {
    "test_async_libraries.py": _CORE,
    "test_hard_weather.py": _CORE,
    "test_fleet_by_hand.py": _SHARED,
    "test_fleet.py": _SHARED,
    "test_backoff_model.py": ["backoff"],
    "test_window_models.py": ["policies", "_engine/watches"],
    "test_keyed_model.py": ["keyed"],
    "test_breaker_model.py": _ALL_OF_A_CALL,
    "test_exploration.py::test_every_order_of_events_keeps_the_promises": _PURE,
    "test_schedules.py::test_no_schedule_breaks_a_promise": [*_ALL_OF_A_CALL, "keyed"],
    "test_interrupts.py": [*_ALL_OF_A_CALL, "keyed", "registry"],
    "test_fleet_races.py": _PURE_FLEET,
    "test_fleet_simulated.py": _PURE_FLEET,
}
"""The tests that judge only what survives the others, and the modules that they are about."""


def tests(modules: Iterable[str]) -> list[str]:
    """The tests that judge each mutant of `modules`."""
    kinds = {module in _FLEET for module in modules}
    return [*(_TESTS if False in kinds else []), *(_TESTS_OF_FLEETS if True in kinds else [])]


def slow(modules: Iterable[str]) -> list[str]:
    """The tests that judge only those mutants of `modules` that survive the others."""
    return [name for name, about in _SLOW.items() if not set(about).isdisjoint(modules)]


def stages(module: str) -> tuple[list[str], list[str], list[str]]:
    """The tests about `module`, all others, and the slow ones. What only further tests would kill counts as alive."""
    usual = ["fleet_by_hand", "fleet_model", "fleet"] if module in _FLEET else _USUAL
    first = [f"test_{name}.py" for name in _FIRST.get(module, usual)]
    return first, [name for name in tests([module]) if name not in first], slow([module])

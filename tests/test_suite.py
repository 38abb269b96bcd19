"""The suite itself: `-m quick` stays quick."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from .conftest import QUICK

TESTS = Path(__file__).parent
HELPERS = {"async_libraries", "conftest", "reference", "support"}
LIBRARIES = {"circuitbreaker", "freezegun", "hypothesis", "pytest", "trio", "wrapt"}
SLOW = {"circuitbreaker.integrations", "circuitbreaker.stores", "multiprocessing", "socket"}


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_quick_test_uses_the_core_alone(name: str) -> None:
    """No server, no store, no integration, and no helper that has one."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse((TESTS / f"test_{name}.py").read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.module in HELPERS
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    assert {module.split(".")[0] for module in modules} <= LIBRARIES | set(sys.stdlib_module_names)
    assert not [module for module in modules if module.startswith(tuple(SLOW))]

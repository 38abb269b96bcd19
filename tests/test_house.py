"""The house: who imports whom, who changes state, what is exported. Read from the source itself."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import circuitbreaker

PACKAGE = Path(circuitbreaker.__file__).parent
MODULES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: Path) -> set[str]:
    """The top names of all that a module imports, wherever in it; our own with a dot before them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("module", ["policies", *(name for name in MODULES if name.startswith("_engine/"))])
def test_the_engine_and_the_policies_are_pure(module: str) -> None:
    """So that they can be explored, and shared by sync and async."""
    assert not imports(MODULES[module]) & {"time", "threading", "asyncio", "logging", "random", "_thread"}


def test_wrapt_is_imported_by_one_module_only() -> None:
    assert [name for name, path in MODULES.items() if "wrapt" in imports(path)] == ["_calls/proxies"]


EXTRAS = {
    "integrations/aiohttp.py": {"aiohttp", "multidict"},
    "integrations/django.py": {"asgiref", "django"},
    "integrations/fastapi.py": {"fastapi", "starlette"},
    "integrations/flask.py": {"flask"},
    "integrations/grpc.py": {"grpc"},
    "integrations/httpx.py": {"httpx"},
    "integrations/httpx2.py": {"httpx2"},
    "integrations/litestar.py": {"litestar"},
    "integrations/requests.py": {"requests", "urllib3"},
    "integrations/tenacity.py": {"tenacity"},
    "stores/_redis_clients.py": {"redis"},
    "stores/_redis_listener.py": {"redis"},
    "stores/redis.py": {"redis"},
}
"""What a module may import that nobody else does."""


def test_nothing_but_wrapt_and_the_standard_library_is_imported() -> None:
    for path in PACKAGE.rglob("*.py"):
        allowed = EXTRAS.get(path.relative_to(PACKAGE).as_posix(), set())
        outside = {name for name in imports(path) if not name.startswith(".")} - set(sys.stdlib_module_names)
        # typing_extensions is known to every type checker, and imported by type checkers alone.
        assert outside - {"__future__", "wrapt", "typing_extensions"} == allowed, path


def test_nothing_of_stores_is_imported_without_one() -> None:
    """A breaker is given a store, and asks it to attach itself."""
    code = "import sys, circuitbreaker; print(*[name for name in sys.modules if 'circuitbreaker.' in name])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not [name for name in loaded if name.split(".")[1] in ("fleet", "stores", "integrations")]


INTEGRATIONS = sorted((PACKAGE / "integrations").glob("[a-z]*.py"))


@pytest.mark.parametrize("path", INTEGRATIONS, ids=lambda path: path.stem)
def test_an_integration_uses_public_names_only(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.module, "it names the module that it imports from"
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            assert not [name for name in names if name.startswith("_")], path
            assert node.module != "integrations", "nobody imports an integration"


def test_nobody_imports_an_integration() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert not {name for name in imports(path) if "integrations" in name}, path


def test_httpx2_is_guarded_as_httpx_is() -> None:
    """The one has taken over the other's interface. The modules are the same: what holds for one holds for both."""
    httpx, httpx2 = ((PACKAGE / f"integrations/{name}.py").read_text() for name in ("httpx", "httpx2"))
    assert httpx.replace("httpx", "httpx2") == httpx2


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("fleet/") and name != "fleet/link"])
def test_a_members_share_in_a_fleet_is_pure(module: str) -> None:
    """So that fleets of any size run on a virtual clock. `link` is the shell: the turn, the log, and who waits."""
    impure = {"time", "threading", "asyncio", "logging", "random", "weakref", "_thread", "socket", "os"}
    assert not imports(MODULES[module]) & impure


@pytest.mark.parametrize("module", ["record", "messages", "tallies"])
def test_the_rule_of_the_record_is_pure(module: str) -> None:
    """So that any engine can keep to it."""
    assert imports(MODULES[f"fleet/{module}"]) <= {"__future__", "dataclasses", "typing", ".messages", ".tallies"}


@pytest.mark.parametrize("module", ["asyncio", "trio", "anyio"])
def test_no_module_imports_an_async_library(module: str) -> None:
    """E8: but for those that guard such a library."""
    assert [name for name, path in MODULES.items() if module in imports(path)] in ([], ["integrations/aiohttp"])


def test_one_line_changes_the_state() -> None:
    lines = re.findall(r"self\.period(?:: \w+)? = .*", MODULES["_engine/engine"].read_text())
    assert lines == ["self.period: Period = Closed(rules.watch())", "self.period = period"]


GROUND = {
    *("_values", "_callables", "_causes", "_definitions", "_fork", "_log", "_sharing", "_typing"),
    *("events", "errors", "clock"),
}
"""Values, checks and protocols: any room may use them."""

ARROWS: dict[str, set[str]] = {
    "_engine": set(),
    "policies": {"_engine"},
    "backoff": set(),
    "outcomes": set(),
    "options": {"policies", "backoff", "outcomes"},
    "permit": {"_engine", "outcomes"},
    "_circuit": {"_engine", "policies", "backoff", "outcomes", "options", "permit"},
    "registry": {"_circuit", "options"},
    "_calls": {"_engine", "_circuit", "outcomes", "permit", "registry"},
    "breaker": {"_calls", "_engine", "_circuit", "options", "permit", "registry"},
    "keyed": {"_engine", "breaker", "options", "registry"},
    "decorators": {"_calls", "_circuit", "breaker", "keyed", "options", "registry"},
    "fleet": {"_circuit", "_engine", "options", "policies"},
    "stores": {"_circuit", "fleet", "options"},
    "clients": {"backoff", "keyed", "options", "permit", "registry"},
    "problems": set(),
    "health": {"problems", "registry"},
    "retries": set(),
    "integrations": {"breaker", "clients", "health", "keyed", "problems", "registry", "retries"},
}
"""What each room imports, besides its own modules and the ground. Nothing points back."""

CIRCLES = {
    ("registry", "breaker"): "a breaker registers itself, and a registry makes breakers: within the function that does",
    ("_calls/types", "breaker"): "what type checkers see of guarded callables",
    ("_calls/types", "keyed"): "likewise",
}
"""The arrows that point back, each with its reason."""


def room_of(module: str) -> str:
    return module.split("/", maxsplit=1)[0]


def own_imports(module: str, for_types: bool) -> set[str]:
    """The modules of the package that a module imports, wherever in it, for type checkers alone or otherwise."""
    tree = ast.parse(MODULES[module].read_text())
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    inside = {id(node) for each in typing for node in ast.walk(each)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and (id(node) in inside) == for_types:
            home = module.split("/")[: -node.level]
            names = [node.module.replace(".", "/")] if node.module else [alias.name for alias in node.names]
            found |= {"/".join([*home, name]) for name in names}
    return found


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_arrows_run_one_way(module: str) -> None:
    """So that a room can be read, and changed, knowing only those below it."""
    room = room_of(module)
    used = {room_of(each) for each in own_imports(module, for_types=False)} - {room} - GROUND
    back = {target for source, target in CIRCLES if source in (room, module)}
    assert used <= (set() if room in GROUND else ARROWS[room]) | back


def test_the_ground_uses_itself_alone() -> None:
    for module in GROUND & MODULES.keys():
        assert own_imports(module, for_types=False) <= GROUND, module


def test_there_is_no_circle_but_those_with_a_reason() -> None:
    reach: dict[str, set[str]] = {}
    for room, used in ARROWS.items():  # Each room stands after all that it uses.
        assert used <= reach.keys(), room
        reach[room] = used.union(*(reach[each] for each in used))
    assert all(source in MODULES for source, _ in CIRCLES)


def test_the_fleet_does_not_know_stores_and_the_core_knows_neither() -> None:
    """Not even for types: `_sharing` has what lies between a circuit and a store."""
    allowed = {"fleet": {"fleet"}, "stores": {"fleet", "stores"}}
    for module in MODULES:
        used = own_imports(module, for_types=False) | own_imports(module, for_types=True)
        assert {room_of(each) for each in used} & {"fleet", "stores"} <= allowed.get(room_of(module), set()), module


def test_all_but_integrations_log_by_one_function() -> None:
    """E4: what a handler raises reaches no caller."""
    assert {name for name in MODULES if "logging" in imports(MODULES[name])} - {"integrations/stamina"} == {"_log"}


def test_importing_the_package_imports_nothing_slow() -> None:
    code = (
        "import sys; before = set(sys.modules); import circuitbreaker;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"wrapt", "asyncio", "inspect", "dataclasses", "logging", "random", "email", "socket"} & set(loaded)


def test_exported_names_say_where_they_are_found() -> None:
    assert circuitbreaker.__all__ == sorted(circuitbreaker.__all__)
    for name in circuitbreaker.__all__:
        exported = getattr(circuitbreaker, name)
        if isinstance(exported, type) and not hasattr(exported, "__origin__"):  # Python 3.10 takes an alias for a type
            assert exported.__module__ == "circuitbreaker", name


def test_every_module_says_its_rule_first() -> None:
    for name, path in MODULES.items():
        assert ast.get_docstring(ast.parse(path.read_text())), name


def test_the_versions_agree() -> None:
    assert version("circuitbreaker-kit") == circuitbreaker.__version__
    assert f"## {circuitbreaker.__version__}" in (Path(__file__).parent.parent / "CHANGELOG.md").read_text()


def test_every_promise_is_cited_by_a_test() -> None:
    """Each of `docs/promises.md`, by its number."""
    root = Path(__file__).parent
    cited = "".join(path.read_text() for path in root.glob("test_*.py"))
    promises = re.findall(r"^- \*\*([A-Z]\d+)\*\*", (root.parent / "docs/promises.md").read_text(), re.MULTILINE)
    assert len(promises) >= 51
    assert [promise for promise in promises if not re.search(rf'"""[^"]*\b{promise}\b', cited)] == []


def test_the_source_names_no_machine() -> None:
    home = os.path.expanduser("~")
    for path in MODULES.values():
        assert home not in path.read_text() or len(home) < 3

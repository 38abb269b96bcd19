"""Names: what a breaker is called, and what happens when a module's lines run again."""

from __future__ import annotations

import importlib
import logging
import runpy
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from circuitbreaker import CircuitBreaker, CircuitState, KeyedBreakers, Registry, circuit, get_breaker
from circuitbreaker import _log as log
from circuitbreaker._calls import anew
from circuitbreaker._definitions import module_name

from .support import collect_on_pypy, succeed


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[str]]:
    """What is logged, each warning as if it were the first."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("circuitbreaker")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    warned = set(log._warned)
    log._warned.clear()
    anew._latest.clear()
    yield lines
    log._warned.clear()
    log._warned.update(warned)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a module, and imports it or executes it again."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text: str, name: str = "shop") -> types.ModuleType:
        (tmp_path / f"{name}.py").write_text(f"from circuitbreaker import *\n{text}\n")
        importlib.invalidate_caches()
        found = sys.modules.get(name)
        return importlib.import_module(name) if found is None else importlib.reload(found)

    yield write
    for name in ("shop", "other"):
        sys.modules.pop(name, None)


# A module that is executed again


IN_A_REGISTRY = """
from circuitbreaker.registry import *
bank = default_registry().get_or_create('bank', ignore=lambda error: False)
"""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bank = CircuitBreaker('bank', failure_threshold=5)", "bank"),
        ("@circuit(name='bank', is_failure=lambda error: True)\ndef bank(): ...", "bank"),
        ("def none(): ...\n@circuit(name='bank', fallback=none)\ndef bank(): ...", "bank"),
        (IN_A_REGISTRY, "bank"),
        ("@circuit(is_failure=lambda error: True)\ndef bank(): ...", "shop.bank"),
        ("class bank:\n    @circuit(ignore=lambda error: False)\n    def pay(self): ...", "shop.bank.pay"),
        ("def make():\n    return CircuitBreaker('bank')\nbank = make()", "bank"),
    ],
)
def test_a_module_that_is_executed_again_takes_its_definitions_over(
    module: Any, lines: list[str], text: str, name: str, sandbox: Registry
) -> None:
    """N2: the new breaker is found, there is one line about it, and the old one still works for those who have it."""
    kept = module(text).bank
    first = get_breaker(name)
    again = module(text)
    assert get_breaker(name) is not first
    assert len(sandbox) == 1
    [line] = lines
    assert line.startswith(f"circuit {name!r}: shop is executed again")
    assert first.call(lambda: "fine") == "fine"
    assert again.bank is not kept


def test_equal_options_keep_the_circuit(module: Any, lines: list[str]) -> None:
    """N2: a circuit that is open stays open."""
    text = (
        "@circuit(failure_threshold=2)\ndef free(): ...\n@circuit(name='bank', failure_threshold=2)\ndef named(): ..."
    )
    shop = module(text)
    kept = shop.free, shop.named
    shop.free.breaker.open()
    shop.named.breaker.open()
    again = module(text)
    for old, new in zip(kept, (again.free, again.named), strict=True):
        assert old is not new
        assert new.breaker is old.breaker
        assert new.breaker.state is CircuitState.OPEN
    [line] = lines
    assert line == "circuit 'shop.free': shop is executed again; the circuit is the same"


def test_an_edited_option_takes_effect(module: Any, lines: list[str], sandbox: Registry) -> None:
    """N2"""
    text = (
        "@circuit(failure_threshold=2)\ndef free(): ...\n@circuit(name='bank', failure_threshold=2)\ndef named(): ..."
    )
    module(text)
    again = module(text.replace("2", "3"))
    assert get_breaker("shop.free") is again.free.breaker
    assert get_breaker("bank") is again.named.breaker
    assert len(lines) == 2
    assert all("trip ConsecutiveFailures(threshold=2) there, ConsecutiveFailures(threshold=3) here" in x for x in lines)
    collect_on_pypy()
    assert sorted(each.name for each in sandbox) == ["bank", "shop.free"]


def test_two_definitions_of_one_execution_are_two(module: Any) -> None:
    """N2: functions of one name in one module are numbered, and a name that is given twice is an error."""
    text = "\n".join(["both = []"] + ["@circuit\ndef handler(): ...\nboth.append(handler)"] * 2)
    for _ in range(3):
        shop = module(text)
        assert [each.breaker.name for each in shop.both] == ["shop.handler", "shop.handler#2"]
    module("bank = CircuitBreaker('bank')", "other")
    with pytest.raises(ValueError, match="name 'bank' is taken by"):
        module("bank = CircuitBreaker('bank')\nagain = CircuitBreaker('bank')", "other")


def test_a_name_of_another_module_is_not_taken_over(module: Any) -> None:
    """N2"""
    text = "bank = CircuitBreaker('bank')\n@circuit(name='stock', failure_threshold={})\ndef stock(): ..."
    kept = module(text.format(2))
    with pytest.raises(ValueError, match="name 'bank' is taken by"):
        module(text.format(3), "other")
    with pytest.raises(ValueError, match="'bank' is taken"):
        CircuitBreaker("bank")
    with pytest.raises(ValueError, match="the name 'stock' is taken by a breaker with other options"):
        circuit(name="stock")(succeed)
    assert get_breaker("bank") is kept.bank


def test_cells_of_a_notebook_take_over(sandbox: Registry, lines: list[str]) -> None:
    """N2: each is a code of its own, in the one module `__main__`; IPython 8 names its cells."""
    cell = "from circuitbreaker import *\nbank = CircuitBreaker('bank', ignore=lambda error: False)"
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, "<ipython-input-1>", "exec"), namespace)
    exec(compile(cell, "<ipython-input-2>", "exec"), namespace)
    code = compile(cell, "<ipython-input-3>", "exec").replace(co_name="<cell line: 1>")
    exec(code, namespace)
    assert get_breaker("bank") is namespace["bank"]
    assert len(lines) == 2


def test_one_code_in_a_new_module_is_executed_again(monkeypatch: pytest.MonkeyPatch, sandbox: Registry) -> None:
    """N2: as Streamlit runs a script for each of its sessions."""
    code = compile("from circuitbreaker import *\nbank = CircuitBreaker('bank')", "script.py", "exec")
    kept: list[Any] = []
    for _ in range(3):
        fresh = types.ModuleType("script")
        monkeypatch.setitem(sys.modules, "script", fresh)
        exec(code, vars(fresh))
        kept.append(fresh)
        assert get_breaker("bank") is vars(fresh)["bank"]


def test_a_thread_defines_nothing_again(sandbox: Registry) -> None:
    """N2: where no module is being executed, a name is taken as ever."""
    from threading import Thread

    errors: list[Exception] = []

    def run() -> None:
        kept = CircuitBreaker("bank")
        try:
            CircuitBreaker("bank")
        except ValueError as error:
            errors.append(error)
        assert kept

    thread = Thread(target=run)
    thread.start()
    thread.join()
    assert len(errors) == 1


# The names of modules

SCRIPT = """
from circuitbreaker import circuit
@circuit
def work(): ...
class Service:
    def __call__(self): ...
if __name__ in ("__main__", "__mp_main__"):
    print(work.breaker.name, circuit(Service()).breaker.name)
"""


def said(*command: str, cwd: Path) -> str:
    paths = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    ran = subprocess.run([sys.executable, *command], cwd=cwd, env=paths, check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def test_main_has_its_real_name(tmp_path: Path) -> None:
    """N1: the one by which another process imports it, so that a fleet knows one circuit by one name."""
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").touch()
    for file in ("script.py", "pack/module.py", "pack/__main__.py", "__main__.py"):
        (tmp_path / file).write_text(SCRIPT)
    assert said("script.py", cwd=tmp_path) == "script.work script.Service"
    assert said("-m", "script", cwd=tmp_path) == "script.work script.Service"
    assert said("-m", "pack.module", cwd=tmp_path) == "pack.module.work pack.module.Service"
    assert said("-m", "pack", cwd=tmp_path) == "pack.__main__.work pack.__main__.Service"
    assert said(str(tmp_path), cwd=tmp_path) == f"{tmp_path.name}.work {tmp_path.name}.Service"
    assert said("-c", SCRIPT, cwd=tmp_path) == "__main__.work __main__.Service"


@pytest.mark.parametrize(
    ("main", "name"),
    [
        ({"__file__": "/srv/shop.py", "__spec__": None}, "shop"),
        ({"__file__": "/srv/shop/__main__.py"}, "shop"),
        ({"__file__": "<stdin>"}, "__main__"),
        ({"__spec__": SimpleNamespace(name="pack.shop"), "__file__": "/srv/pack/shop.py"}, "pack.shop"),
        ({"__spec__": SimpleNamespace(name="__main__"), "__file__": "/srv/app/__main__.py"}, "app"),
        ({}, "__main__"),
    ],
)
def test_main_is_named_by_how_it_was_started(main: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """N1"""
    module = types.ModuleType("__main__")
    vars(module).update(main)
    monkeypatch.setitem(sys.modules, "__main__", module)
    assert module_name("__main__") == name
    assert module_name("shop.orders") == "shop.orders"


def test_a_worker_of_multiprocessing_has_the_names_of_its_parent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """N1"""
    (tmp_path / "script.py").write_text(SCRIPT)
    runpy.run_path(str(tmp_path / "script.py"), run_name="__mp_main__")
    assert capsys.readouterr().out == "script.work script.Service\n"


# Numbers


def test_numbers_are_given_in_order_and_again(sandbox: Registry) -> None:
    """N3"""
    kept = [circuit(succeed) for _ in range(40)]
    stem = f"{succeed.__module__}.succeed"
    assert [each.breaker.name for each in kept] == [stem, *(f"{stem}#{number}" for number in range(2, 41))]
    del kept[20]
    collect_on_pypy()
    kept += [circuit(succeed) for _ in range(11)]
    assert f"{stem}#21" in {each.breaker.name for each in kept}
    del kept[0]
    collect_on_pypy()
    assert circuit(succeed).breaker.name == stem


def test_one_more_breaker_costs_the_same_however_many_there_are(sandbox: Registry) -> None:
    """N3: names looked up, which is what grew."""

    class Counting(Registry):
        looked_up = 0

        def _is_free(self, *args: Any) -> bool:
            self.looked_up += 1
            return super()._is_free(*args)

    home = Counting()
    kept = [circuit(registry=home)(succeed) for _ in range(2000)]
    assert home.looked_up <= 7 * len(kept)


def test_numbers_stay_small_while_breakers_come_and_go(sandbox: Registry) -> None:
    """N3, E7: names are labels of metrics."""
    kept = [circuit(succeed) for _ in range(50)]
    for index in range(2000):
        kept[1 + index % 49] = circuit(succeed)
    numbers = [int(each.breaker.name.partition("#")[2] or 1) for each in kept]
    assert max(numbers) <= 100


def test_what_is_kept_of_numbers_is_bounded(sandbox: Registry) -> None:
    """E7: and names stay unique when it is dropped."""
    one, other = (KeyedBreakers("keyed", maxsize=5000) for _ in range(2))
    names = {each.use(key).name for key in range(1100) for each in (one, other)}
    third = KeyedBreakers("keyed")
    assert len(names | {third.use(key).name for key in (5, 1099)}) == 2202
    assert len(sandbox._numbers) <= 1000


# A decorator that is applied for each call


def work() -> str:
    return "fine"


@pytest.mark.parametrize("options", [{}, {"registry": None}, {"key": lambda: 1}])
def test_a_decorator_applied_for_each_call_is_warned_of_once(lines: list[str], options: Any) -> None:
    """N4"""
    for _ in range(30):
        circuit(**options)(work)()
    [line] = lines
    assert f"10 breakers in a row were made for {__name__}.work and saw one call each" in line
    assert "circuit(name=...)" in line


@pytest.mark.parametrize(
    "use",
    [
        lambda guarded: None,
        lambda guarded: guarded() + guarded(),
    ],
)
def test_breakers_for_many_objects_are_not_warned_of(lines: list[str], use: Any) -> None:
    """N4: thousands of connections may each guard a method of their own."""
    kept = [circuit(work) for _ in range(30)]
    for each in kept:
        use(each)
    for _ in range(30):
        kept.append(circuit(work))
        use(kept[-1])
    assert lines == []


def test_a_name_finds_the_breaker_again_for_each_call(lines: list[str]) -> None:
    """N4: which is the cure."""
    for _ in range(30):
        circuit(name="work")(work)()
    assert get_breaker("work").metrics().total_successes == 30
    assert lines == []


def test_what_is_kept_of_functions_is_bounded() -> None:
    """E7"""
    for number in range(1100):
        circuit(registry=None)(types.FunctionType(work.__code__, {"__name__": f"m{number}"}))
    assert len(anew._latest) <= 1000


def test_what_is_remembered_of_warnings_is_bounded(lines: list[str]) -> None:
    """E7"""
    for number in range(1100):
        log.warn_once("%d", number)
    assert len(lines) == len(log._warned) == 1000

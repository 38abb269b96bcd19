"""What is measured works: a row that fails, or a gate that lets everything pass, would measure nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("benchmarks", reason="the benchmarks are not part of the wheel")
pytest.importorskip("tracemalloc", reason="PyPy has none, and the benchmarks measure CPython")

from benchmarks import gate
from benchmarks.bytecodes import executed
from benchmarks.footprint import bytes_each
from benchmarks.instructions import COUNTED
from benchmarks.memory import a_breaker, a_key
from benchmarks.peers import PEERS, Peer, ours
from benchmarks.peers.compare import source
from benchmarks.peers.operations import OPERATIONS
from benchmarks.rows import ROWS

from .support import no_cyclic_collector

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("side", ["floor", "ours"])
@pytest.mark.parametrize("row", ROWS)
def test_every_row_runs(row: str, side: str) -> None:
    ROWS[row].side(side)(50)


def test_every_client_makes_requests_with_and_without_its_guard() -> None:
    """In a process of its own: one that has used gRPC should not fork, and other tests do."""
    code = """
from contextlib import ExitStack
from benchmarks.clients import CLIENTS, serving
for protocol, make in CLIENTS.values():
    with serving(protocol) as port, ExitStack() as stack:
        for loop in make(port, stack):
            loop(3)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_runs_through_ours(operation: str) -> None:
    OPERATIONS[operation].through(ours)(50)


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_has_its_module(peer: Peer) -> None:
    assert source(peer).exists()


def test_the_floors_need_no_breaker() -> None:
    """They are measured in the peers' environments too."""
    imports = "import benchmarks.floors, benchmarks.timing, benchmarks.footprint, benchmarks.peers.operations, sys"
    check = f"{imports}; sys.exit('circuitbreaker' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)


def test_bytecodes_are_counted_per_operation() -> None:
    with no_cyclic_collector():
        counts = executed(ROWS["sync"].floor())
    assert [count for step, count in counts.items() if step.opcode == "CALL_FUNCTION_EX"] == [1.0]


def test_a_listener_to_state_changes_costs_a_call_nothing() -> None:
    """Features that are not used cost nothing; counted in bytecodes, which is exact."""
    with no_cyclic_collector():  # which would run what hypothesis has it call
        assert executed(ROWS["state_listener"].ours()).total() == executed(ROWS["sync"].ours()).total()


def test_breakers_are_weighed() -> None:
    assert 500 < bytes_each(a_breaker(), 100) < 10_000
    assert 500 < bytes_each(a_key(), 100) < 10_000


def test_the_gate_lets_ten_percent_pass_and_no_more() -> None:
    assert gate.excess({"sync": 2.21, "block": 2.19}, {"sync": 2.0, "block": 2.0}) == [
        "sync: 2.21 times the floor, 10% over the bound of 2.00"
    ]


@pytest.mark.parametrize("bounds", [{}, {"sync": 2.0}, {**dict.fromkeys(gate.GATED, 2.0), "gone": 2.0}])
def test_the_gate_fails_without_a_bound_for_each_row(bounds: dict[str, float]) -> None:
    with pytest.raises(SystemExit, match=r"bounds for Python 3\.11"):
        gate.bounds_for("3.11", {"3.11": bounds})


def test_the_committed_bounds_fit_the_rows() -> None:
    for version, bounds in json.loads(gate.BOUNDS.read_text()).items():
        assert gate.bounds_for(version, {version: bounds}) == bounds
    assert set(gate.GATED) <= set(COUNTED) <= set(ROWS)


def test_counting_fails_without_valgrind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "instructions", "sync"]
    ran = subprocess.run(command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "valgrind, and there is none" in ran.stderr

"""A table of what each library costs, as a ratio to the floor, with the same floors and loops for all."""

from __future__ import annotations

import ast
import json
import shutil
import sys
from pathlib import Path

from .. import table
from ..environments import environment
from ..instructions import count
from ..processes import ROOT, Process
from . import OURS, PEERS, Peer
from .operations import OPERATIONS

__all__ = ["compare", "installed", "process", "source"]

_TAKEN_ALONG = ("__init__.py", "floors.py", "footprint.py", "loops.py", "timing.py", "work.py", "peers")


def compare(by_instructions: bool, quick: bool) -> None:
    """Print the table, and what its figures do not show. A dash marks what a library does not offer."""
    peers = installed()
    if by_instructions:
        _by_instructions(peers, *((200, 700) if quick else (1_000, 6_000)))
    else:
        _by_time(peers, 300 if quick else 2_000)
    print("\n-: not offered. What the figures do not show:")
    for peer in peers:
        print(f"{peer.name} {peer.version}".strip() + f": {ast.get_docstring(ast.parse(source(peer).read_text()))}")


def _by_time(peers: list[Peer], milliseconds: int) -> None:
    figures = [json.loads(process(peer, "time").run(milliseconds).stdout) for peer in peers]
    table.wide("time over the floor's, best of many", ["floor", *(peer.name for peer in peers)])
    for name, operation in OPERATIONS.items():
        floor = f"{figures[0][name][0] * 1e9:.0f} ns"
        times = [figure.get(name) for figure in figures]
        table.wide(operation.what, [floor, *(f"{pair[1] / pair[0]:.2f} x" if pair else "-" for pair in times)])
    bare = f"{figures[0]['import'][0] * 1e3:.1f} ms"
    imports = [after - before for before, after in (figure["import"] for figure in figures)]
    table.wide("import, over a bare interpreter", [bare, *(f"{seconds * 1e3:.1f} ms" for seconds in imports)])
    table.wide("one idle breaker", ["", *(f"{figure['bytes']:.0f} B" for figure in figures)])


def _by_instructions(peers: list[Peer], few: int, many: int) -> None:
    for peer in peers:
        process(peer, "call").run(1)  # compiles the modules
    table.wide("instructions over the floor's", ["floor", *(peer.name for peer in peers)])
    for name, operation in OPERATIONS.items():
        if operation.counted:
            able = [peer for peer in peers if operation.needs in source(peer).read_text()]
            counts = count([process(OURS, f"floor:{name}"), *(process(peer, name) for peer in able)], few, many)
            ratios = {peer: f"{our / counts[0]:.2f} x" for peer, our in zip(able, counts[1:], strict=True)}
            table.wide(operation.what, [f"{counts[0]:.0f}", *(ratios.get(peer, "-") for peer in peers)])


def installed() -> list[Peer]:
    """The libraries that support this Python, ours first, each with current copies of these files."""
    peers = [peer for peer in (OURS, *PEERS) if peer.python <= sys.version_info]
    for peer in peers:
        packages = environment(*peer.requirements).packages
        for file in _TAKEN_ALONG:
            _copy(ROOT / "benchmarks" / file, packages / "benchmarks" / file)
        if peer is OURS:
            _copy(ROOT / "circuitbreaker", packages / "circuitbreaker")
    return peers


def process(peer: Peer, what: str) -> Process:
    """The process that does `what` in the library's environment."""
    made = environment(*peer.requirements)
    return Process(str(made.python), made.packages, "benchmarks.peers.inside", (_module(peer), peer.package, what))


def _module(peer: Peer) -> str:
    return f"benchmarks.peers.{source(peer).stem}"


def source(peer: Peer) -> Path:
    """The library's module here."""
    return Path(__file__).with_name(f"{peer.name.replace('-', '_')}.py")


def _copy(source: Path, target: Path) -> None:
    """Copy with the date, so that compiled modules stay valid."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(source, target)

"""The size of the source that is loaded, ours and the peers': unchanged, minified, and compressed.

Only modules that are loaded once a function has been guarded and called are counted. Minified is each module after
python-minifier with its defaults (comments, blanks and annotations of variables, arguments and results removed, local
names shortened, repeated literals hoisted) and without docstrings. Compressed is all of that in one piece, by zlib at
its highest level.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from . import table
from .environments import environment
from .peers import OURS
from .peers.compare import installed, process
from .processes import ROOT, output

__all__ = ["sizes"]

_MINIFIER = "python-minifier==3.4.0"
_MINIFY = "import sys, python_minifier as m; print(m.minify(sys.stdin.read(), remove_literal_statements=True))"
_ENGINE = ("engine", "periods", "watches", "policies", "backoff", "outcomes")


def sizes() -> None:
    """Print the table."""
    table.wide("source, bytes", ["modules", "as it stands", "minified", "compressed"])
    for peer in installed():
        files = [Path(file) for file in json.loads(process(peer, "files").run(0).stdout)]
        _line(f"{peer.name} {peer.version}", files)
        if peer is OURS:
            _line("ours, the engine alone", [file for file in files if file.stem in _ENGINE])
    print(f"\nThe engine alone: {', '.join(_ENGINE)}.")


def _line(what: str, files: list[Path]) -> None:
    minified = "\n".join(_minified(file) for file in files).encode()
    sizes = [len(files), sum(file.stat().st_size for file in files), len(minified), len(zlib.compress(minified, 9))]
    table.wide(what, [f"{size:,}" for size in sizes])


def _minified(file: Path) -> str:
    python = environment(_MINIFIER).python
    return output([str(python), "-c", _MINIFY], ROOT, file.read_text()).stdout.strip()

"""Serve the page on this machine: the package, built from this repository, runs in the reader's own browser.

    python examples/browser/serve.py

It prints the address. It needs pip and npm; the first time they bring Pyodide, which is Python for browsers, and wrapt.
These and the built wheel are kept in .cache/browser at the top of the repository. The page asks nobody but this server.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, NamedTuple
from urllib.parse import urlsplit

PYODIDE = "314.0.7"  # Python 3.14
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "browser"

ONLY_THIS_SERVER = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:; form-action 'none'"


class Parts(NamedTuple):
    """What the page is put together from, beside the files of this folder."""

    pyodide: Path
    kit: Path
    wrapt: Path


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the page on this machine.")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    wanted = parser.parse_args()
    Page.files = addresses(parts())
    server = ThreadingHTTPServer(("127.0.0.1", wanted.port), Page)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


def parts() -> Parts:
    """Pyodide and the wheels, fetched and built where they are not at hand."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return Parts(pyodide(), *wheels())


def pyodide() -> Path:
    """Pyodide's folder, as it comes from npm."""
    folder = CACHE / "node_modules" / "pyodide"
    about = folder / "package.json"
    if not about.exists() or json.loads(about.read_text(encoding="utf-8"))["version"] != PYODIDE:
        npm = shutil.which("npm") or sys.exit("This needs npm, which comes with Node.js.")
        options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
        subprocess.run([npm, "install", *options, "--prefix", CACHE, f"pyodide@{PYODIDE}"], check=True, cwd=CACHE)
    return folder


def wheels() -> tuple[Path, Path]:
    """The package's wheel, built anew if a source is newer, and the wheel of wrapt that pip takes with it."""
    folder = CACHE / "wheels"
    found = sorted(folder.glob("*.whl"))
    changed = max(path.stat().st_mtime for path in [ROOT / "pyproject.toml", *(ROOT / "circuitbreaker").rglob("*.py")])
    if len(found) != 2 or min(path.stat().st_mtime for path in found) < changed:
        shutil.rmtree(folder, ignore_errors=True)
        pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT)
        pure = ["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none"]
        pip("download", *pure, "--dest", folder, *folder.glob("circuitbreaker_kit-*.whl"))
    return next(folder.glob("circuitbreaker_kit-*.whl")), next(folder.glob("wrapt-*.whl"))


def pip(command: str, *arguments: str | Path) -> None:
    quiet = ["--quiet", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", command, *quiet, *arguments], check=True)


def addresses(parts: Parts) -> dict[str, Path]:
    """All that is served, by its address."""
    ours = {f"/{name}": HERE / name for name in ("style.css", "app.js", "service.py")}
    theirs = {f"/pyodide/{path.name}": path for path in parts.pyodide.iterdir()}
    return {"/": HERE / "index.html", **ours, **theirs, "/kit.whl": parts.kit, "/wrapt.whl": parts.wrapt}


class Page(SimpleHTTPRequestHandler):
    """Serves the files of the table, and no others."""

    files: ClassVar[dict[str, Path]] = {}
    extensions_map = {  # noqa: RUF012 - as the class above has it
        **SimpleHTTPRequestHandler.extensions_map,
        ".css": "text/css",
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".py": "text/plain",
        ".wasm": "application/wasm",
    }

    def translate_path(self, path: str) -> str:
        """The file that an address stands for."""
        return str(self.files.get(urlsplit(path).path, HERE / "there is no such file"))

    def end_headers(self) -> None:
        """Tell the browser to ask nobody else, and not to keep what may change."""
        self.send_header("Content-Security-Policy", ONLY_THIS_SERVER)
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing of what goes well or ill: the browser does."""


if __name__ == "__main__":
    main()

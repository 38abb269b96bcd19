"""Serve the page on loopback: the package, built from this repository, runs in your browser.

    python examples/browser/serve.py

It prints the address. It needs pip and npm, which fetch wrapt and Pyodide (Python for browsers) on the first run. These
and the built wheel are cached in .cache/browser at the top of the repository. The page contacts no other server.
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
    """What the page consists of, in addition to the files of this folder."""

    pyodide: Path
    kit: Path
    wrapt: Path


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the page on loopback.")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    arguments = parser.parse_args()
    Page.files = addresses(parts())
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Page)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


def parts() -> Parts:
    """Pyodide and the wheels, fetched or built if they are not cached."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return Parts(pyodide(), *wheels())


def pyodide() -> Path:
    """Pyodide's folder, installed by npm."""
    folder = CACHE / "node_modules" / "pyodide"
    about = folder / "package.json"
    if not about.exists() or json.loads(about.read_text(encoding="utf-8"))["version"] != PYODIDE:
        npm = shutil.which("npm") or sys.exit("This example needs npm, which comes with Node.js")
        options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
        subprocess.run([npm, "install", *options, "--prefix", CACHE, f"pyodide@{PYODIDE}"], check=True, cwd=CACHE)
    return folder


def wheels() -> tuple[Path, Path]:
    """The package's wheel, rebuilt if a source file is newer, and a wheel of wrapt that pip selects for it."""
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
    """The served files, by address."""
    ours = {f"/{name}": HERE / name for name in ("style.css", "app.js", "service.py")}
    theirs = {f"/pyodide/{path.name}": path for path in parts.pyodide.iterdir()}
    return {"/": HERE / "index.html", **ours, **theirs, "/kit.whl": parts.kit, "/wrapt.whl": parts.wrapt}


class Page(SimpleHTTPRequestHandler):
    """Serves the files in `files`, and no others."""

    files: ClassVar[dict[str, Path]] = {}
    extensions_map = {  # noqa: RUF012 - as in the base class
        **SimpleHTTPRequestHandler.extensions_map,
        ".css": "text/css",
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".py": "text/plain",
        ".wasm": "application/wasm",
    }

    def translate_path(self, path: str) -> str:
        """The file of an address."""
        return str(self.files.get(urlsplit(path).path, HERE / "there is no such file"))

    def end_headers(self) -> None:
        """Add headers: the page may contact only this server, and nothing is cached without a check."""
        self.send_header("Content-Security-Policy", ONLY_THIS_SERVER)
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        """Log nothing: the browser shows errors."""


if __name__ == "__main__":
    main()

"""Virtual environments, made once and kept in `.venv-benchmarks/`, one per version of each package."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from .processes import ROOT

__all__ = ["Environment", "environment"]


class Environment(NamedTuple):
    """The paths of a virtual environment."""

    python: Path
    packages: Path


def environment(*requirements: str) -> Environment:
    """The environment for `requirements`, made if it does not exist. Exits if that fails."""
    name = "-".join(requirements) or "bare"
    folder = ROOT / ".venv-benchmarks" / platform.python_version() / name
    python = folder / "bin" / "python"
    if not (done := folder / "complete").exists():
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        if requirements:
            _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
        done.touch()
    return Environment(python, next(folder.glob("lib/python*/site-packages")))


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"benchmarks: {' '.join(command)} failed:\n{ran.stdout}{ran.stderr}")

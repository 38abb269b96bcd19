"""A Python process that runs one loop, always under the same conditions."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

__all__ = ["ROOT", "Process", "output"]

ROOT = Path(__file__).parent.parent


class Process(NamedTuple):
    """`python -m module *arguments number`, without `site`: it imports only from `folder` and the standard library."""

    python: str
    folder: Path
    module: str
    arguments: tuple[str, ...]

    def run(self, number: int, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run it, under the command `under` if given. Exits if it fails."""
        return output([*under, self.python, "-s", "-S", "-m", self.module, *self.arguments, str(number)], self.folder)


def output(command: list[str], folder: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run `command` with `given` as its input. Exits if it fails.

    Its environment contains only PATH and a fixed hash seed.
    """
    env = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    ran = subprocess.run(command, cwd=folder, env=env, input=given, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"benchmarks: {' '.join(command)} failed:\n{ran.stdout}{ran.stderr}")
    return ran

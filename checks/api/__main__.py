"""The API check: the public surface is the one in `surface.txt`, and what changed in it stands in CHANGELOG.md.

Who changes the surface says so in the changelog and runs `python -m checks.api --write`. A reviewer reads the lines
that this changes in `surface.txt`: nothing public changes without one, and none changes without an entry.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .ledger import changes, read, renew, unreleased, unsaid
from .surface import facts

_ROOT = Path(__file__).parent.parent.parent
_SURFACE = Path(__file__).with_name("surface.txt")
_HEAD = "# The public surface, written by `python -m checks.api --write`. How to read it: ledger.py.\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m checks.api", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the surface anew, then check the changelog")
    write = parser.parse_args().write
    found = facts("circuitbreaker", _ROOT)
    changelog = (_ROOT / "CHANGELOG.md").read_text()
    ledger = read(_SURFACE.read_text()) if _SURFACE.exists() else {}
    if changed := changes(ledger, found):
        if not write:
            raise SystemExit("\n".join(["The public surface has changed: python -m checks.api --write", *changed]))
        print("\n".join(changed if ledger else ["This is the first time: nothing counts as a change."]))
        ledger = renew(ledger, found, _version(changelog))
        _SURFACE.write_text(_HEAD + "".join(f"{since:<6} {fact}\n" for fact, since in ledger.items()))
    if missing := unsaid(ledger, changelog):
        raise SystemExit("\n".join(["An entry in CHANGELOG.md must name, in code font:", *missing]))
    print(f"The public surface is as written down: {len(found)} lines.")


def _version(changelog: str) -> str:
    version = unreleased(changelog)
    if version is None:
        raise SystemExit("CHANGELOG.md must begin with a section for the version to come: ## 1.2.3 (unreleased)")
    return version


if __name__ == "__main__":
    main()

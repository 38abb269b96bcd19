"""The committed surface: each line with the version that brought it, and the changelog that must say so.

    -      there when this file was begun
    0.2.0  new, or changed, in 0.2.0
    0.2.0  gone: what stood here before 0.2.0

What is marked with a version must be named in that version's section of the changelog: in one entry, in code font, the
name and what it belongs to, as in `CircuitBreaker.call` or `circuit(key=...)`.
"""

from __future__ import annotations

import re

__all__ = ["changes", "read", "renew", "unreleased", "unsaid"]

Ledger = dict[str, str]
"""By line, the version that brought it."""

_BEGUN = "-"
_GONE = "gone: "


def read(text: str) -> Ledger:
    """The ledger that a file holds."""
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    return {fact: version for version, fact in rows}


def changes(ledger: Ledger, facts: list[str]) -> list[str]:
    """What the code has and the ledger has not, and the other way round."""
    known = {fact for fact in ledger if not fact.startswith(_GONE)}
    return [f"- {fact}" for fact in sorted(known - set(facts))] + [f"+ {fact}" for fact in facts if fact not in known]


def renew(ledger: Ledger, facts: list[str], version: str) -> Ledger:
    """The ledger of `facts`, with what changed marked as of `version`."""
    renewed = {fact: ledger.get(fact, _BEGUN if _came_back(fact, ledger, version) else version) for fact in facts}
    for fact, since in ledger.items():
        if fact.startswith(_GONE):
            if since == version and fact[len(_GONE) :] not in renewed:
                renewed[fact] = since
        elif fact not in renewed and since != version:  # What came and went in one version was never there.
            renewed[_GONE + fact] = version
    return renewed


def _came_back(fact: str, ledger: Ledger, version: str) -> bool:
    """Whether it was there before `version`: always, if there is no ledger yet."""
    return not ledger or ledger.get(_GONE + fact) == version


def unsaid(ledger: Ledger, changelog: str) -> list[str]:
    """What is marked with a version whose section of the changelog does not name it."""
    return [
        f"{version}: {' and '.join(_names(fact))}, for {fact}"
        for fact, version in ledger.items()
        if version != _BEGUN and not any(_says(entry, fact) for entry in _entries(changelog, version))
    ]


def unreleased(changelog: str) -> str | None:
    """The version that is being written, if the changelog begins with one."""
    first = re.search(r"^## .*$", changelog, re.MULTILINE)
    found = re.fullmatch(r"## \[?([\w.]+)\]? \(unreleased\)", first[0]) if first else None
    return found[1] if found else None


def _entries(changelog: str, version: str) -> list[str]:
    section = re.search(rf"^## \[?{re.escape(version)}\]?(?= |$).*?(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return re.split(r"^- ", section[0], flags=re.MULTILINE)[1:] if section else []


def _says(entry: str, fact: str) -> bool:
    code = " ".join(re.findall(r"`([^`]+)`", entry))
    return all(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", code) for name in _names(fact))


def _names(fact: str) -> list[str]:
    """The name that a line is about, and what it belongs to: `circuit(key: ...)` is about `key` of `circuit`."""
    fact = fact.removeprefix(_GONE).removeprefix("class ")
    owner = re.match(r"[\w.]+", fact)
    parameter = re.match(r"[\w.]+\((?:\d+\. )?\**(\w+):", fact)
    names = [*(owner[0].split(".") if owner else ()), *([parameter[1]] if parameter else ())]
    return [name for name in names if name != "__init__"]  # which nobody writes

"""What a wheel requires: `requirements.py WHEEL extras`, its extras for users, or `... oldest`, the lowest versions."""

from __future__ import annotations

import re
import sys
from email import message_from_bytes
from zipfile import ZipFile

DEVELOPERS = {"browser", "dev", "mutants", "test"}


def main(wheel: str, what: str) -> None:
    with ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(files.read(name))
    extras = [name for name in metadata.get_all("Provides-Extra", []) if name not in DEVELOPERS]
    if what == "extras":
        print(",".join(extras))
        return
    for requirement in metadata.get_all("Requires-Dist", []):
        extra = re.search(r"extra == ['\"]([^'\"]+)", requirement)
        if extra and extra[1] not in extras:
            continue
        lowest = re.match(r"([\w.-]+)[^;]*>= ?([\d.]+)", requirement)
        if lowest is None:
            sys.exit(f"No lowest version is given: {requirement}")
        print(f"{lowest[1]}=={lowest[2]}")


if __name__ == "__main__":
    main(*sys.argv[1:])

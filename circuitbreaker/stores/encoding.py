"""Messages and records as JSON, for stores that keep text."""

from __future__ import annotations

import json
from typing import Any

from ..fleet.messages import Batch, Report, Snapshot, Tally
from ..fleet.record import Record, Trials
from ..fleet.tallies import Tallies

__all__ = ["decode_record", "decode_snapshot", "encode_report", "encode_text"]


def encode_text(text: str) -> bytes:
    """`text` as UTF-8, also what Python takes for text and Unicode does not."""
    return text.encode("utf-8", "surrogatepass")


def encode_report(report: Report) -> bytes:
    """A report as an object by field names, without the fields that are `None`; tuples within it are arrays."""
    return encode_text(json.dumps(_plain(report), ensure_ascii=False))


def _plain(value: Any) -> Any:
    if not hasattr(value, "_asdict"):
        return value
    return {name: _plain(each) for name, each in value._asdict().items() if each is not None}


def decode_snapshot(text: str | bytes) -> Snapshot:
    """A snapshot as the script answers or publishes it."""
    fields = _decoded(text)
    leases: list[tuple[str, float]] = fields.get("leases") or []
    fields["leases"] = tuple((lease, left) for lease, left in leases) if "leases" in fields else None
    fields["history"] = tuple(Batch(ago, _tallies(calls)) for ago, calls in fields.get("history") or ())
    return Snapshot(**fields)


def decode_record(text: str | bytes) -> Record:
    """A record as the script keeps it."""
    fields = _decoded(text)
    fields["history"] = [(at, _tallies(calls)) for at, calls in fields["history"] or ()]
    fields["trials"] = Trials(**fields["trials"])
    return Record(**fields)


def _tallies(pairs: Any) -> Tallies:
    return tuple(Tally(*each) for each in pairs or ())  # The script writes an empty array as {}.


def _decoded(text: str | bytes) -> dict[str, Any]:
    """The fields of a snapshot or a record, those decoded that both have."""
    fields: dict[str, Any] = json.loads(text)
    fields["calls"], fields["seconds"] = _tallies(fields["calls"]), _tallies(fields["seconds"])
    failure = fields.get("failure")
    fields["failure"] = tuple(failure) if failure else None
    return fields

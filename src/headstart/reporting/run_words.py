"""What a run's record says of it, in the words of its page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from headstart.records.record import RunRecord

KINDS = {
    "Cls": ("wrong class", "In the right place, called something else."),
    "Loc": ("box too far off", "Of the right class, with an IoU between 0.1 and 0.5."),
    "Both": ("class and box", "Near an object of another class, and not near enough."),
    "Dupe": ("found twice", "A further detection of an object that is found."),
    "Bkg": ("background", "Nothing is there."),
    "Miss": ("missed", "An object that nothing found, not even wrongly."),
}
"""TIDE's kinds of error -> a name, and what it is."""
_CHOICES = ("dataset", "model", "backbone", "source", "strategy", "seed", "fraction", "shots")


def facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    """What tells the run apart."""
    for name in _CHOICES:
        value = record.choices.get(name)
        if value is not None and (name, value) != ("fraction", 1.0):
            yield name, str(value)


def chosen_by(record: RunRecord) -> str:
    """What the validation pictures have chosen before they measured; empty where nothing."""
    selection: dict[str, int] = record.metrics.get("selection") or {}
    return ", ".join(f"the best of {count} {what}" for what, count in selection.items() if count > 1)


def phases(record: RunRecord) -> list[tuple[int, str]]:
    """(epochs done, which stages begin to train then), after the first."""
    begins: dict[int, list[str]] = defaultdict(list)
    for row in record.plan:
        if row.get("start_epoch"):
            begins[row["start_epoch"]].append(row["stage"])
    return [(epoch, ", ".join(stages)) for epoch, stages in sorted(begins.items())]


def plan_rows(record: RunRecord) -> list[dict[str, Any]]:
    """With `proof`: that what was frozen is the same to the bit, where there is anything."""
    return [row | {"proof": _proof(row)} for row in record.plan]


def _proof(row: dict[str, Any]) -> str:
    before, after = row.get("frozen_digest_before"), row.get("frozen_digest_after")
    if before is None:
        return ""
    return f"{row.get('frozen_tensors', 0)} tensors, bit-equal" if before == after else "they moved"


def load_rows(record: RunRecord) -> Iterator[tuple[str, str]]:
    """What the source gave."""
    load = record.load
    if not load:
        return
    kept: dict[str, str] = load.get("kept_classes", {})
    yield "source", f"{load.get('source', '?')} ({' → '.join(load.get('lineage', [])) or 'random initialisation'})"
    yield "from", load.get("where") or "-"
    yield "tensors loaded", str(len(load.get("loaded", [])) + len(load.get("partial", [])))
    yield "tensors new", str(len(load.get("new", [])))
    yield "classes kept", ", ".join(a if a == b else f"{a} ← {b}" for a, b in kept.items()) or "-"
    yield "classes new", ", ".join(load.get("new_classes", [])) or "-"
    if ambiguous := load.get("ambiguous"):
        yield "ambiguous", f"{', '.join(ambiguous)}: new, as more than one match is possible"
    yield "lineage", " → ".join(record.lineage)

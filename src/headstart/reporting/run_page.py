"""`report.html` of a run: how it trained, what it found, what goes wrong in it, and from what it began. One file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.records.record import RunRecord
from headstart.reporting.costs import curve
from headstart.reporting.notes import SPLITS, heading
from headstart.reporting.run_words import KINDS, chosen_by, facts, load_rows, phases, plan_rows
from headstart.reporting.shown import Picture
from headstart.reporting.tables import whole
from headstart.reporting.template import number, rendered, thinned

NUMBERS = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar")
MOST_IN_MATRIX = 16
"""Classes of a confusion matrix that is still read as one; of more the commonest confusions are listed."""
CONFUSIONS = 20

Analysis = Mapping[str, Any]
"""Of a split, as in analysis.json (analysis/summary.py)."""


def as_html(
    folder: Path, record: RunRecord, analysis: Mapping[str, Analysis], pictures: Mapping[str, Sequence[Picture]]
) -> str:
    """`analysis` and `pictures`, those it got most wrong, by split."""
    functions = {
        "classes": lambda split: class_rows(record, split, analysis[split]),
        "cost": lambda name: whole(float(record.cost.get(name) or math.nan)),
        "heading": heading,
        "kinds": KINDS.items,
        "mistakes": mistakes,
        "matrix": matrix,
        "percent": lambda value: "-" if value is None else f"{value * 100:.0f} %",
        "three": lambda value: "-" if value is None else f"{value:.3f}",
        "words": lambda split: SPLITS.get(split, split),
    }
    return rendered(
        "run.html.j2",
        ("plot.js", "run.js"),
        payload(record, analysis),
        functions,
        name=folder.name,
        record=record,
        measured=[split for split in ("val", "test") if isinstance(record.metrics.get(split), dict)],
        numbers=NUMBERS,
        facts=list(facts(record)),
        chosen_by=chosen_by(record),
        plan=plan_rows(record),
        load=list(load_rows(record)),
        phases=phases(record),
        analysis=analysis,
        pictures=pictures,
    )


def payload(record: RunRecord, analysis: Mapping[str, Analysis]) -> dict[str, Any]:
    """The numbers of the plots."""
    rows: list[dict[str, Any]] = record.metrics.get("history", [])
    losses = [(row["epoch"], row["train/loss"]) for row in rows if row.get("train/loss") is not None]
    return {
        "map": thinned(curve(record, "map")),
        "loss": thinned(losses),
        "phases": phases(record),
        "splits": {split: _of_split(record, split, found) for split, found in analysis.items()},
    }


def _of_split(record: RunRecord, split: str, found: Analysis) -> dict[str, Any]:
    return {
        "recalls": found["recalls"],
        "mean": {iou: [number(value) for value in curve] for iou, curve in found["precision"].items()},
        "classes": [
            {
                "name": row["name"],
                "boxes": row["boxes"],
                "ap": number(row["ap"]),
                "curve": [number(value) for value in found["classes"][row["name"]]["precision"]],
            }
            for row in class_rows(record, split, found)
            if row["objects"]
        ],
        "bins": [[number(one["score"]), number(one["right"]), one["count"]] for one in found["calibration"]["bins"]],
    }


def class_rows(record: RunRecord, split: str, found: Analysis) -> list[dict[str, Any]]:
    """A row a class, those with most training boxes first."""
    trained: Mapping[str, int] = record.dataset.get("num_boxes", {}).get("train", {})
    metrics: Mapping[str, Any] = record.metrics.get(split, {})
    rows = [
        {
            "name": name,
            "boxes": trained.get(name, 0),
            "objects": known["objects"],
            "ap": metrics.get("per_class", {}).get(name),
            "ap_50": metrics.get("per_class_50", {}).get(name),
            **(known["threshold"] or dict.fromkeys(("score", "precision", "recall", "f1"))),
        }
        for name, known in found["classes"].items()
    ]
    return sorted(rows, key=lambda row: (-row["boxes"], row["name"]))


def matrix(found: Analysis) -> list[tuple[str, list[tuple[int, float]]]] | None:
    """Rows of (what is there, its (count, share of the row)), background last; None for too many classes to read."""
    names = [*found["classes"], "background"]
    if len(names) > MOST_IN_MATRIX + 1:
        return None
    counts = [[0] * len(names) for _ in names]
    for there, said, count in found["confusion"]:
        counts[there][said] = count
    return [
        (name, [(count, count / (sum(row) or 1)) for count in row]) for name, row in zip(names, counts, strict=True)
    ]


def mistakes(found: Analysis) -> Iterator[tuple[str, str, int]]:
    """(what is there, what was found, how often): the commonest of those that are not equal."""
    names = [*found["classes"], "background"]
    wrong = [(there, said, count) for there, said, count in found["confusion"] if there != said]
    for there, said, count in sorted(wrong, key=lambda row: -row[2])[:CONFUSIONS]:
        yield names[there], names[said], count

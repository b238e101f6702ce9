"""A comparison as CSV: everything that the tables show, with all digits."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from headstart.reporting.arms import Arm
from headstart.reporting.comparison import Comparison, Target
from headstart.reporting.costs import SOURCE_COSTS
from headstart.reporting.retention import retention
from headstart.reporting.rows import Row
from headstart.reporting.statistics import Difference, Part, deviation
from headstart.reporting.verdicts import Judged
from headstart.visible import cell


def as_csv(comparison: Comparison) -> str:
    """A line per arm, numbers with all their digits."""
    return _csv(arm_lines(comparison))


def classes_as_csv(comparison: Comparison) -> str:
    """A line per arm and class."""
    return _csv(class_lines(comparison))


def arm_lines(comparison: Comparison) -> list[dict[str, Any]]:
    """Column -> value of every arm; None or NaN for what is missing."""
    return [_csv_row(target, row) for target in comparison.targets for row in target.rows]


def class_lines(comparison: Comparison) -> list[dict[str, Any]]:
    """Column -> value of every arm and class."""
    return [
        arm_columns(target, row.arm)
        | {"class": name, "ap": found.mean, "ap_half_95": found.half}
        | _difference_columns("gain", found.gain)
        for target in comparison.targets
        for row in target.rows
        for name, found in row.classes.items()
    ]


def _csv_row(target: Target, row: Row) -> dict[str, Any]:
    names = ("cpu_seconds", "wall_seconds", "train_images_per_second", "peak_memory_mib", "trained_parameters")
    return (
        arm_columns(target, row.arm)
        | {
            "metric": f"{target.question.split}/{target.question.metric}",
            "seeds": " ".join(map(str, row.values)),
            "mean": row.mean,
            "half_95": row.half,
            **_parts("", deviation(list(row.values.values())), len(row.values), row.pictures),
            "baseline": row.arm.title if row.is_baseline else row.baseline.title if row.baseline else None,
        }
        | _judged_columns("difference", row.difference)
        | _judged_columns("gain", row.gain)
        | {name: row.arm.cost(name) for name in names}
        | {f"source_{name}": row.source_cost.get(name) for name in SOURCE_COSTS}
        | _retention_columns(row.arm)
        | {"seconds_to_90": row.reach.seconds, "runs_to_90": row.reach.runs, "pareto": row.pareto}
        | {"chosen_on_these_images": row.selected or None, "computed_in": row.computed_in or None}
        | {"labelled_images": row.images, "folders": " ".join(path.name for path, _ in row.arm.runs)}
    )


def arm_columns(target: Target, arm: Arm) -> dict[str, Any]:
    choices = {name: arm.setting(name) for name in ("model", "backbone", "source", "strategy")}
    return {"target": target.name} | choices | {name: word for name, word in arm.labels.items() if name not in choices}


def _retention_columns(arm: Arm) -> dict[str, Any]:
    kept = retention(arm)
    return {"source_map_before": kept and kept.before, "source_map_after": kept and kept.after}


def _difference_columns(name: str, found: Difference | None) -> dict[str, Any]:
    return {
        name: found and found.mean,
        f"{name}_half_95": found and found.half,
        f"{name}_pairs": found and found.pairs,
    }


def _judged_columns(name: str, found: Judged | None) -> dict[str, Any]:
    """`_half_95` is of this difference by itself; `_half_95_family` and `_p_family` hold for all of the target."""
    parts = found and _parts(f"{name}_", found.deviation, found.pairs, found.pictures)
    return (
        _difference_columns(name, found)
        | (parts or {})
        | {
            f"{name}_half_95_family": found and found.wide,
            f"{name}_p_family": found and found.p,
            f"{name}_verdict": found and found.verdict,
            f"{name}_more_seeds": found and found.more_seeds,
            f"{name}_more_pictures": found and found.more_pictures,
        }
    )


def _parts(name: str, spread: float | None, seeds: int, pictures: Part | None) -> dict[str, Any]:
    """The two parts of a mean's standard error."""
    return {
        f"{name}error_of_seeds": None if spread is None else spread / math.sqrt(seeds),
        f"{name}error_of_pictures": None if pictures is None else math.sqrt(pictures.variance),
    }


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(cell, columns))
    for line in lines:
        words = (line.get(name) for name in columns)
        writer.writerow(["" if absent(word) else cell(word) for word in words])
    return text.getvalue()


def absent(word: Any) -> bool:
    """None or NaN."""
    return word is None or (isinstance(word, float) and math.isnan(word))

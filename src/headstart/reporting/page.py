"""`report.html`: one file that opens offline; tables are in it as they are, plots are drawn by its own script."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headstart.reporting import tables
from headstart.reporting.advice import advice, how_to_settle
from headstart.reporting.arms import Arm, metric_of, short
from headstart.reporting.comparison import Comparison, Target
from headstart.reporting.costs import COSTS, curve
from headstart.reporting.found import Found, found_in
from headstart.reporting.labels import Curve
from headstart.reporting.matrix import make_matrix
from headstart.reporting.notes import heading, left_out, notes, reason
from headstart.reporting.retention import retention
from headstart.reporting.rows import Question, Row
from headstart.reporting.run_report import FILE as REPORT
from headstart.reporting.template import number, rendered, thinned


def as_html(comparison: Comparison, folder: Path) -> str:
    """The page, with links relative to `folder`, in which it will lie."""
    found = [found_in(target, f"t{number}p") for number, target in enumerate(comparison.targets)]
    return rendered(
        "report.html.j2",
        ("plot.js", "report.js"),
        payload(comparison, found, folder),
        _functions(comparison.question, folder),
        found=found,
        comparison=comparison,
        question=comparison.question,
        matrix=make_matrix(comparison),
        notes=[note for note in notes(comparison) if note not in set(left_out(comparison))],
    )


def _functions(question: Question, folder: Path) -> dict[str, Any]:
    """What the template may ask."""
    return {
        "advice": advice,
        "cost_words": COSTS[question.cost][0],
        "cost": lambda row, name: row.arm.cost(name),
        "difference": tables.difference,
        "from_source": tables.from_source,
        "heading": heading,
        "heat": heat,
        "href": lambda path: href(path, folder),
        "isnan": math.isnan,
        "reached": tables.reached,
        "reason": reason,
        "retention": retention,
        "settle": how_to_settle,
        "share": tables.share,
        "value": tables.value,
        "whole": tables.whole,
    }


def href(path: Path, folder: Path) -> str:
    """To a run's report, or to its folder where it has none, from the page's."""
    place = quote(Path(os.path.relpath(path, folder)).as_posix() + "/")
    return place + REPORT if (path / REPORT).is_file() else place


def heat(gain: float, largest: float = 0.2) -> int:
    """How strongly a gain is coloured, 0 to 60 %."""
    return 0 if math.isnan(gain) else round(min(1.0, abs(gain) / largest) * 60)


def payload(comparison: Comparison, found: Sequence[Found], folder: Path) -> dict[str, Any]:
    """The numbers of the plots; null for what is missing."""
    question = comparison.question
    return {
        "heading": heading(question.metric),
        "cost": COSTS[question.cost],
        "targets": [_target(*pair, folder) for pair in zip(comparison.targets, found, strict=True)],
    }


def _target(target: Target, found: Found, folder: Path) -> dict[str, Any]:
    goals = {saving.goal for saving in target.savings}
    return {
        "name": target.name,
        "rows": [_row(row, target, folder) | {"precision": found.curve(row.arm)} for row in target.rows],
        "curves": [_curve(curve) for curve in target.curves],
        "goal": number(goals.pop()) if goals else None,
        "threshold": number(target.threshold),
    }


def _row(row: Row, target: Target, folder: Path) -> dict[str, Any]:
    question = target.question
    return {
        "name": row.arm.name,
        "labels": labels(row.arm),
        "mean": number(row.mean),
        "half": number(row.half),
        "cost": number(row.arm.cost(question.cost)),
        "front": row.pareto,
        "runs": [
            {
                "seed": record.choices["seed"],
                "value": number(metric_of(record, question.metric, question.split)),
                "cost": number(record.cost.get(question.cost)),
                "href": href(path, folder),
                "curve": thinned(curve(record, question.metric)),
            }
            for path, record in row.arm.runs
        ],
    }


def labels(arm: Arm) -> dict[str, str]:
    """What rows can be filtered and coloured by."""
    choices = {name: value for name in ("source", "strategy") if (value := arm.setting(name))}
    return choices | {name: short(value) for name, value in arm.labels.items()}


def _curve(found: Curve) -> dict[str, Any]:
    points = [[point.images, number(point.mean), number(point.half)] for point in found.points]
    return {"name": found.name, "labels": labels(found.points[0].arm) | found.labels, "points": points}

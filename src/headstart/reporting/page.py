"""`report.html`: one file that opens offline; tables are in it as they are, plots are drawn by its own script."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from headstart.reporting import tables
from headstart.reporting.advice import advice, how_to_settle
from headstart.reporting.arms import Arm, metric_of, short
from headstart.reporting.comparison import Comparison, Target
from headstart.reporting.costs import COSTS, curve
from headstart.reporting.labels import Curve
from headstart.reporting.matrix import make_matrix
from headstart.reporting.notes import heading, left_out, notes, reason
from headstart.reporting.retention import retention
from headstart.reporting.rows import Question, Row

FILES = Path(__file__).parent / "page_files"
MOST_POINTS = 60
"""Of a training curve: more would not be seen."""


def as_html(comparison: Comparison, folder: Path) -> str:
    """The page, with links relative to `folder`, in which it will lie."""
    environment = Environment(
        loader=FileSystemLoader(FILES),
        autoescape=True,  # names come from data
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= _functions(comparison.question, folder)
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        question=comparison.question,
        matrix=make_matrix(comparison),
        notes=[note for note in notes(comparison) if note not in set(left_out(comparison))],
        style=(FILES / "report.css").read_text(encoding="utf-8"),
        scripts=[(FILES / name).read_text(encoding="utf-8") for name in ("plot.js", "report.js")],
        data=_json(payload(comparison, folder)),
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
    """To a run's folder, from the page's."""
    return quote(Path(os.path.relpath(path, folder)).as_posix() + "/")


def heat(gain: float, largest: float = 0.2) -> int:
    """How strongly a gain is coloured, 0 to 60 %."""
    return 0 if math.isnan(gain) else round(min(1.0, abs(gain) / largest) * 60)


def _json(value: Any) -> str:
    """Safe inside a script element, whatever the names."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def payload(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """The numbers of the plots; null for what is missing."""
    question = comparison.question
    return {
        "heading": heading(question.metric),
        "cost": COSTS[question.cost],
        "targets": [_target(target, folder) for target in comparison.targets],
    }


def _target(target: Target, folder: Path) -> dict[str, Any]:
    goals = {saving.goal for saving in target.savings}
    return {
        "name": target.name,
        "rows": [_row(row, target, folder) for row in target.rows],
        "curves": [_curve(curve) for curve in target.curves],
        "goal": _number(goals.pop()) if goals else None,
        "threshold": _number(target.threshold),
    }


def _row(row: Row, target: Target, folder: Path) -> dict[str, Any]:
    question = target.question
    return {
        "name": row.arm.name,
        "labels": labels(row.arm),
        "mean": _number(row.mean),
        "half": _number(row.half),
        "cost": _number(row.arm.cost(question.cost)),
        "front": row.pareto,
        "runs": [
            {
                "seed": record.choices["seed"],
                "value": _number(metric_of(record, question.metric, question.split)),
                "cost": _number(record.cost.get(question.cost)),
                "href": href(path, folder),
                "curve": [[epoch, _number(value)] for epoch, value in _thinned(curve(record, question.metric))],
            }
            for path, record in row.arm.runs
        ],
    }


def labels(arm: Arm) -> dict[str, str]:
    """What rows can be filtered and coloured by."""
    choices = {name: value for name in ("source", "strategy") if (value := arm.setting(name))}
    return choices | {name: short(value) for name, value in arm.labels.items()}


def _curve(found: Curve) -> dict[str, Any]:
    points = [[point.images, _number(point.mean), _number(point.half)] for point in found.points]
    return {"name": found.name, "labels": labels(found.points[0].arm) | found.labels, "points": points}


def _thinned(rows: list[tuple[int, float]]) -> list[tuple[int, float]]:
    step = max(1, math.ceil(len(rows) / MOST_POINTS))
    return rows[::-step][::-1]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")

"""Source by target: what each source is worth where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.reporting.arms import Arm, short
from headstart.reporting.comparison import Comparison, Target
from headstart.reporting.labels import most_labels
from headstart.reporting.rows import Row


@dataclass(frozen=True)
class Cell:
    """The best of a source's strategies on a target, with all labels."""

    row: Row
    strategy: str
    relative: float
    """Where its mean stands between the worst (0) and the best (1) cell of the target."""


@dataclass(frozen=True)
class Matrix:
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]
    """(source, target); what was not run is missing."""


def make_matrix(comparison: Comparison) -> Matrix | None:
    """None where there is but one source and one target, or where sources were pooled."""
    group = comparison.question.group
    if group and "source" not in group:
        return None
    cells = {key: cell for target in comparison.targets for key, cell in _column(target).items()}
    sources = sorted({source for source, _ in cells}, key=lambda name: (name != "scratch", name))
    targets = [target.name for target in comparison.targets]
    return Matrix(tuple(sources), tuple(targets), cells) if len(sources) > 1 or len(targets) > 1 else None


def _column(target: Target) -> dict[tuple[str, str], Cell]:
    rows = full_rows(target)
    best: dict[str, Row] = {}
    for row in rows:  # the best first
        best.setdefault(source_of(row.arm), row)
    low, high = min((r.mean for r in best.values()), default=0), max((r.mean for r in best.values()), default=0)
    return {
        (source, target.name): Cell(
            row, row.arm.setting("strategy") or "", (row.mean - low) / (high - low) if high > low else 1.0
        )
        for source, row in best.items()
    }


def full_rows(target: Target) -> list[Row]:
    """The rows with most labels that have a number, the best first."""
    full: Sequence[Arm] = most_labels([row.arm for row in target.rows])
    return [row for row in target.rows if row.values and row.arm in full]


def source_of(arm: Arm) -> str:
    """`imagenet`; with what else tells sources apart, as `checkpoint shapes_source`."""
    extra = [short(value) for name, value in arm.labels.items() if name.startswith("source.")]
    return " ".join([arm.setting("source") or "?", *extra])

"""What the runs of a target found, beyond their numbers, from their `analysis.json`. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.analysis.reading import Known, read_analysis
from headstart.errors import UserError
from headstart.reporting.arms import Arm
from headstart.reporting.comparison import Target
from headstart.reporting.differing import Pair, pair_of


@dataclass(frozen=True)
class Found:
    """Of a target."""

    known: Mapping[Path, Known]
    """By the run's folder; runs of older versions have none."""
    pair: Pair | None
    problems: Sequence[str]
    """Files that could not be read, and what to do about it."""

    def curve(self, arm: Arm) -> list[float] | None:
        """(51,): precision at an IoU of 0.5, mean over its runs; None where none of them has one."""
        curves = [self.known[path].curve for path, _ in arm.runs if path in self.known]
        whole = [curve for curve in curves if None not in curve]
        return np.array(whole, dtype=float).mean(axis=0).round(4).tolist() if whole else None


def found_in(target: Target, name: str) -> Found:
    """`name`: of elements of the page, letters and digits."""
    problems: list[str] = []
    known = dict(_known(target, problems))
    try:
        pair = pair_of(target, known, name)
    except UserError as error:
        pair = None
        problems.append(str(error))
    return Found(known, pair, problems)


def _known(target: Target, problems: list[str]) -> Iterator[tuple[Path, Known]]:
    for path in (path for row in target.rows for path, _ in row.arm.runs):
        try:
            found = read_analysis(path, target.question.split)
        except UserError as error:
            problems.append(str(error))
            continue
        if found is not None:
            yield path, found

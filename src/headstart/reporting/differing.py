"""The pictures on which two arms differ most, beside the truth: from small JPEGs that runs kept, and their detections.
Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart.analysis.marks import Marked, marked
from headstart.analysis.reading import Known
from headstart.analysis.scored import score
from headstart.analysis.thresholds import above
from headstart.records.detections import SplitDetections, read_detections
from headstart.records.pictures import kept_rows, read_picture
from headstart.records.truth import Truth, read_truth
from headstart.reporting.comparison import Target
from headstart.reporting.rows import Row
from headstart.reporting.run_report import boxes
from headstart.reporting.shown import Picture, Side

SHOWN = 6
"""Of a target."""


@dataclass(frozen=True)
class Pair:
    """Two rows and the pictures that tell them apart."""

    one: Row
    other: Row
    seed: int
    """Whose detections are shown, of each."""
    pictures: Sequence[Picture]


def pair_of(target: Target, known: Mapping[Path, Known], name: str) -> Pair | None:
    """The best row beside its baseline, or beside the second where it is the baseline itself. None where they share
    no seed, or differ in no picture that a run kept. `name`: of elements of the page, letters and digits.

    Raises `UserError` where a file of theirs cannot be read.
    """
    rows = [row for row in target.rows if row.values]
    if len(rows) < 2:
        return None
    pair = (rows[0], next((row for row in rows[1:] if row.arm is rows[0].baseline), rows[1]))
    runs = [{record.choices["seed"]: path for path, record in row.arm.runs if path in known} for row in pair]
    seed = next((seed for seed in runs[0] if seed in runs[1]), None)
    if seed is None:
        return None
    gaps = _gaps(*([known[path] for path in of_row.values()] for of_row in runs))
    paths = [of_row[seed] for of_row in runs]
    pictures = list(_pictures(pair, paths, gaps, known, target.question.split, name))
    return Pair(*pair, seed, pictures) if pictures else None


def _gaps(ours: Iterable[Known], theirs: Iterable[Known]) -> dict[int, tuple[float, float]]:
    """Errors of each in every picture that all have looked at: means over their runs."""
    sides = [[found.errors for found in side] for side in (ours, theirs)]
    common = set.intersection(*(set(errors) for side in sides for errors in side))
    return {row: (_mean(sides[0], row), _mean(sides[1], row)) for row in sorted(common)}


def _mean(runs: Sequence[Mapping[int, int]], row: int) -> float:
    return sum(errors[row] for errors in runs) / len(runs)


def _pictures(
    pair: Sequence[Row],
    paths: Sequence[Path],
    gaps: Mapping[int, tuple[float, float]],
    known: Mapping[Path, Known],
    split: str,
    name: str,
) -> Iterator[Picture]:
    fingerprint = known[paths[0]].fingerprint
    if any(known[path].fingerprint != fingerprint for path in paths):
        return
    there = set.union(*(kept_rows(path, fingerprint) for path in paths))
    differing = [row for row in gaps if row in there and gaps[row][0] != gaps[row][1]]
    rows = sorted(differing, key=lambda row: -abs(gaps[row][0] - gaps[row][1]))[:SHOWN]
    if not rows:
        return
    truth = read_truth(paths[0], fingerprint)
    marks = [_marks(truth, read_detections(path, split), known[path], rows) for path in paths]
    for row in rows:
        jpeg = next(filter(None, (read_picture(path, fingerprint, row) for path in paths)), None)
        if jpeg is not None and all(row in one for one in marks):
            titles = [_title(side, errors) for side, errors in zip(pair, gaps[row], strict=True)]
            yield _picture(f"{name}{row}", truth, jpeg, titles, [one[row] for one in marks])


def _title(row: Row, errors: float) -> str:
    return f"{row.arm.name}: {errors:.3g} error{'s' * (errors != 1)}"


def _marks(truth: Truth, found: SplitDetections, known: Known, rows: Sequence[int]) -> dict[int, Marked]:
    """Of these pictures alone: in each the detections are matched by themselves."""
    few = np.isin(found.images, rows)
    columns = {name: getattr(found, name)[few] for name in ("images", "boxes_xyxy", "scores", "labels")}
    measured = found.measured[np.isin(found.measured, rows)]
    scored = score(truth, replace(found, **columns, measured=measured), known.max_detections)
    if scored is None:
        return {}
    chosen = above(scored, known.thresholds)
    return {row: marked(scored, chosen, row) for row in measured.tolist()}


def _picture(name: str, truth: Truth, jpeg: bytes, titles: Sequence[str], marks: Sequence[Marked]) -> Picture:
    """The truth without a word on who found it, and each arm's detections."""
    row = marks[0].row
    height, width = (int(side) for side in truth.sizes_hw[row])
    plain = [replace(mark, right=True if mark.right is not None else None) for mark in marks[0].truth]
    sides = [Side("truth", boxes(plain, truth.class_names))]
    sides += [Side(title, boxes(one.found, truth.class_names)) for title, one in zip(titles, marks, strict=True)]
    return Picture(name, truth.image_names[row], width, height, jpeg, sides)

"""What is written beside a finished run for people to look at: `analysis.json` and `report.html`. Needs no torch, no
model and no data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from headstart.analysis.marks import Mark, marked, worst_rows
from headstart.analysis.scored import Scored
from headstart.analysis.summary import summarise, write_analysis
from headstart.analysis.thresholds import best_kept
from headstart.config.schema import EvaluationConfig
from headstart.records.pictures import read_picture
from headstart.records.record import RunRecord
from headstart.replacing import replacing
from headstart.reporting.run_page import as_html
from headstart.reporting.shown import Box, Picture, Side, box

FILE = "report.html"
WORST = EvaluationConfig.worst_pictures
"""Of a run that was begun before there was such a setting."""


def write_report(folder: Path, record: RunRecord, splits: Mapping[str, Scored]) -> Path:
    """Of a run's folder and its detections by split. Raises `Unwritable`."""
    found = {split: summarise(scored) for split, scored in splits.items()}
    write_analysis(folder, found)
    shown = record.config.get("evaluation", {}).get("worst_pictures", WORST)
    pictures = {split: list(worst(folder, split, scored, shown)) for split, scored in splits.items()}
    with replacing(folder / FILE) as temporary:
        temporary.write_text(as_html(folder, record, found, pictures), encoding="utf-8")
    return folder / FILE


def worst(folder: Path, split: str, scored: Scored, number: int) -> Iterator[Picture]:
    """Those with the most wrong of which a small JPEG was kept."""
    chosen = best_kept(scored)
    for row in worst_rows(scored, chosen, number):
        content = read_picture(folder, scored.truth.fingerprint, row)
        if content is not None:
            yield _picture(f"{split}{row}", scored, chosen, row, content)


def _picture(name: str, scored: Scored, chosen: np.ndarray, row: int, jpeg: bytes) -> Picture:
    shown = marked(scored, chosen, row)
    height, width = (int(side) for side in scored.truth.sizes_hw[row])
    sides = [
        Side("truth", boxes(shown.truth, scored.class_names)),
        Side("found", boxes(shown.found, scored.class_names)),
    ]
    missed, false = (sum(mark.right is False for mark in marks) for marks in (shown.truth, shown.found))
    title = f"{scored.truth.image_names[row]}: {missed} missed, {false} wrong"
    return Picture(name, title, width, height, jpeg, sides)


def boxes(marks: Iterable[Mark], class_names: Sequence[str]) -> list[Box]:
    return [box(mark.box_xyxy, mark.label, _caption(mark, class_names), mark.right) for mark in marks]


def _caption(mark: Mark, class_names: Sequence[str]) -> str:
    name = class_names[mark.label]
    return name if mark.score is None else f"{name} {mark.score:.2f}"

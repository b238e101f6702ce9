"""What a run found, as panels of W&B: curves, confusion matrix, kinds of error, pictures with boxes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from lightning.pytorch.loggers import Logger, WandbLogger

from headstart.analysis.curves import IOUS, RECALLS, calibration, precision
from headstart.analysis.errors import confusion, tide
from headstart.analysis.marks import Mark, marked, worst_rows
from headstart.analysis.scored import Scored
from headstart.analysis.thresholds import best_kept
from headstart.records.pictures import read_picture
from headstart.visible import cell

MOST_CLASSES = 20
"""Of the curves and the matrix: W&B draws no more legibly. Those with most objects."""


def log_panels(loggers: Sequence[Logger], folder: Path, splits: dict[str, Scored], pictures: int) -> None:
    """To each W&B run among `loggers`, under `best/<split>/…`: they are of the exported weights."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            for split, scored in splits.items():
                logger.experiment.log(dict(_panels(f"best/{split}", folder, scored, pictures)))


def _panels(prefix: str, folder: Path, scored: Scored, pictures: int) -> Iterator[tuple[str, Any]]:
    chosen = best_kept(scored)
    yield f"{prefix}/precision_recall", _curves(scored)
    yield f"{prefix}/confusion", _matrix(scored, chosen)
    errors = [[kind, found.count, found.cost] for kind, found in tide(scored).items()]
    yield f"{prefix}/errors", _table(["kind", "count", "mAP50 it costs"], errors)
    bins = [[one.score, one.right, one.count] for one in calibration(scored).bins]
    yield f"{prefix}/calibration", _table(["score", "share right", "detections"], bins)
    shown = list(_images(folder, scored, chosen, pictures))
    if shown:
        yield f"{prefix}/worst", shown


def _table(columns: Any, rows: Any) -> Any:
    import wandb

    return wandb.Table(columns=columns, data=rows)


def _labels(scored: Scored) -> list[int]:
    """The classes with most objects, in their order."""
    counts = np.bincount(scored.truth.labels[scored.wanted], minlength=len(scored.class_names))
    return sorted(label for label in np.argsort(-counts, kind="stable")[:MOST_CLASSES].tolist() if counts[label])


def _curves(scored: Scored) -> Any:
    """As `wandb.plot.pr_curve` draws them, which makes its own of scores alone."""
    import wandb

    by_class = precision(scored, IOUS[0])
    rows = [
        [cell(scored.class_names[label]), float(by_class[label, i]), recall]
        for label in _labels(scored)
        for i, recall in enumerate(RECALLS)
        if not math.isnan(by_class[label, i])
    ]
    return wandb.plot_table(
        "wandb/area-under-curve/v0",
        _table(["class", "precision", "recall"], rows),
        {"x": "recall", "y": "precision", "class": "class"},
        {"title": "Precision against recall, IoU 0.5", "x-axis-title": "Recall", "y-axis-title": "Precision"},
    )


def _matrix(scored: Scored, chosen: np.ndarray) -> Any:
    """As `wandb.plot.confusion_matrix` draws it, which counts labels of pictures."""
    import wandb

    counts, background = confusion(scored, chosen), len(scored.class_names)
    labels = [*_labels(scored), background]
    names = [*map(cell, scored.class_names), "background"]
    rows = [[names[there], names[said], int(counts[there, said])] for there in labels for said in labels]
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        _table(["Actual", "Predicted", "nPredictions"], rows),
        {"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"},
        {"title": "What is taken for what"},
    )


def _images(folder: Path, scored: Scored, chosen: np.ndarray, number: int) -> Iterator[Any]:
    """Those that are kept of the worst, with truth and detections as boxes that can be switched."""
    import wandb

    names = dict(enumerate(scored.class_names))
    for row in worst_rows(scored, chosen, number):
        content = read_picture(folder, scored.truth.fingerprint, row)
        if content is None:
            continue
        shown, (height, width) = marked(scored, chosen, row), scored.truth.sizes_hw[row].tolist()
        boxes = {
            name: {"box_data": [_box(mark, width, height, names) for mark in marks], "class_labels": names}
            for name, marks in (("ground_truth", shown.truth), ("predictions", shown.found))
        }
        picture = PIL.Image.open(io.BytesIO(content))
        yield wandb.Image(picture, boxes=boxes, caption=scored.truth.image_names[row])


def _box(mark: Mark, width: int, height: int, names: dict[int, str]) -> dict[str, Any]:
    """In shares of the picture, which is kept small."""
    x1, y1, x2, y2 = mark.box_xyxy
    caption = names[mark.label] if mark.score is None else f"{names[mark.label]} {mark.score:.2f}"
    box: dict[str, Any] = {
        "position": {"minX": x1 / width, "minY": y1 / height, "maxX": x2 / width, "maxY": y2 / height},
        "class_id": mark.label,
        "box_caption": caption,
    }
    return box if mark.score is None else box | {"scores": {"score": mark.score}}

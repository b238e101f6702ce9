"""What a run leaves at its end for people to look at: its page, the pictures it got most wrong, W&B's panels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger

from headstart.analysis.marks import worst_rows
from headstart.analysis.scored import Scored
from headstart.analysis.summary import scored_splits
from headstart.analysis.thresholds import best_kept
from headstart.data.datamodule import DetectionDataModule
from headstart.data.small import small_jpeg
from headstart.records.pictures import kept_rows, write_pictures
from headstart.records.record import RunRecord
from headstart.reporting.run_report import write_report
from headstart.say import say
from headstart.training.wandb_panels import log_panels

SIDE = 480
"""Pixels of a kept picture's long side, at most."""
_log = logging.getLogger(__name__)


def leave(
    folder: Path, record: RunRecord, data: DetectionDataModule, worst_pictures: int, loggers: Sequence[Logger]
) -> dict[str, Scored]:
    """After its detections are written, which it gives back beside the truth, by split. What goes wrong here is said,
    and ends no run."""
    splits: dict[str, Scored] = {}
    _attempted("its detections were not looked into", lambda: splits.update(scored_splits(folder, record)))
    for split, scored in splits.items():
        _attempted("pictures were not kept", lambda s=split, of=scored: keep(folder, data, s, of, worst_pictures))
    _attempted("report.html was not written", lambda: write_report(folder, record, splits))
    _attempted("no panels were logged", lambda: log_panels(loggers, folder, splits, worst_pictures))
    return splits


def _attempted(lost: str, action: Callable[[], object]) -> None:
    try:
        action()
    except Exception as error:
        say(f"{lost}: {type(error).__name__}: {error}")
        _log.debug("%s", lost, exc_info=True)


def keep(folder: Path, data: DetectionDataModule, split: str, scored: Scored, number: int) -> None:
    """Small JPEGs of the pictures with the most errors that no run has kept yet."""
    fingerprint = scored.truth.fingerprint
    wanted = worst_rows(scored, best_kept(scored), number)
    there = kept_rows(folder, fingerprint)
    missing = [row for row in wanted if row not in there]
    left_out = write_pictures(folder, fingerprint, _jpegs(data, split, missing)) if missing else 0
    if left_out:
        say(f"{left_out} pictures of {split} are not kept for report.html: truth/{fingerprint} is full.")


def _jpegs(data: DetectionDataModule, split: str, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    index_of = np.argsort(data.truth(split).rows)
    return ((row, small_jpeg(data.one(split, int(index_of[row])), SIDE)) for row in rows)

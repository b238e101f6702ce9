"""`make bench-tiles`: tiled against whole pictures, in training and in prediction, at equal training time.

TensorFlow's SSD-MobileNetV2 from COCO at 300 x 300 on two data sets: rsod_110 (aerial, 1075 x 923) in tiles of 480
pixels, facemask_510 (400 x 267, up to 115 faces each) in tiles of 200. Every cell trains for the same CPU seconds: a
short run tells how many views a second it does, and thus how many steps it has; an epoch has as many steps with tiles
as without. Each trained detector is then measured in both ways, always by the mAP of whole pictures.

Needs rsod_110 and facemask_510 in HEADSTART_DATA, and `headstart[coco-ssd]`. About 20 minutes on two cores; started
again, it goes on where it stopped. The weights measured are those of the last epoch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from strategies import COMMON, SEEDS, SSD, folder_of, in_stages, parser_of, record_of, train

from headstart.config.schema import TileConfig
from headstart.replacing import replacing
from headstart.reporting.statistics import interval_95, mean

BATCH = 8
IMAGES = {"rsod_110": 88, "facemask_510": 360}
"""Data set -> its training pictures, which say how long an epoch is."""
TILES = {"rsod_110": 480, "facemask_510": 200}
"""… -> side of its tiles."""
HOW = ("whole", "tiled")


@dataclass(frozen=True)
class Cell:
    """A training."""

    dataset: str
    how: str
    """One of `HOW`."""
    seed: int

    def overrides(self, output: Path, epochs: int, part: str) -> list[str]:
        steps = IMAGES[self.dataset] // BATCH
        own = [f"dataset={self.dataset}", "source=coco_ssd", "strategy=full", f"seed={self.seed}", *SSD.overrides]
        tiles = [f"dataset.tile.size={TILES[self.dataset]}", "dataset.tile.overlap=0.25"] if self.how == "tiled" else []
        time = [f"trainer.max_epochs={epochs}", f"trainer.check_val_every_n_epoch={epochs}"]
        limit = [f"trainer.limit_train_batches={steps}", f"dataset.batch_size={BATCH}"]
        return [*own, *tiles, *time, *limit, *COMMON, f"output_dir={output}/{part}"]


def speed_runs(output: Path) -> Iterator[tuple[Cell, list[str]]]:
    """Two epochs of each kind, measured on a few batches alone."""
    for dataset in IMAGES:
        for how in HOW:
            cell = Cell(dataset, how, 0)
            yield cell, [*cell.overrides(output, 2, "speed"), "trainer.limit_val_batches=2"]


def cells(output: Path, seconds: float) -> Iterator[tuple[Cell, list[str]]]:
    """Seed by seed, so that an unfinished benchmark has something of everything."""
    speeds = {
        (cell.dataset, cell.how): record_of(overrides).cost["train_images_per_second"]
        for cell, overrides in speed_runs(output)
    }
    for seed in SEEDS:
        for (dataset, how), speed in speeds.items():
            epochs = max(1, round(seconds * speed / (IMAGES[dataset] // BATCH * BATCH)))
            cell = Cell(dataset, how, seed)
            yield cell, cell.overrides(output, epochs, "cells")


# ---------------------------------------------------------------------------------------------- prediction in two ways


def measured(folder: Path, how: str, dataset: str) -> dict[str, Any]:
    """The exported model's mAP on the validation pictures, and the seconds a picture takes; kept beside the run."""
    kept = folder / f"predicted-{how}.json"
    if not kept.is_file():
        found = _measure(folder, TileConfig(TILES[dataset], 0.25) if how == "tiled" else TileConfig())
        with replacing(kept) as path:
            path.write_text(json.dumps(found))
    return json.loads(kept.read_text())


def _measure(folder: Path, tile: TileConfig) -> dict[str, Any]:
    import lightning as L

    from headstart.config.restore import restore
    from headstart.config.schema import AugmentConfig
    from headstart.data import catalog
    from headstart.data.datamodule import DetectionDataModule
    from headstart.data.info import describe
    from headstart.evaluation.coco_map import CocoMeanAveragePrecision
    from headstart.evaluation.module import EvaluationModule
    from headstart.inference.export import load_exported
    from headstart.records.record import RunRecord

    config = replace(restore("dataset", RunRecord.read(folder / "record.json").config["dataset"]), tile=tile)
    data = catalog.read(config, 0)
    detector, _ = load_exported(folder)
    module = EvaluationModule(detector, CocoMeanAveragePrecision(data.class_names))
    pictures = DetectionDataModule(data, describe(data, config), config, AugmentConfig(name="none"), 0)
    silent: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", devices=1, enable_checkpointing=False, **silent)
    next(pictures.whole("val"))  # nothing is decoded in the time measured
    began = time.process_time()
    trainer.validate(module, datamodule=pictures, verbose=False)
    result = module.evaluation
    assert result is not None
    seconds = (time.process_time() - began) / result.images
    return {"map": result.map, "map_50": result.map_50, "map_small": result.map_small, "seconds": seconds}


# ------------------------------------------------------------------------------------------------ what is shown


def table(output: Path, seconds: float) -> str:
    """A row for each data set, training and prediction; the last column is the difference, seed by seed, from whole
    pictures in both."""
    heads = (
        "data set",
        "training",
        "prediction",
        "mAP",
        "AP50",
        "small",
        "more than whole",
        "train CPU s",
        "s a picture",
    )
    lines = ["| " + " | ".join(heads) + " |", "|---" * 3 + "|" + "---:|" * 6]
    for dataset in IMAGES:
        runs = {how: [o for c, o in cells(output, seconds) if (c.dataset, c.how) == (dataset, how)] for how in HOW}
        found = {
            (trained, predicted): [measured(folder_of(run), predicted, dataset) for run in runs[trained]]
            for trained in HOW
            for predicted in HOW
        }
        whole = [one["map"] for one in found["whole", "whole"]]
        for (trained, predicted), of_seeds in found.items():
            maps = [one["map"] for one in of_seeds]
            more = _interval([a - b for a, b in zip(maps, whole, strict=True)], "+")
            spent = mean([record_of(run).cost["cpu_seconds"] for run in runs[trained]])
            rest = [_interval([one[name] for one in of_seeds]) for name in ("map_50", "map_small")]
            shown = [_interval(maps), *rest, "" if maps == whole else more, f"{spent:.0f}"]
            shown.append(f"{mean([one['seconds'] for one in of_seeds]):.3f}")
            lines.append(f"| {dataset} | {trained} | {predicted} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _interval(values: Sequence[float], sign: str = "") -> str:
    """± half of the 95 % interval over seeds."""
    half = interval_95(values)
    return format(mean(values), f"{sign}.3f") + ("" if half is None else f" ± {half:.3f}")


def stage_runs(stage: str, output: Path, seconds: float) -> list[tuple[Cell, list[str]]]:
    return [*speed_runs(output)] if stage == "speeds" else [*cells(output, seconds)]


def main() -> None:
    arguments = parser_of(__doc__, Path("outputs/bench-tiles"), seconds=90).parse_args()
    output, seconds = arguments.output, arguments.seconds

    def work(stage: str) -> list[Callable[[], None]]:
        runs = stage_runs(stage, output, seconds)
        return [partial(one, cell, overrides, stage == "cells") for cell, overrides in runs]

    in_stages(__file__, arguments, ("speeds", "cells"), work, lambda: table(output, seconds))


def one(cell: Cell, overrides: list[str], measures: bool) -> None:
    train(overrides)
    for how in HOW if measures else ():
        measured(folder_of(overrides), how, cell.dataset)


if __name__ == "__main__":
    main()

"""mAP and time a picture of other ways to make one detection of several, and of further views, on finished runs.

Of each run named: its validation pictures, batches of 4 on the host, every way in turn, `--rounds` times. Prints the
mean mAP of the runs, how much it differs from nms within a run (mean, least, most), and the median of a round's time a
picture, by the clock and over that of nms in the same round. Runs given together (`a,b,c`) are measured as an ensemble,
too. The models are read, nothing is written.

    python benchmarks/merging.py [--rounds 3] RUN[,RUN…] …
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from headstart.config.restore import restore
from headstart.config.schema import Flip, Method, PostprocessConfig
from headstart.data import catalog
from headstart.data.batch import Batch
from headstart.data.datamodule import DetectionDataModule
from headstart.data.dataset import rendered
from headstart.data.info import describe
from headstart.data.recorded import recorded_dataset
from headstart.detectors.interface import Detector
from headstart.evaluation.coco_map import CocoMeanAveragePrecision, MapResult, result
from headstart.inference.ensemble import as_one
from headstart.inference.export import load_exported
from headstart.records.record import RunRecord

LOW = 0.001
FLIP = {"score_threshold": LOW, "flips": [Flip.horizontal]}
WAYS = {
    "nms": {},
    f"nms, scores from {LOW}": {"score_threshold": LOW},
    f"class-agnostic nms, from {LOW}": {"score_threshold": LOW, "class_agnostic": True},
    "soft_nms, from 0.05": {"method": Method.soft_nms},
    f"soft_nms, from {LOW}": {"method": Method.soft_nms, "score_threshold": LOW},
    f"soft_nms_linear, from {LOW}": {"method": Method.soft_nms_linear, "score_threshold": LOW},
    "weighted_boxes_fusion": {"method": Method.weighted_boxes_fusion},
    f"mirrored, nms, from {LOW}": FLIP | {"across": Method.nms},
    f"mirrored, fused, from {LOW}": FLIP,
    f"mirrored, and 0.75 and 1.25, fused, from {LOW}": FLIP | {"scales": [0.75, 1.25]},
}


@dataclass
class Run:
    detectors: dict[str, Detector]
    batches: list[Batch]
    data: DetectionDataModule
    record: RunRecord


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for group in args.runs:
        runs = [read(Path(name)) for name in group.split(",")]
        print(f"\n{runs[0].data.info.name}, {len(runs)} runs of {Path(group.split(',')[0]).name}", flush=True)
        print("| way | mAP | over nms | least, most | ms a picture | over nms |\n|---|---|---|---|---|---|", flush=True)
        table(runs, args.rounds)


def read(folder: Path) -> Run:
    record = RunRecord.read(folder / "record.json")
    dataset = recorded_dataset(record, folder)
    data = catalog.read(dataset, record.config["seed"])
    module = DetectionDataModule(
        data, describe(data, dataset), dataset, restore("augment", record.config["augment"]), 0
    )
    module.config.batch_size = 4
    batches = [rendered(batch) for batch in module.val_dataloader()]
    detectors = {name: load_exported(folder, PostprocessConfig(**way))[0] for name, way in WAYS.items()}
    return Run(detectors, batches, module, record)


def table(runs: list[Run], rounds: int) -> None:
    found = {name: [measure(run, run.detectors[name]) for run in runs] for name in WAYS}
    seconds = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name in WAYS:
            seconds[name].append(statistics.mean(timed(run, run.detectors[name]) for run in runs))
    for name in WAYS:
        maps = [one.map for one in found[name]]
        apart = [one - base.map for one, base in zip(maps, found["nms"], strict=True)]
        ratio = statistics.median(a / b for a, b in zip(seconds[name], seconds["nms"], strict=True))
        spread = f"{statistics.mean(apart):+.4f} | {min(apart):+.4f}, {max(apart):+.4f}"
        ms = 1000 * statistics.median(seconds[name])
        print(f"| {name} | {statistics.mean(maps):.4f} | {spread} | {ms:.1f} | {ratio:.2f} |", flush=True)
    for line in ensembles(runs, found) if len(runs) > 1 else ():
        print(line, flush=True)


def ensembles(runs: list[Run], found: dict[str, list[MapResult]]) -> Iterator[str]:
    """What the runs find together, over the mean of theirs and over the best of them."""
    truth, names = runs[0].data.truth("val").truth, runs[0].data.info.class_names
    for name in ("nms", f"nms, scores from {LOW}", f"mirrored, fused, from {LOW}"):
        maps = [one.map for one in found[name]]
        for across in (Method.weighted_boxes_fusion, Method.nms):
            rule = replace(runs[0].detectors[name].rule, across=across)
            evaluation = restore("evaluation", runs[0].record.config["evaluation"])
            parts = [one.detections for one in found[name] if one.detections is not None]
            together = result(truth, as_one(parts, rule), names, evaluation.engine, evaluation.max_detections).map
            over = f"{together - statistics.mean(maps):+.4f} | {together - max(maps):+.4f} over the best"
            yield f"| ensemble of these by {across.value}, each: {name} | {together:.4f} | {over} | | |"


@torch.inference_mode()
def measure(run: Run, detector: Detector) -> MapResult:
    evaluation = restore("evaluation", run.record.config["evaluation"])
    metric = CocoMeanAveragePrecision(run.data.info.class_names, evaluation.engine, evaluation.max_detections)
    for batch in run.batches:
        metric.update(detector.find(batch), batch.targets, batch.frames)
    return metric.compute(run.data.truth("val"))


@torch.inference_mode()
def timed(run: Run, detector: Detector) -> float:
    began = time.perf_counter()
    for batch in run.batches:
        detector.find(batch)
    return (time.perf_counter() - began) / sum(map(len, run.batches))


if __name__ == "__main__":
    main()

"""`make bench-time`: how soon a given mAP is reached, against torchvision's own model in a plain loop, same weights.

RetinaNet on EfficientNet-Lite0 at 240 x 320 on bccd and kangaroo, from a detector of voc2007_1000 trained first;
head_only (with the store and without), full, and the reference loop: float32, AdamW at full's rate, torchvision's
losses, from the very weights that `full` starts with. The clock runs from the first step and stops for no one:
validations, the store's filling and checkpoints count; imports and reading of pictures do not. Medians over seeds;
writes a table, a chart, and what both are of.

    python benchmarks/time_to_map.py [--seeds 3] [--epochs 6] [--output outputs/bench-time]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import rivals
import torch

from headstart.config.compose import compose
from headstart.data.batch import Batch
from headstart.evaluation.coco_map import CocoMeanAveragePrecision
from headstart.evaluation.module import EvaluationModule
from headstart.run import prepare, run
from headstart.runs.experiment import Experiment

matplotlib.use("Agg")
from matplotlib import pyplot

Curve = list[tuple[float, float]]
"""(seconds since the first step, mAP) after each epoch."""
SIZE, BATCH = (240, 320), 8
COMMON = ("model.anchor_scale=0.5", *rivals.sized(SIZE, BATCH), *rivals.PLAIN)
OURS = {
    "head_only, store": ("strategy=head_only", "strategy.feature_store=on"),
    "head_only": ("strategy=head_only", "strategy.feature_store=off"),
    "full": ("strategy=full",),
}
REFERENCE = "torchvision's loop"
TARGETS = ("kangaroo", "bccd")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("outputs/bench-time"))
    arguments = parser.parse_args()
    source = voc_detector(arguments.output)
    curves = {target: {name: [] for name in (*OURS, REFERENCE)} for target in TARGETS}  # type: dict[str, dict[str, list[Curve]]]
    for seed in range(arguments.seeds):
        for target in TARGETS:
            own = (*COMMON, f"dataset={target}", *source, f"seed={seed}", f"trainer.max_epochs={arguments.epochs}")
            for name, overrides in OURS.items():
                curves[target][name].append(ours((*own, *overrides, f"output_dir={arguments.output}", "rerun=true")))
            curves[target][REFERENCE].append(theirs((*own, "strategy=full"), arguments.epochs))
    (arguments.output / "curves.json").write_text(json.dumps(curves))
    print(table(curves))
    draw(curves, arguments.output / "time_to_map.png")


def voc_detector(output: Path) -> tuple[str, ...]:
    own = ("dataset=voc2007_1000", "source=imagenet", "strategy=full", "trainer.max_epochs=6")
    run(compose([*COMMON, *own, "trainer.check_val_every_n_epoch=6", f"output_dir={output}/source"]))
    (made,) = (output / "source").glob("*/model.safetensors")
    return "source=checkpoint", "source.name=voc", f"source.path={made.parent}"


def ours(overrides: tuple[str, ...]) -> Curve:
    with noting() as curve:
        run(compose([*overrides]))
    return curve


@contextmanager
def noting() -> Iterator[Curve]:
    """Fills with what each validation found, by the time since the fit began."""
    from headstart.training.module import DetectionModule

    curve: Curve = []
    begun: list[float] = []
    finish, start = EvaluationModule._finish, DetectionModule.setup

    def finished(self: EvaluationModule, split: str) -> None:
        finish(self, split)
        assert self.evaluation is not None
        if split == "val":
            curve.append((time.perf_counter() - begun[0], self.evaluation.map))

    def started(self: DetectionModule, stage: str) -> None:
        begun.append(time.perf_counter())
        start(self, stage)

    EvaluationModule._finish, DetectionModule.setup = finished, started
    try:
        yield curve
    finally:
        EvaluationModule._finish, DetectionModule.setup = finish, start


def theirs(overrides: tuple[str, ...], epochs: int) -> Curve:
    experiment = prepare(compose([*overrides]), show=False)
    model = rivals.retinanet(experiment.detector.to(memory_format=torch.contiguous_format), *SIZE)
    of = rivals.samples(experiment.data.data.splits["train"], background=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=experiment.plan.groups[0].lr, weight_decay=0.05)
    begun, curve = time.perf_counter(), []
    for epoch in range(epochs):
        for images, targets in rivals.batches(of, BATCH, epoch):
            rivals.step(model.train(), optimizer, images, targets)
        curve.append((time.perf_counter() - begun, measured(model.eval(), experiment)))
    return curve


@torch.no_grad()
def measured(model: torch.nn.Module, experiment: Experiment) -> float:
    """mAP by the same code that measures ours; pictures resized by torchvision's transform, boxes in its pixels."""
    metric = CocoMeanAveragePrecision(experiment.info.class_names)
    for batch in experiment.data.val_dataloader():
        assert isinstance(batch, Batch)
        found = model([image.float() / 255 for image, _ in batch.per_image()])
        metric.update(rivals.predictions(found), batch.targets, batch.frames)
    return metric.compute().map


# ------------------------------------------------------------------------------------------------ what is shown


def table(curves: dict[str, dict[str, list[Curve]]]) -> str:
    """Seconds until the best mAP that the reference loop reached with the same seed; medians over seeds."""
    lines = ["| target | training | seconds an epoch | best mAP | seconds to the reference's best | times as soon |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for target, by_name in curves.items():
        goals = [max(value for _, value in curve) for curve in by_name[REFERENCE]]
        base = times(by_name[REFERENCE], goals)
        for name, of_seeds in by_name.items():
            epoch = statistics.median(curve[-1][0] / len(curve) for curve in of_seeds)
            best = statistics.median(max(value for _, value in curve) for curve in of_seeds)
            reached = times(of_seeds, goals)
            ratio = statistics.median(theirs / ours for theirs, ours in zip(base, reached, strict=True))
            shown = f"{statistics.median(reached):.1f} | {ratio:.1f}" if ratio else "not reached | -"
            lines.append(f"| {target} | {name} | {epoch:.1f} | {best:.3f} | {shown} |")
    return "\n".join(lines)


def times(curves: list[Curve], goals: list[float]) -> list[float]:
    """Seconds until each curve is where its goal is; infinite where it never is."""
    return [
        next((seconds for seconds, value in curve if value >= goal), math.inf)
        for curve, goal in zip(curves, goals, strict=True)
    ]


def draw(curves: dict[str, dict[str, list[Curve]]], path: Path) -> None:
    figure, axes = pyplot.subplots(1, len(curves), figsize=(9, 3.4), sharey=False)
    for axis, (target, by_name) in zip(axes, curves.items(), strict=True):
        for name, of_seeds in by_name.items():
            middle = [
                [statistics.median(values) for values in zip(*points, strict=True)]
                for points in zip(*of_seeds, strict=True)
            ]
            axis.plot(*zip(*middle, strict=True), marker="o", markersize=3, label=name)
        axis.set(title=target, xlabel="seconds since the first step, two CPU cores", ylabel="mAP", xlim=0, ylim=0)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()

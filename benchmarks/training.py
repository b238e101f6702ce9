"""`make bench-training`: images a second of training on the CPU, against torchvision's own model in a plain loop.

The same images (kangaroo, 130 of them, decoded, in memory), batch size, body, neck, head and anchors on both sides;
torchvision's side in float32 with its own transform, as its users run it; Headstart's whole run, with Lightning and
every callback, as its record states it (`cost.train_images_per_second`). Medians of alternating repeats; the ratio is
to torchvision's *full* step. Beside each the bound that multiply-adds set, in equal precision: a full step is three
forward passes; what is frozen costs one, what is stored none (filling the store is no step: its seconds are printed by
the run). The source is a detector of the same network, untrained (its weights are not what is timed), so that
`head_only` freezes body and neck.

    python benchmarks/training.py [--repeats 3] [--epochs 2] [--networks "Lite0, FPN-64"]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import rivals
import torch

from headstart.config.compose import compose
from headstart.run import prepare, run
from headstart.runs.experiment import Experiment

SIZE = (240, 320)
BATCH = 8
COMMON = ("dataset=kangaroo", "rerun=true", *rivals.sized(SIZE, BATCH), *rivals.PLAIN)
"""A store is no part of a run's name: without `rerun` the run with one would be the finished one without."""
NETWORKS = {"Lite0, FPN-64": ("backbone=efficientnet_lite0",), "ResNet-50, FPN-256": ("backbone=resnet50",)}
OURS = {
    "full": ("strategy=full",),
    "head_only": ("strategy=head_only", "strategy.feature_store=off"),
    "head_only, store": ("strategy=head_only", "strategy.feature_store=on"),
}


@dataclass
class Measured:
    """Images a second: of each repeat."""

    theirs: list[float] = field(default_factory=list)
    ours: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in OURS})


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    arguments = parser.parse_args()
    print("| network | training | images/s | to torchvision's full step | bound by multiply-adds |")
    print("|---|---|---:|---:|---:|")
    for name in arguments.networks:
        for line in rows(name, NETWORKS[name], arguments.repeats, arguments.epochs):
            print(line, flush=True)


def rows(name: str, network: tuple[str, ...], repeats: int, epochs: int) -> list[str]:
    measured, bound = Measured(), bounds(network)
    with tempfile.TemporaryDirectory() as folder:
        source = untrained(network, Path(folder))
        for repeat in range(repeats):
            measured.theirs.append(theirs(network, epochs))
            for strategy, overrides in OURS.items():
                own = (*network, *overrides, *source, f"seed={repeat}", f"output_dir={folder}")
                measured.ours[strategy].append(rivals.ours([*COMMON, *own], epochs))
    full = statistics.median(measured.theirs)
    lines = [f"| {name} | torchvision, fp32 | {full:.1f} | 1 | 1 |"]
    for strategy, values in measured.ours.items():
        here = statistics.median(values)
        lines.append(f"| {name} | {strategy} | {here:.1f} | {here / full:.2f} | {bound[strategy]:.1f} |")
    return lines


def untrained(network: tuple[str, ...], folder: Path) -> tuple[str, str]:
    """A detector to start from."""
    none = ("source=scratch", "strategy=full", "trainer.max_epochs=0", f"output_dir={folder}/source")
    run(compose([*COMMON, *network, *none]))
    (made,) = (folder / "source").glob("*/model.safetensors")
    return "source=checkpoint", f"source.path={made.parent}"


def theirs(network: tuple[str, ...], epochs: int) -> float:
    experiment = scratch(network)
    model = rivals.retinanet(experiment.detector.to(memory_format=torch.contiguous_format), *SIZE)
    of = rivals.samples(experiment.data.data.splits["train"], background=0)
    return rivals.images_a_second(model, of, BATCH, epochs)


def scratch(network: tuple[str, ...]) -> Experiment:
    return prepare(compose([*COMMON, *network, "source=scratch", "strategy=full"]), show=False)


def bounds(network: tuple[str, ...]) -> dict[str, float]:
    parts = rivals.multiply_adds(scratch(network).detector, SIZE)
    trained, frozen = 3 * parts["head"], parts["body"] + parts["neck"]
    whole = trained + 3 * frozen
    return {"full": 1.0, "head_only": whole / (trained + frozen), "head_only, store": whole / trained}


if __name__ == "__main__":
    main()

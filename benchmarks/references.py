"""`make bench-references`: images a second of training on the CPU, of each detector that is no torchvision's, against
the program that it is known by, in a plain loop.

D-FINE and RT-DETR: transformers' own class, on HGNetV2-B0 on both sides. YOLOX: Megvii's head and losses on the same
body and neck. YOLOv3: pytorchyolo's network and losses, Darknet-53 on both sides. Both sides have as many parameters,
which is checked, the same pictures (kangaroo) and batch size. The rivals' pictures are decoded, resized and normalised
before the clock starts; Headstart's whole run counts, with Lightning and every callback, as its record states it
(`cost.train_images_per_second`). Medians of alternating repeats. A rival that is not installed is left out, and named.

    python benchmarks/references.py [--repeats 3] [--epochs 2] [--only d_fine …] [--yolox <checkout of YOLOX>]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import reference_networks
import rivals
import torch
from torch import Tensor
from torch.nn import functional

from headstart.config.compose import compose
from headstart.run import prepare
from headstart.runs.experiment import Experiment

SIZE = (192, 192)
BATCH = 8
COMMON = (
    *("dataset=kangaroo", "dataset.fraction=0.5", "dataset.resize=stretch"),
    *("source=scratch", "strategy=full", "rerun=true"),
    *rivals.sized(SIZE, BATCH),
    *rivals.PLAIN,
)
QUERIES = ("backbone=hgnetv2_b0", "model.denoising=100")


@dataclass(frozen=True)
class Rival:
    """A package, and how its network with its losses is made of our detector, which the overrides ask for."""

    package: str
    make: Callable[[Any], torch.nn.Module]
    overrides: tuple[str, ...]


RIVALS = {
    "d_fine": Rival("transformers", reference_networks.DFine, ("model=d_fine", *QUERIES)),
    "rt_detr": Rival("transformers", reference_networks.RTDetr, ("model=rt_detr", *QUERIES)),
    "yolox": Rival("yolox", reference_networks.YOLOX, ("model=yolox", "backbone=efficientnet_lite0")),
    "yolov3": Rival("pytorchyolo", reference_networks.YOLOv3, ("model=yolov3", "backbone=darknet53")),
}
"""By the model of ours."""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=RIVALS, default=[*RIVALS])
    parser.add_argument("--yolox", type=Path, help="a checkout of Megvii-BaseDetection/YOLOX")
    arguments = parser.parse_args()
    if arguments.yolox:
        sys.path.insert(0, str(arguments.yolox))
    print("| model | reference | its images/s | Headstart's | ratio |")
    print("|---|---|---:|---:|---:|")
    for name in arguments.only:
        rival = RIVALS[name]
        if importlib.util.find_spec(rival.package) is None:
            print(f"{name}: left out, {rival.package} is not there", file=sys.stderr)
            continue
        there, here = in_turn(rival, arguments.repeats, arguments.epochs)
        print(f"| {name} | {rival.package} | {there:.1f} | {here:.1f} | {here / there:.2f} |", flush=True)


def in_turn(rival: Rival, repeats: int, epochs: int) -> tuple[float, float]:
    """Images a second of the rival and of the run: medians."""
    theirs: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats):
            theirs.append(of_rival(rival, epochs))
            own = [*COMMON, *rival.overrides, f"seed={repeat}", f"output_dir={folder}"]
            ours.append(rivals.ours(own, epochs))
    return statistics.median(theirs), statistics.median(ours)


def of_rival(rival: Rival, epochs: int) -> float:
    experiment = prepare(compose([*COMMON, *rival.overrides]), show=False)
    network = rival.make(experiment.detector)
    there, here = (sum(p.numel() for p in module.parameters()) for module in (network, experiment.detector))
    assert abs(there / here - 1) < 0.01, f"{rival.package}: {there:,} parameters, and {here:,} of Headstart"
    return rivals.images_a_second(network, prepared(experiment), BATCH, epochs)


def prepared(experiment: Experiment) -> list[rivals.Sample]:
    """On the canvas, normalised as our detector does it; boxes in its pixels."""
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (experiment.detector.preprocessing.mean, experiment.detector.preprocessing.std)
    )

    def of(pixels: Tensor, target: dict[str, Tensor]) -> rivals.Sample:
        height, width = pixels.shape[-2:]
        small = functional.interpolate(pixels[None], SIZE, mode="bilinear", antialias=True)[0]
        scale = torch.tensor([SIZE[1] / width, SIZE[0] / height] * 2)
        return (small - mean) / std, target | {"boxes": target["boxes"] * scale}

    return [of(*one) for one in rivals.samples(experiment.data.data.splits["train"], background=0)]


if __name__ == "__main__":
    main()

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
from pathlib import Path
from typing import Any

import reference_networks
import rivals
import torch
from torch import Tensor
from torch.nn import functional

from headstart.config.compose import compose
from headstart.run import prepare, run
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
NETWORKS: dict[str, tuple[str, ...]] = {
    "d_fine": ("model=d_fine", *QUERIES),
    "rt_detr": ("model=rt_detr", *QUERIES),
    "yolox": ("model=yolox", "backbone=efficientnet_lite0"),
    "yolov3": ("model=yolov3", "backbone=darknet53"),
}
RIVALS: dict[str, tuple[str, Callable[[Any], torch.nn.Module]]] = {
    "d_fine": ("transformers", reference_networks.DFine),
    "rt_detr": ("transformers", reference_networks.RTDetr),
    "yolox": ("yolox", reference_networks.YOLOX),
    "yolov3": ("pytorchyolo", reference_networks.YOLOv3),
}
"""Model -> its rival's package, and the network with its losses, made of our detector."""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--yolox", type=Path, help="a checkout of Megvii-BaseDetection/YOLOX")
    arguments = parser.parse_args()
    if arguments.yolox:
        sys.path.insert(0, str(arguments.yolox))
    print("| model | reference | its images/s | Headstart's | ratio |")
    print("|---|---|---:|---:|---:|")
    for name in arguments.only:
        package, _ = RIVALS[name]
        if importlib.util.find_spec(package) is None:
            print(f"{name}: left out, {package} is not there", file=sys.stderr)
            continue
        print(row(name, arguments.repeats, arguments.epochs), flush=True)


def row(name: str, repeats: int, epochs: int) -> str:
    package, _ = RIVALS[name]
    theirs: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats):
            theirs.append(_theirs(name, epochs))
            ours.append(_ours(name, epochs, [f"seed={repeat}", f"output_dir={folder}"]))
    there, here = statistics.median(theirs), statistics.median(ours)
    return f"| {name} | {package} | {there:.1f} | {here:.1f} | {here / there:.2f} |"


def _ours(name: str, epochs: int, more: list[str]) -> float:
    last = (f"trainer.max_epochs={epochs}", f"trainer.check_val_every_n_epoch={epochs}")
    return run(compose([*COMMON, *NETWORKS[name], *last, *more])).cost["train_images_per_second"]


def _theirs(name: str, epochs: int) -> float:
    experiment = prepare(compose([*COMMON, *NETWORKS[name]]), show=False)
    _, make = RIVALS[name]
    network = make(experiment.detector)
    counts = [sum(p.numel() for p in module.parameters()) for module in (network, experiment.detector)]
    assert abs(counts[0] / counts[1] - 1) < 0.01, f"{name}: {counts[0]:,} parameters, and {counts[1]:,} of Headstart"
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

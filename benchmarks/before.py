"""`make bench-before BEFORE=<a checkout>`: training of every model on the CPU, this commit against another one.

The same command in both, `headstart train` on drawn pictures of 240 x 320, batch 8, `strategy=full` from nothing, on
EfficientNet-Lite0 (SSD: VGG16, MobileNetV2; SSDlite: MobileNetV3), each in a process of its own, alternating: images a
second as the records state them, medians. The other checkout needs no installation: this environment runs its source.

    git worktree add ../before f559ab8
    python benchmarks/before.py ../before [--repeats 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import rivals
from study import SQUARE

from headstart.records.record import RunRecord

MODELS = {
    "RetinaNet": ("model=retinanet",),
    "FCOS": ("model=fcos",),
    "Faster R-CNN": ("model=faster_rcnn",),
    "SSD": ("model=ssd", "backbone=vgg16", *SQUARE),
    "SSD of TensorFlow": ("model=ssd_tf", "backbone=mobilenetv2_100", *SQUARE),
    "SSDlite": ("model=ssdlite", "backbone=mobilenet_v3_large", *SQUARE),
}
WORDS = ("source=scratch", "strategy=full", "dataset=shapes", "dataset.num_val=4", "trainer.max_epochs=2")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=64)
    arguments = parser.parse_args()
    sides = {"before": arguments.before.resolve(), "now": Path(__file__).parents[1]}
    print("| model | before, images/s | now, images/s | ratio | least, most |\n|---|---:|---:|---:|---|")
    for name, words in MODELS.items():
        own = (*WORDS, f"dataset.num_train={arguments.images}", *rivals.sized((240, 320), 8), *words, *rivals.PLAIN)
        pairs = [[trained(side, own) for side in sides.values()] for _ in range(arguments.repeats)]
        before, now = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratios = sorted(after / first for first, after in pairs)
        span = f"{ratios[0]:.2f}, {ratios[-1]:.2f}"
        print(f"| {name} | {before:.1f} | {now:.1f} | {statistics.median(ratios):.2f} | {span} |", flush=True)


def trained(checkout: Path, words: tuple[str, ...]) -> float:
    """Images a second."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "headstart", "train", *words, f"output_dir={folder}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=folder)
        (record,) = Path(folder).glob("*/record.json")
        return RunRecord.read(record).cost["train_images_per_second"]


if __name__ == "__main__":
    main()

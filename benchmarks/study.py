"""`make bench-study`: a study of 12 cells that share a frozen prefix, against 12 separate commands without a store.

`head_only`, six rates times two seeds, on drawn shapes: of RetinaNet, whose head is most of what a step computes, and
of TensorFlow's SSD, whose head is next to nothing of it. CPU seconds of all processes, and wall time.

    python benchmarks/study.py [--images 200] [--epochs 8]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import rivals

RATES = ("2e-3", "1e-3", "7e-4", "5e-4", "3e-4", "1e-4")
SEEDS = (0, 1)


SQUARE = ("dataset.resize=stretch", "dataset.min_size=300", "dataset.max_size=300")
NETWORKS = {
    "RetinaNet-Lite0, FPN-64": (),
    "SSD-MobileNetV2": ("model=ssd_tf", "backbone=mobilenetv2_100", *SQUARE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    print("| 12 cells of head_only | | CPU seconds | wall seconds |\n|---|---|---:|---:|")
    for name, network in NETWORKS.items():
        common = [*network, "dataset=shapes", f"dataset.num_train={arguments.images}", *rivals.PLAIN]
        apart, together = measured([*common, "dataset.num_val=40"], arguments.epochs)
        print(f"| {name} | separate commands, no store | {apart[0]:.0f} | {apart[1]:.0f} |")
        print(f"| | one study | {together[0]:.0f} | {together[1]:.0f} |")
        print(f"| | ratio | {apart[0] / together[0]:.1f} | {apart[1] / together[1]:.1f} |", flush=True)


Seconds = tuple[float, float]
"""Of CPU, of the clock."""


def measured(common: list[str], epochs: int) -> tuple[Seconds, Seconds]:
    """Of separate commands, of the study."""
    with tempfile.TemporaryDirectory() as folder:
        source = untrained(common, Path(folder))
        cell = [*common, *source, "strategy=head_only", f"trainer.max_epochs={epochs}"]
        cell.append(f"trainer.check_val_every_n_epoch={epochs}")
        return timed(lambda: separate(cell, Path(folder))), timed(lambda: study(cell, Path(folder)))


def untrained(common: list[str], folder: Path) -> list[str]:
    train([*common, "source=scratch", "strategy=full", "trainer.max_epochs=0", f"output_dir={folder}/source"])
    (made,) = (folder / "source").glob("*/model.safetensors")
    return ["source=checkpoint", f"source.path={made.parent}"]


def separate(cell: list[str], folder: Path) -> None:
    """Two at a time, as the study has them."""
    jobs = [[f"optimizer.lr={rate}", f"seed={seed}"] for rate in RATES for seed in SEEDS]
    own = ["strategy.feature_store=off", f"output_dir={folder}/apart"]
    while jobs:
        now, jobs = jobs[:2], jobs[2:]
        processes = [start([*cell, *own, *job], {"OMP_NUM_THREADS": "1"}) for job in now]
        assert all(process.wait() == 0 for process in processes)


def study(cell: list[str], folder: Path) -> None:
    swept = [f"optimizer.lr={','.join(RATES)}", f"seed={','.join(map(str, SEEDS))}"]
    train(["-m", *cell, *swept, "study.jobs=2", f"output_dir={folder}/study"])


def train(words: list[str]) -> None:
    assert start(words, {}).wait() == 0


def start(words: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "headstart", "train", *words]
    return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)


def timed(work: Callable[[], None]) -> Seconds:
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - begun


if __name__ == "__main__":
    main()

"""`make bench-study`: a study of 12 cells that share a frozen prefix, against 12 separate commands without a store.

`head_only` of a detector of drawn shapes, six rates times two seeds. CPU seconds of all processes, and wall time.

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
from pathlib import Path

import rivals

RATES = ("2e-3", "1e-3", "7e-4", "5e-4", "3e-4", "1e-4")
SEEDS = (0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    common = [
        "dataset=shapes",
        f"dataset.num_train={arguments.images}",
        "dataset.num_val=40",
        *rivals.PLAIN,
    ]
    with tempfile.TemporaryDirectory() as folder:
        source = untrained(common, Path(folder))
        cell = [*common, *source, "strategy=head_only", f"trainer.max_epochs={arguments.epochs}"]
        cell.append(f"trainer.check_val_every_n_epoch={arguments.epochs}")
        apart = timed(lambda: separate(cell, Path(folder)))
        together = timed(lambda: study(cell, Path(folder)))
    print("| 12 cells | CPU seconds | wall seconds |\n|---|---:|---:|")
    print(f"| separate commands, no store | {apart[0]:.0f} | {apart[1]:.0f} |")
    print(f"| one study | {together[0]:.0f} | {together[1]:.0f} |")
    print(f"| ratio | {apart[0] / together[0]:.1f} | {apart[1] / together[1]:.1f} |")


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


def timed(work: object) -> tuple[float, float]:
    """Of CPU, of the clock."""
    assert callable(work)
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - begun


if __name__ == "__main__":
    main()

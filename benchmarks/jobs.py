"""`make bench-jobs`: a study of 12 small cells with `study.jobs` at 1, 2, 3, 4 and auto.

Full training of drawn pictures of 96 x 128 pixels; seconds by the clock and of all processes' CPU.

python benchmarks/jobs.py [--images 48] [--epochs 3]
"""

from __future__ import annotations

import argparse
import tempfile

import rivals
from study import RATES, SEEDS, timed, train

JOBS = ("1", "2", "3", "4", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    cells = ["dataset=shapes", f"dataset.num_train={arguments.images}", "dataset.num_val=8", *rivals.PLAIN]
    cells += rivals.sized((96, 128), 8)
    cells += ["source=scratch", "strategy=full", f"trainer.max_epochs={arguments.epochs}"]
    cells += [f"optimizer.lr={','.join(RATES)}", f"seed={','.join(map(str, SEEDS))}"]
    print("| study.jobs | wall seconds | CPU seconds |\n|---|---:|---:|")
    for jobs in JOBS:
        with tempfile.TemporaryDirectory() as folder:
            words = ["-m", *cells, f"study.jobs={jobs}", f"output_dir={folder}"]
            cpu, wall = timed(lambda words=words: train(words))
        print(f"| {jobs} | {wall:.0f} | {cpu:.0f} |", flush=True)


if __name__ == "__main__":
    main()

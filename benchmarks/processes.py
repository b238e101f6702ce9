"""`make bench-processes`: two processes (gloo) against one, and the memory of head_only against full.

RetinaNet on EfficientNet-Lite0 at 240 x 320 on kangaroo: images a second, mAP and peak memory, as the records state
them. One process has both cores' threads; two have one each, and half of the batch.

    python benchmarks/processes.py [--epochs 2]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import rivals

from headstart.records.record import RunRecord

COMMON = ("dataset=kangaroo", "trainer.precision=32-true", *rivals.PLAIN)
ONE = ("dataset.batch_size=8",)
TWO = ("dataset.batch_size=4", "trainer.strategy=ddp", "trainer.devices=2")
OFF = ("strategy=head_only", "strategy.feature_store=off")
RUNS = {
    "full, one process": ("strategy=full", *ONE),
    "full, two processes": ("strategy=full", *TWO),
    "head_only, one process": (*OFF, *ONE),
    "head_only, two processes": (*OFF, *TWO),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    print("| run | images/s | mAP | peak memory, MiB |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        made = train(source, "source=scratch", "strategy=full", "trainer.max_epochs=0")
        for number, (name, overrides) in enumerate(RUNS.items()):
            own = ("source=checkpoint", f"source.path={made}", f"trainer.max_epochs={arguments.epochs}")
            record = RunRecord.read(train(Path(folder) / str(number), *own, *overrides) / "record.json")
            speed, memory = record.cost["train_images_per_second"], record.cost["peak_memory_mib"]
            print(f"| {name} | {speed:.1f} | {record.metrics['val']['map']:.4f} | {memory:.0f} |", flush=True)


def train(output: Path, *overrides: str) -> Path:
    """The run's folder."""
    words = [sys.executable, "-m", "headstart", "train", *COMMON, *overrides, f"output_dir={output}"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    (record,) = output.glob("*/record.json")
    return record.parent


if __name__ == "__main__":
    main()

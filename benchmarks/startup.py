"""`make bench-startup`: from the command to the first training step, against importing what any such program imports.

`headstart train` on 16 drawn pictures of 96 x 128, until its first step begins; and a process that does nothing but
import torch, torchvision and lightning. In turn, medians; files in the system's cache.

    python benchmarks/startup.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

import rivals

IMPORTS = "import time, torch, torchvision, lightning; print(time.monotonic())"
OURS = """
import builtins, os, sys, time

ordinary = builtins.__import__

def watching(*given, **named):
    found, module = ordinary(*given, **named), sys.modules.get("headstart.training.module")
    if hasattr(module, "DetectionModule"):
        builtins.__import__ = ordinary
        module.DetectionModule.training_step = first_step
    return found

def first_step(*_):
    print("first", time.monotonic(), flush=True)
    os._exit(0)

builtins.__import__ = watching
from headstart.cli import main
main()
"""
"""The command, which ends where its first step would begin. What says when has no part in the time."""
WORDS = ("train", "dataset=shapes", "dataset.num_train=16", "dataset.num_val=4", *rivals.sized((96, 128), 8))
STARTS = {
    "from ImageNet, head_only": ("source=imagenet", "strategy=head_only"),
    "from nothing": ("source=scratch", "strategy=full"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {"imports": [], **{name: [] for name in STARTS}}
    for _ in range(arguments.repeats):
        seconds["imports"].append(until_said("-c", IMPORTS))
        for name, words in STARTS.items():
            with tempfile.TemporaryDirectory() as folder:
                own = (*WORDS, *words, *rivals.PLAIN, f"output_dir={folder}")
                seconds[name].append(until_said("-c", OURS, *own))
    base = statistics.median(seconds["imports"])
    print("| | seconds | over the imports |\n|---|---:|---:|")
    for name, values in seconds.items():
        here = statistics.median(values)
        print(f"| {name} | {here:.2f} | {here / base:.2f} |")


def until_said(*words: str) -> float:
    """Seconds until the process says its clock, which is the system's."""
    begun = time.monotonic()
    said = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stdout
    return float(said.split()[-1]) - begun


if __name__ == "__main__":
    main()

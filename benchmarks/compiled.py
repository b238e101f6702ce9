"""`make bench-compile`: a training step compiled (`training.compile=inductor`) and as it is written, on the CPU.

RetinaNet in float32, `strategy=full`, the same drawn batch on both sides: losses, backward pass and update. Medians of
steps in alternation; what compiling took is the first step less another. After so many steps it is paid back.

    python benchmarks/compiled.py [--steps 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import rivals
import torch
from training import BATCH, NETWORKS, SIZE

from headstart.config.compose import compose
from headstart.config.schema import Compile
from headstart.data.batch import Batch
from headstart.run import prepare
from headstart.training.compiled import LossesOf, as_written, losses_by


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5)
    steps = parser.parse_args().steps
    print("| network | as written, s | compiled, s | ratio | compiling, s | paid back after steps |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, network in NETWORKS.items():
        print(row(name, network, steps), flush=True)


def row(name: str, network: tuple[str, ...], steps: int) -> str:
    step = stepping(network)
    compiled = losses_by(Compile.inductor, BATCH)
    step(as_written)
    first = step(compiled)
    found = [(step(as_written), step(compiled)) for _ in range(steps)]
    plain, ours = (statistics.median(side) for side in zip(*found, strict=True))
    paid = f"{(first - ours) / (plain - ours):,.0f}" if ours < plain else "never"
    return f"| {name} | {plain:.2f} | {ours:.2f} | {plain / ours:.2f} | {first - ours:.0f} | {paid} |"


def stepping(network: tuple[str, ...]) -> Callable[[LossesOf], float]:
    """One step by such losses, and its seconds."""
    sized = rivals.sized(SIZE, BATCH)
    words = ("dataset=shapes", f"dataset.num_train={BATCH}", "dataset.num_val=1", *sized, *rivals.PLAIN, *network)
    experiment = prepare(compose([*words, "source=scratch", "strategy=full"]), show=False)
    batch: Batch = next(iter(experiment.data.plain_batches("train", BATCH)))
    detector = experiment.detector.train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-5, fused=True)

    def step(losses_of: LossesOf) -> float:
        begun = time.perf_counter()
        torch.stack(list(losses_of(detector, batch, None).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - begun

    return step


if __name__ == "__main__":
    main()

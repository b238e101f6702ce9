"""`make bench-overhead`: what Lightning and every callback of a run cost over a bare loop on the same step.

The loop takes the same batches from the same DataModule, computes the same losses in the same precision, clips and
updates as the run does, and nothing else: no logs, no checks of losses, no history, no checkpoint. RetinaNet on
EfficientNet-Lite0, kangaroo at 240 x 320, batch 8; both in one process, alternating, medians.

    python benchmarks/overhead.py [--repeats 5] [--epochs 2]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import rivals
import torch
from training import BATCH, COMMON, NETWORKS, untrained

from headstart.build import optimizer_factory, resolve_precision
from headstart.config.compose import compose
from headstart.run import prepare
from headstart.training.module import DetectionModule
from headstart.transfer.param_groups import optimizer_groups

STRATEGIES = {"full": ("strategy=full",), "head_only": ("strategy=head_only", "strategy.feature_store=off")}
SMALL = rivals.sized((96, 128), BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    network = NETWORKS["Lite0, FPN-64"]
    print("| step | bare loop, ms | run, ms | run over loop |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        source = untrained(network, Path(folder))
        for size, sized in (("240 x 320", ()), ("96 x 128", SMALL)):
            for name, strategy in STRATEGIES.items():
                own = (*network, *source, *sized, *strategy, f"output_dir={folder}")
                loop, whole = in_turn(own, arguments.repeats, arguments.epochs)
                print(f"| {name}, {size} | {loop:.1f} | {whole:.1f} | {whole / loop:.3f} |", flush=True)


def in_turn(overrides: tuple[str, ...], repeats: int, epochs: int) -> tuple[float, float]:
    """Milliseconds a step of the loop and of the run: medians."""
    pairs = [(bare(overrides, epochs), rivals.ours([*COMMON, *overrides], epochs)) for _ in range(repeats)]
    loop, speed = (statistics.median(side) for side in zip(*pairs, strict=True))
    return loop, 1000 * BATCH / speed


def bare(overrides: tuple[str, ...], epochs: int) -> float:
    experiment = prepare(compose([*COMMON, *overrides]), show=False)
    detector, data, trainer = experiment.detector, experiment.data, experiment.config.trainer
    optimizer = optimizer_factory(experiment.config.optimizer)(optimizer_groups(detector, experiment.plan))
    DetectionModule.train(experiment.module)  # what the plan fixes stays in eval mode
    loader, images = data.train_dataloader(), 0
    mixed = resolve_precision(trainer) == "bf16-mixed"
    begun = time.perf_counter()
    for _ in range(epochs):
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                losses = detector.losses(data.on_after_batch_transfer(batch, 0))
            optimizer.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(detector.parameters(), trainer.gradient_clip_val)
            optimizer.step()
            images += len(batch)
    return 1000 * BATCH * (time.perf_counter() - begun) / images


if __name__ == "__main__":
    main()

"""One GPU, in under five minutes: images a second of Headstart's step against torchvision's best plain loop.

Needs nothing but the project and the card: pictures and boxes are drawn, and lie in the card's memory on both sides.
torchvision's side is its own class around the same body, neck and head, in float32 and in bf16, whichever is faster;
ours is bf16, channels_last, fused AdamW. Medians of alternating repeats. Beside each: the share of its own step in
which a kernel runs (profiled), the images a second if kernels ran all the time, and how often the host waited.

    python benchmarks/gpu.py [--repeats 3] [--steps 20] [--rows retinanet-resnet50 …] [--cpu] [--output gpu.md]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rivals
import torch
from torch import Tensor

from headstart.config.compose import compose
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors.factory import build_detector

CLASSES = tuple(f"class {number}" for number in range(20))
BOXES = 6
"""Of each picture."""
HEAD_ONLY = ("stem", "stage", "neck")
"""How the stages begin that `head_only` freezes."""


@dataclass(frozen=True)
class Row:
    model: str
    backbone: str
    image_hw: tuple[int, int]
    batch_size: int
    kind: str = "full"
    """`full`, `head_only`, `stored` (with what is frozen computed before), `predict`, or `compiled`."""

    def __str__(self) -> str:
        height, width = self.image_hw
        return f"| {self.model}, {self.backbone} | {height}x{width} | {self.batch_size} | {self.kind} |"


SIZES = (((240, 320), 16), ((240, 320), 64), ((480, 640), 16), ((800, 1088), 8))
ROWS = (
    *(
        Row("retinanet", body, size, batch, kind)
        for body in ("resnet50", "efficientnet_lite0")
        for size, batch in SIZES
        for kind in ("full", "head_only", "stored", "predict")
    ),
    *(Row("retinanet", body, (240, 320), 16, "compiled") for body in ("resnet50", "efficientnet_lite0")),
    *(Row(model, "efficientnet_lite0", (240, 320), 16) for model in ("fcos", "ssd", "faster_rcnn")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rows", nargs="*", default=[], help="only those whose <model>-<backbone> is named")
    parser.add_argument("--cpu", action="store_true", help="to try the script: two tiny rows")
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu.md"))
    arguments = parser.parse_args()
    rows = [row for row in ROWS if not arguments.rows or f"{row.model}-{row.backbone}" in arguments.rows]
    if arguments.cpu:
        rows = [Row("retinanet", "efficientnet_lite0", (96, 128), 2, kind) for kind in ("full", "stored", "predict")]
    device = "cpu" if arguments.cpu else "cuda"
    lines = [f"{name_of(device)}, torch {torch.__version__}", "", HEADER, RULE]
    for row in rows:
        lines.append(measured(row, device, arguments.repeats, arguments.steps))
        print(lines[-1], flush=True)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text("\n".join(lines) + "\n")


HEADER = (
    "| detector | image | batch | step "
    "| torchvision (best) | Headstart | ratio | kernels busy | if always busy | waits |"
)
RULE = "|---|---|---:|---|---:|---:|---:|---:|---:|---:|"


def name_of(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def measured(row: Row, device: str, repeats: int, steps: int) -> str:
    batch = drawn(row, device)
    mine = ours(row, batch)
    rival = {half: theirs(row, batch, half) for half in ((False, True) if row.model == "retinanet" else ())}
    seconds: dict[Any, list[float]] = {}
    for _ in range(repeats):
        for name, work in (("ours", mine), *rival.items()):
            seconds.setdefault(name, []).append(seconds_of(work, steps, device))
    speed = {name: row.batch_size / statistics.median(values) for name, values in seconds.items()}
    best = max((value for name, value in speed.items() if name != "ours"), default=None)
    busy = busy_share(mine, steps, device)
    there = "-" if best is None else f"{best:.0f}"
    ratio = "-" if best is None else f"{speed['ours'] / best:.1f}"
    share = "-" if busy is None else f"{busy:.0%} | {speed['ours'] / busy:.0f}"
    return f"{row} {there} | {speed['ours']:.0f} | {ratio} | {share if busy else '- | -'} | {waits(mine, device)} |"


# ------------------------------------------------------------------------------------------------ the work


def drawn(row: Row, device: str) -> Batch:
    generator = torch.Generator().manual_seed(0)
    height, width = row.image_hw
    images, targets = [], []
    for number in range(row.batch_size):
        images.append(torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8))
        corner = torch.rand(BOXES, 2, generator=generator) * torch.tensor([width * 0.6, height * 0.6])
        sides = 16 + torch.rand(BOXES, 2, generator=generator) * torch.tensor([width * 0.3, height * 0.3])
        labels, no = torch.randint(0, len(CLASSES), (BOXES,), generator=generator), torch.zeros(BOXES).bool()
        boxes = torch.cat([corner, corner + sides], dim=1)
        targets.append(Target(number, boxes, labels, no, no, sides.prod(1), (height, width), (height, width)))
    return Batch.of(images, targets).to(device)


def detector_of(row: Row, device: str) -> Any:
    torch.manual_seed(0)
    config = compose([f"model={row.model}", f"backbone={row.backbone}", "dataset=shapes", "source=scratch"])
    return build_detector(config.model, config.backbone, CLASSES).to(device)


def ours(row: Row, batch: Batch) -> Callable[[], None]:
    """A step, or a prediction, of ours."""
    device = batch.images.device.type
    detector = detector_of(row, device)
    if row.kind == "predict":
        return lambda: predict_ours(detector.eval(), batch)
    detector.train()
    if row.kind in ("head_only", "stored"):
        freeze(detector)
    stored = prefix(detector, batch) if row.kind == "stored" else None
    optimizer = adamw(detector)
    losses = torch.compile(detector.losses) if row.kind == "compiled" else detector.losses

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            features = prefix(detector, batch) if row.kind == "head_only" else stored
            loss = torch.stack(list(losses(batch, features).values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0, foreach=True)
        optimizer.step()

    return step


def prefix(detector: Any, batch: Batch) -> Any:
    with torch.no_grad(), torch.autocast(batch.images.device.type, torch.bfloat16):
        return detector.features(batch)


def freeze(detector: Any) -> None:
    for stage in detector.stages():
        if stage.name.startswith(HEAD_ONLY):
            for name in stage.prefixes:
                detector.get_submodule(name).requires_grad_(False).eval()


def adamw(model: torch.nn.Module) -> torch.optim.Optimizer:
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(learning, lr=1e-4, fused=True)


@torch.no_grad()
def predict_ours(detector: Any, batch: Batch) -> None:
    with torch.autocast(batch.images.device.type, torch.bfloat16):
        detector.detect(batch)


def theirs(row: Row, batch: Batch, half: bool) -> Callable[[], None]:
    """A step of torchvision's full training, or a prediction; pictures are float32 in 0..1 in the device's memory."""
    device = batch.images.device.type
    model = rivals.retinanet(detector_of(row, device), min(row.image_hw), max(row.image_hw)).to(device)
    pairs = batch.per_image()
    images = [image.float() / 255 for image, _ in pairs]
    targets = [{"boxes": target.boxes_xyxy, "labels": target.labels} for _, target in pairs]
    if row.kind == "predict":
        return lambda: predict_theirs(model.eval(), images, half)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-4)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = torch.stack(list(model(images, targets).values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()

    return step


@torch.no_grad()
def predict_theirs(model: torch.nn.Module, images: list[Tensor], half: bool) -> None:
    with torch.autocast(images[0].device.type, torch.bfloat16, enabled=half):
        model(images)


# ------------------------------------------------------------------------------------------------ the clock


def seconds_of(work: Callable[[], None], steps: int, device: str) -> float:
    """Of one step, after three that are not counted."""
    for _ in range(3):
        work()
    begun = now(device)
    for _ in range(steps):
        work()
    return (now(device) - begun) / steps


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def busy_share(work: Callable[[], None], steps: int, device: str) -> float | None:
    """Of the time from the first step to the last, the share in which a kernel ran."""
    if device != "cuda":
        return None
    seconds = seconds_of(work, steps, device)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(steps):
            work()
        torch.cuda.synchronize()
    kernels = sum(event.device_time_total for event in profile.key_averages()) / 1e6
    return min(1.0, kernels / steps / seconds)


def waits(work: Callable[[], None], device: str) -> str:
    """How often the host waited for the device in one step."""
    if device != "cuda":
        return "-"
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return str(sum("synchroniz" in str(one.message) for one in caught))


if __name__ == "__main__":
    main()

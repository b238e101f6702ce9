"""What Headstart is timed against: torchvision's own detectors in a plain loop, as its users write it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import RetinaNet

from headstart.config.compose import compose
from headstart.data.batch import Detections, pad, presence
from headstart.data.types import AnnotatedImage
from headstart.run import run

PLAIN = (
    "augment=none",
    "logger=csv",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "training.evaluate_untrained=false",
)
"""Overrides of a run that does no more than the rival's loop."""


def ours(overrides: Sequence[str], epochs: int) -> float:
    """Images a second of a whole run, validated at its end."""
    last = (f"trainer.max_epochs={epochs}", f"trainer.check_val_every_n_epoch={epochs}")
    return run(compose([*overrides, *last])).cost["train_images_per_second"]


Sample = tuple[Tensor, dict[str, Tensor]]


def sized(image_hw: tuple[int, int], batch_size: int) -> tuple[str, ...]:
    """Overrides."""
    height, width = image_hw
    return f"dataset.batch_size={batch_size}", f"dataset.min_size={height}", f"dataset.max_size={width}"


def samples(images: Sequence[AnnotatedImage], background: int, device: str = "cpu") -> list[Sample]:
    """Decoded, at their own size, float32 in 0..1, in the device's memory: reading costs the rival nothing."""
    return [_sample(image, background, device) for image in images]


def _sample(image: AnnotatedImage, background: int, device: str) -> Sample:
    pixels = torch.from_numpy(np.array(image.read())).permute(2, 0, 1).contiguous()
    kept = torch.from_numpy(~image.ignore)
    boxes = torch.from_numpy(image.boxes_xyxy).float()[kept]
    target = {"boxes": boxes.to(device), "labels": (torch.from_numpy(image.labels)[kept] + background).to(device)}
    return pixels.to(device).float() / 255, target


def retinanet(detector: Any, min_size: int, max_size: int) -> RetinaNet:
    """torchvision's class around the same body, neck and head as `detector` has, with its own transform."""
    return RetinaNet(
        detector.backbone,
        num_classes=len(detector.class_names),
        min_size=min_size,
        max_size=max_size,
        image_mean=list(detector.preprocessing.mean),
        image_std=list(detector.preprocessing.std),
        anchor_generator=detector.anchor_generator,
        head=torchvision_head(detector),
    )


def torchvision_head(detector: Any) -> Any:
    """Of the same layers, with torchvision's losses."""
    head = detector.head
    plain = next(kind for kind in type(head).__mro__ if kind.__module__.startswith("torchvision."))
    head.__class__ = plain
    return head


def batches(of: Sequence[Sample], size: int, seed: int) -> Iterator[tuple[list[Tensor], list[dict[str, Tensor]]]]:
    """An epoch, shuffled; the last batch may be smaller."""
    order = torch.randperm(len(of), generator=torch.Generator().manual_seed(seed)).tolist()
    for start in range(0, len(order), size):
        chosen = [of[index] for index in order[start : start + size]]
        yield [image for image, _ in chosen], [target for _, target in chosen]


def images_a_second(
    model: torch.nn.Module, of: Sequence[Sample], batch_size: int, epochs: int, precision: str = "fp32"
) -> float:
    """Of a plain training loop: forward, backward, clipping, AdamW."""
    device = of[0][0].device
    model.to(device).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    half = torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
    begun, seen = _now(device), 0
    for epoch in range(epochs):
        for images, targets in batches(of, batch_size, epoch):
            with half:
                step(model, optimizer, images, targets)
            seen += len(images)
    return seen / (_now(device) - begun)


def step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, images: list[Tensor], targets: list[dict[str, Tensor]]
) -> None:
    loss = torch.stack(list(model(images, targets).values())).sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()


def predictions(found: list[dict[str, Tensor]]) -> Detections:
    counts = [len(one["scores"]) for one in found]
    boxes, scores, labels = (pad([one[key] for one in found], max(counts)) for key in ("boxes", "scores", "labels"))
    return Detections(presence(counts, max(counts), scores.device), boxes, scores, labels)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def multiply_adds(detector: Any, image_hw: tuple[int, int]) -> dict[str, float]:
    """Multiply-adds of a forward pass for one image, by `body`, `neck`, `head`."""
    from torch.utils.flop_counter import FlopCounterMode

    from headstart.data.batch import Batch

    batch = Batch.of([torch.zeros(3, *image_hw, dtype=torch.uint8)])
    with torch.no_grad(), FlopCounterMode(display=False, depth=4) as counter:
        detector.eval().detect(batch)
    counts = counter.get_flop_counts()

    def of(module: torch.nn.Module, child: str = "") -> float:
        name = type(module).__name__ + child
        return sum(counts[name].values()) / 2 if name in counts else 0.0

    return {"body": of(detector.backbone, ".body"), "neck": of(detector.backbone, ".fpn"), "head": of(detector.head)}

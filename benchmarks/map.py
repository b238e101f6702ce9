"""mAP of 5,000 images and 500,000 detections: ours against torchmetrics with pycocotools, on the same numbers.

Drawn by code, 80 classes, 7 objects an image on average, given in batches of 16 as a validation gives them. Both sides
in turn, `--rounds` times; prints the median seconds of each, their ratio, what of ours lies within the validation's
steps, and the largest difference of a number.

    python benchmarks/map.py [--images 5000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torchmetrics.detection import MeanAveragePrecision

from headstart.data.batch import Detections, Frame, Targets
from headstart.evaluation.coco_map import CocoMeanAveragePrecision

CLASSES, PER_IMAGE, MOST_OBJECTS, BATCH = 80, 100, 14, 16
HW = (480, 640)
NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
Part = tuple[Detections, Targets, list[Frame]]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    parts = [draw(first, min(BATCH, args.images - first)) for first in range(0, args.images, BATCH)]
    seconds: dict[str, list[float]] = {"ours": [], "ours, in steps": [], "theirs": []}
    for _ in range(args.rounds):
        ours, in_steps, whole = timed(our_metric(), our_update, parts)
        seconds["ours"].append(whole)
        seconds["ours, in steps"].append(in_steps)
        theirs, _, whole = timed(their_metric(), their_update, parts)
        seconds["theirs"].append(whole)
        apart = max(abs(getattr(ours, name) - theirs[name].item()) for name in NAMES)
        print(f"{seconds['ours'][-1]:.2f} s against {whole:.2f} s; largest difference {apart:.1e}", flush=True)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True))
    print(
        f"| mAP of {args.images} images, {args.images * PER_IMAGE} detections | {medians['ours']:.2f} s "
        f"(in steps {medians['ours, in steps']:.2f} s) | {medians['theirs']:.2f} s | {ratio:.1f}x |"
    )


def draw(first: int, images: int) -> Part:
    """Objects of all sizes; half of the detections lie about an object, and mostly say its class."""
    random = torch.Generator().manual_seed(first)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=random)

    corners, sides = uniform(images, MOST_OBJECTS, 2) * 400, 8 * 30 ** uniform(images, MOST_OBJECTS, 2)
    boxes = torch.cat([corners, corners + sides], dim=2)
    labels = torch.randint(CLASSES, (images, MOST_OBJECTS), generator=random)
    present = torch.arange(MOST_OBJECTS) < torch.randint(1, MOST_OBJECTS + 1, (images, 1), generator=random)
    no = torch.zeros_like(present)
    truth = Targets(present, boxes, labels, no, no, sides.prod(2))
    about = torch.randint(MOST_OBJECTS, (images, PER_IMAGE), generator=random)
    rows = torch.arange(images)[:, None]
    near = boxes[rows, about] + (uniform(images, PER_IMAGE, 4) - 0.5) * sides[rows, about].repeat(1, 1, 2) * 0.4
    low, away = uniform(images, PER_IMAGE, 2) * 400, uniform(images, PER_IMAGE, 1) < 0.5
    found = torch.where(away, torch.cat([low, low + 8 * 30 ** uniform(images, PER_IMAGE, 2)], dim=2), near)
    other = torch.randint(CLASSES, (images, PER_IMAGE), generator=random)
    said = torch.where(away[..., 0] | (uniform(images, PER_IMAGE) < 0.2), other, labels[rows, about])
    scores = uniform(images, PER_IMAGE).sort(dim=1, descending=True).values
    every = torch.ones(images, PER_IMAGE, dtype=torch.bool)
    return Detections(every, found, scores, said), truth, [Frame(first + i, HW, HW) for i in range(images)]


def our_metric() -> CocoMeanAveragePrecision:
    return CocoMeanAveragePrecision([str(label) for label in range(CLASSES)])


def our_update(metric: CocoMeanAveragePrecision, part: Part) -> None:
    metric.update(*part)


def their_metric() -> MeanAveragePrecision:
    """Its own grids are float32, and torch's in float64 are not NumPy's, which COCO has, in the last bit: a recall of
    exactly 0.6, say, then misses its point of the 101."""
    thresholds = np.linspace(0.5, 0.95, 10).tolist()
    recalls = np.linspace(0, 1, 101).tolist()
    metric = MeanAveragePrecision(backend="pycocotools", iou_thresholds=thresholds, rec_thresholds=recalls)
    metric.warn_on_many_detections = False
    return metric


def their_update(metric: MeanAveragePrecision, part: Part) -> None:
    """A list of an image each, as torchvision's detectors give and take them."""
    found, truth, _ = part
    metric.update(
        [{"boxes": p.boxes_xyxy, "scores": p.scores, "labels": p.labels} for p in found.per_image()],
        [
            {"boxes": truth.boxes_xyxy[i, :count], "labels": truth.labels[i, :count], "area": truth.area[i, :count]}
            for i, count in enumerate(truth.present.sum(1).tolist())
        ],
    )


def timed(metric: Any, update: Callable[[Any, Part], None], parts: list[Part]) -> tuple[Any, float, float]:
    """Its result, the seconds of the updates, and all seconds."""
    start = time.perf_counter()
    for part in parts:
        update(metric, part)
    updated = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        result = metric.compute()
    return result, updated - start, time.perf_counter() - start


if __name__ == "__main__":
    main()

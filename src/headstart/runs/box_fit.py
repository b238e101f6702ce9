"""How training boxes look to a detector: the numbers that fit them, and how well those of a run do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headstart.config.checks_sizes import left_to_data
from headstart.config.schema import Resize, RunConfig
from headstart.config.schema.model import YOLOV3_ANCHORS
from headstart.data.sizes import SHARE, SMALL, TrainingBoxes, find_min_size, long_side, median_side, share_small
from headstart.data.tiles import in_tiles
from headstart.data.types import DetectionData
from headstart.detectors.anchors import MET, Level, find_scale, levels_of, met
from headstart.detectors.clusters import clusters, mean_alike

FEW = 0.9
"""Share of the boxes with an anchor, below which another scale is looked for …"""
WORTH = 0.1
"""… and named where it gives so many more of them one."""


def find(run: RunConfig, data: DetectionData) -> Iterator[tuple[str, str]]:
    """(override, why) of each number that is null; `data` with all of its training images."""
    boxes = TrainingBoxes.of(in_tiles(data, run.dataset.tile)[0])
    of = f"of the {len(boxes.boxes_xyxy):,} training boxes of {data.name}"
    min_size, max_size, stretched = run.dataset.min_size, run.dataset.max_size, run.dataset.resize is Resize.stretch
    if min_size is None:
        min_size, small, limit = find_min_size(boxes, max_size, stretched)
        why = f"{small:.0%} {of} are below {SMALL} px there, at most {SHARE:.0%} should be"
        yield f"dataset.min_size={min_size}", f"{why}; no more, for {limit}" if limit else why
    if max_size is None:
        max_size = long_side(min_size, stretched)
        yield f"dataset.max_size={max_size}", f"goes with dataset.min_size={min_size}"
    if "model.anchor_scale" in left_to_data(run):
        seen, levels = boxes.seen(min_size, max_size, stretched), levels_of(run.model, run.backbone)
        scale = find_scale(*seen, levels)
        then, now = (f"{met(*seen, levels, one):.0%}" for one in (1.0, scale))
        why = f"{now} {of} have an anchor of IoU {MET:g} or more ({then} with scale 1)"
        median = f"their median side is {median_side(seen[0]):.0f} px at {min_size} x {max_size}"
        yield f"model.anchor_scale={scale:g}", f"{why}; {median}"
    if "model.anchors" in left_to_data(run):
        seen, _ = boxes.seen(min_size, max_size, stretched)
        sides = seen[:, 2:] - seen[:, :2]
        nine = clusters(sides, len(YOLOV3_ANCHORS))
        now, then = (mean_alike(sides, sizes) for sizes in (nine, np.array(YOLOV3_ANCHORS)))
        word = ",".join(f"[{width:g},{height:g}]" for width, height in nine)
        why = f"the mean IoU {of} with the nearest in shape is {now:.2f} ({then:.2f} with the paper's)"
        yield f"model.anchors=[{word}]", why


def fit(config: RunConfig, data: DetectionData) -> dict[str, float | None]:
    """For the record, whoever chose the numbers. Of the boxes that train, in the detector's pixels: the median side,
    the share below 32, and the share with an anchor of IoU 0.5, None where no anchors can be scaled."""
    seen, levels, scale = _as_configured(config, data)
    return {
        "median_side": round(median_side(seen[0]), 1),
        "small": round(share_small(seen[0]), 3),
        "met": round(met(*seen, levels, scale), 3) if levels else None,
    }


def better_scale(config: RunConfig, data: DetectionData) -> list[str]:
    """A line where many boxes have no anchor and another scale would give them one."""
    seen, levels, scale = _as_configured(config, data)
    if not levels or (now := met(*seen, levels, scale)) >= FEW:
        return []
    found = find_scale(*seen, levels)
    then = met(*seen, levels, found)
    if then < now + WORTH:
        return []
    return [
        f"Only {now:.0%} of the training boxes have an anchor of IoU {MET:g} or more; with model.anchor_scale="
        f"{found:g}, which model.anchor_scale=null finds, {then:.0%} would."
    ]


def _as_configured(
    config: RunConfig, data: DetectionData
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[Level, ...], float]:
    dataset, model = config.dataset, config.model
    assert dataset.min_size is not None
    assert dataset.max_size is not None
    boxes = TrainingBoxes.of(in_tiles(data, dataset.tile)[0])
    seen = boxes.seen(dataset.min_size, dataset.max_size, dataset.resize is Resize.stretch)
    return seen, levels_of(model, config.backbone), getattr(model, "anchor_scale", 1.0)

"""The anchors of each detector, and how well boxes are met by them. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.config.checks_sizes import anchors_problem
from headstart.config.schema import (
    BackboneConfig,
    BackboneLibrary,
    FasterRCNNConfig,
    ModelConfig,
    RetinaNetConfig,
    YOLOv3Config,
)
from headstart.errors import UserError

SIZES = (32, 64, 128, 256, 512)
RATIOS = (0.5, 1.0, 2.0)
"""height / width."""
CANVAS = 32
"""Pictures are padded to a multiple of this."""


@dataclass(frozen=True)
class Level:
    """A map of the pyramid."""

    stride: int
    """Pixels between two cells, where the canvas is a multiple of it."""
    sizes: tuple[int, ...]
    """Square roots of the areas of its anchors at `model.anchor_scale=1`, each in all `RATIOS`."""


def scale_of(config: RetinaNetConfig | FasterRCNNConfig) -> float:
    """Raises `UserError` where it is still to be found: in a file, or in a configuration that no command made."""
    if config.anchor_scale is None:
        raise UserError(
            "model.anchor_scale=null: a detector is built with a number. `headstart train` finds one from the training "
            "boxes; elsewhere give it."
        )
    return config.anchor_scale


def nine_of(config: YOLOv3Config) -> tuple[tuple[int, int], ...]:
    """Width and height of each. Raises `UserError` as `scale_of` does, and for another number of them."""
    if config.anchors is None:
        raise UserError(
            "model.anchors=null: a detector is built with anchors. `headstart train` finds nine from the training "
            "boxes; elsewhere give them."
        )
    if problem := anchors_problem(config.anchors):
        raise UserError(problem)
    return tuple((width, height) for width, height in config.anchors)


def retinanet() -> tuple[Level, ...]:
    """32 to 512 pixels in thirds of an octave, as torchvision has them."""
    octaves = [tuple(int(size * 2 ** (k / 3)) for k in range(3)) for size in SIZES]
    return tuple(Level(8 * 2**i, octave) for i, octave in enumerate(octaves))


def faster_rcnn(backbone: BackboneConfig) -> tuple[Level, ...]:
    """One size each on C2 to C5 and the map behind; on torchvision's MobileNetV3, as there, all sizes on all maps."""
    if is_mobilenet_v3_large(backbone):
        return tuple(Level(stride, SIZES) for stride in (32, 32, 64))
    return tuple(Level(4 * 2**i, (size,)) for i, size in enumerate(SIZES))


def is_mobilenet_v3_large(backbone: BackboneConfig) -> bool:
    """torchvision's, which its detectors take apart in a way of their own."""
    return backbone.library is BackboneLibrary.torchvision and backbone.architecture == "mobilenet_v3_large"


def levels_of(model: ModelConfig, backbone: BackboneConfig) -> tuple[Level, ...]:
    """Empty where a detector has no anchors that `model.anchor_scale` could change."""
    if isinstance(model, RetinaNetConfig):
        return retinanet()
    return faster_rcnn(backbone) if isinstance(model, FasterRCNNConfig) else ()


def best_iou(boxes_xyxy: np.ndarray, image_wh: np.ndarray, levels: Sequence[Level], scale: float) -> np.ndarray:
    """(N,) highest IoU of each box (N, 4) with any anchor in its picture of `image_wh` (N, 2), all in the pixels that
    the detector sees.

    Exact: the overlap falls with the distance of the centres on either axis, so of each shape the nearest anchor is
    the best. As torchvision lays them: from the corner on, sides in whole even pixels. A batch with larger pictures has
    further ones.
    """
    canvas = -(-image_wh // CANVAS) * CANVAS
    best = np.zeros(len(boxes_xyxy))
    for level in levels:
        grid = -(-canvas // level.stride)
        step = canvas // grid
        centres = np.clip(np.rint((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 / step), 0, grid - 1) * step
        for half_wh in _half_sides(level, scale):
            best = np.maximum(best, _iou(boxes_xyxy, centres, half_wh))
    return best


def _half_sides(level: Level, scale: float) -> Iterator[np.ndarray]:
    for size in level.sizes:
        for ratio in RATIOS:
            yield np.rint(np.array([size * scale / ratio**0.5, size * scale * ratio**0.5]) / 2)


def _iou(boxes: np.ndarray, centres: np.ndarray, half_wh: np.ndarray) -> np.ndarray:
    shared = np.minimum(boxes[:, 2:], centres + half_wh) - np.maximum(boxes[:, :2], centres - half_wh)
    both = shared.clip(min=0).prod(axis=1)
    return both / ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + 4 * half_wh.prod() - both)


SCALES = (0.25, 0.35, 0.5, 0.7, 1.0)
"""What `model.anchor_scale` may become: half octaves, so that a few more boxes seldom change it."""
TOLERANCE = 0.05
"""Of the mean IoU, for which the scale stays nearer to torchvision's own. A smaller one takes boxes to coarser maps,
where fewer cells learn them: in a short training on blood cells 0.7 met more boxes than 1 and found fewer."""
MET = 0.5
"""IoU from which on an anchor learns a box, whatever other boxes and anchors there are."""
MOST_BOXES = 20_000
"""Looked at: of more, so many evenly over all areas."""


def met(boxes_xyxy: np.ndarray, image_wh: np.ndarray, levels: Sequence[Level], scale: float) -> float:
    """The share of the boxes with an anchor of IoU `MET` or more."""
    return float((best_iou(boxes_xyxy, image_wh, levels, scale) >= MET).mean())


def find_scale(boxes_xyxy: np.ndarray, image_wh: np.ndarray, levels: Sequence[Level]) -> float:
    """The largest of `SCALES` with which the mean over the boxes of their best anchor's IoU is as high as with any, but
    for `TOLERANCE`; that mean is what k-means over boxes raises (Redmon and Farhadi, "YOLO9000", CVPR 2017)."""
    areas = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)
    some = np.argsort(areas, kind="stable")[:: -(-len(areas) // MOST_BOXES)]
    means = {scale: best_iou(boxes_xyxy[some], image_wh[some], levels, scale).mean() for scale in SCALES}
    return max(scale for scale, mean in means.items() if mean >= max(means.values()) - TOLERANCE)

"""Mean average precision as COCO defines it, over the whole evaluation set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch.distributed as dist
from torchmetrics import Metric

from headstart.config.schema import Engine
from headstart.data.types import Prediction, Target
from headstart.evaluation.engines import evaluate
from headstart.evaluation.types import ImageResult


@dataclass  # not frozen: torchmetrics walks through results and refuses frozen ones
class MapResult:
    """AP averaged over IoU 0.50:0.05:0.95 unless the name says otherwise; NaN where there is no ground truth.

    Small, medium and large: areas below 32², up to 96² and above, in pixels of the original images (Lin et al. 2014);
    of an object's outline where the annotation states it, else of its box. Crowds and difficult objects need not be
    found: a crowd excuses detections that lie in it (COCO's rule), a difficult one those that meet it (VOC's rule).
    """

    map: float
    map_50: float
    map_75: float
    map_small: float
    map_medium: float
    map_large: float
    mar: float
    """Average recall with all detections kept."""
    per_class: dict[str, float]
    per_class_50: dict[str, float]
    images: int

    def scalars(self) -> dict[str, float]:
        """Every number under a flat name, for loggers: `map`, …, `ap/<class>`."""
        flat = {name: value for name, value in asdict(self).items() if isinstance(value, float)}
        return flat | {f"ap/{name}": value for name, value in self.per_class.items()}


class CocoMeanAveragePrecision(Metric):
    """Takes batches, gives the value of the whole set, whatever the batch size and the number of processes.

    The state is keyed by image: one gather of objects per `compute`, and images that several processes saw, as a
    distributed sampler's padding makes them, count once. (torchmetrics' `MeanAveragePrecision` makes 21 collectives
    per image, counts the padding twice, and hangs when processes hold unequal numbers of images.)
    """

    full_state_update = False

    def __init__(self, class_names: Sequence[str], engine: Engine = Engine.hotcoco, max_detections: int = 100) -> None:
        # No cache: a process without new images would not come to the gathering that the others wait in.
        super().__init__(sync_on_compute=False, dist_sync_on_step=False, compute_with_cache=False)
        self.class_names = tuple(class_names)
        self.engine = engine
        self.max_detections = max_detections
        self.images: dict[int, ImageResult] = {}

    def update(self, predictions: list[Prediction], targets: list[Target]) -> None:
        for prediction, target in zip(predictions, targets, strict=True):
            self.images[target.image_id] = _image_result(prediction, target)

    def compute(self) -> MapResult:
        images = _gathered(self.images)
        numbers = evaluate(images, len(self.class_names), self.engine, self.max_detections)
        return MapResult(
            **numbers["scalars"],
            per_class=dict(zip(self.class_names, numbers["per_class"], strict=True)),
            per_class_50=dict(zip(self.class_names, numbers["per_class_50"], strict=True)),
            images=len(images),
        )

    def reset(self) -> None:
        super().reset()
        self.images = {}


def _gathered(images: dict[int, ImageResult]) -> dict[int, ImageResult]:
    """The images of all processes, in the order of their ids: the same on every process."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, images)
        images = {image_id: result for part in reversed(parts) for image_id, result in part.items()}
    return dict(sorted(images.items()))


def _image_result(prediction: Prediction, target: Target) -> ImageResult:
    scale_y, scale_x = (original / seen for original, seen in zip(target.original_hw, target.image_hw, strict=True))
    scale = np.array([scale_x, scale_y, scale_x, scale_y])
    return ImageResult(
        truth_xywh=_xywh(target.boxes_xyxy, scale),
        truth_labels=target.labels.cpu().numpy(),
        crowd=target.crowd.cpu().numpy(),
        difficult=target.difficult.cpu().numpy(),
        area=target.area.cpu().numpy().astype(np.float64),
        boxes_xywh=_xywh(prediction.boxes_xyxy, scale),
        scores=prediction.scores.detach().float().cpu().numpy().astype(np.float64),
        labels=prediction.labels.cpu().numpy(),
    )


def _xywh(boxes_xyxy: Any, scale: np.ndarray) -> np.ndarray:
    boxes = boxes_xyxy.detach().float().cpu().numpy().astype(np.float64).reshape(-1, 4) * scale
    boxes[:, 2:] -= boxes[:, :2]
    return boxes

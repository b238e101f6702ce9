"""Mean average precision as COCO defines it, over the whole evaluation set."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from headstart.config.schema import Engine
from headstart.data.batch import Detections, Frame, Targets
from headstart.data.tiles import Views
from headstart.evaluation.engines import evaluate
from headstart.evaluation.reading import Reading
from headstart.evaluation.tiled import of_pictures
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
    distributed sampler's padding makes them, count once. Where they are views of pictures, `views` says of which, and
    the value is of the pictures. (torchmetrics' `MeanAveragePrecision` makes 21 collectives
    per image, counts the padding twice, and hangs when processes hold unequal numbers of images.)
    """

    full_state_update = False

    def __init__(self, class_names: Sequence[str], engine: Engine = Engine.hotcoco, max_detections: int = 100) -> None:
        # No cache: a process without new images would not come to the gathering that the others wait in.
        super().__init__(sync_on_compute=False, dist_sync_on_step=False, compute_with_cache=False)
        self.class_names = tuple(class_names)
        self.engine = engine
        self.max_detections = max_detections
        self.views: Views | None = None
        self.images: dict[int, ImageResult] = {}
        self._on_their_way: deque[Arriving] = deque()

    def update(self, found: Detections, truth: Targets, frames: Sequence[Frame]) -> None:
        """Waits for no device: one copy to the host begins here, and is read once it has come."""
        self._on_their_way.append(Arriving(Reading(_packed(found, truth)), found.scores.shape[1], tuple(frames)))
        self._read(all_of_them=False)

    def _read(self, all_of_them: bool) -> None:
        while self._on_their_way and (all_of_them or self._on_their_way[0].reading.is_there()):
            self.images |= self._on_their_way.popleft().results()

    def compute(self) -> MapResult:
        self._read(all_of_them=True)
        images = _gathered(self.images)
        if self.views is not None:
            images = of_pictures(images, self.views)
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
        self._on_their_way.clear()


def _gathered(images: dict[int, ImageResult]) -> dict[int, ImageResult]:
    """The images of all processes, in the order of their ids: the same on every process."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, images)
        images = {image_id: result for part in reversed(parts) for image_id, result in part.items()}
    return dict(sorted(images.items()))


DETECTION, OBJECT = 7, 9
"""Numbers of a row: box, score, label, present; and box, label, crowd, difficult, area, present."""


def _packed(found: Detections, truth: Targets) -> Tensor:
    """(N, rows of each image): everything in one tensor, so that it is one copy. Labels are exact in float32."""
    detections = (found.boxes_xyxy, found.scores, found.labels, found.present)
    objects = (truth.boxes_xyxy, truth.labels, truth.crowd, truth.difficult, truth.area, truth.present)
    sides = [[c.float().reshape(*c.shape[:2], -1) for c in columns] for columns in (detections, objects)]
    return torch.cat([torch.cat(columns, dim=2).flatten(1) for columns in sides], dim=1)


@dataclass
class Arriving:
    """A batch on its way to the host."""

    reading: Reading
    """Of `_packed`."""
    detections: int
    """Rows of an image that are about them."""
    frames: tuple[Frame, ...]

    def results(self) -> dict[int, ImageResult]:
        """In original pixels, all images at once, by image."""
        packed = self.reading.arrived().numpy().astype(np.float64)
        split = self.detections * DETECTION
        found = packed[:, :split].reshape(len(packed), -1, DETECTION)
        truth = packed[:, split:].reshape(len(packed), -1, OBJECT)
        scale = np.array([np.divide(frame.original_hw, frame.image_hw)[[1, 0, 1, 0]] for frame in self.frames])
        for rows in (found, truth):
            rows[..., :4] *= scale[:, None]
            rows[..., 2:4] -= rows[..., :2]
        images = zip(self.frames, found, truth, strict=True)
        return {f.image_id: _image_result(a[a[:, -1] > 0], b[b[:, -1] > 0]) for f, a, b in images}


def _image_result(found: np.ndarray, truth: np.ndarray) -> ImageResult:
    return ImageResult(
        truth_xywh=truth[:, :4],
        truth_labels=truth[:, 4].astype(np.int64),
        crowd=truth[:, 5] > 0,
        difficult=truth[:, 6] > 0,
        area=truth[:, 7],
        boxes_xywh=found[:, :4],
        scores=found[:, 4],
        labels=found[:, 5].astype(np.int64),
    )

"""Mean average precision as COCO defines it, over the whole evaluation set."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from headstart.config.schema import Engine
from headstart.data.batch import Detections, Frame, Targets
from headstart.data.tiles import Views
from headstart.data.truth import KnownTruth
from headstart.evaluation.reading import Reading
from headstart.evaluation.scoring import score
from headstart.evaluation.seen import DETECTION, OBJECT, Seen, detections_seen, truth_seen
from headstart.evaluation.tiled import of_pictures
from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth


@dataclass(frozen=True)
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
    detections: SplitDetections | None = field(default=None, repr=False, compare=False)
    """What it is computed from, beside the truth; travels with it wherever weights are not measured twice."""

    def numbers(self) -> dict[str, Any]:
        """For the record: everything but the detections, which have a file of their own."""
        return {name: value for name, value in vars(self).items() if name != "detections"}

    def scalars(self) -> dict[str, float]:
        """Every number under a flat name, for loggers: `map`, …, `ap/<class>`."""
        flat = {name: value for name, value in vars(self).items() if isinstance(value, float)}
        return flat | {f"ap/{name}": value for name, value in self.per_class.items()}


class CocoMeanAveragePrecision:
    """Takes batches, gives the value of the whole set, whatever the batch size and the number of processes.

    Keyed by image: one gather of objects per `compute`, and images that several processes saw, as a distributed
    sampler's padding makes them, count once. (torchmetrics' `MeanAveragePrecision` makes 21 collectives per image,
    counts the padding twice, and hangs when processes hold unequal numbers of images.)
    """

    def __init__(self, class_names: Sequence[str], engine: Engine = Engine.hotcoco, max_detections: int = 100) -> None:
        self.class_names = tuple(class_names)
        self.engine = engine
        self.max_detections = max_detections
        self.images: dict[int, Seen] = {}
        self._on_their_way: deque[Arriving] = deque()

    def update(self, found: Detections, truth: Targets, frames: Sequence[Frame]) -> None:
        """Waits for no device: one copy to the host begins here, and is read once it has come."""
        self._on_their_way.append(Arriving(Reading(_packed(found, truth)), found.scores.shape[1], tuple(frames)))
        self._read(all_of_them=False)

    def _read(self, all_of_them: bool) -> None:
        while self._on_their_way and (all_of_them or self._on_their_way[0].reading.is_there()):
            self.images |= self._on_their_way.popleft().results()

    def compute(self, known: KnownTruth | None = None, views: Views | None = None) -> MapResult:
        """`known`: of the split, in full precision; None: what the batches carried, scaled back. `views`: of which
        pictures the images are views; the value is of the pictures."""
        self._read(all_of_them=True)
        images = _gathered(self.images)
        if views is not None:
            images = of_pictures(images, views)
        known = known or truth_seen(images, self.class_names)
        found = detections_seen(images, known, self.class_names)
        return result(known.truth, found, self.class_names, self.engine, self.max_detections)

    def reset(self) -> None:
        self.images = {}
        self._on_their_way.clear()


def result(
    truth: Truth, found: SplitDetections, class_names: Sequence[str], engine: Engine, max_detections: int
) -> MapResult:
    """Of what lies on the disk, in the classes' own order."""
    numbers = score(truth, found, engine, max_detections)
    per_class, per_class_50 = (
        dict(zip(truth.class_names, numbers[name], strict=True)) for name in ("per_class", "per_class_50")
    )
    return MapResult(
        **numbers["scalars"],
        per_class={name: per_class[name] for name in class_names},
        per_class_50={name: per_class_50[name] for name in class_names},
        images=len(found.measured),
        detections=found,
    )


def _gathered(images: dict[int, Seen]) -> dict[int, Seen]:
    """The images of all processes, in the order of their ids: the same on every process."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, images)
        images = {image_id: seen for part in reversed(parts) for image_id, seen in part.items()}
    return dict(sorted(images.items()))


def _packed(found: Detections, truth: Targets) -> Tensor:
    """(N, rows of each image): everything in one tensor, so that it is one copy. Labels are exact in float32."""
    detections = (found.boxes_xyxy, found.scores, found.labels, found.present)
    objects = (truth.boxes_xyxy, truth.labels, truth.crowd, truth.difficult, truth.area, truth.present)
    sides = [[torch.atleast_3d(c.float()) for c in columns] for columns in (detections, objects)]
    return torch.cat([torch.cat(columns, dim=2).flatten(1) for columns in sides], dim=1)


@dataclass
class Arriving:
    """A batch on its way to the host."""

    reading: Reading
    """Of `_packed`."""
    detections: int
    """Rows of an image that are about them."""
    frames: tuple[Frame, ...]

    def results(self) -> dict[int, Seen]:
        """In original pixels, all images at once, by image."""
        packed = self.reading.arrived().numpy().astype(np.float64)
        split = self.detections * DETECTION
        found = packed[:, :split].reshape(len(packed), self.detections, DETECTION)
        truth = packed[:, split:].reshape(len(packed), -1, OBJECT)
        scale = np.array([np.divide(frame.original_hw, frame.image_hw)[[1, 0, 1, 0]] for frame in self.frames])
        for rows in (found, truth):
            rows[..., :4] *= scale[:, None]
        images = zip(self.frames, found, truth, strict=True)
        return {
            frame.image_id: Seen(frame.original_hw, a[a[:, -1] > 0, :-1].astype(np.float32), b[b[:, -1] > 0, :-1])
            for frame, a, b in images
        }

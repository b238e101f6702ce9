"""A loaded model as a `Find`: pictures of any size in, detections in their own pixels out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from headstart.data.batch import Batch
from headstart.data.boxes import scale_boxes
from headstart.data.canvases import Canvases, Padding
from headstart.data.transforms import resize
from headstart.data.types import Prediction, Size
from headstart.detectors.interface import Detector

Find = Callable[[Sequence[Tensor]], list[Prediction]]
"""Pictures, uint8 RGB (3, H, W) of any sizes -> detections of each in the pixels of the picture given, best first; on
the host. What looks at tiles, at turned pictures, or asks several models is one as well, made of others."""


@dataclass(frozen=True)
class Predictor:
    """A `Find`: resizes as the run did, on the device, and looks at `batch_size` pictures at a time.

    A picture's detections do not depend on the others: each lies on the smallest of the run's canvases that holds it,
    else on the smallest that the network takes, and only pictures on one canvas share a batch. How much padding there
    is beside a picture moves scores by a hundredth: those of an evaluation are the same, to rounding, where its batches
    have the same canvas.
    """

    detector: Detector
    """On `device`, in eval mode."""
    size: Size
    batch_size: int = 8
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    autocast: torch.dtype | None = None
    """Type of the network's arithmetic, where it is not that of its weights."""
    canvases: Canvases | None = None
    """Of the run; None: they are not known."""

    @classmethod
    def of(
        cls,
        detector: Detector,
        size: Size,
        batch_size: int = 8,
        device: torch.device | str = "cpu",
        autocast: torch.dtype | None = None,
        canvases: Canvases | None = None,
    ) -> Self:
        """Moves the detector to `device`."""
        return cls(detector.to(device).eval(), size, batch_size, torch.device(device), autocast, canvases)

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Tensor]) -> list[Prediction]:
        seen = [resize(picture.to(self.device), *self.size) for picture in pictures]
        found: dict[int, Prediction] = {}
        for canvas_hw, numbers in self._batches(seen):
            with self._arithmetic():
                detections = self.detector.find(Batch.of([seen[number] for number in numbers]).on_canvas(canvas_hw))
            on_host = detections.map(Tensor.cpu).per_image()
            found |= {n: _scaled(one, seen[n], pictures[n]) for n, one in zip(numbers, on_host, strict=True)}
        return [found[number] for number in range(len(pictures))]

    def _batches(self, seen: Sequence[Tensor]) -> Iterator[tuple[tuple[int, int], list[int]]]:
        """(canvas, numbers of pictures on it)."""
        groups: dict[tuple[int, int], list[int]] = {}
        for number, picture in enumerate(seen):
            groups.setdefault(self._canvas(picture.shape[-2], picture.shape[-1]), []).append(number)
        for canvas_hw, numbers in groups.items():
            yield from ((canvas_hw, numbers[i : i + self.batch_size]) for i in range(0, len(numbers), self.batch_size))

    def _canvas(self, height: int, width: int) -> tuple[int, int]:
        known = self.canvases.sides_hw if self.canvases else ()
        holding = (sides for sides in known if height <= sides[0] and width <= sides[1])
        padding = Padding(self.detector.size_divisible, self.detector.min_canvas)
        return next(holding, (padding.up(height), padding.up(width)))

    def _arithmetic(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, self.autocast) if self.autocast else nullcontext()


def _scaled(found: Prediction, seen: Tensor, picture: Tensor) -> Prediction:
    """From the pixels of what the network saw to those of the picture."""
    ratio_wh = (picture.shape[-1] / seen.shape[-1], picture.shape[-2] / seen.shape[-2])
    return replace(found, boxes_xyxy=scale_boxes(found.boxes_xyxy.float(), ratio_wh), scores=found.scores.float())

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
from headstart.data.canvases import Padding
from headstart.data.transforms import resize
from headstart.data.types import Prediction, Size
from headstart.detectors.interface import Detector

Find = Callable[[Sequence[Tensor]], list[Prediction]]
"""Pictures, uint8 RGB (3, H, W) of any sizes -> detections of each in the pixels of the picture given, best first; on
the host. What looks at tiles, at turned pictures, or asks several models is one as well, made of others."""


@dataclass(frozen=True)
class Predictor:
    """A `Find`: resizes as the run did, on the device, and looks at `batch_size` pictures at a time.

    A picture's detections do not depend on the others: each lies on the smallest canvas that the network takes it on,
    and only pictures on equal canvases share a batch. Those of an evaluation are the same, to rounding, where its
    batches have that canvas; on a larger one the network sees more padding beside a picture.
    """

    detector: Detector
    """On `device`, in eval mode."""
    size: Size
    batch_size: int = 8
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    autocast: torch.dtype | None = None
    """Type of the network's arithmetic, where it is not that of its weights."""

    @classmethod
    def of(
        cls,
        detector: Detector,
        size: Size,
        batch_size: int = 8,
        device: torch.device | str = "cpu",
        autocast: torch.dtype | None = None,
    ) -> Self:
        """Moves the detector to `device`."""
        return cls(detector.to(device).eval(), size, batch_size, torch.device(device), autocast)

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Tensor]) -> list[Prediction]:
        seen = [resize(picture.to(self.device), torch.zeros(0, 4), *self.size)[0] for picture in pictures]
        found: dict[int, Prediction] = {}
        for numbers in self._batches(seen):
            with self._arithmetic():
                detections = self.detector.detect(Batch.of([seen[number] for number in numbers]))
            on_host = detections.map(Tensor.cpu).per_image()
            found |= {n: _scaled(one, seen[n], pictures[n]) for n, one in zip(numbers, on_host, strict=True)}
        return [found[number] for number in range(len(pictures))]

    def _batches(self, seen: Sequence[Tensor]) -> Iterator[list[int]]:
        """Numbers of pictures on equal canvases."""
        padding = Padding(self.detector.size_divisible, self.detector.min_canvas)
        groups: dict[tuple[int, int], list[int]] = {}
        for number, picture in enumerate(seen):
            canvas = padding.up(picture.shape[-2]), padding.up(picture.shape[-1])
            groups.setdefault(canvas, []).append(number)
        for numbers in groups.values():
            yield from (numbers[i : i + self.batch_size] for i in range(0, len(numbers), self.batch_size))

    def _arithmetic(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, self.autocast) if self.autocast else nullcontext()


def _scaled(found: Prediction, seen: Tensor, picture: Tensor) -> Prediction:
    """From the pixels of what the network saw to those of the picture."""
    ratio_wh = (picture.shape[-1] / seen.shape[-1], picture.shape[-2] / seen.shape[-2])
    return replace(found, boxes_xyxy=scale_boxes(found.boxes_xyxy.float(), ratio_wh), scores=found.scores.float())

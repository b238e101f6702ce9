"""The image size that the boxes of a data set ask for. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.data.table import ImageTable
from headstart.data.types import DetectionData
from headstart.errors import UserError

SMALL = 32
"""Pixels: COCO's border of small objects. The size is found at which no more boxes than …"""
SHARE = 0.2
"""… this share are below it."""
LADDER = sorted(side * 2**octave for side in (240, 360) for octave in range(6))
"""What the short side may be: the default or more, in steps so wide that a few more pictures seldom change it."""
MOST = 480
"""Of it, where nothing else is said: four times the pixels of the default."""
ASPECT = 4 / 3
"""Long side by short side, of `dataset.max_size` where it is null."""


@dataclass(frozen=True)
class TrainingBoxes:
    """All boxes that train, before `fraction` and `shots`, in the pixels of their pictures."""

    boxes_xyxy: np.ndarray
    """(N, 4)."""
    image_wh: np.ndarray
    """(N, 2): of each box's picture."""
    pictures_wh: np.ndarray
    """(M, 2): of all pictures, those without a box as well."""

    @staticmethod
    def of(data: DetectionData) -> TrainingBoxes:
        """Raises `UserError` where there are none."""
        table = ImageTable.of(data.splits["train"])
        trains = ~table.ignore
        if not trains.any():
            raise UserError(
                f"Data set {data.name}: train has no box to be learnt, from which a size could be found. Label its "
                "pictures, or name another split with dataset.train_split=<name>."
            )
        owners = table.owners()[trains]
        return TrainingBoxes(table.objects["boxes_xyxy"][trains], table.sizes_wh[owners], table.sizes_wh)

    def seen(self, min_size: int, max_size: int, stretched: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(N, 4) boxes and (N, 2) pictures in the pixels that a detector gets."""
        seen_wh = resized_wh(self.image_wh, min_size, max_size, stretched)
        return self.boxes_xyxy * np.tile(seen_wh / self.image_wh, 2), seen_wh


def resized_wh(sizes_wh: np.ndarray, min_size: int, max_size: int, stretched: bool = False) -> np.ndarray:
    """(N, 2) int64 as `transforms.resized_hw` gives it for each picture."""
    if stretched:
        return np.full_like(sizes_wh, min_size)
    factors = np.minimum(min_size / sizes_wh.min(axis=1), max_size / sizes_wh.max(axis=1))
    return np.rint(sizes_wh * factors[:, None]).clip(min=1).astype(np.int64)


def median_side(boxes_xyxy: np.ndarray) -> float:
    """Of the roots of the areas."""
    return float(np.median(_sides(boxes_xyxy)))


def long_side(min_size: int, stretched: bool = False) -> int:
    """What a `dataset.max_size` that is null stands for."""
    return min_size if stretched else round(min_size * ASPECT)


def find_min_size(boxes: TrainingBoxes, max_size: int | None, stretched: bool = False) -> tuple[int, float, str]:
    """The least step of `LADDER` at which no more than `SHARE` of the boxes are small; that share there, and what kept
    it from being less, if anything did.

    At most `MOST`, or what `max_size` allows; and no step beyond the pictures' own size, for enlarging shows nothing
    new.
    """
    most = MOST if max_size is None else max_size if stretched else round(max_size / ASPECT)
    own = float(np.median(boxes.pictures_wh.min(axis=1)))
    steps = [step for step in LADDER if step <= most] or [most]
    large_enough = next((number for number, step in enumerate(steps, 1) if step >= own), len(steps))
    steps = steps[:large_enough]
    shares = [(step, _small(boxes, step, max_size, stretched)) for step in steps]
    for step, small in shares:
        if small <= SHARE:
            return step, small, ""
    limit = f"the pictures' own short side is {own:.0f}" if steps[-1] >= own else f"dataset.max_size={_word(max_size)}"
    return *shares[-1], limit


def _small(boxes: TrainingBoxes, step: int, max_size: int | None, stretched: bool) -> float:
    """The share of the boxes below `SMALL`."""
    seen, _ = boxes.seen(step, long_side(step, stretched) if max_size is None else max_size, stretched)
    return share_small(seen)


def share_small(boxes_xyxy: np.ndarray) -> float:
    """Of the boxes, those below `SMALL`."""
    return float((_sides(boxes_xyxy) < SMALL).mean())


def _sides(boxes_xyxy: np.ndarray) -> np.ndarray:
    return np.sqrt((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1))


def _word(value: int | None) -> str:
    return "null" if value is None else str(value)

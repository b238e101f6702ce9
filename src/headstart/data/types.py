"""The nouns every part of Headstart shares. The one module that everyone may import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import PIL.Image

from headstart.config.schema import DatasetConfig, Resize

if TYPE_CHECKING:  # what only reads a data set does without
    from torch import Tensor


class Size(NamedTuple):
    """How large the pictures are that a detector sees: what `data.transforms.resize` makes of any."""

    min_size: int
    max_size: int
    resize: Resize = Resize.keep

    @classmethod
    def of(cls, config: DatasetConfig) -> Size:
        """0 of a side that is still to be found."""
        return cls(config.min_size or 0, config.max_size or 0, config.resize)

    def __str__(self) -> str:
        if self.resize is Resize.stretch:
            return f"stretched to {self.min_size} x {self.min_size}"
        return f"kept in shape, short side {self.min_size}, long side {self.max_size} at most"


@dataclass(frozen=True)
class AnnotatedImage:
    """One image and its objects, in the pixels of the upright original."""

    name: str
    """Stable and unique in the data set: the path relative to its root, or the drawn image's number."""
    read: Callable[[], PIL.Image.Image]
    """Picklable; returns the upright image in mode RGB, of `size_wh`."""
    size_wh: tuple[int, int]
    boxes_xyxy: np.ndarray
    """(N, 4) float64, inside the image, 0-based corners, positive width and height."""
    labels: np.ndarray
    """(N,) int64, index into `DetectionData.class_names`."""
    crowd: np.ndarray
    """(N,) bool: many objects in one box, COCO's `iscrowd`."""
    difficult: np.ndarray
    """(N,) bool: an object that nobody need find, VOC's `difficult`."""
    area: np.ndarray
    """(N,) float64, square pixels: of the object's outline where the annotation says so, else of its box."""
    digest: str = ""
    """Hex digest of the image itself: a moved file keeps it, another picture does not."""

    @property
    def ignore(self) -> np.ndarray:
        """(N,) bool: which objects are neither to be learnt nor to be found."""
        return self.crowd | self.difficult


@dataclass(frozen=True)
class Defect:
    """Something broken in the data, and what was done about it."""

    kind: str
    """A name of `config.kinds.KINDS`."""
    where: str
    """File, and line or object number."""
    action: str
    """What was done, for people: `skipped image`, `dropped box`, `clipped box`, `refused`, …"""
    image: str = ""
    """The picture, relative to the data set's folder; empty where it is about none."""


@dataclass(frozen=True)
class Unused:
    """Files below the data set's folder that no split uses, for one reason."""

    count: int
    first: tuple[str, ...]
    """Names, relative to the folder: the first thousands as read, a few in `DatasetInfo`."""


@dataclass(frozen=True)
class DetectionData:
    """A data set as read: what the readers give and the data module takes."""

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, Sequence[AnnotatedImage]]
    """`train` and `val` always, `test` where the data set has one."""
    defects: tuple[Defect, ...] = ()
    splits_from: dict[str, str] = field(default_factory=dict)
    """Split -> where it is from: `found: val2017`, `drawn: 0.2 of train, dataset.split_seed=0`, …"""
    unused: dict[str, Unused] = field(default_factory=dict)
    """Reason (`no_label`, `other_folder`, …) -> files below the folder that no split uses."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of the data before any model exists."""

    name: str
    class_names: tuple[str, ...]
    fingerprint: str
    """Hex digest of images and annotations of all splits as used (after fraction and shots)."""
    num_images: dict[str, int]
    num_boxes: dict[str, dict[str, int]]
    """Split -> class name -> boxes (ignored boxes not counted)."""
    evaluation_fingerprint: str
    """Hex digest of the evaluation splits alone: runs may be compared when it is equal."""
    min_size: int
    max_size: int
    """Images keep their aspect ratio and are resized, down or up, until the short side is `min_size` pixels,
    or the long side `max_size` if that comes first; unless `resize` says that both sides become `min_size`. 0: still to
    be found, where nothing is trained."""
    defects: dict[str, int] = field(default_factory=dict)
    """Kind of defect -> count."""
    defect_actions: dict[str, dict[str, int]] = field(default_factory=dict)
    """Kind of defect -> what was done -> count."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Split -> hex digest of its images and annotations as used, and of the names of the classes."""
    outside: int = 0
    """Images that lie outside of the data set's folder."""
    num_ignored: dict[str, dict[str, int]] = field(default_factory=dict)
    """Split -> `crowd`, `difficult` -> boxes that are; one may be both."""
    splits_from: dict[str, str] = field(default_factory=dict)
    """Split -> where it is from, in words."""
    num_negatives: dict[str, int] = field(default_factory=dict)
    """Split -> images without a box that trains."""
    unused: dict[str, Unused] = field(default_factory=dict)
    """As in `DetectionData`."""
    resize: Resize = Resize.keep

    @property
    def size(self) -> Size:
        return Size(self.min_size, self.max_size, self.resize)


@dataclass
class Target:
    """Ground truth of one image, in the pixels that the detector sees."""

    image_id: int
    """Position in the split: unique within an evaluation."""
    boxes_xyxy: Tensor
    """(N, 4) float32."""
    labels: Tensor
    """(N,) int64, 0-based index into the class names; there is no background class."""
    crowd: Tensor
    """(N,) bool, as in `AnnotatedImage`."""
    difficult: Tensor
    """(N,) bool, as in `AnnotatedImage`."""
    area: Tensor
    """(N,) float32, that of `AnnotatedImage` in the original's pixels, whatever was resized or cut off since: scoring
    alone reads it, and what is scored was not augmented."""
    original_hw: tuple[int, int]
    """Height and width in pixels of the image as it is on disk; mAP is computed in these pixels."""
    image_hw: tuple[int, int]
    """Height and width in pixels of the image that the boxes refer to."""

    @property
    def ignore(self) -> Tensor:
        """(N,) bool: which objects are neither to be learnt nor to be found."""
        return self.crowd | self.difficult

    def per_object(self) -> dict[str, Tensor]:
        """The fields that have a row for each object, by name."""
        return {name: getattr(self, name) for name in ("boxes_xyxy", "labels", "crowd", "difficult", "area")}


@dataclass
class Prediction:
    """Detections of one image, in the pixels of the image the detector was given, best first."""

    boxes_xyxy: Tensor
    """(N, 4) float32."""
    scores: Tensor
    """(N,) float32 in 0..1."""
    labels: Tensor
    """(N,) int64, 0-based index into the class names."""

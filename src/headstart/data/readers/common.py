"""What the readers share: from what a file says to an `AnnotatedImage`, with a defect for everything mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from headstart.config.schema import FileDatasetConfig
from headstart.data import images, splits
from headstart.data.boxes import box_areas
from headstart.data.images import FileImage, ImageFacts, UnreadableImage
from headstart.data.types import AnnotatedImage, Defect, DetectionData
from headstart.errors import UserError

MIN_SIDE = 0.1
"""Pixels: narrower or lower than this, a box has no area, and in float32 perhaps none at all."""
ROUNDING = 0.5
"""Pixels: a box that leaves the image by less is rounded, not wrong; it is clipped without a word."""


@dataclass
class RawImage:
    """One image as its annotation file describes it."""

    path: Path
    where: str
    """The annotation file, for messages."""
    boxes_xyxy: list[tuple[float, float, float, float]] = field(default_factory=list)
    """0-based corners as written: in pixels, or shares of width and height where `normalised`."""
    classes: list[str] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)
    areas: list[float | None] = field(default_factory=list)
    """Square pixels of the objects' outlines; None where the file does not say."""
    places: list[str] = field(default_factory=list)
    """For messages: `object 3`, `line 7`."""
    size_wh: tuple[int, int] | None = None
    """As the annotation file has it; None where it does not say."""
    normalised: bool = False

    def add(
        self,
        box_xyxy: tuple[float, float, float, float],
        name: str,
        place: str,
        crowd: bool = False,
        difficult: bool = False,
        area: float | None = None,
    ) -> None:
        self.boxes_xyxy.append(box_xyxy)
        self.classes.append(name)
        self.places.append(place)
        self.crowd.append(crowd)
        self.difficult.append(difficult)
        self.areas.append(area)

    def objects(self) -> list[tuple[Any, ...]]:
        """All that is said of each, but where."""
        return [*zip(self.boxes_xyxy, self.classes, self.crowd, self.difficult, self.areas, strict=True)]


@dataclass
class RawData:
    """What a reader found: the images of the splits in use (`train` always) and the classes in their order."""

    chosen: splits.Chosen
    splits: dict[str, list[RawImage]] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)


def assemble(raw: RawData, root: Path, config: FileDatasetConfig) -> DetectionData:
    """Looks at every image file, mends the boxes, keeps the splits apart, and draws those that there are not."""
    splits.check_shares(raw.chosen, config)
    class_names = _class_names(raw, config)
    index = {name: label for label, name in enumerate(class_names)}
    defects = list(raw.defects)
    read: dict[str, list[AnnotatedImage]] = {}
    for split, raws in raw.splits.items():
        read[split] = list(_annotated(_once(raws, defects), root, index, defects, config.max_pixels))
        if not read[split]:
            raise UserError(f"{root}: the split {split} holds no image that can be read, of {len(raws)} found.")
    if raw.chosen.unlabelled is not None:
        defects.append(Defect("unlabelled_test", f"the split {raw.chosen.unlabelled}", "not measured"))
    read, twice = splits.apart(read, config.overlap)
    read, origin = splits.complete(read, raw.chosen, config)
    return DetectionData(config.name, tuple(class_names), read, (*defects, *twice), origin)


def relative_name(path: Path, root: Path) -> str:
    """Relative to the data set's folder, with forward slashes on every system."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def check_missing(split: str, where: Path, missing: Sequence[str], total: int) -> None:
    """Some images may be missing; when more than half are, the annotations belong to other files."""
    if 2 * len(missing) > total:
        raise UserError(
            f"{where}: {len(missing)} of the {total} images of the split {split} are not there, such as "
            f"{missing[0]}. Put the images where the annotations say, or export the annotations again: images with "
            "similar names may be other pictures, with other boxes, and are not guessed."
        )


def _class_names(raw: RawData, config: FileDatasetConfig) -> list[str]:
    """The found ones, or those of the configuration, which must hold every class that occurs."""
    names = list(config.class_names) or raw.class_names
    if len(set(names)) < len(names):
        raise UserError(f"dataset.class_names: a name stands twice in {names}; each class needs a name of its own.")
    known = set(names)
    for image in (image for raws in raw.splits.values() for image in raws):
        for name, place in zip(image.classes, image.places, strict=True):
            if name not in known:
                raise UserError(
                    f"{image.where}: {place}: class {name!r} is not in dataset.class_names=[{', '.join(names)}]; "
                    "add it there, or leave dataset.class_names out."
                )
    if not names:
        raise UserError(f"dataset.root={config.root}: no object in any annotation, so there is no class to learn.")
    return names


def _once(raws: Sequence[RawImage], defects: list[Defect]) -> list[RawImage]:
    """Each file once; UserError where one has two descriptions, of which one would be lost."""
    found: dict[Path, RawImage] = {}
    for raw in raws:
        first = found.setdefault(raw.path, raw)
        if first is not raw and first.objects() != raw.objects():
            raise UserError(f"{raw.path}: described twice, in {first.where} and {raw.where}; merge the two.")
        if first is not raw:
            defects.append(Defect("listed_twice", f"{raw.path.name} in {raw.where}", "used once"))
    return list(found.values())


def _annotated(
    raws: Sequence[RawImage], root: Path, index: dict[str, int], defects: list[Defect], max_pixels: float
) -> Iterable[AnnotatedImage]:
    for raw, facts in zip(raws, _inspect_all([raw.path for raw in raws], max_pixels), strict=True):
        name = relative_name(raw.path, root)
        if isinstance(facts, UnreadableImage):
            defects.append(Defect("unreadable_image", f"{name}: {facts}", "skipped image"))
        else:
            image = _annotate(raw, name, facts, index, defects.append)
            yield replace(image, read=replace(cast(FileImage, image.read), max_pixels=max_pixels))


def _inspect_all(paths: Sequence[Path], max_pixels: float) -> Iterable[ImageFacts | UnreadableImage]:
    with ThreadPoolExecutor(8) as pool:  # mostly waiting for the disk
        yield from pool.map(partial(_inspect, max_pixels=max_pixels), paths)


def _inspect(path: Path, max_pixels: float) -> ImageFacts | UnreadableImage:
    try:
        return images.inspect(path, max_pixels)
    except UnreadableImage as error:
        return error


def _annotate(
    raw: RawImage, name: str, facts: ImageFacts, index: dict[str, int], report: Callable[[Defect], None]
) -> AnnotatedImage:
    orientation = images.choose_orientation(facts, raw.size_wh)
    size_wh = images.upright_size(facts.raw_size_wh, orientation)
    if raw.size_wh not in (None, size_wh):
        report(Defect("wrong_size", f"{raw.where}: {_by(raw.size_wh)} for {_by(size_wh)}", "used the image's size"))
    boxes = np.array(raw.boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    if raw.normalised:
        boxes *= np.tile(size_wh, 2)
    boxes, keep = _mend_boxes(boxes, size_wh, raw, report)
    area = np.array(raw.areas, dtype=np.float64)
    return AnnotatedImage(
        name=name,
        read=FileImage(raw.path, orientation),
        size_wh=size_wh,
        boxes_xyxy=boxes[keep],
        labels=np.array([index[name] for name in raw.classes], dtype=np.int64)[keep],
        crowd=np.array(raw.crowd, dtype=bool)[keep],
        difficult=np.array(raw.difficult, dtype=bool)[keep],
        area=np.where(np.isnan(area), box_areas(boxes), area)[keep],
        digest=facts.digest,
    )


def _by(size_wh: tuple[int, int] | None) -> str:
    return "x".join(map(str, size_wh or ()))


def _mend_boxes(
    boxes_xyxy: np.ndarray, size_wh: tuple[int, int], raw: RawImage, report: Callable[[Defect], None]
) -> tuple[np.ndarray, np.ndarray]:
    """(clipped boxes (N, 4), which of them to keep (N,)); what is dropped or clipped is reported."""
    clipped = boxes_xyxy.clip(0, np.tile(size_wh, 2))
    empty = ~_has_area(boxes_xyxy)
    outside = ~empty & ~_has_area(clipped)
    changed = ~empty & ~outside & (np.abs(clipped - boxes_xyxy) >= ROUNDING).any(axis=1)
    for kind, action, which in (
        ("empty_box", "dropped box", empty),
        ("box_outside", "dropped box", outside),
        ("clipped_box", "clipped box", changed),
    ):
        for i in np.flatnonzero(which):
            box = ", ".join(f"{value:g}" for value in boxes_xyxy[i])
            report(Defect(kind, f"{raw.where}: {raw.places[i]}: {raw.classes[i]} ({box})", action))
    return clipped, ~empty & ~outside


def _has_area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N,) bool; false for not-a-number as well."""
    return np.all(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] >= MIN_SIDE, axis=1)

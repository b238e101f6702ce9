"""What the readers share: from what a file says to an `AnnotatedImage`, with a defect for everything mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.config.schema import FileDatasetConfig
from headstart.data import images, splits
from headstart.data.boxes import box_areas
from headstart.data.images import FileImage, ImageFacts, UnreadableImage
from headstart.data.readers import tree, units, unused
from headstart.data.readers.units import Form
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
    form: Form = Form.corners
    """What the four numbers of a box are in the files."""


def assemble(raw: RawData, root: Path, config: FileDatasetConfig) -> DetectionData:
    """Looks at every image file, mends the boxes, keeps the splits apart, and draws those that there are not."""
    splits.check_shares(raw.chosen, config)
    class_names = _class_names(raw, config)
    index = {name: label for label, name in enumerate(class_names)}
    defects = [*tree.walk(root).defects, *raw.defects]
    read: dict[str, list[AnnotatedImage]] = {}
    for split, raws in raw.splits.items():
        seen = list(_see(_once(raws, defects), root, defects.append))
        defects += _check_units(split, seen, raw.form)
        read[split] = [_annotate(image, index, defects.append) for image in seen]
        if not read[split]:
            raise UserError(f"{root}: the split {split} holds no image that can be read, of {len(raws)} found.")
    if raw.chosen.unlabelled is not None:
        defects.append(Defect("unlabelled_test", f"the split {raw.chosen.unlabelled}", "not measured"))
    defects += _similar_names(class_names)
    read, twice = splits.apart(read, config.overlap)
    read, origin = splits.complete(read, raw.chosen, config)
    all_raws = [raw for raws in raw.splits.values() for raw in raws]
    left = unused.find(root, [raw.path for raw in all_raws], {raw.where for raw in all_raws})
    return DetectionData(config.name, tuple(class_names), read, (*defects, *twice), origin, left)


def relative_name(path: Path, root: Path) -> str:
    """Relative to the data set's folder, with forward slashes on every system."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def check_missing(split: str, where: Path, missing: Sequence[str], total: int, hint: str = "") -> None:
    """Some images may be missing; when more than half are, the annotations belong to other files."""
    if 2 * len(missing) > total:
        raise UserError(
            f"{where}: {len(missing)} of the {total} images of the split {split} are not there, such as "
            f"{missing[0]}. Put the images where the annotations say, or export the annotations again: images with "
            f"similar names may be other pictures, with other boxes, and are not guessed.{hint}"
        )


_INSTEAD = {
    "train": "",
    "val": f", or draw it from the training images with dataset.val_split={splits.NONE}",
    "test": f", or measure none with dataset.test_split={splits.NONE}",
}


def check_labelled(split: str, images: Sequence[Path], num_labelled: int, looked_for: str) -> None:
    """Where nothing of a split is labelled, its images are no negatives: their labels are missing."""
    if images and not num_labelled:
        raise UserError(
            f"{images[0].parent}: no image of the split {split} has a label file; there are {len(images)} images, and "
            f"{looked_for} was looked for, and so on. Put the label files there, or name another split with "
            f"dataset.{split}_split=<name>{_INSTEAD[split]}."
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


def _similar_names(names: Sequence[str]) -> list[Defect]:
    """Two names of what may be one class; whether they are, only the user can say."""
    first: dict[str, str] = {}
    pairs = [(first.setdefault(name.strip().casefold(), name), name) for name in names]
    return [Defect("similar_names", f"{one!r} and {two!r}", "kept as two classes") for one, two in pairs if one != two]


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


@dataclass
class _Seen:
    """An image whose file was looked at."""

    raw: RawImage
    name: str
    file: FileImage
    size_wh: tuple[int, int]
    digest: str

    def boxes(self) -> np.ndarray:
        """(N, 4) pixels, as written."""
        boxes = np.array(self.raw.boxes_xyxy, dtype=np.float64).reshape(-1, 4)
        return boxes * np.tile(self.size_wh, 2) if self.raw.normalised else boxes


def _see(raws: Sequence[RawImage], root: Path, report: Callable[[Defect], None]) -> Iterator[_Seen]:
    for raw, facts in zip(raws, _inspect_all([raw.path for raw in raws]), strict=True):
        name = relative_name(raw.path, root)
        if isinstance(facts, UnreadableImage):
            report(Defect("unreadable_image", f"{name}: {facts}", "skipped image"))
        else:
            orientation = images.choose_orientation(facts, raw.size_wh)
            size_wh = images.upright_size(facts.raw_size_wh, orientation)
            yield _Seen(raw, name, FileImage(raw.path, orientation), size_wh, facts.digest)


def _check_units(split: str, seen: Sequence[_Seen], form: Form) -> list[Defect]:
    """Of what is written in pixels."""
    pixels = [image for image in seen if image.raw.boxes_xyxy and not image.raw.normalised]
    if not pixels:
        return []
    counts = [len(image.raw.boxes_xyxy) for image in pixels]
    sizes = np.repeat([image.size_wh for image in pixels], counts, axis=0)
    places = [f"{image.raw.where}: {place}" for image in pixels for place in image.raw.places]
    return units.check(split, np.concatenate([image.boxes() for image in pixels]), sizes, places, form)


def _inspect_all(paths: Sequence[Path]) -> Iterable[ImageFacts | UnreadableImage]:
    with ThreadPoolExecutor(8) as pool:  # mostly waiting for the disk
        yield from pool.map(_inspect, paths)


def _inspect(path: Path) -> ImageFacts | UnreadableImage:
    try:
        return images.inspect(path)
    except UnreadableImage as error:
        return error


def _annotate(seen: _Seen, index: dict[str, int], report: Callable[[Defect], None]) -> AnnotatedImage:
    raw, size_wh = seen.raw, seen.size_wh
    if raw.size_wh not in (None, size_wh):
        report(Defect("wrong_size", f"{raw.where}: {_by(raw.size_wh)} for {_by(size_wh)}", "used the image's size"))
    boxes, keep = _mend_boxes(seen.boxes(), size_wh, raw, report)
    area = np.array(raw.areas, dtype=np.float64)
    return AnnotatedImage(
        name=seen.name,
        read=seen.file,
        size_wh=size_wh,
        boxes_xyxy=boxes[keep],
        labels=np.array([index[name] for name in raw.classes], dtype=np.int64)[keep],
        crowd=np.array(raw.crowd, dtype=bool)[keep],
        difficult=np.array(raw.difficult, dtype=bool)[keep],
        area=np.where(np.isnan(area), box_areas(boxes), area)[keep],
        digest=seen.digest,
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

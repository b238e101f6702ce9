"""From a raw image to an `AnnotatedImage`: its file is looked at, its boxes are mended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from headstart.config.kinds import Action
from headstart.data import images, pictures
from headstart.data.boxes import box_areas
from headstart.data.images import FileImage, ImageFacts, UndecodableImage, UnreadableImage
from headstart.data.policy import Policy
from headstart.data.readers import units
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import RawImage
from headstart.data.readers.units import Form
from headstart.data.types import AnnotatedImage

MIN_SIDE = 0.1
"""Pixels: narrower or lower than this, a box has no area, and in float32 perhaps none at all."""
ROUNDING = 0.5
"""Pixels: a box that leaves the image by less is rounded, not wrong; it is clipped without a word."""


@dataclass
class Seen:
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


def see(raws: Sequence[RawImage], root: Path, max_pixels: float, policy: Policy) -> Iterator[Seen]:
    decode = policy.action(UndecodableImage.kind) is Action.skip_image
    for raw, facts in zip(raws, _inspect_all([raw.path for raw in raws], max_pixels, decode), strict=True):
        name = relative_name(raw.path, root)
        if isinstance(facts, UnreadableImage):
            policy.report(facts.kind, f"{name}: {facts}", name)
            continue
        odd = [policy.report(kind, f"{name}: {what}", name) for kind, what in pictures.odd(facts, name, raw.size_wh)]
        if Action.skip_image not in odd:
            orientation = images.choose_orientation(facts, raw.size_wh)
            size_wh = images.upright_size(facts.raw_size_wh, orientation)
            yield Seen(raw, name, FileImage(raw.path, orientation, max_pixels), size_wh, facts.digest)


def check_units(split: str, seen: Sequence[Seen], form: Form, policy: Policy) -> None:
    """Of what is written in pixels."""
    pixels = [image for image in seen if image.raw.boxes_xyxy and not image.raw.normalised]
    if not pixels:
        return
    counts = [len(image.raw.boxes_xyxy) for image in pixels]
    sizes = np.repeat([image.size_wh for image in pixels], counts, axis=0)
    places = [f"{image.raw.where}: {place}" for image in pixels for place in image.raw.places]
    names = [image.name for image in pixels for _ in image.raw.places]

    def report(kind: str, where: str, number: int | None) -> None:
        policy.report(kind, where, "" if number is None else names[number])

    units.check(split, np.concatenate([image.boxes() for image in pixels]), sizes, places, form, report)


def _inspect_all(paths: Sequence[Path], max_pixels: float, decode: bool) -> Iterable[ImageFacts | UnreadableImage]:
    with ThreadPoolExecutor(8) as pool:  # mostly waiting for the disk
        yield from pool.map(partial(_inspect, max_pixels=max_pixels, decode=decode), paths)


def _inspect(path: Path, max_pixels: float, decode: bool) -> ImageFacts | UnreadableImage:
    try:
        facts = images.inspect(path, max_pixels)
        if decode:
            pictures.decoded(FileImage(path, 1, max_pixels))
        return facts
    except UnreadableImage as error:
        return error


def annotate(seen: Seen, index: dict[str, int], policy: Policy) -> AnnotatedImage | None:
    """None: the image is left out for what is wrong with it."""
    raw, size_wh = seen.raw, seen.size_wh
    actions: set[Action] = set()
    if raw.size_wh not in (None, size_wh):
        where = f"{raw.where}: {_by(raw.size_wh)} for {_by(size_wh)}"
        actions.add(policy.report("wrong_size", where, seen.name))
    boxes, keep = _mend_boxes(seen, policy, actions)
    if Action.skip_image in actions:
        return None
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


def _mend_boxes(seen: Seen, policy: Policy, actions: set[Action]) -> tuple[np.ndarray, np.ndarray]:
    """(boxes (N, 4), which of them to keep (N,)); `actions` gets what is done about those that are reported."""
    raw, boxes_xyxy = seen.raw, seen.boxes()
    clipped = boxes_xyxy.clip(0, np.tile(seen.size_wh, 2))
    empty = ~_has_area(boxes_xyxy)
    outside = ~empty & ~_has_area(clipped)
    changed = ~empty & ~outside & (np.abs(clipped - boxes_xyxy) >= ROUNDING).any(axis=1)
    keep = np.ones(len(boxes_xyxy), dtype=bool)
    for kind, which in (("empty_box", empty), ("box_outside", outside), ("clipped_box", changed)):
        for i in np.flatnonzero(which):
            box = ", ".join(f"{value:g}" for value in boxes_xyxy[i])
            action = policy.report(kind, f"{raw.where}: {raw.places[i]}: {raw.classes[i]} ({box})", seen.name)
            actions.add(action)
            keep[i] = action is not Action.skip_box
    return clipped, keep


def _has_area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N,) bool; false for not-a-number as well."""
    return np.all(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] >= MIN_SIDE, axis=1)

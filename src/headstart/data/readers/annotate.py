"""From what files say to `AnnotatedImage`s: pictures are looked at, their boxes mended, a split at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from headstart.config.kinds import Action
from headstart.data.boxes import box_areas
from headstart.data.policy import Policy
from headstart.data.readers import units
from headstart.data.readers.mend import mend
from headstart.data.readers.seen import Boxes, Seen
from headstart.data.readers.units import Form
from headstart.data.types import AnnotatedImage


def annotate(
    split: str, seen: Sequence[Seen], index: dict[str, int], form: Form, policy: Policy, min_side: float
) -> Iterator[AnnotatedImage]:
    """Without the images that are left out for what is wrong with them. UserError where the units are other ones.

    `index`: class -> label; `min_side`: pixels, below which a box is tiny.
    """
    boxes = Boxes(seen)
    _check_units(split, boxes, form, policy)
    clipped, keep, left_out = mend(boxes, policy, min_side)
    left_out |= {number for number, image in enumerate(seen) if _check_size(image, policy) is Action.skip_image}
    left_out |= _repeated(seen, left_out, policy)
    for number, image in enumerate(seen):
        if number not in left_out:
            own = slice(*boxes.start[number : number + 2])
            yield _annotated(image, clipped[own], keep[own], index)


def _repeated(seen: Sequence[Seen], left_out: set[int], policy: Policy) -> set[int]:
    """Numbers of the images to leave out because they are the picture of an earlier one."""
    found: set[int] = set()
    first: dict[str, Seen] = {}
    for number, image in enumerate(seen):
        if number in left_out or not image.digest:
            continue
        other = first.setdefault(image.digest, image)
        if other is not image:
            kind = "equal_images" if _objects(image) == _objects(other) else "equal_images_other_boxes"
            if policy.report(kind, f"{image.name} is the picture {other.name}", image.name) is Action.skip_image:
                found.add(number)
    return found


def _objects(seen: Seen) -> list[tuple[tuple[float, ...], str]]:
    return sorted(zip(seen.raw.boxes_xyxy, seen.raw.classes, strict=True))


def _annotated(seen: Seen, clipped: np.ndarray, keep: np.ndarray, index: dict[str, int]) -> AnnotatedImage:
    raw = seen.raw
    area = np.array(raw.areas, dtype=np.float64)
    return AnnotatedImage(
        name=seen.name,
        read=seen.file,
        size_wh=seen.size_wh,
        boxes_xyxy=clipped[keep],
        labels=np.array([index[name] for name in raw.classes], dtype=np.int64)[keep],
        crowd=np.array(raw.crowd, dtype=bool)[keep],
        difficult=np.array(raw.difficult, dtype=bool)[keep],
        area=np.where(np.isnan(area), box_areas(clipped), area)[keep],
        digest=seen.digest,
    )


def _check_units(split: str, boxes: Boxes, form: Form, policy: Policy) -> None:
    """Of what is written in pixels."""
    numbers = np.flatnonzero(~boxes.normalised)

    def report(kind: str, where: str, number: int | None) -> None:
        policy.report(kind, where, "" if number is None else boxes.image_of(int(numbers[number])).name)

    def place(number: int) -> str:
        return boxes.place(int(numbers[number]))

    units.check(split, boxes.xyxy[numbers], boxes.sizes_wh[numbers], place, form, report)


def _check_size(seen: Seen, policy: Policy) -> Action | None:
    said = seen.raw.size_wh
    if said in (None, seen.size_wh):
        return None
    kind = "zero_size" if min(said) == 0 else "wrong_size"
    return policy.report(
        kind, f"{seen.raw.where}: {_by(said)} in the annotation, {_by(seen.size_wh)} in the picture", seen.name
    )


def _by(size_wh: tuple[int, int]) -> str:
    return "x".join(map(str, size_wh))

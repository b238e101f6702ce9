"""From pictures that were looked at to a split's table: boxes mended, all at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.config.kinds import Action
from headstart.data.boxes import box_areas
from headstart.data.policy import Policy
from headstart.data.readers import units
from headstart.data.readers.mend import mend
from headstart.data.readers.seen import Boxes, Seen
from headstart.data.readers.units import Form
from headstart.data.table import ImageTable


def annotate(
    split: str, seen: Sequence[Seen], index: dict[str, int], form: Form, policy: Policy, min_side: float
) -> ImageTable:
    """Without the images that are left out for what is wrong with them. UserError where the units are other ones.

    `index`: class -> label; `min_side`: pixels, below which a box is tiny.
    """
    boxes = Boxes(seen)
    _check_units(split, boxes, form, policy)
    clipped, keep, left_out = mend(boxes, policy, min_side)
    left_out |= {number for number in range(len(seen)) if _check_size(boxes, number, policy) is Action.skip_image}
    left_out |= _repeated(seen, left_out, policy)
    table = ImageTable.of_files(
        [image.name for image in seen],
        [image.file for image in seen],
        [image.digest for image in seen],
        np.array([image.size_wh for image in seen], dtype=np.int64).reshape(-1, 2),
        np.bincount(boxes.image[keep], minlength=len(seen)),
        {name: column[keep] for name, column in _objects_of(seen, clipped, index).items()},
    )
    return table.take(number for number in range(len(seen)) if number not in left_out) if left_out else table


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


def _objects_of(seen: Sequence[Seen], clipped: np.ndarray, index: dict[str, int]) -> dict[str, np.ndarray]:
    """As `ImageTable.objects`."""
    raws = [image.raw for image in seen]
    area = np.frombuffer(b"".join(raw.areas for raw in raws), dtype=np.float64)
    return {
        "boxes_xyxy": clipped,
        "labels": np.array([index[name] for raw in raws for name in raw.classes], dtype=np.int64),
        "crowd": np.frombuffer(b"".join(raw.crowd for raw in raws), dtype=bool),
        "difficult": np.frombuffer(b"".join(raw.difficult for raw in raws), dtype=bool),
        "area": np.where(np.isnan(area), box_areas(clipped), area),
    }


def _check_units(split: str, boxes: Boxes, form: Form, policy: Policy) -> None:
    """Of what is written in pixels, and of shares whether they are of the form that is due."""
    numbers = np.flatnonzero(~boxes.normalised)

    def report(kind: str, where: str, number: int | None) -> None:
        policy.report(kind, where, "" if number is None else boxes.image_of(int(numbers[number])).name)

    def place(number: int) -> str:
        return boxes.place(int(numbers[number]))

    units.check(split, boxes.xyxy[numbers], boxes.sizes_wh[numbers], place, form, report)
    finite = np.isfinite(boxes.xyxy).all(axis=1)
    numbers = np.flatnonzero(boxes.normalised & finite)
    shares = boxes.xyxy[numbers] / np.tile(boxes.sizes_wh[numbers], 2)
    units.check_form(split, shares, np.ones((len(numbers), 2)), place, form)


def _check_size(boxes: Boxes, number: int, policy: Policy) -> Action | None:
    seen = boxes.seen[number]
    said = seen.raw.size_wh
    if said is None or said == seen.size_wh:
        return None
    own = boxes.xyxy[slice(*boxes.start[number : number + 2])]
    is_resized = not seen.raw.normalised and _are_of_size(own, said) and not _are_of_size(own, seen.size_wh)
    kind = "zero_size" if min(said) == 0 else "resized_image" if is_resized else "wrong_size"
    return policy.report(
        kind, f"{seen.raw.where}: {_by(said)} in the annotation, {_by(seen.size_wh)} in the picture", seen.name
    )


def _are_of_size(boxes_xyxy: np.ndarray, size_wh: tuple[int, int]) -> bool:
    """Whether they lie in a picture of that size."""
    return bool(units.fits(boxes_xyxy, np.tile(np.array(size_wh, dtype=np.float64), (len(boxes_xyxy), 1))).all())


def _by(size_wh: tuple[int, int]) -> str:
    return "x".join(map(str, size_wh))

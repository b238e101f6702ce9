"""What is known of the data before any model exists, and fingerprints to tell data sets apart."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from headstart.config.schema import DatasetConfig
from headstart.data.boxes import box_areas
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, DatasetInfo, Defect, DetectionData

UNUSED_NAMED = 3
"""Names of unused files of each reason in a record."""


def describe(data: DetectionData, config: DatasetConfig) -> DatasetInfo:
    """Counts and fingerprints of `data` as used, after fraction and shots."""
    splits = {name: ImageTable.of(images) for name, images in data.splits.items()}
    digests = {name: sorted(image_digests(images, data.class_names)) for name, images in splits.items()}

    def fingerprint(*of: str) -> str:
        return _fingerprint({name: digests[name] for name in of}, data.class_names)

    return DatasetInfo(
        name=data.name,
        class_names=data.class_names,
        fingerprint=fingerprint(*splits),
        num_images={name: len(images) for name, images in splits.items()},
        num_boxes={name: _num_boxes(images, data.class_names) for name, images in splits.items()},
        evaluation_fingerprint=fingerprint(*(name for name in splits if name != "train")),
        min_size=config.min_size or 0,
        max_size=config.max_size or 0,
        resize=config.resize,
        defects=dict(Counter(defect.kind for defect in data.defects)),
        defect_actions=_actions(data.defects),
        fingerprints={name: fingerprint(name) for name in splits},
        outside=num_outside(splits.values()),
        num_ignored={name: _num_ignored(images) for name, images in splits.items()},
        splits_from=dict(data.splits_from),
        num_negatives={name: len(images) - len({*_trained(images)}) for name, images in splits.items()},
        unused={why: replace(files, first=files.first[:UNUSED_NAMED]) for why, files in data.unused.items()},
    )


def _actions(defects: Iterable[Defect]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for defect in defects:
        counts[defect.kind][defect.action] += 1
    return {kind: dict(actions) for kind, actions in counts.items()}


def _num_boxes(images: ImageTable, class_names: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(images.objects["labels"][~images.ignore], minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def _num_ignored(images: ImageTable) -> dict[str, int]:
    return {kind: int(images.objects[kind].sum()) for kind in ("crowd", "difficult")}


def _trained(images: ImageTable) -> list[int]:
    """The numbers of the images with a box that trains."""
    return images.owners()[~images.ignore].tolist()


def num_outside(splits: Iterable[Sequence[AnnotatedImage]]) -> int:
    """How many images lie outside of the data set's folder, to which names are relative."""
    names = (name for images in splits for name in ImageTable.of(images).names)
    return sum(name.startswith("/") or ".." in name.split("/") for name in names)


def _fingerprint(digests: Mapping[str, Sequence[str]], class_names: Sequence[str]) -> str:
    """Of pictures, boxes and classes; not of file names, nor of the order of files and boxes."""
    total = hashlib.blake2b(repr(sorted(class_names)).encode(), digest_size=16)
    for split in sorted(digests):
        total.update(f"\n{split}\n".encode())
        total.update("\n".join(digests[split]).encode())
    return total.hexdigest()


def image_digests(images: ImageTable, class_names: Sequence[str]) -> Iterator[str]:
    """Boxes count to a thousandth of a pixel: arithmetic may differ in the last bits between machines.

    What only newer versions know of an object counts where it says anything: so records of plain data stay comparable
    with older ones.
    """
    columns = {**images.objects, "of_box": box_areas(images.objects["boxes_xyxy"])}
    for number, (digest, size) in enumerate(zip(images.digests, images.sizes_wh.tolist(), strict=True)):
        rows = images.rows(number)
        known = zip(*(column[rows].tolist() for column in columns.values()), strict=True)
        objects = sorted(
            (class_names[label], crowd, *(round(value, 3) for value in box))
            + ((difficult, round(area, 3)) if difficult or area != of_box else ())
            for box, label, crowd, difficult, area, of_box in known
        )
        yield hashlib.blake2b(repr((digest, tuple(size), objects)).encode(), digest_size=16).hexdigest()


def is_still(info: DatasetInfo, recorded: Mapping[str, Any], split: str) -> bool:
    """Whether the data is what a record's `dataset` says, as far as an evaluation on `split` goes.

    The order of the classes is that of a head's rows, and not in the fingerprint. Older records have one fingerprint of
    all splits but train.
    """
    if [*info.class_names] != recorded["class_names"]:
        return False
    then = recorded.get("fingerprints")
    if then:
        return info.fingerprints.get(split) == then.get(split)
    return info.evaluation_fingerprint == recorded["evaluation_fingerprint"]

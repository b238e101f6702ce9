"""What is known of the data before any model exists, and fingerprints to tell data sets apart."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.config.schema import DatasetConfig
from headstart.data.boxes import box_areas
from headstart.data.types import AnnotatedImage, DatasetInfo, Defect, DetectionData


def describe(data: DetectionData, config: DatasetConfig) -> DatasetInfo:
    """Counts and fingerprints of `data` as used, after fraction and shots."""
    evaluation = [name for name in data.splits if name != "train"]
    return DatasetInfo(
        name=data.name,
        class_names=data.class_names,
        fingerprint=_fingerprint(data, list(data.splits)),
        num_images={name: len(images) for name, images in data.splits.items()},
        num_boxes={name: _num_boxes(images, data.class_names) for name, images in data.splits.items()},
        evaluation_fingerprint=_fingerprint(data, evaluation),
        min_size=config.min_size,
        max_size=config.max_size,
        defects=dict(Counter(defect.kind for defect in data.defects)),
        defect_actions=_actions(data.defects),
        fingerprints={name: _fingerprint(data, [name]) for name in data.splits},
        outside=sum(_is_outside(image.name) for images in data.splits.values() for image in images),
        num_ignored={name: _num_ignored(images) for name, images in data.splits.items()},
        splits_from=dict(data.splits_from),
        num_negatives={name: sum(bool(i.ignore.all()) for i in images) for name, images in data.splits.items()},
        unused=dict(data.unused),
    )


def _actions(defects: Iterable[Defect]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for defect in defects:
        counts[defect.kind][defect.action] += 1
    return {kind: dict(actions) for kind, actions in counts.items()}


def _num_boxes(images: Sequence[AnnotatedImage], class_names: Sequence[str]) -> dict[str, int]:
    counts = np.zeros(len(class_names), dtype=np.int64)
    for image in images:
        counts += np.bincount(image.labels[~image.ignore], minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def _num_ignored(images: Sequence[AnnotatedImage]) -> dict[str, int]:
    return {kind: sum(int(getattr(image, kind).sum()) for image in images) for kind in ("crowd", "difficult")}


def _is_outside(name: str) -> bool:
    """Whether an image lies outside of the data set's folder, to which names are relative."""
    return name.startswith("/") or ".." in name.split("/")


def _fingerprint(data: DetectionData, splits: Iterable[str]) -> str:
    """Of pictures, boxes and classes; not of file names, nor of the order of files and boxes."""
    total = hashlib.blake2b(repr(sorted(data.class_names)).encode(), digest_size=16)
    for split in sorted(splits):
        total.update(f"\n{split}\n".encode())
        total.update("\n".join(sorted(_image_digest(image, data.class_names) for image in data.splits[split])).encode())
    return total.hexdigest()


def _image_digest(image: AnnotatedImage, class_names: Sequence[str]) -> str:
    """Boxes count to a thousandth of a pixel: arithmetic may differ in the last bits between machines.

    What only newer versions know of an object counts where it says anything: so records of plain data stay comparable
    with older ones.
    """
    known = zip(
        image.boxes_xyxy.tolist(),
        image.labels,
        image.crowd,
        image.difficult,
        image.area.tolist(),
        box_areas(image.boxes_xyxy).tolist(),
        strict=True,
    )
    objects = sorted(
        (class_names[label], bool(crowd), *(round(value, 3) for value in box))
        + ((bool(difficult), round(area, 3)) if difficult or area != of_box else ())
        for box, label, crowd, difficult, area, of_box in known
    )
    return hashlib.blake2b(repr((image.digest, image.size_wh, objects)).encode(), digest_size=16).hexdigest()


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

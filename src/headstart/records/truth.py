"""`truth/<fingerprint>.npz` beside the runs: what is to be found in the pictures of a split, written once for all runs
that were measured on it. Needs no torch, no model and no data.

Pictures stand in the order of their content and classes in that of their names, for a fingerprint leaves out what
files are called and in which order they and the classes come: whoever writes it first writes the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.errors import UserError
from headstart.records.arrays import Column, check, in_range, read_arrays, same_length, write_arrays

FOLDER = "truth"
_COLUMNS = {
    "class_names": Column("str"),
    "image_names": Column("str"),
    "sizes_hw": Column("int32", (2,)),
    "images": Column("int32"),
    "boxes_xyxy": Column("float64", (4,)),
    "labels": Column("int32"),
    "crowd": Column("bool"),
    "difficult": Column("bool"),
    "area": Column("float64"),
}
_OBJECTS = ("images", "boxes_xyxy", "labels", "crowd", "difficult", "area")


@dataclass(frozen=True, eq=False)
class Truth:
    """I pictures with T objects, in original pixels."""

    fingerprint: str
    """Of the split: `record.dataset["fingerprints"][split]`."""
    class_names: tuple[str, ...]
    """Sorted."""
    image_names: tuple[str, ...]
    """(I,) of the first run that was measured on them; two pictures of the same content may have changed theirs."""
    sizes_hw: np.ndarray
    """(I, 2) int32."""
    images: np.ndarray
    """(T,) int32, ascending: the row of `image_names`."""
    boxes_xyxy: np.ndarray
    """(T, 4) float64."""
    labels: np.ndarray
    """(T,) int32, index into `class_names`."""
    crowd: np.ndarray
    """(T,) bool: COCO's `iscrowd`."""
    difficult: np.ndarray
    """(T,) bool: VOC's `difficult`."""
    area: np.ndarray
    """(T,) float64 square pixels, of the outline where the annotation says so, else of the box."""


def truth_path(run_folder: Path, fingerprint: str) -> Path:
    """Raises `UserError` for what is no fingerprint: it comes from a file, and is part of a path."""
    if not re.fullmatch(r"[0-9a-f]{8,128}", fingerprint):
        raise UserError(f"{run_folder / 'record.json'}: {fingerprint!r} is no fingerprint of a split.")
    return run_folder.absolute().parent / FOLDER / f"{fingerprint}.npz"


def write_truth(run_folder: Path, truth: Truth) -> Path:
    """Where it is already, it is left: whoever comes first writes it, and two at once write the same."""
    path = truth_path(run_folder, truth.fingerprint)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = {name: np.array(getattr(truth, name), dtype=np.str_) for name in ("class_names", "image_names")}
        arrays = {name: getattr(truth, name).astype(_COLUMNS[name].kind) for name in ("sizes_hw", *_OBJECTS)}
        write_arrays(path, texts | arrays)
    return path


def read_truth(run_folder: Path, fingerprint: str) -> Truth:
    """Raises `UserError` that names the file where it is not there or not whole."""
    path = truth_path(run_folder, fingerprint)
    found = read_arrays(path, _COLUMNS)
    check(
        path,
        names_and_sizes_are_of_another_number=same_length([found["image_names"], found["sizes_hw"]]),
        its_objects_have_columns_of_several_lengths=same_length([found[name] for name in _OBJECTS]),
        an_object_is_of_no_picture=in_range(found["images"], len(found["image_names"])),
        its_objects_are_not_in_the_order_of_the_pictures=bool((np.diff(found["images"]) >= 0).all()),
        a_label_is_of_no_class=in_range(found["labels"], len(found["class_names"])),
        a_box_or_area_is_no_number=bool(np.isfinite(found["boxes_xyxy"]).all() and np.isfinite(found["area"]).all()),
    )
    classes, images = (tuple(found.pop(name).tolist()) for name in ("class_names", "image_names"))
    return Truth(fingerprint, classes, images, **found)

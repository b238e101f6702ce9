"""What is to be found in the pictures of a split, as it lies beside the runs (records/truth.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.data.info import image_digests
from headstart.data.table import ImageTable
from headstart.records.truth import Truth


@dataclass(frozen=True, eq=False)
class KnownTruth:
    """It, and which of its rows each picture of the split is."""

    truth: Truth
    rows: np.ndarray
    """(I,) int64, by the position in the split."""


def truth_of(images: ImageTable, class_names: Sequence[str], fingerprint: str) -> KnownTruth:
    """In an order that leaves out what the fingerprint leaves out: names of files, their order, that of the classes."""
    digests, names = list(image_digests(images, class_names)), list(images.names)
    order = sorted(range(len(images)), key=lambda number: (digests[number], names[number]))
    table, sorted_names = images.take(order), sorted(class_names)
    places = np.array([sorted_names.index(name) for name in class_names], dtype=np.int32)
    rows = np.empty(len(order), dtype=np.int64)
    rows[order] = np.arange(len(order))
    truth = Truth(
        fingerprint,
        tuple(sorted_names),
        tuple(table.names),
        table.sizes_wh[:, ::-1].astype(np.int32),
        table.owners().astype(np.int32),
        labels=places[table.objects["labels"]],
        **{name: table.objects[name] for name in ("boxes_xyxy", "crowd", "difficult", "area")},
    )
    return KnownTruth(truth, rows)

"""Classes merged into one another, in what was found as in what was to be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from headstart.errors import UserError
from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth


def with_merged_classes(
    truth: Truth, parts: Sequence[SplitDetections], into: Mapping[str, str]
) -> tuple[Truth, list[SplitDetections]]:
    """`into`: class -> the class that it becomes, a new one or one of the others. Raises `UserError` for others."""
    if unknown := sorted(set(into) - set(truth.class_names)):
        raise UserError(f"merge_classes.{unknown[0]}: the classes are {', '.join(truth.class_names)}.")
    new = [into.get(name, name) for name in truth.class_names]
    names = sorted(set(new))
    rows = np.array([names.index(name) for name in new], dtype=np.int32)
    merged = [replace(part, labels=rows[part.labels]) for part in parts]
    return replace(truth, class_names=tuple(names), labels=rows[truth.labels]), merged

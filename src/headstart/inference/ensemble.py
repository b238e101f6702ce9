"""Several runs as one detector: what they found in the same pictures, fused. Needs no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.config.postprocess import Rule
from headstart.inference.merging import Found, merge_pictures
from headstart.records.detections import SplitDetections


def as_one(parts: Sequence[SplitDetections], rule: Rule) -> SplitDetections:
    """Of runs that were measured on the same pictures and classes; of one, what `rule.method` makes of its own."""
    measured = parts[0].measured
    assert all(np.array_equal(part.measured, measured) for part in parts)
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in Found.__annotations__)
    rule = rule.merging_views if len(parts) > 1 else rule
    found = merge_pictures(Found(*columns), rule, sources=len(parts))
    kinds = (np.int32, np.float32, np.float32, np.int32)
    named = zip(Found.__annotations__, vars(found).values(), kinds, strict=True)
    return SplitDetections(**{name: column.astype(kind) for name, column, kind in named}, measured=measured)

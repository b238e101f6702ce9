"""What a detector of the Hugging Face hub consists of. Imports no torch."""

from __future__ import annotations

import re

CONFIG, TENSORS = "config.json", "model.safetensors"
MODEL_TYPES = {
    "d_fine": "model=d_fine",
    "rt_detr": "model=rt_detr model.variant=v1",
    "rt_detr_v2": "model=rt_detr model.variant=v2",
}
"""What transformers calls them -> what we do."""


def is_hub_id(path: str) -> bool:
    """`owner/name`, as the hub names its models; a folder may look the same."""
    return re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", path) is not None

"""torchvision's COCO detectors as a source (Lin et al., ECCV 2014)."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.models import detection

from headstart.config.schema import CocoSourceConfig, Resize
from headstart.config.weights import Published
from headstart.data.types import Size
from headstart.detectors.files import hub_file, read_state
from headstart.detectors.interface import Detector, Preprocessing
from headstart.errors import UserError
from headstart.transfer.types import SourceWeights

RENAMED = (
    (re.compile(r"^(.*\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), lambda m: f"{m[1]}.0.{m[2]}"),
    (re.compile(r"^(.*rpn\.head\.conv)\.(weight|bias)$"), lambda m: f"{m[1]}.0.0.{m[2]}"),
    (
        re.compile(r"^(.*head\.(?:classification|regression)_head\.conv)\.(\d+)\.(weight|bias)$"),
        lambda m: f"{m[1]}.{int(m[2]) // 2}.0.{m[3]}",
    ),
)
"""What torchvision 0.13 renamed when it wrapped convolutions; its files from before have the old names, and its
own models rename while loading (`_load_from_state_dict` of FeaturePyramidNetwork, RPNHead, RetinaNet's heads)."""


def load_coco(config: CocoSourceConfig, row: Published, detector: Detector) -> SourceWeights:
    """torchvision's weights of `row`. Raises `UserError` where the file is absent, or `source.weights` none of them."""
    weights = _member(getattr(detection, row.title).COCO_V1, config.weights)
    path = Path(config.path) if config.path else hub_file(weights.url)
    state = read_state(path, detector.state_dict())
    return SourceWeights(
        kind="coco",
        tensors=with_new_names(state.tensors, detector.state_dict()),
        expected=("",),
        row_names=tuple(weights.meta["categories"]),
        preprocessing=Preprocessing(*row.mean_std),
        size=size_of(row),
        norm_eps=row.norm_eps,
        lineage=("imagenet", "coco"),
        where=f"{path}: {state}" if str(state) else str(path),
        unused=state.unused,
    )


def size_of(row: Published) -> Size | None:
    """Of the pictures that the weights were trained on; None where they kept their shape."""
    return Size(row.stretched, row.stretched, Resize.stretch) if row.stretched else None


def _member(weights: Any, name: str | None) -> Any:
    members = type(weights).__members__
    if name is None:
        return weights
    if name not in members:
        raise UserError(f"source.weights={name} is none of {', '.join(members)}: the weights of this combination")
    return members[name]


def with_new_names(tensors: dict[str, Tensor], known: Collection[str]) -> dict[str, Tensor]:
    """The tensors under the names of today's torchvision, where `known` has them."""
    return {_new_name(name, known): tensor for name, tensor in tensors.items()}


def _new_name(name: str, known: Collection[str]) -> str:
    for pattern, renamed in RENAMED:
        match = pattern.match(name)
        if match and name not in known and renamed(match) in known:
            return renamed(match)
    return name

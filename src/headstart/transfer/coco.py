"""torchvision's COCO detectors as a source (Lin et al., ECCV 2014)."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor

from headstart.config.schema import BackboneConfig, CocoSourceConfig, ModelConfig
from headstart.detectors import pretrained
from headstart.detectors.files import hub_file, read_state
from headstart.detectors.interface import Detector
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


def load_coco(
    config: CocoSourceConfig, model: ModelConfig, backbone: BackboneConfig, detector: Detector
) -> SourceWeights:
    """The COCO weights of this combination. Raises `UserError` where torchvision has none, or the file is absent."""
    found = pretrained.find_coco_weights(model, backbone)
    if found is None:
        raise UserError(
            f"source=coco: there are no COCO weights for model={model.architecture.value} with "
            f"backbone={backbone.name}. There are for: {'; '.join(map(str, pretrained.coco_combinations()))}"
        )
    weights = _member(found.enum, config.weights)
    path = Path(config.path) if config.path else hub_file(weights.url)
    state = read_state(path, detector.state_dict())
    return SourceWeights(
        kind="coco",
        tensors=with_new_names(state.tensors, detector.state_dict()),
        expected=("",),
        row_names=tuple(weights.meta["categories"]),
        preprocessing=found.preprocessing,
        size=found.size,
        norm_eps=found.backbone_norm_eps,
        lineage=("imagenet", "coco"),
        where=f"{path}: {state}" if str(state) else str(path),
        unused=state.unused,
    )


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

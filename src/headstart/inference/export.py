"""A trained detector in two files that explain themselves: `model.safetensors` and `model.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from headstart.config.checks_tiles import tile_problems
from headstart.config.checks_transfer import EXPORTED, read_description, source_folder
from headstart.config.plain import plain
from headstart.config.postprocess import postprocess_problems
from headstart.config.restore import restore, restore_node
from headstart.config.schema import Architecture, BackboneConfig, ModelConfig, PostprocessConfig, TileConfig
from headstart.data.types import DatasetInfo, Size
from headstart.detectors.backbones import set_norm_eps
from headstart.detectors.cosine import cosine_scale_of, use_cosine_head
from headstart.detectors.extension import named_file
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector, Preprocessing
from headstart.errors import UserError
from headstart.inference import described
from headstart.replacing import replacing

SCHEMA_VERSION = 1
TENSORS, DESCRIPTION = EXPORTED


@dataclass(frozen=True)
class ExportedModel:
    """An exported model as read: nothing in it has been imported, called or unpickled."""

    tensors: dict[str, Tensor]
    architecture: str
    model: dict[str, Any]
    backbone: dict[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    size: Size
    """Of the pictures that it was trained on: `data.transforms.resize(picture, *size)` makes such of any."""
    norm_eps: float | None
    """Epsilon of the backbone's normalisation layers, where it is not the backbone's own."""
    lineage: tuple[str, ...]
    cosine_scale: float | None = None
    """Scale of a cosine head; None: a plain one."""
    postprocess: dict[str, Any] = field(default_factory=dict)
    """What the run said of how detections become one."""
    tile: TileConfig = field(default_factory=TileConfig)
    """How the run saw large pictures."""
    canvases_hw: tuple[tuple[int, int], ...] = ()
    """That its batches were padded to, smallest first; none in files from before they were kept."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By class: from which score on its detections are worth showing, as validation had it; none of a class that was
    never found there, nor in files from before they were chosen."""


def save_exported(
    folder: Path,
    detector: Detector,
    model: ModelConfig,
    backbone: BackboneConfig,
    info: DatasetInfo,
    norm_eps: float | None,
    lineage: Sequence[str],
    postprocess: PostprocessConfig | None = None,
    tile: TileConfig | None = None,
    thresholds: Mapping[str, float] | None = None,
    canvases_hw: Sequence[tuple[int, int]] = (),
) -> None:
    """Writes both files into `folder`, each whole or not at all; the description last."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    with replacing(folder / TENSORS) as path:
        save_file(tensors, path)
    description = {
        "schema_version": SCHEMA_VERSION,
        "architecture": model.architecture.value,
        "model": plain(model),
        "backbone": plain(backbone),
        "class_names": list(info.class_names),
        "preprocessing": {
            "mean": list(detector.preprocessing.mean),
            "std": list(detector.preprocessing.std),
            "min_size": info.min_size,
            "max_size": info.max_size,
            "resize": info.resize.value,
        },
        "norm_eps": norm_eps,
        "lineage": list(lineage),
        "cosine_scale": cosine_scale_of(detector),
        "postprocess": plain(postprocess or PostprocessConfig()),
        "tile": plain(tile or TileConfig()),
        "thresholds": dict(thresholds or {}),
        "canvases_hw": [list(sides) for sides in canvases_hw],
    }
    text = json.dumps(description, indent=1) + "\n"
    with replacing(folder / DESCRIPTION) as path:
        path.write_text(text)


def read_exported(path: Path | str) -> ExportedModel:
    """From a run's folder, or one of the two files. Raises `UserError` naming the file and what is wrong with it."""
    folder = source_folder(str(path))
    for name in (TENSORS, DESCRIPTION):
        if not (folder / name).is_file():
            raise UserError(f"{folder} holds no {name}: name the folder of a finished run or of an exported model")
    try:
        tensors = load_file(folder / TENSORS)
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{folder / TENSORS} is damaged ({error}): export it again") from None
    return _described(tensors, folder / DESCRIPTION)


def _described(tensors: dict[str, Tensor], path: Path) -> ExportedModel:
    try:
        values = read_description(path)
        if values["schema_version"] != SCHEMA_VERSION:
            raise UserError(
                f"{path}: schema_version={values['schema_version']}, this Headstart reads {SCHEMA_VERSION}: "
                "use the version that wrote it"
            )
        preprocessing = values["preprocessing"]
        return ExportedModel(
            tensors=tensors,
            architecture=described.text(values, "architecture"),
            model=described.settings(values, "model"),
            backbone=described.settings(values, "backbone"),
            class_names=described.texts(values, "class_names"),
            preprocessing=Preprocessing(described.three(preprocessing, "mean"), described.three(preprocessing, "std")),
            size=described.size(preprocessing),
            norm_eps=described.positive(values, "norm_eps"),
            lineage=described.texts(values, "lineage"),
            cosine_scale=described.positive(values, "cosine_scale"),  # files from before there was one lack the key
            postprocess=described.settings({"postprocess": {}} | values, "postprocess"),  # and this one
            tile=_tile(described.settings({"tile": {}} | values, "tile")),  # and the other three
            canvases_hw=described.sides_hw(values, "canvases_hw"),
            thresholds=described.shares(values, "thresholds"),
        )
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is no description of a model ({type(error).__name__}: {error}): export it again"
        ) from None


def _tile(values: dict[str, Any]) -> TileConfig:
    tile = restore_node(TileConfig, values)
    if problems := [*tile_problems(tile)]:
        raise ValueError(" ".join(problems))
    return tile


def load_exported(path: Path | str, postprocess: PostprocessConfig | None = None) -> tuple[Detector, ExportedModel]:
    """The detector as it was exported: the same detections, bit for bit, but for what `postprocess` says."""
    exported = read_exported(path)
    detector = _rebuild(path, exported, [postprocess or PostprocessConfig()])
    detector.preprocessing = exported.preprocessing
    if exported.norm_eps is not None:
        set_norm_eps(detector, exported.norm_eps)
    try:
        detector.load_state_dict(exported.tensors, strict=True)
    except RuntimeError as error:  # names or shapes
        raise UserError(f"{path}: {TENSORS} does not fit the network that {DESCRIPTION} describes: {error}") from None
    return detector.eval(), exported


def _rebuild(path: Path | str, exported: ExportedModel, changes: Sequence[PostprocessConfig]) -> Detector:
    """Of the settings only names that we know are taken; none is imported."""
    if exported.architecture not in Architecture.__members__:
        known = ", ".join(Architecture.__members__)
        raise UserError(f"{path}: architecture={exported.architecture} is not one of {known}")
    own = exported.architecture == Architecture.extension.value
    settings = exported.model | ({"file": named_file(str(path))} if own else {})
    try:
        # Schemas with the same keys are all the same to `restore`; the architecture among them tells them apart.
        model, backbone = restore("model", settings), restore("backbone", exported.backbone)
        postprocess = restore("postprocess", exported.postprocess)
    except (UserError, OmegaConfBaseException, TypeError, ValueError) as error:
        raise UserError(f"{path}: the settings in {DESCRIPTION} cannot be used: {error}") from None
    if problems := [*postprocess_problems(postprocess)]:
        raise UserError(f"{path}: the settings in {DESCRIPTION} cannot be used: {' '.join(problems)}")
    _refuse_other_shapes(path, exported, model, backbone)
    return _network(model, backbone, exported, [postprocess, *changes])


def _refuse_other_shapes(
    path: Path | str, exported: ExportedModel, model: ModelConfig, backbone: BackboneConfig
) -> None:
    """Before memory is taken for the network: one of 10^9 channels, or classes, would take all there is."""
    try:
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in _network(model, backbone, exported).state_dict().items()}
    except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:  # sizes that no tensor can have
        raise UserError(f"{path}: the network that {DESCRIPTION} describes cannot be: {error}") from None
    for name, shape in shapes.items():
        found = exported.tensors.get(name)
        if found is None or found.shape != shape:
            has = "has none" if found is None else f"has {tuple(found.shape)}"
            raise UserError(
                f"{path}: {TENSORS} does not fit the network that {DESCRIPTION} describes: {name} is {tuple(shape)} "
                f"there, and {TENSORS} {has}. Export it again."
            )


def _network(
    model: ModelConfig,
    backbone: BackboneConfig,
    exported: ExportedModel,
    postprocess: Sequence[PostprocessConfig] = (),
) -> Detector:
    detector = build_detector(model, backbone, exported.class_names, postprocess)
    if exported.cosine_scale is not None:
        use_cosine_head(detector, exported.cosine_scale)
    return detector

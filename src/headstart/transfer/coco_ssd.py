"""TensorFlow's `ssd_mobilenet_v2_coco_2018_03_29` as a source: the whole detector, or its trunk under another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.models._meta import _COCO_CATEGORIES

from headstart.config.fitting import COCO_SSD, installed_coco_ssd, refuse_coco_ssd
from headstart.config.schema import BackboneConfig, CocoSourceConfig, CocoSsdConfig, ModelConfig
from headstart.detectors.graph_def import read_constants
from headstart.detectors.interface import Detector
from headstart.detectors.pretrained import HALF
from headstart.detectors.ssd_tf import EXTRA, TfSSDDetector
from headstart.errors import UserError
from headstart.transfer.coco import size_of
from headstart.transfer.types import SourceWeights

SHA1 = "35d571ac314f1d32ae678a857f87cc0ef6b220e8"
"""Of the published file; OpenCV's list of test models has the same."""
NUM_BYTES = 69_688_296
_TRUNK = "FeatureExtractor/MobilenetV2/"
_OF_BLOCK = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")}
_OF_FIRST_BLOCK = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
_OF_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
BLOCKS = (1, 2, 3, 4, 3, 3, 1)
"""Of each stage of MobileNetV2."""


def load_coco_ssd(
    config: CocoSsdConfig | CocoSourceConfig, model: ModelConfig, backbone: BackboneConfig, detector: Detector
) -> SourceWeights:
    """All weights for `model.variant=tf`, else those of the trunk. Raises `UserError` for another backbone, and where
    the file is absent or another one."""
    if problem := refuse_coco_ssd(model, backbone):
        raise UserError(problem)
    path = Path(config.path).expanduser() if config.path else installed_coco_ssd()
    _check_file(path)
    constants = read_constants(path)
    whole = isinstance(detector, TfSSDDetector)
    library = dict(_trunk(constants))
    names = {ours: theirs for ours, theirs in detector.library_names().items() if theirs in library}
    tensors = {ours: library[theirs] for ours, theirs in names.items()}
    return SourceWeights(
        kind="coco_ssd",
        tensors=tensors | (dict(_behind_trunk(constants)) if whole else {}),
        expected=("",) if whole else tuple(detector.library_names()),
        row_names=tuple(_COCO_CATEGORIES) if whole else None,
        preprocessing=HALF,
        size=size_of(COCO_SSD),
        lineage=("imagenet", "coco"),
        where=str(path),
        unused=tuple(sorted(set(library) - set(names.values()))),
    )


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"source.path={path}: no such file.")
    size = path.stat().st_size
    if size != NUM_BYTES:
        raise UserError(f"{path}: it has {size} bytes, ssd_mobilenet_v2_coco_2018_03_29 has {NUM_BYTES}. Get it again.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha1").hexdigest()
    if digest != SHA1:
        raise UserError(f"{path}: its SHA-1 is {digest}, not {SHA1}: the file was changed. Get it again.")


def _trunk(constants: dict[str, np.ndarray]) -> Iterator[tuple[str, Tensor]]:
    """Under the names of timm's classifier."""
    yield from _layer(constants, f"{_TRUNK}Conv", "conv_stem", "bn1")
    yield from _layer(constants, f"{_TRUNK}Conv_1", "conv_head", "bn2")
    number = 0
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            scope = f"{_TRUNK}expanded_conv{f'_{number}' if number else ''}"
            for part, (conv, norm) in (_OF_BLOCK if number else _OF_FIRST_BLOCK).items():
                place = f"blocks.{stage}.{block}"
                yield from _layer(constants, f"{scope}/{part}", f"{place}.{conv}", f"{place}.{norm}")
            number += 1


def _behind_trunk(constants: dict[str, np.ndarray]) -> Iterator[tuple[str, Tensor]]:
    """Further maps and heads, under the names of `TfSSDDetector`."""
    for i, (inner, width) in enumerate(EXTRA):
        place, number = f"backbone.extra.{i}", i + 2
        conv = f"{_TRUNK}layer_19_2_Conv2d_{number}_3x3_s2_{width}"
        narrow = f"{_TRUNK}layer_19_1_Conv2d_{number}_1x1_{inner}"
        for k, scope in enumerate((narrow, f"{conv}_depthwise", conv)):
            yield from _layer(constants, scope, f"{place}.{3 * k}", f"{place}.{3 * k + 1}")
    for i in range(2 + len(EXTRA)):
        for theirs, ours in (("ClassPredictor", "classification"), ("BoxEncodingPredictor", "regression")):
            scope, place = f"BoxPredictor_{i}/{theirs}", f"head.{ours}_head.module_list.{i}"
            weight, bias = _filters(constants[f"{scope}/weights"]), torch.from_numpy(constants[f"{scope}/biases"])
            if ours == "regression":
                weight, bias = _xywh(weight), _xywh(bias)
            yield f"{place}.weight", weight
            yield f"{place}.bias", bias


def _layer(constants: dict[str, np.ndarray], scope: str, conv: str, norm: str) -> Iterator[tuple[str, Tensor]]:
    depthwise = f"{scope}/depthwise_weights"
    weights = constants[depthwise] if depthwise in constants else constants[f"{scope}/weights"]
    yield f"{conv}.weight", _filters(weights, depthwise in constants)
    for theirs, ours in _OF_NORM.items():
        yield f"{norm}.{ours}", torch.from_numpy(constants[f"{scope}/BatchNorm/{theirs}"])


def _filters(weights: np.ndarray, depthwise: bool = False) -> Tensor:
    """(height, width, in, out), or (height, width, channels, 1) -> (out, in, height, width)."""
    return torch.from_numpy(weights.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)).copy())


def _xywh(rows: Tensor) -> Tensor:
    """TensorFlow codes a box as (y, x, height, width), torchvision as (x, y, width, height)."""
    return rows.unflatten(0, (-1, 4))[:, [1, 0, 3, 2]].flatten(0, 1).contiguous()

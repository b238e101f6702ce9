"""A detector of one's own as a source: a run, an exported model, or a plain state dict."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from headstart.config.checks_transfer import source_folder
from headstart.config.fitting import other_network
from headstart.config.schema import BackboneConfig, CheckpointConfig, ModelConfig
from headstart.detectors.cosine import cosine_scale_of
from headstart.detectors.files import read_state
from headstart.detectors.interface import Detector
from headstart.errors import UserError
from headstart.inference.export import ExportedModel, read_exported
from headstart.transfer.class_rows import BACKGROUND
from headstart.transfer.coco import with_new_names
from headstart.transfer.proof import FROZEN_FILE
from headstart.transfer.types import SourceWeights


def load_checkpoint(
    config: CheckpointConfig,
    model: ModelConfig,
    backbone: BackboneConfig,
    detector: Detector,
) -> SourceWeights:
    """Raises `UserError` where the path holds no model, an unsafe one, or one of another architecture or head."""
    path = Path(config.path)
    if not path.exists():
        raise UserError(
            f"source.path={path} does not exist: name a run folder, a folder with model.safetensors and model.json, "
            "or a state dict file"
        )
    folder = source_folder(config.path)
    if (folder / "model.json").is_file():
        exported = read_exported(folder)
        _refuse_other_network(exported, folder, model, backbone)
        _refuse_other_head(exported, folder, cosine_scale_of(detector))
        return _from_exported(config, folder, exported, detector)
    if path.is_dir():
        raise UserError(
            f"source.path={path} has no model.safetensors with model.json: is the run finished? "
            "Name a finished run, or a state dict file with source.class_names"
        )
    if path.suffix == ".ckpt" and path.with_name(FROZEN_FILE).exists():
        raise UserError(
            f"source.path={path} holds only what its run trains, and {FROZEN_FILE} beside it the rest: name the run's "
            "folder when it is finished, or the best.ckpt of a run with training.keep=best"
        )
    return _from_state_dict(config, path, detector)


def _from_exported(
    config: CheckpointConfig, folder: Path, exported: ExportedModel, detector: Detector
) -> SourceWeights:
    if config.class_names:
        raise UserError(f"source.class_names has no effect: {folder} knows its classes. Remove the setting")
    return SourceWeights(
        kind="checkpoint",
        tensors=exported.tensors,
        expected=("",),
        row_names=_row_names(detector, exported.class_names),
        preprocessing=exported.preprocessing,
        size=exported.size,
        norm_eps=exported.norm_eps,
        lineage=tuple(exported.lineage),
        where=str(folder),
    )


def _refuse_other_network(exported: ExportedModel, folder: Path, model: ModelConfig, backbone: BackboneConfig) -> None:
    then = {**exported.model, "architecture": exported.architecture}
    if found := other_network(then, exported.backbone, model, backbone):
        setting, was, now = found
        raise UserError(
            f"source.path={folder} was trained with {setting}={was}, but this run has {setting}={now}: "
            f"use {setting}={was}, or another source"
        )


def _refuse_other_head(exported: ExportedModel, folder: Path, cosine_scale: float | None) -> None:
    """Rows that were learnt for a cosine are no rows of a plain head; a plain head's directions are TFA's start."""
    then = exported.cosine_scale
    if then is not None and then != cosine_scale:
        now = "null" if cosine_scale is None else cosine_scale
        raise UserError(
            f"source.path={folder} has a cosine head with strategy.cosine_scale={then}, but this run has "
            f"strategy.cosine_scale={now}: use strategy.cosine_scale={then}, or another source"
        )


def _from_state_dict(config: CheckpointConfig, path: Path, detector: Detector) -> SourceWeights:
    state = read_state(path, detector.state_dict())
    tensors = with_new_names(state.tensors, detector.state_dict())
    row_names = _row_names(detector, config.class_names)
    if any(axis.tensor in tensors for axis in detector.class_axes()):
        _check_class_names(config, tensors, len(row_names), detector)
    return SourceWeights(
        kind="checkpoint",
        tensors=tensors,
        expected=("",),
        row_names=row_names,
        lineage=(path.stem,),
        where=f"{path}: {state}" if str(state) else str(path),
        unused=state.unused,
    )


def _row_names(detector: Detector, class_names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    background = any(axis.background for axis in detector.class_axes())
    return ((BACKGROUND,) if background else ()) + tuple(class_names)


def _check_class_names(config: CheckpointConfig, tensors: dict[str, Tensor], num_rows: int, detector: Detector) -> None:
    """The user's list is the one thing about such a file that nothing else vouches for."""
    for axis in detector.class_axes():
        if axis.tensor not in tensors:
            continue
        rows, rest = divmod(len(tensors[axis.tensor]), axis.anchors * axis.block)
        if not config.class_names or (rest == 0 and rows != num_rows):
            raise UserError(
                f"source.class_names lists {len(config.class_names)} classes, but the head of {config.path} has "
                f"{rows - axis.background} ({axis.tensor}): list the class of each row, in order"
            )

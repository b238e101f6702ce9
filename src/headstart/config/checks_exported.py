"""What `evaluate` and `export` are asked for, where a file of a model comes in. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig

from headstart.config.checks import check_dataset_folder, dataset_problems
from headstart.config.checks_transfer import EXPORTED
from headstart.config.checks_verbs import check_recorded, check_run_folder
from headstart.config.postprocess import given
from headstart.config.resolve import typed
from headstart.config.schema import EvaluateConfig, ExportConfig, ExportTo
from headstart.errors import UserError
from headstart.limits import MODEL_SIDE


def read_evaluate(cfg: DictConfig, overrides: Sequence[str]) -> EvaluateConfig:
    """Of a run, or of a file on a data set. Raises `UserError` for what is of the other one, or not there."""
    if cfg.file is None:
        config = typed(cfg, EvaluateConfig)
        _check_run(config)
        return config
    if cfg.data_dir is None:
        cfg.data_dir = os.environ.get("HEADSTART_DATA", "data")
    config = typed(cfg, EvaluateConfig)
    _check_file(config, overrides)
    return config


def _check_run(config: EvaluateConfig) -> None:
    if config.run is None:
        raise UserError(
            "Not set: run. Give the folder of a run, run=outputs/<run>, or a file and what to measure it on: "
            "model=<file.onnx> dataset=<choice>"
        )
    if config.dataset is not None:
        raise UserError(
            f"run={config.run} is measured on its own data set, so dataset=… has no effect: leave it out, or say where "
            "that data lies now: root=<folder>"
        )
    check_run_folder(config)


def _check_file(config: EvaluateConfig, overrides: Sequence[str]) -> None:
    file = Path(str(config.file)).expanduser()
    if config.run is not None or config.root is not None:
        other = f"run={config.run}" if config.run is not None else f"root={config.root}"
        raise UserError(f"model={config.file} and {other}: give a file and its dataset, or a run.")
    if given(config.postprocess):
        raise UserError(f"model={config.file} and postprocess.…: what makes one of several detections is in the file.")
    if config.dataset is None:
        raise UserError(f"model={config.file}: say what to measure it on, dataset=<choice>.")
    if file.suffix != ".onnx" or not file.is_file():
        raise UserError(f"model={config.file} is no ONNX file that is there: name one that `headstart export` wrote.")
    if idle := [word for word in overrides if word.lstrip("+").partition("=")[0] in OF_THE_FILE]:
        raise UserError(f"{', '.join(idle)}: the file says how its pictures are resized; leave it out.")
    if problems := [*dataset_problems(config.dataset)]:
        raise UserError("\n".join(problems))
    check_dataset_folder(config.dataset)


OF_THE_FILE = ("dataset.min_size", "dataset.max_size", "dataset.resize")

ENDINGS = {ExportTo.onnx: ".onnx", ExportTo.torch_export: ".pt2"}


def check_export(config: ExportConfig) -> None:
    """Raises `UserError` where there is no model, nowhere to write it, or a setting has no effect."""
    for name in EXPORTED:
        if not (Path(config.run).expanduser() / name).is_file():
            raise UserError(f"run={config.run} holds no {name}: name the folder of a finished run.")
    if problems := [*_export_problems(config)]:
        raise UserError("\n".join(problems))
    if config.quantize is not None:
        check_recorded(config.run)


def _export_problems(config: ExportConfig) -> Iterator[str]:
    if config.quantize is not None and (config.to is not ExportTo.onnx or not config.nms):
        yield (
            f"quantize={config.quantize.value} goes with to=onnx nms=true, whose detections are measured before and "
            f"after, not with to={config.to.value} nms={str(config.nms).lower()}."
        )
    for_quantize = {name: getattr(config, name) for name in ("calibration", "root", "data_dir")}
    idle = [f"{name}={value}" for name, value in for_quantize.items() if value is not None]
    if config.quantize is None and idle:
        yield f"{', '.join(idle)}: of use to quantize=int8 alone; leave it out."
    if config.calibration is not None and config.calibration < 1:
        yield f"calibration={config.calibration} must be 1 picture or more."
    if config.size is not None and (len(config.size) != 2 or not all(32 <= side <= MODEL_SIDE for side in config.size)):
        yield f"size={config.size} must be [height,width] in pixels, each 32 to {MODEL_SIDE}; null: any size."
    output, ending = Path(config.output or "").expanduser(), ENDINGS[config.to]
    if config.output is not None and output.suffix != ending:
        yield f"output={config.output}: with to={config.to.value} the name of the file ends in {ending}."
    elif config.output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        yield f"output={config.output} is a folder, or lies in none: name a file in a folder that is there."

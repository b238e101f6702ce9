"""`headstart export`: a finished run's model as a file for other programs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch.export import ExportedProgram

from headstart.config.plain import plain
from headstart.config.postprocess import Rule
from headstart.config.schema import Architecture, ExportConfig, ExportTo, Method, Resize
from headstart.data.datamodule import DetectionDataModule
from headstart.data.types import Size
from headstart.detectors.detr import QueryDetector
from headstart.detectors.interface import Detector
from headstart.detectors.torchvision_base import OneStageDetector
from headstart.errors import UserError
from headstart.evaluate import datamodule_of, metric_of
from headstart.exporting.contract import Contract
from headstart.exporting.graph import has_any_size, traced
from headstart.exporting.packages import needs
from headstart.inference.export import load_exported, read_exported
from headstart.records.record import RunRecord
from headstart.say import say
from headstart.training.quiet import quieten

CALIBRATION = 64
"""Pictures."""


def export(config: ExportConfig) -> Path:
    """The file that was written. Raises `UserError` for a model that has no graph."""
    quieten()
    if config.to is ExportTo.onnx:
        needs("onnx", "onnxscript", *(["onnxruntime"] if config.quantize else []))
    _refuse_extension(config)
    detector, model = load_exported(Path(config.run).expanduser())
    fixed_hw = _fixed_hw(config, model.size)
    contract = Contract.of(detector, model, config.nms, fixed_hw)
    program = _graph(config, detector, contract)
    path = _path(config)
    if config.to is ExportTo.torch_export:
        from headstart.exporting.program_file import save_program

        save_program(program, contract, path)
    elif config.quantize is None:
        from headstart.exporting.onnx_file import save_onnx

        save_onnx(program, contract, path)
    else:
        _quantized(config, detector, program, contract, path)
    for line in _lines(contract, path):
        say(line)
    return path


def _refuse_extension(config: ExportConfig) -> None:
    if read_exported(Path(config.run).expanduser()).architecture == Architecture.extension.value:
        raise UserError(
            f"run={config.run} is of a detector in a Python file of your own: headstart export writes those of "
            "Headstart alone. headstart.load(…) gives its network for an export of your own"
        )


def _fixed_hw(config: ExportConfig, size: Size) -> tuple[int, int] | None:
    """None: pictures may have any size; stretched ones have but one."""
    if config.size is not None:
        return config.size[0], config.size[1]
    return (size.min_size, size.max_size) if size.resize is Resize.stretch else None


def _path(config: ExportConfig) -> Path:
    if config.output is not None:
        return Path(config.output).expanduser()
    ending = ".onnx" if config.to is ExportTo.onnx else ".pt2"
    kind = "_int8" if config.quantize else "" if config.nms else "_raw"
    return Path(config.run).expanduser() / f"model{kind}{ending}"


def _graph(config: ExportConfig, detector: Detector, contract: Contract) -> ExportedProgram:
    network = f"run={config.run}: architecture={contract.architecture} on backbone={contract.backbone}"
    _check(config, detector, contract, network)
    try:
        return traced(detector, config.nms, contract.fixed_hw)
    except Exception as error:  # whatever a network of another library does that has no graph
        remedy = (
            "for pictures of one size it may be: size=[height,width]" if contract.fixed_hw is None else "use another"
        )
        raise UserError(
            f"{network} cannot be exported ({str(error).strip().splitlines()[0][:200]}); {remedy}."
        ) from error


def _check(config: ExportConfig, detector: Detector, contract: Contract, network: str) -> None:
    """Raises `UserError` for what is known to have no graph."""
    if not isinstance(detector, OneStageDetector | QueryDetector):
        raise UserError(
            f"{network} cannot be exported: it pools as many regions as it finds. Those of one stage and those of "
            "queries can be: model=retinanet, fcos, ssd, ssd_tf, ssdlite, yolov3, yolox, d_fine or rt_detr."
        )
    if contract.fixed_hw is None and not has_any_size(detector):
        raise UserError(
            f"{network} cannot be exported for pictures of any size: of small ones its coarsest map is a single cell. "
            "For those of one size it can be: size=[height,width]."
        )
    if config.nms and (refused := _not_in_a_file(detector.rule)):
        raise UserError(
            f"run={config.run}: {refused} is in the model, and a file has hard suppression of one view of a picture, "
            "or none: train or export a run without it."
        )


def _not_in_a_file(rule: Rule) -> str:
    """What of it no file has; empty: nothing."""
    inside = (Method.nms, Method.none)
    asked = {"flips": rule.flips, "scales": rule.scales, "method": "" if rule.method in inside else rule.method}
    return ", ".join(f"postprocess.{name}={plain(value)}" for name, value in asked.items() if value)


def _quantized(
    config: ExportConfig, detector: Detector, program: ExportedProgram, contract: Contract, path: Path
) -> None:
    """Says the mAP of both files on the run's validation pictures."""
    from headstart.exporting.onnx_file import save_onnx
    from headstart.exporting.quantizing import quantized

    folder = Path(config.run).expanduser()
    record = RunRecord.read(folder / "record.json")
    datamodule = datamodule_of(record, folder, "val", config.root, config.data_dir)
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "model.onnx"
        save_onnx(program, replace(contract, quantized="int8"), whole)
        seen = datamodule.plain_batches("train", config.calibration or CALIBRATION)
        quantized(whole, path, seen, detector.predictors())
        float_map, int8_map = (_map(file, record, datamodule, config) for file in (whole, path))
        sizes = " to ".join(f"{file.stat().st_size / 1e6:.1f}" for file in (whole, path))
    say(
        f"mAP on val of {datamodule.info.name}: {float_map:.4f} in float32, {int8_map:.4f} in int8 "
        f"({int8_map - float_map:+.4f}); {sizes} MB"
    )


def _map(path: Path, record: RunRecord, datamodule: DetectionDataModule, config: ExportConfig) -> float:
    from headstart.exporting.runtime import OnnxDetector, measured

    metric = metric_of(record, datamodule.info.class_names)
    return measured(OnnxDetector(path), datamodule, "val", metric, config.enable_progress_bar).map


def _lines(contract: Contract, path: Path) -> Iterator[str]:
    yield f"Written: {path} ({path.stat().st_size / 1e6:.1f} MB), {contract.architecture} on {contract.backbone}"
    yield f"Pictures: RGB in 0..255, {contract.size}; {contract.canvas}"
    for kind, tensors in (("in", contract.inputs), ("out", contract.outputs)):
        for name, about in tensors.items():
            yield f"  {kind:3} {name}: {about}"

"""The mAP of a finished run's exported model, or of an exported file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from headstart import build
from headstart.config.restore import restore
from headstart.config.schema import EvaluateConfig, TrainerConfig
from headstart.data import catalog
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe, is_still
from headstart.data.keeping import Place, cache_folder
from headstart.data.recorded import recorded_dataset
from headstart.data.workers import explained
from headstart.errors import UserError
from headstart.evaluation.coco_map import CocoMeanAveragePrecision, MapResult
from headstart.evaluation.module import EvaluationModule
from headstart.evaluation.show import result_table
from headstart.inference.export import load_exported
from headstart.records.record import RunRecord
from headstart.say import say
from headstart.training.progress import make_progress
from headstart.training.quiet import quieten


def evaluate(config: EvaluateConfig) -> MapResult:
    """Measures a run as it did itself: same data, same precision. Raises `UserError` where the data has changed
    since."""
    quieten()
    return _of_run(config) if config.file is None else _of_file(config)


def _of_file(config: EvaluateConfig) -> MapResult:
    from headstart.exporting.runtime import OnnxDetector, datamodule_for, measured

    assert config.file is not None
    assert config.dataset is not None
    path = Path(config.file).expanduser()
    detector = OnnxDetector(path)
    datamodule = datamodule_for(detector, config.dataset, config.split)
    metric = CocoMeanAveragePrecision(datamodule.info.class_names)
    result = measured(detector, datamodule, config.split, metric, config.enable_progress_bar)
    say(result_table(result, f"{path}: {config.split} of {datamodule.info.name}"))
    return result


def _of_run(config: EvaluateConfig) -> MapResult:
    folder = Path(str(config.run)).expanduser()
    record = RunRecord.read(folder / "record.json")
    datamodule = datamodule_of(record, folder, config.split, config.root, config.data_dir)
    detector, _ = load_exported(folder)
    module = EvaluationModule(detector, metric_of(record, datamodule.info.class_names))
    progress = make_progress(config.enable_progress_bar)
    trainer = build.build_trainer(_trainer_config(record), folder, callbacks=[], loggers=[], progress=progress)
    run = trainer.validate if config.split == "val" else trainer.test
    with explained():
        run(module, datamodule=datamodule, verbose=False)
    assert module.evaluation is not None
    say(result_table(module.evaluation, f"{folder.name}: {config.split}"))
    return module.evaluation


def datamodule_of(
    record: RunRecord, folder: Path, split: str, root: str | None, data_dir: str | None
) -> DetectionDataModule:
    """The data of the finished run in `folder`, of which `split` is still as it was."""
    if record.status != "finished":
        raise UserError(f"{folder}: the run is {record.status}. The command that started it goes on with it.")
    dataset = recorded_dataset(record, folder, root, data_dir)
    data = catalog.read(dataset, record.config["seed"])
    info = describe(data, dataset)
    if split not in data.splits:
        raise UserError(f"split={split}: {info.name} has {', '.join(data.splits)}")
    if not is_still(info, record.dataset, split):
        raise UserError(
            f"{info.name} has changed since {folder} was trained: another mAP would not tell whether the model or the "
            "data is different. Restore the data (record.json, dataset), say where it lies now (root=<folder>), or "
            "train again."
        )
    augment = restore("augment", record.config["augment"])
    return DetectionDataModule(data, info, dataset, augment, 0, Place(folder=cache_folder(folder.parent)))


def metric_of(record: RunRecord, class_names: Sequence[str]) -> CocoMeanAveragePrecision:
    """With the run's own settings."""
    evaluation = restore("evaluation", record.config["evaluation"])
    return CocoMeanAveragePrecision(class_names, evaluation.engine, evaluation.max_detections)


def _trainer_config(record: RunRecord) -> TrainerConfig:
    """In one process, and in the precision that the run had: `auto` may be another on another machine."""
    config = restore("trainer", record.config["trainer"])
    return dataclasses.replace(config, devices=1, strategy="auto", precision=record.environment["precision"])

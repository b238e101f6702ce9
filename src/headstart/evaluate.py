"""The mAP of a finished run's exported model."""

from __future__ import annotations

import dataclasses
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
from headstart.runs.found import add_found
from headstart.say import say
from headstart.training.progress import make_progress
from headstart.training.quiet import quieten


def evaluate(config: EvaluateConfig) -> MapResult:
    """Measures as the run did: same data, same precision. Raises `UserError` where the data has changed since."""
    quieten()
    folder = Path(config.run).expanduser()
    record = RunRecord.read(folder / "record.json")
    if record.status != "finished":
        raise UserError(f"{folder}: the run is {record.status}. The command that started it goes on with it.")
    dataset = recorded_dataset(record, folder, config.root, config.data_dir)
    data = catalog.read(dataset, record.config["seed"])
    info = describe(data, dataset)
    if config.split not in data.splits:
        raise UserError(f"split={config.split}: {info.name} has {', '.join(data.splits)}")
    if not is_still(info, record.dataset, config.split):
        raise UserError(
            f"{info.name} has changed since {folder} was trained: another mAP would not tell whether the model or the "
            "data is different. Restore the data (record.json, dataset), say where it lies now (root=<folder>), or "
            "train again."
        )
    detector, _ = load_exported(folder)
    evaluation = restore("evaluation", record.config["evaluation"])
    metric = CocoMeanAveragePrecision(info.class_names, evaluation.engine, evaluation.max_detections)
    module = EvaluationModule(detector, metric)
    augment = restore("augment", record.config["augment"])
    datamodule = DetectionDataModule(data, info, dataset, augment, 0, Place(folder=cache_folder(folder.parent)))
    progress = make_progress(config.enable_progress_bar)
    trainer = build.build_trainer(_trainer_config(record), folder, callbacks=[], loggers=[], progress=progress)
    run = trainer.validate if config.split == "val" else trainer.test
    with explained():
        run(module, datamodule=datamodule, verbose=False)
    assert module.evaluation is not None
    say(result_table(module.evaluation, f"{folder.name}: {config.split}"))
    if path := add_found(folder, datamodule, config.split, module.evaluation):
        say(f"{path}: the detections, which the run had not kept; `headstart compare` reads them.")
    return module.evaluation


def _trainer_config(record: RunRecord) -> TrainerConfig:
    """In one process, and in the precision that the run had: `auto` may be another on another machine."""
    config = restore("trainer", record.config["trainer"])
    return dataclasses.replace(config, devices=1, strategy="auto", precision=record.environment["precision"])

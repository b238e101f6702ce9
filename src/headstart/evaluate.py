"""The mAP of a finished run's exported model."""

from __future__ import annotations

from pathlib import Path

from headstart import build
from headstart.config.restore import restore
from headstart.config.schema import EvaluateConfig
from headstart.data import catalog
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.errors import UserError
from headstart.evaluation.coco_map import CocoMeanAveragePrecision, MapResult
from headstart.evaluation.module import EvaluationModule
from headstart.evaluation.show import result_table
from headstart.inference.export import load_exported
from headstart.records.record import RunRecord
from headstart.say import say
from headstart.training.quiet import quieten


def evaluate(config: EvaluateConfig) -> MapResult:
    """Measures as the run did: same data, same precision. Raises `UserError` where the data has changed since."""
    quieten()
    folder = Path(config.run)
    record = RunRecord.read(folder / "record.json")
    if record.status != "finished":
        raise UserError(f"{folder}: the run is {record.status}. The command that started it goes on with it.")
    settings = dict(record.config["dataset"])
    if config.data_dir is not None and "root" in settings:
        settings["root"] = settings["root"].replace(record.config["data_dir"], config.data_dir, 1)
    dataset = restore("dataset", settings)
    data = catalog.read(dataset, record.config["seed"])
    info = describe(data, dataset)
    if config.split not in data.splits:
        raise UserError(f"split={config.split}: {info.name} has {', '.join(data.splits)}")
    if info.evaluation_fingerprint != record.dataset["evaluation_fingerprint"]:
        raise UserError(
            f"{info.name} has changed since {folder} was trained: another mAP would not tell whether the model or the "
            "data is different. Restore the data (record.json, dataset), or train again."
        )
    detector, _ = load_exported(folder)
    evaluation = record.config["evaluation"]
    metric = CocoMeanAveragePrecision(
        info.class_names, restore("evaluation", evaluation).engine, evaluation["max_detections"]
    )
    module = EvaluationModule(detector, metric)
    trainer_config = restore("trainer", record.config["trainer"])
    trainer_config.devices, trainer_config.strategy = 1, "auto"
    trainer_config.precision = record.environment["precision"]
    datamodule = DetectionDataModule(data, info, dataset, restore("augment", record.config["augment"]), 0)
    trainer = build.build_trainer(trainer_config, folder, callbacks=[], loggers=[], progress=None)
    run = trainer.validate if config.split == "val" else trainer.test
    run(module, datamodule=datamodule, verbose=False)
    assert module.evaluation is not None
    say(result_table(module.evaluation, f"{folder.name}: {config.split}"))
    return module.evaluation

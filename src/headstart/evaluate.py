"""The mAP of a finished run's exported model, or of an exported file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart import build
from headstart.config.checks_verbs import run_folders
from headstart.config.plain import plain
from headstart.config.postprocess import Rule, given
from headstart.config.restore import restore
from headstart.config.schema import EvaluateConfig, TrainerConfig
from headstart.data import catalog
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe, is_still
from headstart.data.keeping import Place, cache_folder
from headstart.data.recorded import recorded_dataset
from headstart.data.workers import explained
from headstart.detectors.extension import name_file
from headstart.errors import UserError
from headstart.evaluation.coco_map import CocoMeanAveragePrecision, MapResult, result
from headstart.evaluation.module import EvaluationModule
from headstart.evaluation.show import result_table, results_table
from headstart.inference.ensemble import as_one, common_rule, common_target
from headstart.inference.export import load_exported
from headstart.records.record import RunRecord
from headstart.runs.found import add_found
from headstart.say import say
from headstart.training.progress import make_progress
from headstart.training.quiet import quieten


@dataclass(frozen=True)
class Measured:
    """A run, measured again."""

    folder: Path
    record: RunRecord
    data: DetectionDataModule
    result: MapResult


def evaluate(config: EvaluateConfig) -> MapResult:
    """Measures a run as it did itself: same data, same precision, and by its own rules, but for what `postprocess`
    says; of several runs, what they find together. Raises `UserError` where the data has changed since."""
    quieten()
    if config.extension is not None:
        name_file(config.extension)
    return _of_runs(config) if config.file is None else _of_file(config)


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


def _of_runs(config: EvaluateConfig) -> MapResult:
    runs = {folder: RunRecord.read(folder / "record.json") for folder in run_folders(str(config.run))}
    if len(runs) > 1:
        common_target(runs, config.split)
        rule = common_rule(runs, config.postprocess)
        return _together([_measure(folder, record, config) for folder, record in runs.items()], config, rule)
    ((folder, record),) = runs.items()
    one = _measure(folder, record, config)
    say(result_table(one.result, f"{folder.name}: {config.split}"))
    if changes := given(config.postprocess):
        words = ", ".join(f"postprocess.{name}={plain(value)}" for name, value in changes.items())
        before = record.metrics.get(config.split, {}).get("map")
        say(f"With {words}. The run's own: mAP {before:.4f}" if isinstance(before, float) else f"With {words}.")
    elif path := add_found(folder, one.data, config.split, one.result):
        say(f"{path}: the detections, which the run had not kept; `headstart compare` reads them.")
    return one.result


def _together(runs: Sequence[Measured], config: EvaluateConfig, rule: Rule) -> MapResult:
    first, metric = runs[0], restore("evaluation", runs[0].record.config["evaluation"])
    truth = first.data.truth(config.split).truth
    found = as_one([run.result.detections for run in runs if run.result.detections is not None], rule)
    fused = result(truth, found, first.data.info.class_names, metric.engine, metric.max_detections)
    results = {f"run {number}": run.result for number, run in enumerate(runs, 1)} | {"together": fused}
    for number, run in enumerate(runs, 1):
        say(f"run {number}: {run.folder}")
    say(results_table(results, f"{config.split}, {fused.images:,} pictures. together: by {rule.across.value}"))
    return fused


def _measure(folder: Path, record: RunRecord, config: EvaluateConfig) -> Measured:
    datamodule = datamodule_of(record, folder, config.split, config.root, config.data_dir)
    detector, _ = load_exported(folder, config.postprocess)
    module = EvaluationModule(detector, metric_of(record, datamodule.info.class_names))
    progress = make_progress(config.enable_progress_bar)
    trainer = build.build_trainer(_trainer_config(record), folder, callbacks=[], loggers=[], progress=progress)
    run = trainer.validate if config.split == "val" else trainer.test
    with explained():
        run(module, datamodule=datamodule, verbose=False)
    assert module.evaluation is not None
    return Measured(folder, record, datamodule, module.evaluation)


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

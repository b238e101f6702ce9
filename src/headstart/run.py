"""One experiment from top to bottom: prepare, fit, measure, export, record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L

from headstart import build
from headstart.analysis.thresholds import least_scores
from headstart.config.resolve import resolved_dict
from headstart.config.schema import ExtensionConfig, RunConfig
from headstart.data.canvases import Padding
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.data.keeping import Place, cache_folder
from headstart.data.refusals import check_data
from headstart.data.show import dataset_report
from headstart.data.workers import explained
from headstart.detectors.extension import name_file
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector
from headstart.evaluation.coco_map import CocoMeanAveragePrecision
from headstart.inference.example import example
from headstart.inference.export import save_exported
from headstart.looking import leave
from headstart.parts.part import Part
from headstart.parts.table import equip_all, parts_of
from headstart.records.detections import SplitDetections
from headstart.records.record import RunRecord
from headstart.replacing import replacing, tidy
from headstart.reporting.card import CARD, PICTURE, card
from headstart.runs.account import describe_end, describe_start, final_numbers, outcome
from headstart.runs.again import begin, finished_before, set_aside_older
from headstart.runs.attempt import attempt
from headstart.runs.box_fit import better_scale
from headstart.runs.experiment import Experiment, measure
from headstart.runs.features import store_of
from headstart.runs.fit import fit
from headstart.runs.fixed_size import refuse_other_canvases
from headstart.runs.found import keep_found
from headstart.runs.from_data import Known, data_of
from headstart.runs.identity import run_folder
from headstart.runs.inputs import input_stamp
from headstart.runs.keeping import keep, lost
from headstart.runs.lock import locked
from headstart.runs.pretrained import with_source_folder
from headstart.say import is_main_process, say
from headstart.training.checkpoints import mend
from headstart.training.loggers import finish_loggers
from headstart.training.module import DetectionModule
from headstart.training.quiet import quieten
from headstart.transfer.freezing import apply_phase
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.show import plan_table, report_table
from headstart.transfer.sources import load_source
from headstart.transfer.strategy import make_plan
from headstart.transfer.types import SourceWeights


def run(config: RunConfig, known: Known | None = None) -> RunRecord:
    """Trains as configured, or goes on where the same run was interrupted, or tells that it is finished.

    `known`: its data, where that was read before.

    Raises `UserError` where it was begun on other data or from other weights, unless `on_change` says what to do.
    """
    quieten()
    resolved = resolved_dict(config)
    folder = run_folder(config, resolved)
    with locked(folder) if is_main_process() else nullcontext():
        set_aside_older(config, folder)
        if record := finished_before(config, folder, lambda: describe_start(prepare(config, known, show=False))):
            line = f"Already finished: {folder} ({outcome(record)})."
            say(f"{line}{lost(folder, config.training.keep)} rerun=true does it again.")
            keep(folder, record.config)  # it may have been killed just before
            return record
        return _attempt(config, resolved, folder, known)


def _attempt(config: RunConfig, resolved: dict[str, Any], folder: Path, known: Known | None) -> RunRecord:
    if is_main_process():
        tidy(folder)
        tidy(folder / "checkpoints")
        mend(folder / "checkpoints")
    with attempt(folder, config, resolved) as record, explained():
        stamp = input_stamp(config)  # before they are read: what changes meanwhile is noticed the next time
        experiment = prepare(config, known)
        begin(config, folder, record, describe_start(experiment), stamp)
        train(experiment, folder, record)
    if is_main_process():
        keep(folder, record.config)
    say(f"Finished: {folder} ({outcome(record)})")
    return record


def prepare(config: RunConfig, known: Known | None = None, show: bool = True) -> Experiment:
    """Data, detector, source and plan: what the user got wrong fails here, before any training. `show`: tells what was
    found in the data."""
    L.seed_everything(config.seed, workers=True, verbose=False)
    config = with_source_folder(config)
    parts = parts_of(config)
    data = data_of(config, known)
    info = describe(data, config.dataset)
    if show:
        say(*dataset_report(info, config.dataset))
    check_data(info, config)
    if isinstance(config.model, ExtensionConfig):
        name_file(config.model.file)
    detector = build_detector(config.model, config.backbone, info.class_names, [config.postprocess])
    padding = Padding(detector.size_divisible, detector.min_canvas)
    place = Place(build.training_device(config.trainer), cache_folder(config.output_dir), padding)
    datamodule = DetectionDataModule(data, info, config.dataset, config.augment, config.seed, place)
    refuse_other_canvases(config, detector, datamodule.canvases)
    for line in (*datamodule.report(), *better_scale(config, data)) if show else ():
        say(line)
    for part in parts:
        part.shape(detector)
    weights = load_source(config.source, config.model, config.backbone, detector)
    return equip(config, datamodule, detector, weights, parts)


def equip(
    config: RunConfig, data: DetectionDataModule, detector: Detector, weights: SourceWeights, parts: list[Part]
) -> Experiment:
    """The detector with the source's weights and all that the strategy adds to it, ready to train."""
    report = apply_source(detector, weights, config.source.aliases)
    plan = make_plan(config.strategy, config.optimizer, detector, report, config.trainer.max_epochs)
    plan = equip_all(parts, detector, report, plan)
    store = store_of(config, data, detector, plan, parts)
    plan = replace(plan, notes=(*plan.notes, *store.choice.notes))
    apply_phase(detector, plan.phases[0])
    module = DetectionModule(
        detector,
        plan,
        CocoMeanAveragePrecision(data.info.class_names, config.evaluation.engine, config.evaluation.max_detections),
        build.optimizer_factory(config.optimizer),
        config.scheduler,
        config.seed,
        parts,
        lambda index: data.seen.splits["train"][index].name,
        store,
    )
    return Experiment(config, data, detector, weights, report, plan, parts, module, store)


def train(experiment: Experiment, folder: Path, record: RunRecord) -> None:
    """Fits, measures the best weights, exports them, and fills the record."""
    say(report_table(experiment.report, experiment.weights.size, experiment.info.size), plan_table(experiment.plan))
    fitted = fit(experiment, folder, record.config)
    splits = [split for split in ("val", "test") if experiment.data.data.splits.get(split)]
    results = {split: measure(experiment, folder, split) for split in splits}
    describe_end(record, experiment, fitted, results)
    if fitted.trainer.is_global_zero:
        keep_found(folder, experiment.data, results)
        worst_pictures = experiment.config.evaluation.worst_pictures
        scored = leave(folder, record, experiment.data, worst_pictures, fitted.loggers)
        thresholds = least_scores(scored["val"]) if "val" in scored else {}
        present(experiment, folder, record, results["val"].detections, thresholds)
        if "profile" in record.cost:
            show_profile(record.cost, folder)
    for line in finish_loggers(fitted.loggers, final_numbers(record)):
        say(line)


def show_profile(cost: dict[str, Any], folder: Path) -> None:
    from headstart.reporting.profile_plot import plot_profile, profile_table  # matplotlib is of no use to other runs

    say(profile_table(cost))
    plot_profile(cost["profile"], folder / "profile.png")


def present(
    experiment: Experiment,
    folder: Path,
    record: RunRecord,
    found: SplitDetections | None,
    thresholds: Mapping[str, float],
) -> None:
    """The model for others: two files that explain themselves, the card that tells people of it, and its picture."""
    known = experiment.data.truth("val")
    export(experiment, folder, record.lineage, thresholds)
    picture = example(known, found, experiment.data.data.splits["val"], thresholds) if found else None
    if picture is not None:
        with replacing(folder / PICTURE) as path:
            picture.save(path, "JPEG", quality=88)
    with replacing(folder / CARD) as path:
        path.write_text(card(record, folder.name, thresholds, picture is not None), encoding="utf-8")


def export(experiment: Experiment, folder: Path, lineage: Sequence[str], thresholds: Mapping[str, float]) -> None:
    """The detector as two files that explain themselves."""
    config, norm_eps = experiment.config, experiment.weights.norm_eps
    network = (experiment.detector, config.model, config.backbone)
    canvases_hw = experiment.data.canvases.sides_hw
    save_exported(
        folder,
        *network,
        experiment.info,
        norm_eps,
        lineage,
        postprocess=config.postprocess,
        tile=config.dataset.tile,
        thresholds=thresholds,
        canvases_hw=canvases_hw,
    )

"""`headstart rescore`: the mAP of detections that runs have kept, changed. Needs neither model nor data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.config.checks_verbs import run_folders
from headstart.config.plain import plain
from headstart.config.postprocess import Rule, given
from headstart.config.restore import restore
from headstart.config.schema import EvaluationConfig, Method, PostprocessConfig, RescoreConfig
from headstart.errors import UserError
from headstart.evaluation.coco_map import MapResult, result
from headstart.evaluation.show import results_table
from headstart.inference.ensemble import Runs, as_one, common_rule, common_target, own_rule
from headstart.records.classes import with_merged_classes
from headstart.records.detections import SplitDetections, detections_path, read_detections
from headstart.records.record import RunRecord, finite
from headstart.records.truth import Truth, read_truth
from headstart.replacing import replacing
from headstart.say import say

AFTER = "rescored"


@dataclass(frozen=True)
class Kept:
    """What is known of the runs without their models."""

    runs: Runs
    truth: Truth
    parts: list[SplitDetections]


def rescore(config: RescoreConfig) -> dict[str, MapResult]:
    """The numbers of each run, and those of the change last. Raises `UserError` where the record does not hold what
    would be needed."""
    kept = _read(config)
    rule = _rule(kept.runs, config.postprocess)
    evaluation = restore("evaluation", next(iter(kept.runs.values())).config["evaluation"])
    names = named(kept.runs)
    results = {name: _score(kept.truth, part, evaluation) for name, part in zip(names, kept.parts, strict=True)}
    truth, parts = with_merged_classes(kept.truth, kept.parts, config.merge_classes)
    results[AFTER] = _score(truth, as_one(parts, rule), evaluation)
    pictures = len(kept.parts[0].measured)
    title = f"{config.split}, {pictures:,} pictures. {AFTER}: {', '.join(_words(config, rule, len(parts)))}"
    for name, folder in names.items():
        say(f"{name}: {folder}")
    say(results_table(results, title))
    if config.out:
        say(f"Written: {_write(config, rule, results)}")
    return results


def named(runs: Runs) -> dict[str, Path]:
    """What a table calls them."""
    return {"as it was" if len(runs) == 1 else f"run {number}": folder for number, folder in enumerate(runs, 1)}


def _rule(runs: Runs, changes: PostprocessConfig) -> Rule:
    """What is done to detections that became one already: by nms once more, which changes nothing, or as is asked."""
    rule = common_rule(runs, changes)
    if len(runs) == 1:
        ((folder, record),) = runs.items()
        for line in _beyond(folder, own_rule(record), rule):
            raise UserError(line)
    if changes.method is None and rule.method is not Method.nms:
        return replace(rule, method=Method.none)
    return rule


def _read(config: RescoreConfig) -> Kept:
    runs = {folder: RunRecord.read(folder / "record.json") for folder in run_folders(config.run)}
    fingerprint = common_target(runs, config.split)
    truth = read_truth(next(iter(runs)), fingerprint)
    parts = [read_detections(folder, config.split) for folder in runs]
    for folder, part in zip(runs, parts, strict=True):
        _check(folder, part, truth, parts[0])
    return Kept(runs, truth, parts)


def _check(folder: Path, part: SplitDetections, truth: Truth, first: SplitDetections) -> None:
    inside = part.measured.max(initial=-1) < len(truth.image_names)
    if not inside or part.labels.max(initial=-1) >= len(truth.class_names):
        raise UserError(
            f"{detections_path(folder)} is not of the pictures in truth/{truth.fingerprint}.npz: run it again."
        )
    if not np.array_equal(part.measured, first.measured):
        raise UserError(f"{folder}: another part of the pictures was measured (trainer.limit_val_batches, or test).")


def _beyond(folder: Path, own: Rule, rule: Rule) -> Iterator[str]:
    """What the record cannot say, for the run has dropped it."""
    asks = f"The model can: headstart evaluate run={folder} postprocess"
    if rule.score_threshold < own.score_threshold:
        yield (
            f"postprocess.score_threshold={rule.score_threshold:g}: {folder} has kept no detection below "
            f"{own.score_threshold:g}. {asks}.score_threshold={rule.score_threshold:g}"
        )
    if rule.max_detections > own.max_detections:
        yield (
            f"postprocess.max_detections={rule.max_detections}: {folder} has kept no more than {own.max_detections} of "
            f"a picture. {asks}.max_detections={rule.max_detections}"
        )
    if rule.method is own.method is Method.nms and rule.iou_threshold > own.iou_threshold:
        yield (
            f"postprocess.iou_threshold={rule.iou_threshold:g}: {folder} has kept no two detections of a class with a "
            f"higher IoU than {own.iou_threshold:g}. {asks}.iou_threshold={rule.iou_threshold:g}"
        )


def _score(truth: Truth, found: SplitDetections, evaluation: EvaluationConfig) -> MapResult:
    return result(truth, found, truth.class_names, evaluation.engine, evaluation.max_detections)


def _words(config: RescoreConfig, rule: Rule, runs: int) -> Iterator[str]:
    if runs > 1:
        yield f"{runs} runs by {rule.across.value}"
    yield from (f"{name}={plain(value)}" for name, value in given(config.postprocess).items())
    yield from (f"{name} as {new}" for name, new in config.merge_classes.items())


def _write(config: RescoreConfig, rule: Rule, results: Mapping[str, MapResult]) -> Path:
    """NaN becomes null, as in a record."""
    path = Path(str(config.out)).expanduser()
    asked: dict[str, Any] = {"split": config.split, "postprocess": plain(rule), "merge_classes": config.merge_classes}
    numbers = {name: one.numbers() for name, one in results.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(finite(asked | {"results": numbers}), indent=1) + "\n")
    return path

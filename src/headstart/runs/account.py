"""What a run's record says of it: from the objects of the run to plain values."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.config.checks_transfer import source_folder
from headstart.config.plain import plain
from headstart.detectors.interface import Detector
from headstart.evaluation.coco_map import MapResult
from headstart.records.environment import environment
from headstart.records.record import RunRecord
from headstart.runs.arithmetic import arithmetic
from headstart.runs.attempt import record_in
from headstart.runs.box_fit import fit
from headstart.runs.experiment import Experiment
from headstart.runs.fit import Fitted
from headstart.runs.parent import TRIALS
from headstart.training.callbacks import FrozenProof
from headstart.transfer.proof import combined, weights_digest


def describe_start(experiment: Experiment) -> RunRecord:
    """What is known before the first step: `dataset`, `load`, `plan`, `lineage`, `cost` and `environment`."""
    info, report, plan = experiment.info, experiment.report, experiment.plan
    load = dataclasses.asdict(report) | {"digest": weights_digest(experiment.weights)}
    del load["kept_rows"]  # kept_classes says the same, without a thousand numbers
    load |= {"code": experiment.detector.code} if experiment.detector.code else {}
    return RunRecord(
        dataset=plain(info) | {"fit": fit(experiment.config, experiment.data.data)},
        load=load,
        plan=[dataclasses.asdict(stage) for stage in plan.stages],
        lineage=[*report.lineage, info.name],
        cost={
            "trained_parameters": plan.trained_parameters,
            "total_parameters": sum(parameter.numel() for parameter in experiment.detector.parameters()),
        },
        environment=environment()
        | arithmetic(experiment.config.trainer, experiment.config.optimizer)
        | experiment.data.resolved()
        | {"feature_store": experiment.store.choice.as_dict()},
    )


def describe_end(record: RunRecord, experiment: Experiment, fitted: Fitted, results: Mapping[str, MapResult]) -> None:
    """What the run found, what it cost, and the proof that what was frozen did not move."""
    parts = experiment.parts
    record.metrics = {split: result.numbers() for split, result in results.items()}
    record.metrics |= {"history": fitted.history.rows, "selection": _selection(experiment, fitted.history.rows)}
    for part in parts:
        record.metrics |= part.record()
    record.cost |= _whole_cost(experiment, fitted)
    _prove(record, experiment.detector, fitted.proof)


def _selection(experiment: Experiment, history: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Among how many candidates the validation images have chosen: epochs, mixtures, trials of a search."""
    name = experiment.config.monitor.name
    chosen = {"epochs": sum(row["epoch"] > 0 and name in row for row in history)}
    chosen["trials"] = int(os.environ.get(TRIALS, 0))
    for part in experiment.parts:
        chosen |= part.selection()
    return {what: count for what, count in chosen.items() if count}


def _whole_cost(experiment: Experiment, fitted: Fitted) -> dict[str, Any]:
    """Of the fit and of all parts that the result needs; what the source cost stands apart."""
    cost: dict[str, Any] = dict(fitted.cost.as_dict())
    measuring = {part.name for part in experiment.parts if part.measures_only}
    spent = {name: spent for name, spent in fitted.spending.as_dict().items() if name not in measuring}
    for name in ("wall_seconds", "cpu_seconds"):
        cost[name] += sum(part[name] for part in spent.values())
    cost |= fitted.sections.as_dict() if fitted.sections else {}
    return cost | {"parts": spent, "source": _cost_of_source(experiment)}


def _cost_of_source(experiment: Experiment) -> dict[str, Any] | None:
    """Of the run that the source is, and of those that it comes of; None where it is none."""
    path = getattr(experiment.config.source, "path", None)
    known = record_in(source_folder(path)) if path else None
    if path is None or known is None:
        return None
    own = known.cost.get("source") or {}
    names = ("wall_seconds", "cpu_seconds")
    return {name: known.cost.get(name, 0.0) + own.get(name, 0.0) for name in names} | {"run": source_folder(path).name}


def _prove(record: RunRecord, detector: Detector, proof: FrozenProof) -> None:
    """By prefix: tensors that had adapters have another name by now. A prefix may be a tensor itself."""
    prefixes = {stage.name: tuple(f"{prefix}." for prefix in stage.prefixes) for stage in detector.stages()}
    for row in record.plan:
        names = [name for name in proof.before if f"{name}.".startswith(prefixes[row["stage"]])]
        row["frozen_tensors"] = len(names)
        row["frozen_digest_before"] = combined({name: proof.before[name] for name in names}) if names else None
        row["frozen_digest_after"] = combined({name: proof.after[name] for name in names}) if names else None


def outcome(record: RunRecord) -> str:
    """In a line, for the user."""
    found = record.metrics.get("val", {})
    shown = {"mAP": found.get("map"), "AP50": found.get("map_50")}
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in shown.items() if isinstance(value, float))
    return f"{numbers or 'no mAP'}, {record.cost.get('wall_seconds', 0):.0f} s"


def final_numbers(record: RunRecord) -> dict[str, float]:
    """For the loggers' summary: the exported weights' metrics, and the cost."""
    found = {
        f"{split}/{name}": value
        for split in ("val", "test")
        for name, value in record.metrics.get(split, {}).items()
        if isinstance(value, float)
    }
    return {f"best/{name}": value for name, value in found.items()} | {
        f"cost/{name}": float(value) for name, value in record.cost.items() if isinstance(value, int | float)
    }

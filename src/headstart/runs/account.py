"""What a run's record says of it: from the objects of the run to plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from headstart.config.schema import TrainerConfig
from headstart.data.types import DatasetInfo
from headstart.detectors.interface import Detector
from headstart.evaluation.coco_map import MapResult
from headstart.records.environment import environment
from headstart.records.record import RunRecord
from headstart.runs.arithmetic import arithmetic
from headstart.training.callbacks import FrozenProof
from headstart.transfer.proof import combined, weights_digest
from headstart.transfer.types import LoadReport, SourceWeights, TransferPlan


def describe_start(
    trainer: TrainerConfig,
    info: DatasetInfo,
    weights: SourceWeights,
    report: LoadReport,
    plan: TransferPlan,
    detector: Detector,
) -> RunRecord:
    """What is known before the first step: `dataset`, `load`, `plan`, `lineage`, `cost` and `environment`."""
    load = dataclasses.asdict(report) | {"digest": weights_digest(weights)}
    del load["kept_rows"]  # kept_classes says the same, without a thousand numbers
    return RunRecord(
        dataset=dataclasses.asdict(info),
        load=load,
        plan=[dataclasses.asdict(stage) for stage in plan.stages],
        lineage=[*report.lineage, info.name],
        cost={
            "trained_parameters": plan.trained_parameters,
            "total_parameters": sum(parameter.numel() for parameter in detector.parameters()),
        },
        environment=environment() | arithmetic(trainer),
    )


def describe_end(
    record: RunRecord,
    results: Mapping[str, MapResult],
    history: list[dict[str, Any]],
    cost: Mapping[str, float],
    proof: FrozenProof,
    detector: Detector,
) -> None:
    """What the run found, what it cost, and the proof that what was frozen did not move."""
    record.metrics = {split: dataclasses.asdict(result) for split, result in results.items()} | {"history": history}
    record.cost |= cost
    prefixes = {stage.name: tuple(f"{prefix}." for prefix in stage.prefixes) for stage in detector.stages()}
    for row in record.plan:
        # By prefix: tensors that had adapters have another name by now. A prefix may be a tensor itself.
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
        f"cost/{name}": float(value) for name, value in record.cost.items()
    }

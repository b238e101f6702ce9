"""WiSE-FT: weights between the source's and the fine-tuned ones (Wortsman et al., CVPR 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from headstart.config.schema import MonitorConfig, NormPolicy, RunConfig, StrategyConfig
from headstart.detectors.interface import Detector
from headstart.evaluation.coco_map import MapResult
from headstart.parts.part import Part, Work
from headstart.parts.recalibration import moving_layers, recalibrate
from headstart.parts.retention import RetentionPart
from headstart.say import say
from headstart.transfer.show import mixture_table
from headstart.transfer.types import LoadReport, TransferPlan


def source_copy(detector: Detector, report: LoadReport) -> dict[str, Tensor]:
    """What `interpolated` needs of the source, on the CPU: to be taken after `apply_source`, before training."""
    filled = {*report.loaded, *report.partial}
    return {
        name: tensor.detach().to("cpu", copy=True)
        for name, tensor in detector.state_dict().items()
        if name in filled and tensor.is_floating_point()
    }


def interpolated(
    source: Mapping[str, Tensor], tuned: Mapping[str, Tensor], report: LoadReport, alpha: float
) -> dict[str, Tensor]:
    """A new state dict: `(1 - alpha) * source + alpha * tuned` for what the source filled, `tuned` for the rest.

    `alpha` is from 0 (the source's values, exactly) to 1 (the tuned ones, exactly). Of the tensors in
    `report.partial` the rows in `report.kept_rows` are mixed; new rows and integer buffers are the tuned ones.
    """
    filled, mixed = {*report.loaded, *report.partial}, {}
    for name, value in tuned.items():
        if name not in filled or not value.is_floating_point():
            mixed[name] = value.detach().clone()
        elif name in report.partial:
            mixed[name] = _mix_rows(source[name], value, report.kept_rows[name], alpha)
        else:
            mixed[name] = _mix(source[name].to(value), value, alpha)
    return mixed


def _mix(source: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    if alpha in (0, 1):  # arithmetic would lose the sign of a zero
        return (tuned if alpha else source).detach().clone()
    return torch.lerp(source, tuned.detach(), alpha)


def _mix_rows(source: Tensor, tuned: Tensor, rows: tuple[int, ...], alpha: float) -> Tensor:
    index = list(rows)
    mixed = tuned.detach().clone()
    mixed[index] = _mix(source.to(tuned)[index], tuned[index], alpha)
    return mixed


# --------------------------------------------------------------------------------- the part of a strategy


def keep_best_mixture(
    detector: Detector,
    mixture: Callable[[float], Mapping[str, Tensor]],
    alphas: Sequence[float],
    measure: Callable[[], MapResult],
    measure_source: Callable[[], float] | None,
    monitor: MonitorConfig,
) -> list[dict[str, float]]:
    """Leaves the detector with the best of the mixtures, of equal ones that nearest to the source; the whole curve.

    `mixture` gives the weights of a share. A row is `alpha` (0: the source, 1: the fine-tuned weights), `map` and the
    monitored metric on the target's validation images, and, where `measure_source` is given, `source_map` on the
    source's.
    """
    key = monitor.name.removeprefix("val/")
    sign = 1.0 if monitor.mode == "max" else -1.0
    rows: list[dict[str, float]] = []
    best, best_row, kept = -math.inf, {}, {}
    for alpha in sorted(set(alphas)):
        weights = mixture(alpha)
        detector.load_state_dict(weights)
        found = measure()
        row = {"alpha": alpha, "map": found.map, key: found.scalars()[key]}
        if measure_source is not None:
            row["source_map"] = measure_source()
        value = -math.inf if math.isnan(row[key]) else sign * row[key]
        if not rows or value > best:
            best, best_row, kept = value, row, weights
        rows.append(row)
    for row in rows:
        row["kept"] = row is best_row
    detector.load_state_dict(kept)
    return rows


class InterpolationPart(Part):
    name = "interpolation"

    def __init__(self, strategy: StrategyConfig) -> None:
        self.strategy = strategy
        self.rows: list[dict[str, float]] = []

    def refusals(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
        wrong = [alpha for alpha in self.strategy.interpolate if not 0 <= alpha <= 1]
        if wrong:
            yield f"strategy.interpolate={wrong[0]:g} is a share of the fine-tuned weights: 0 to 1"
        if self.strategy.norm is NormPolicy.recalibrate:
            yield (
                "strategy.norm=recalibrate and strategy.interpolate do not go together: the source's weights do not "
                "fit the target's statistics. Use strategy.norm=affine_only, or remove interpolate"
            )
        known = {*report.loaded, *report.partial}
        if not any(name in known for group in plan.groups for name in group.parameters):
            yield (
                f"strategy.interpolate has no effect with strategy.freeze_through={self.strategy.freeze_through}: "
                f"nothing that {report.source} fills is trained. Freeze less, or remove interpolate"
            )

    def equip(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> TransferPlan:
        self.source = source_copy(detector, report)
        return plan

    def after_fit(self, work: Work) -> None:
        tuned = {name: tensor.detach().clone() for name, tensor in work.detector.state_dict().items()}
        kept = next((part for part in work.parts if isinstance(part, RetentionPart)), None)
        self.rows = keep_best_mixture(
            work.detector,
            lambda alpha: self._mixture(work, tuned, alpha),
            self.strategy.interpolate,
            work.measure,
            (lambda: kept.map_of(work)) if kept is not None else None,
            work.monitor,
        )
        say(mixture_table(self.rows))

    def _mixture(self, work: Work, tuned: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
        """Where BatchNorm has moved its statistics, those between the two ends fit the mixture no more than either
        end's: they are estimated anew (Wortsman et al. 2022, after Izmailov et al., UAI 2018)."""
        mixed = interpolated(self.source, tuned, work.report, alpha)
        layers = moving_layers(work.detector, work.plan) if 0 < alpha < 1 else []
        if layers:
            work.detector.load_state_dict(mixed)
            recalibrate(work.detector.to(work.device), work.training_batches(), layers)
            mixed = {name: tensor.detach().clone() for name, tensor in work.detector.state_dict().items()}
        return mixed

    def record(self) -> dict[str, Any]:
        return {"interpolation": self.rows}

    def selection(self) -> dict[str, int]:
        return {"mixtures": len(self.rows)}


def interpolation(config: RunConfig) -> Part | None:
    return InterpolationPart(config.strategy) if config.strategy.interpolate else None

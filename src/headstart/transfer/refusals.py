"""Strategies that cannot be obeyed with this detector and this source, or of which a part would have no effect."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.config.checks_transfer import parts_that_need_a_source
from headstart.config.schema import StrategyConfig
from headstart.detectors.interface import Detector
from headstart.errors import UserError
from headstart.transfer.norm import norm_layers, statistics
from headstart.transfer.types import LoadReport, TransferPlan


def refuse(config: StrategyConfig, detector: Detector, report: LoadReport, plan: TransferPlan) -> None:
    """Raises `UserError` with the first reason there is."""
    for reasons in (
        _scratch,
        _nothing_trains,
        _rates,
        _norm,
        _thaw,
        _few_shot,
    ):
        for reason in reasons(config, detector, report, plan):
            raise UserError(reason)


def _scratch(config: StrategyConfig, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
    for part in parts_that_need_a_source(config) if report.source == "scratch" else ():
        yield (
            f"source=scratch and strategy={config.name} do not go together: strategy.{part} needs weights of a "
            "source. Choose another source, or strategy=full"
        )


def _nothing_trains(
    config: StrategyConfig, detector: Detector, report: LoadReport, plan: TransferPlan
) -> Iterator[str]:
    if not plan.groups and config.adapters is None:
        yield (
            f"strategy.freeze_through={config.freeze_through} leaves nothing to train: the source fills every tensor. "
            f"Name an earlier stage of {_stages(detector)}"
        )


def _rates(config: StrategyConfig, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
    training = {group.name.partition("/")[0] for group in plan.groups}
    for stage in config.lr_factors:
        if stage not in training and config.adapters is None:
            yield (
                f"strategy.lr_factors.{stage} has no effect: strategy.freeze_through={config.freeze_through} freezes "
                f"{stage}. Remove one of the two (stages: {_stages(detector)})"
            )
    if config.lr_decay is not None and not training - {"neck", "head"} and config.adapters is None:
        yield (
            f"strategy.lr_decay={config.lr_decay} has no effect: strategy.freeze_through={config.freeze_through} "
            "freezes every stage of the backbone. Remove one of the two"
        )


def _norm(config: StrategyConfig, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
    for name, module in norm_layers(detector).items():
        moves = not all(statistics(name, module) <= phase.frozen for phase in plan.phases)
        if moves and getattr(module, "eps", None) == 0:
            yield (
                f"strategy.norm={config.norm.value} cannot be used here: the source's normalisation layers have "
                f"epsilon 0 ({name}), with which batch statistics cannot be trained. "
                "Use strategy.norm=affine_only or frozen"
            )


def _thaw(config: StrategyConfig, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
    if config.thaw and config.freeze_through is None:
        kinds = ",".join(kind.value for kind in config.thaw)
        yield (
            f"strategy.thaw=[{kinds}] has no effect with strategy.freeze_through=null, which freezes nothing: set "
            "freeze_through=neck or head, or remove thaw"
        )


def _few_shot(config: StrategyConfig, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
    if config.few_shot and not report.kept_classes:
        yield (
            f"strategy={config.name} needs a source that knows some of the target's classes (its base classes), but "
            f"source={report.source} knows none of {', '.join(detector.class_names)}: train the base classes first and "
            "use source=checkpoint, name the same classes with source.aliases, or use strategy=head_only"
        )


def _stages(detector: Detector) -> str:
    return ", ".join(stage.name for stage in detector.stages())

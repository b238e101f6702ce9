"""When a strategy changes what is frozen: from shares of the training to whole epochs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headstart.config.schema import GradualConfig, StrategyConfig
from headstart.errors import UserError


@dataclass(frozen=True)
class PhaseStart:
    """A phase as configured, at its epoch."""

    name: str
    start_epoch: int
    freeze_through: str | None
    lr_factor: float = 1.0
    passed_over: tuple[str, ...] = ()
    """Earlier phases, which would begin in the same epoch."""


def phase_starts(config: StrategyConfig, frozen_stages: list[str], epochs: int | None) -> list[PhaseStart]:
    """By epoch, the first at 0; of several that begin in one epoch the last.

    `frozen_stages` are the stages that `freeze_through` freezes in fact, from the input. Raises `UserError` for
    a beginning that is outside the `epochs` of the training, where they are not known, and where one phase alone is
    left: that is another strategy.
    """
    phases = [PhaseStart(config.name, 0, config.freeze_through)]
    if config.gradual is not None or config.phases:
        phases += _later(config, frozen_stages, _known(config, epochs))
    starts = _one_an_epoch(phases)
    if len(starts) < min(2, len(phases)):
        raise UserError(
            f"strategy={config.name} with trainer.max_epochs={epochs}: all its phases begin in the first epoch, and "
            f"only the last of them ({starts[0].name}) would run. Set trainer.max_epochs higher, or use strategy=full"
        )
    return starts


def _one_an_epoch(phases: list[PhaseStart]) -> list[PhaseStart]:
    by_epoch: dict[int, PhaseStart] = {}
    for phase in sorted(phases, key=lambda phase: phase.start_epoch):
        earlier = by_epoch.get(phase.start_epoch)
        passed_over = (*earlier.passed_over, earlier.name) if earlier else ()
        by_epoch[phase.start_epoch] = replace(phase, passed_over=passed_over)
    return list(by_epoch.values())


def _known(config: StrategyConfig, epochs: int | None) -> int:
    if epochs is None:
        raise UserError(
            f"trainer.max_epochs=null does not go with strategy={config.name}, whose phases are counted in epochs: "
            "set trainer.max_epochs"
        )
    return epochs


def _later(config: StrategyConfig, frozen_stages: list[str], epochs: int) -> list[PhaseStart]:
    if config.gradual is not None and config.phases:
        raise UserError(
            f"strategy.gradual and strategy.phases={list(config.phases)} both say when stages open: set one of the two"
        )
    if config.gradual is not None:
        return _openings(config, config.gradual, frozen_stages, epochs)
    return [
        PhaseStart(
            name, epoch_of(f"strategy.phases.{name}.start", phase.start, epochs), phase.freeze_through, phase.lr_factor
        )
        for name, phase in config.phases.items()
    ]


def _openings(
    config: StrategyConfig, gradual: GradualConfig, frozen_stages: list[str], epochs: int
) -> list[PhaseStart]:
    if not frozen_stages:
        raise UserError(
            f"strategy.gradual has nothing to open: strategy.freeze_through={config.freeze_through} freezes no stage "
            "that the source fills. Set freeze_through=neck, or remove strategy.gradual"
        )
    first = epoch_of("strategy.gradual.first", gradual.first, epochs)
    last = epoch_of("strategy.gradual.last", gradual.last, epochs)
    if last < first:
        raise UserError(f"strategy.gradual.last={gradual.last} is before strategy.gradual.first={gradual.first}")
    steps = max(1, len(frozen_stages) - 1)
    opened = list(reversed(frozen_stages))
    return [
        PhaseStart(
            f"open {stage}",
            first + (last - first) * number // steps,
            opened[number + 1] if number + 1 < len(opened) else None,
        )
        for number, stage in enumerate(opened)
    ]


def epoch_of(setting: str, start: float, epochs: int) -> int:
    """Whole epochs before `start`: a share of them below 1, a number of them from 1."""
    epoch = int(start * epochs) if start < 1 else int(start)
    if start < 0 or (start >= 1 and (epoch != start or epoch >= epochs)):
        raise UserError(
            f"{setting}={start:g} must be a share of the training, 0 or more and below 1, or a whole number of epochs "
            f"before the last of trainer.max_epochs={epochs}"
        )
    return epoch

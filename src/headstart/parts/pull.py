"""L2-SP: a pull of trained tensors towards the source (Li et al., ICML 2018), decoupled from the gradient.

As AdamW does with weight decay, the pull is a step of its own after the optimizer's: `w <- w - lr * alpha * (w - w0)`.
In the gradient, as in the paper, Adam would divide it by the size of the gradients.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from headstart.config.schema import PullConfig, RunConfig
from headstart.detectors.interface import Detector
from headstart.parts.part import Part
from headstart.training.average import foreach
from headstart.transfer.types import LoadReport, TransferPlan


class Pull:
    """Keeps the source's values of trained parameters, and takes the parameters towards them after each step.

    Make it while the detector holds the source's values: after `apply_source`, before training and before a
    checkpoint is restored. `names` are parameters in `report.loaded` or `report.partial`; of the latter only the rows
    that the source filled are pulled. `strength` is the paper's alpha, per unit of learning rate.
    """

    def __init__(self, detector: Detector, report: LoadReport, names: Collection[str], strength: float) -> None:
        unknown = set(names) - {*report.loaded, *report.partial}
        assert not unknown, f"the source has no values for {sorted(unknown)}"
        parameters = dict(detector.named_parameters())
        self.strength = strength
        self._references = {
            parameters[name]: _Reference(parameters[name], report.kept_rows[name] if name in report.partial else None)
            for name in names
        }

    def attach(self, optimizer: Optimizer) -> None:
        """After each step of `optimizer`, pulls what it trains, with the rate that the step had."""
        optimizer.register_step_post_hook(self._after_step)

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if _skipped(optimizer):
            return
        for group in optimizer.param_groups:
            share = float(group["lr"]) * self.strength
            found = [p for p in group["params"] if p.requires_grad and p in self._references]
            whole = [parameter for parameter in found if self._references[parameter].rows is None]
            if whole:
                foreach._foreach_lerp_(whole, [self._references[p].beside(p) for p in whole], share)
            for parameter in found:
                self._references[parameter].pull_rows(parameter, share)


class _Reference:
    """The source's values of one parameter, or of some of its rows. They follow the parameter to its device."""

    def __init__(self, parameter: nn.Parameter, rows: tuple[int, ...] | None) -> None:
        self.rows = None if rows is None else torch.tensor(rows, dtype=torch.int64, device=parameter.device)
        self.values = self._of(parameter).detach().clone()

    def _of(self, parameter: Tensor) -> Tensor:
        return parameter if self.rows is None else parameter.index_select(0, self.rows)

    def beside(self, parameter: Tensor) -> Tensor:
        self.values = self.values.to(parameter)
        return self.values

    def pull_rows(self, parameter: Tensor, share: float) -> None:
        """Takes `share` of the way to the source, in place."""
        if self.rows is not None:
            self.rows = self.rows.to(parameter.device)
            parameter.index_copy_(0, self.rows, self._of(parameter).lerp(self.beside(parameter), share))


def _skipped(optimizer: Optimizer) -> bool:
    """Whether a GradScaler found infinite gradients: fused optimizers are then called all the same, and do nothing."""
    found_inf = getattr(optimizer, "found_inf", None)
    return found_inf is not None and bool(found_inf)


class PullPart(Part):
    name = "pull"

    def __init__(self, config: PullConfig, freeze_through: str | None) -> None:
        self.config = config
        self.freeze_through = freeze_through

    def refusals(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
        if self.config.strength <= 0:
            yield f"strategy.pull.strength={self.config.strength} must be above 0, or strategy.pull null"
        if not plan.pulled:
            yield (
                f"strategy.pull.strength={self.config.strength} has no effect with strategy.freeze_through="
                f"{self.freeze_through}: nothing that {report.source} fills is trained. Freeze less, or remove pull"
            )

    def equip(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> TransferPlan:
        self.pull = Pull(detector, report, plan.pulled, self.config.strength)
        return plan

    def attach(self, optimizer: Optimizer) -> None:
        self.pull.attach(optimizer)


def pull(config: RunConfig) -> Part | None:
    strategy = config.strategy
    return None if strategy.pull is None else PullPart(strategy.pull, strategy.freeze_through)

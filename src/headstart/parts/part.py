"""The one shape of a strategy's parts: what each does, and when in the life of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from headstart.config.schema import MonitorConfig
from headstart.data.batch import Batch
from headstart.detectors.interface import Detector, Features
from headstart.evaluation.coco_map import MapResult
from headstart.evaluation.spending import Spending
from headstart.transfer.types import LoadReport, TransferPlan


@dataclass(frozen=True)
class Work:
    """What a part may use of the run around it, before and after the fit."""

    detector: Detector
    report: LoadReport
    plan: TransferPlan
    parts: Sequence[Part]
    monitor: MonitorConfig
    device: torch.device
    """That the run trains on."""
    training_batches: Callable[[], Iterator[Batch]]
    """Training images as they are, for statistics."""
    measure: Callable[[], MapResult]
    """mAP of the detector as it is, over the whole validation set; moves nothing in it."""
    spending: Spending


class Part:
    """Over the life of a run; what a part has nothing to do in, it leaves as it is here.

    The methods stand in the order in which they are called. Parts are equipped in the order of `parts/table.py` and
    concluded in the reverse one: what was put on the network last comes off first.
    """

    name: str
    """In the record: of what it found and of what it cost."""
    measures_only = False
    """It finds more and changes nothing: what it costs is no cost of the run."""
    needs_features = False
    """`losses` reads the feature maps."""

    def shape(self, detector: Detector) -> None:
        """Changes the network before the source is loaded."""

    def refusals(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
        """Why it cannot be obeyed here, or would have no effect; the source is loaded."""
        yield from ()

    def equip(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> TransferPlan:
        """Takes what it needs of the source, which the detector holds now, and gives the plan with its changes."""
        return plan

    def attach(self, optimizer: Optimizer) -> None:
        """Called once the optimizer is made."""

    def before_fit(self, work: Work) -> None:
        """Once in a run's life: not where a run is gone on with."""

    def losses(self, detector: Detector, batch: Batch, features: Features | None) -> dict[str, Tensor]:
        """Of a training step, to be summed with the detector's own; `features` are those of `batch`."""
        return {}

    def after_fit(self, work: Work) -> None:
        """The detector holds the weights of the best epoch; it leaves it with those that are measured and exported."""

    def record(self) -> dict[str, Any]:
        """What it found, for the record's `metrics`."""
        return {}

    def selection(self) -> dict[str, int]:
        """Among how many of what it has chosen by the validation images, where it has chosen."""
        return {}

"""Every part that a strategy can have. A new one is a module beside this and a line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headstart.config.schema import RunConfig
from headstart.detectors.interface import Detector
from headstart.errors import UserError
from headstart.parts.adapters import adapters
from headstart.parts.cosine_head import cosine_head
from headstart.parts.distillation import distillation
from headstart.parts.interpolation import interpolation
from headstart.parts.part import Part
from headstart.parts.pull import pull
from headstart.parts.recalibration import recalibration
from headstart.parts.retention import retention
from headstart.transfer.types import LoadReport, TransferPlan

PARTS: tuple[Callable[[RunConfig], Part | None], ...] = (
    retention,  # last of all: of what is exported
    cosine_head,
    interpolation,  # of plain weights: before adapters come, and after they are merged
    distillation,
    pull,
    recalibration,
    adapters,
)
"""In the order in which they are equipped; each gives its part where the configuration asks for it."""


def parts_of(config: RunConfig) -> list[Part]:
    """Raises `UserError` for what can be told to be wrong from the configuration and its files."""
    return [part for ask in PARTS if (part := ask(config)) is not None]


def equip_all(parts: Sequence[Part], detector: Detector, report: LoadReport, plan: TransferPlan) -> TransferPlan:
    """The plan with all parts in it, and they in the detector. Raises `UserError` with the first reason against one."""
    for part in parts:
        for reason in part.refusals(detector, report, plan):
            raise UserError(reason)
    for part in parts:
        plan = part.equip(detector, report, plan)
    return plan

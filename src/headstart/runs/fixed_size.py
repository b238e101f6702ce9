"""Networks that take pictures of one size alone."""

from __future__ import annotations

from headstart.config.schema import RunConfig
from headstart.data.canvases import Canvases
from headstart.detectors.interface import Detector
from headstart.errors import UserError


def refuse_other_canvases(config: RunConfig, detector: Detector, canvases: Canvases) -> None:
    """Raises `UserError` with the size that the network takes, where a batch would have another."""
    side = detector.only_side
    if side is None or set(canvases.sides_hw) == {(side, side)}:
        return
    network = f"backbone={config.backbone.name} ({config.backbone.architecture})"
    if side % detector.size_divisible:
        raise UserError(
            f"{network} takes pictures of {side} x {side} pixels alone, and model={config.model.architecture.value} "
            f"pads to multiples of {detector.size_divisible}: choose another backbone"
        )
    raise UserError(
        f"{network} takes pictures of {side} x {side} pixels alone, and batches have {canvases}: use "
        f"dataset.resize=stretch dataset.min_size={side} dataset.max_size={side}, or another backbone"
    )

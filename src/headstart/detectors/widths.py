"""How wide a pyramid and the heads on it can be, and how they begin where they are not as wide as in the papers."""

from __future__ import annotations

import torch
from torch import nn

from headstart.errors import UserError

PAPERS_WIDTH = 256
"""Channels of the pyramid and the heads in the papers, for which torchvision draws weights from N(0, 0.01)."""


def keep_gain(layers: nn.Module) -> None:
    """Scales the 3x3 convolutions of `layers` so that they pass on as much of a signal as 256 channels would.

    With N(0, 0.01) for any width, four convolutions of 64 channels leave a sixteenth of what 256 channels leave: the
    heads then need most of a short training to wake up. Nothing changes at 256 channels.
    """
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            with torch.no_grad():
                layer.weight.mul_((PAPERS_WIDTH / layer.in_channels) ** 0.5)


NORM_GROUPS = 32
"""Of the group normalisation in torchvision's heads of FCOS and of RetinaNet v2."""


def refuse_width(width: int, detector: str) -> None:
    """Raises `UserError` where those groups cannot be made, or have one channel: a map of one cell then has none to
    normalise over."""
    if width % NORM_GROUPS or width <= NORM_GROUPS:
        raise UserError(
            f"backbone.neck_channels={width} does not go with {detector}, whose heads normalise {NORM_GROUPS} groups "
            f"of channels: use a multiple of {NORM_GROUPS}, {2 * NORM_GROUPS} or more"
        )

"""What the sizes of D-FINE and RT-DETR are made of, as their authors published them, and what cannot be made.

D-FINE: Peng et al., ICLR 2025; RT-DETR: Zhao et al., CVPR 2024. Imports no torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from headstart.config.schema import DFineSize, ModelConfig, QueryConfig, RTDetrSize

HEADS = 8
"""Of every attention; the position of a cell needs multiples of four channels, too."""
INSTALL = "pip install 'headstart[detr]'"


@dataclass(frozen=True)
class Widths:
    """Of one network."""

    neck: int = 256
    """Channels of the hybrid encoder …"""
    neck_inner: int = 1024
    """… and between the two layers of its attention's MLP."""
    expansion: float = 1.0
    """Of the channels in the neck's convolutional blocks."""
    depth: float = 1.0
    """Of the number of those blocks; D-FINE's alone."""
    decoder: int = 256
    decoder_inner: int = 1024
    layers: int = 6
    """Of the decoder."""
    points: tuple[int, ...] = (4, 4, 4)
    """Where a query looks at each map, for each head of the attention."""
    strides: tuple[int, ...] = (8, 16, 32)
    reg_scale: float = 4.0
    """How fine D-FINE's steps are near no change at all."""


SIZES: dict[Any, Widths] = {
    DFineSize.nano: Widths(128, 512, 0.34, 0.5, 128, 512, 3, (6, 6), (16, 32)),
    DFineSize.small: Widths(expansion=0.5, depth=0.34, layers=3, points=(3, 6, 3)),
    DFineSize.medium: Widths(depth=0.67, layers=4, points=(3, 6, 3)),
    DFineSize.large: Widths(points=(3, 6, 3)),
    DFineSize.xlarge: Widths(384, 2048, points=(3, 6, 3), reg_scale=8.0),
    RTDetrSize.r18: Widths(expansion=0.5, layers=3),
    RTDetrSize.r34: Widths(expansion=0.5, layers=4),
    RTDetrSize.r50m: Widths(expansion=0.5),
    RTDetrSize.r50: Widths(),
    RTDetrSize.r101: Widths(384, 2048),
}


def widths_of(config: Any) -> Widths:
    """Those of the size, with the user's own on top."""
    found = SIZES[config.size]
    if config.hidden is not None:
        wide = config.hidden
        found = replace(found, neck=wide, neck_inner=4 * wide, decoder=wide, decoder_inner=4 * wide)
    return found if config.layers is None else replace(found, layers=config.layers)


def installed() -> bool:
    """Whether transformers is, without importing it."""
    return importlib.util.find_spec("transformers") is not None


def not_installed(model: ModelConfig) -> str:
    return f"model={model.architecture.value} is built with transformers, which is not installed: {INSTALL}"


def query_problems(model: ModelConfig) -> Iterator[str]:
    """A line each; nothing of a detector without queries."""
    if not isinstance(model, QueryConfig):
        return
    if not installed():
        yield not_installed(model)
    if model.hidden is not None and (model.hidden < HEADS or model.hidden % HEADS):
        yield f"model.hidden={model.hidden} must be a multiple of {HEADS}, the heads of every attention, or null."
    for name, least in (("layers", 1), ("queries", 1), ("denoising", 0)):
        value = getattr(model, name)
        if value is not None and value < least:
            yield f"model.{name}={value} must be {least} or more."

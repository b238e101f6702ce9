"""A cosine head (TFA, Wang et al., ICML 2020), as part of a strategy."""

from __future__ import annotations

from headstart.config.schema import RunConfig
from headstart.detectors.cosine import use_cosine_head
from headstart.detectors.interface import Detector
from headstart.parts.part import Part


class CosineHeadPart(Part):
    name = "cosine_head"

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def shape(self, detector: Detector) -> None:
        use_cosine_head(detector, self.scale)


def cosine_head(config: RunConfig) -> Part | None:
    scale = config.strategy.cosine_scale
    return None if scale is None else CosineHeadPart(scale)

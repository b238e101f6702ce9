"""A body with a pyramid over its maps: which one, and what attends to the maps before they are fused."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from headstart.config.schema import Neck, PyramidConfig
from headstart.detectors.attention import attending
from headstart.detectors.backbones import Body
from headstart.detectors.bifpn import BiFpn
from headstart.detectors.pan import PathAggregation

NECKS: dict[Neck, Callable[[list[int], int, ExtraFPNBlock, Any], FeaturePyramidNetwork]] = {
    Neck.fpn: FeaturePyramidNetwork,
    Neck.pan: PathAggregation,
    Neck.bifpn: BiFpn,
}


class FpnBackbone(nn.Module):
    """A body with a feature pyramid (Lin et al., CVPR 2017), or one of the `NECKS` that came after it; named as
    torchvision's `BackboneWithFPN`, `fpn` whichever it is.

    Attention is between body and neck, and of the neck's stage: there a map's channels are still what the source's
    body says, each map has its own, P6 and P7 see it as well, and a frozen body stays one whose maps can be stored.
    """

    def __init__(self, config: PyramidConfig, body: Body, width: int, extra: ExtraFPNBlock, norm: Any = None) -> None:
        super().__init__()
        self.body = body.module
        self.scales = body.pyramid or nn.Identity()
        self.attention = attending(config.attention, body.channels)
        self.fpn = NECKS[config.neck](list(body.channels), width, extra, norm)
        self.out_channels = width

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(self.attention(self.scales(self.body(images))))

    def optional(self) -> Sequence[str]:
        """Prefixes of what a source with another neck, or without attention, does not have."""
        return ["attention", *(f"fpn.{name}" for name in getattr(self.fpn, "added", ()))]

    def replaced(self) -> Sequence[str]:
        """Prefixes of what a source with torchvision's neck has besides."""
        return [f"fpn.{name}" for name in getattr(self.fpn, "replaced", ())]

"""SSD as TensorFlow's object detection API has it, on MobileNetV2: `ssd_mobilenet_v2_coco` (Huang et al., CVPR 2017).

What differs from torchvision's: the first map is taken inside of a block, where it is widest; pictures of 300 x 300;
padding is TensorFlow's; scores are sigmoids, one by one; the background has a row that is trained and not read.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import timm
import torch
from timm.layers.create_conv2d import create_conv2d
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSDHead

from headstart.config.schema import BackboneConfig, SSDConfig
from headstart.detectors.backbones import TENSORFLOW, TF_NORM_EPS, Body, library_names, tensor_names
from headstart.detectors.interface import ClassAxis, Stage
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.ssd import MultiBoxDetector
from headstart.errors import UserError

NETWORK = "mobilenetv2_100"
"""timm's name of the only network that it is defined on."""
SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
"""Sides of the default boxes of each map relative to the picture; the last one is for the geometric mean alone."""
FIRST_MAP = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))
"""(scale, width / height) of the finest map's boxes."""
RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)
"""width / height of the others' boxes; a further square one of the mean scale comes last."""
EXTRA = ((256, 512), (128, 256), (128, 256), (64, 128))
"""(inner width, width) of the maps behind the body's."""


class TfBoxes(DefaultBoxGenerator):
    """The boxes in TensorFlow's order, and not cut at the picture's size."""

    def __init__(self) -> None:
        super().__init__([[2]] + [[2, 3]] * 5, scales=list(SCALES), clip=False)

    def _generate_wh_pairs(self, num_outputs: int, *types: Any, **options: Any) -> list[Tensor]:
        levels = [list(FIRST_MAP)]
        for scale, following in pairwise(SCALES[1:]):
            levels.append([*((scale, ratio) for ratio in RATIOS), (math.sqrt(scale * following), 1.0)])
        pairs = [[(scale * ratio**0.5, scale / ratio**0.5) for scale, ratio in level] for level in levels]
        return [torch.tensor(level) for level in pairs]

    def num_anchors_per_location(self) -> list[int]:
        return [len(level) for level in self._wh_pairs]


class TfMobileNetV2(nn.Module):
    """timm's network; gives the expansion of its first block of stride 32, which is the finest map, and its last."""

    def __init__(self) -> None:
        super().__init__()
        network: Any = timm.create_model(NETWORK, pretrained=False, **TENSORFLOW)
        self.names = tensor_names(network)
        self.conv_stem, self.bn1, self.blocks = network.conv_stem, network.bn1, network.blocks
        self.conv_head, self.bn2 = network.conv_head, network.bn2

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        found = self.blocks[:5](self.bn1(self.conv_stem(images)))
        block = self.blocks[5][0]
        wide = block.bn1(block.conv_pw(found))
        found = block.bn3(block.conv_pwl(block.bn2(block.conv_dw(wide))))
        last = self.bn2(self.conv_head(self.blocks[6](self.blocks[5][1:](found))))
        return OrderedDict((("0", wide), ("1", last)))


def _body() -> Body:
    module = TfMobileNetV2()
    names = library_names(module, module.names)
    del module.names
    inner = ("conv_dw", "bn2", "conv_pwl", "bn3")
    return Body(
        module,
        (576, 1280),
        (
            Stage("stem", ("conv_stem", "bn1")),
            Stage("stage1", ("blocks.0",)),
            Stage("stage2", ("blocks.1",)),
            Stage("stage3", ("blocks.2",)),
            Stage("stage4", ("blocks.3", "blocks.4", "blocks.5.0.conv_pw", "blocks.5.0.bn1")),
            Stage(
                "stage5",
                (
                    *(f"blocks.5.0.{layer}" for layer in inner),
                    "blocks.5.1",
                    "blocks.5.2",
                    "blocks.6",
                    "conv_head",
                    "bn2",
                ),
            ),
        ),
        names,
    )


def _extra(channels: int, inner: int, width: int) -> nn.Sequential:
    """A map half as fine: 1 x 1, then 3 x 3 of each channel alone, then 1 x 1."""

    def layer(out: int, into: int, size: int, **options: Any) -> list[nn.Module]:
        conv = create_conv2d(into, out, size, padding="same", **options)
        return [conv, nn.BatchNorm2d(out, eps=TF_NORM_EPS), nn.ReLU6()]

    depthwise = layer(inner, inner, 3, stride=2, depthwise=True)
    return nn.Sequential(*layer(inner, channels, 1), *depthwise, *layer(width, inner, 1))


class TfBackbone(nn.Module):
    """The body's two maps and four further ones."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body.module
        widths = (body.channels[-1], *(width for _, width in EXTRA))
        self.extra = nn.ModuleList(_extra(widths[i], *EXTRA[i]) for i in range(len(EXTRA)))

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = list(self.body(images).values())
        for block in self.extra:
            maps.append(block(maps[-1]))
        return OrderedDict((str(i), level) for i, level in enumerate(maps))


class TfSSDDetector(MultiBoxDetector):
    """`model.variant=tf`."""

    min_canvas = 288
    candidates = 100

    def __init__(self, config: SSDConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        if backbone.architecture != NETWORK or not backbone.tensorflow:
            raise UserError(
                f"model.variant=tf does not go with backbone={backbone.name}: TensorFlow's SSD is defined on "
                "backbone=mobilenetv2_100. For other backbones use model=ssd."
            )
        body, boxes = _body(), TfBoxes()
        channels = [*body.channels, *(width for _, width in EXTRA)]
        head = SSDHead(channels, boxes.num_anchors_per_location(), len(class_names) + 1)
        self._set_up_ssd(config, TfBackbone(body), head, boxes, len(class_names))
        self._set_up(config, body, class_names, default_preprocessing(backbone))

    def class_axes(self) -> list[ClassAxis]:
        return self._class_axes("{}")

    def predictors(self) -> tuple[str, ...]:
        return ("head.classification_head.module_list", "head.regression_head.module_list")

    def _surprise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of each class by itself, the background's too."""
        wanted = (labels[..., None] == torch.arange(logits.shape[-1], device=labels.device)).to(logits)
        return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(-1)

    def _mined(self, surprise: Tensor, found: Tensor) -> Tensor:
        return super()._mined(surprise, found) & ~found

    def _scores(self, outputs: dict[str, Tensor]) -> Tensor:
        return outputs["cls_logits"].sigmoid()[..., self.background :]

"""SSDlite (Sandler et al., CVPR 2018; Howard et al., ICCV 2019): SSD with depthwise separable convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead, _normal_init

from headstart.config.schema import BackboneConfig, BackboneLibrary, SSDLiteConfig
from headstart.detectors.backbones import Body, build_body, classifier, library_names, tensor_names
from headstart.detectors.interface import ClassAxis, Stage
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.ssd import EXTRA_CHANNELS, SCALES, ExtendedBackbone, MultiBoxDetector

NORM = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
"""torchvision's, in all of SSDlite."""
RATIOS = [[2, 3]] * 6
"""Of the default boxes of each map."""
C4 = 13
"""Layer of MobileNetV3-Large whose expansion is the first map."""
MAP_CHANNELS = (672, 480, 512, 256, 256, 128)


class SSDLiteDetector(MultiBoxDetector):
    """On torchvision's MobileNetV3-Large it is SSDlite320; on other backbones C3 to C5 and three further maps."""

    candidates = 300

    def __init__(self, config: SSDLiteConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        mobilenet = backbone.library is BackboneLibrary.torchvision and backbone.architecture == "mobilenet_v3_large"
        body = _mobilenet_body(config.reduced_tail) if mobilenet else build_body(backbone, (8, 16, 32))
        network = body.module if mobilenet else ExtendedBackbone(body, NORM)
        scales = None if mobilenet else SCALES
        boxes = DefaultBoxGenerator(RATIOS, min_ratio=0.2, max_ratio=0.95, scales=scales)
        channels = body.channels if mobilenet else (*body.channels, *EXTRA_CHANNELS)
        head = SSDLiteHead(list(channels), boxes.num_anchors_per_location(), len(class_names) + 1, NORM)
        self._set_up_ssd(config, network, head, boxes, len(class_names))
        if mobilenet:
            self.body_prefix = "backbone"
            self.body_outputs = ("backbone.features.0", "backbone.features.1")
            self.min_canvas = 1
        self._set_up(config, body, class_names, default_preprocessing(backbone))

    def class_axes(self) -> list[ClassAxis]:
        return self._class_axes("{}.1")

    def predictors(self) -> tuple[str, ...]:
        maps = range(len(RATIOS))
        return tuple(f"head.{part}_head.module_list.{i}.1" for part in ("classification", "regression") for i in maps)


def _mobilenet_body(reduced_tail: bool) -> Body:
    """torchvision's `SSDLiteFeatureExtractorMobileNet`, initialised as torchvision does from scratch."""
    model = classifier("mobilenet_v3_large", norm_layer=NORM, reduced_tail=reduced_tail)
    names = tensor_names(model)
    _normal_init(model)
    module = SSDLiteFeatureExtractorMobileNet(model.get_submodule("features"), C4, NORM)
    firsts = (0, 2, 4, 7, C4)
    stages = [
        Stage("stem" if i == 0 else f"stage{i}", tuple(f"features.0.{k}" for k in range(firsts[i], firsts[i + 1])))
        for i in range(4)
    ]
    stages.append(Stage("stage4", (f"features.0.{C4}", "features.1")))
    channels = (672, 480 if reduced_tail else 960, *MAP_CHANNELS[2:])
    return Body(module, channels, tuple(stages), library_names(module, names))

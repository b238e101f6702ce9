"""SSD (Liu et al., ECCV 2016): SSD300 on VGG16 as torchvision has it, and the same head on any other backbone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD, SSDFeatureExtractorVGG, SSDHead
from torchvision.models.detection.ssdlite import _extra_block, _normal_init

from headstart.config.schema import BackboneConfig, BackboneLibrary, SSDConfig
from headstart.detectors.backbones import Body, build_body, classifier, library_names, tensor_names
from headstart.detectors.candidates import Best, best_of_classes
from headstart.detectors.coding import encode
from headstart.detectors.interface import ClassAxis, Stage
from headstart.detectors.matching import IGNORED, GroundTruth, Wanted, match_ssd
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.torchvision_base import OneStageDetector

RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
SCALES = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
"""Sides of the default boxes of each map relative to the image, as in torchvision's SSD300."""
EXTRA_CHANNELS = (512, 256, 256)
"""Of the maps that are added behind stride 32."""


class ExtendedBackbone(nn.Module):
    """A body with further maps behind it, each half as fine as the one before."""

    def __init__(self, body: Body, norm: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.body = body.module
        channels = (body.channels[-1], *EXTRA_CHANNELS)
        self.extra = nn.ModuleList(_extra_block(channels[i], channels[i + 1], norm) for i in range(len(EXTRA_CHANNELS)))
        _normal_init(self.extra)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = list(self.body(images).values())
        for block in self.extra:
            maps.append(block(maps[-1]))
        return OrderedDict((str(i), level) for i, level in enumerate(maps))


class UnitScale(nn.Module):
    """Vectors of one length, times a learnt scale for each channel, as SSD does with VGG's conv4_3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), channels**0.5))  # the length of a vector of so many ones

    def forward(self, level: Tensor) -> Tensor:
        return self.weight[:, None, None] * functional.normalize(level)


class ScaledBackbone(ExtendedBackbone):
    """The body's maps in unit scale.

    SSD's head has no normalisation of its own, and the maps of other networks are up to a hundred times as large as
    VGG's: losses then begin at 100, and little is learnt in a short training (Liu et al., "ParseNet", ICLR 2016).
    """

    def __init__(self, body: Body, norm: Callable[..., nn.Module]) -> None:
        super().__init__(body, norm)
        self.scales = nn.ModuleList(UnitScale(width) for width in body.channels)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = super().forward(images)
        for name, scale in zip(maps, self.scales, strict=False):  # the further maps are normalised
            maps[name] = scale(maps[name])
        return maps


class MultiBoxDetector(OneStageDetector, SSD):
    """What SSD and SSDlite share: hard negative mining, a background row, default boxes of several maps."""

    background = 1
    neck_prefixes = ("backbone.extra",)
    size_divisible = 1  # torchvision's SSDs take their input as it is
    candidates = 400
    """Best boxes of each class that go into the suppression."""
    min_canvas = 288
    """Of generic backbones: the last map then has four cells, so that batch normalisation can train on one image."""

    def _set_up_ssd(
        self, config: Any, backbone: nn.Module, head: nn.Module, boxes: DefaultBoxGenerator, num_classes: int
    ) -> None:
        SSD.__init__(
            self,
            backbone,
            boxes,
            (300, 300),  # of torchvision's own resizing, which `_set_up` removes
            num_classes + self.background,
            head=head,
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_threshold,
            detections_per_img=config.detections_per_image,
            topk_candidates=self.candidates,
        )

    def losses_of(self, outputs: dict[str, Tensor], anchors_xyxy: Tensor, objects: GroundTruth) -> dict[str, Tensor]:
        """Over the default boxes of all objects of the batch. Those in an ignored object cost nothing."""
        threshold = self.proposal_matcher.high_threshold
        boxes = objects.boxes_xyxy, objects.present, objects.ignored
        matches = match_ssd(anchors_xyxy, *boxes, threshold=threshold)
        wanted = Wanted.of(matches, anchors_xyxy, objects)
        labels = wanted.labels.where(wanted.found, 0)
        surprise = self._surprise(outputs["cls_logits"], labels).masked_fill(matches == IGNORED, 0)
        mined = self._mined(surprise, wanted.found)
        codes = outputs["bbox_regression"].where(wanted.found[..., None], 0)
        wanted_codes = encode(wanted.boxes_xyxy, anchors_xyxy, self.box_coder.weights)
        count = wanted.found.sum().clamp(min=1)
        return {
            "bbox_regression": functional.smooth_l1_loss(codes, wanted_codes, reduction="sum") / count,
            "classification": (surprise.where(wanted.found, 0).sum() + surprise.where(mined, 0).sum()) / count,
        }

    def _surprise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N, A): the cross-entropy of (N, A, 1 + classes) logits; label 0 is the background."""
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)

    def _mined(self, surprise: Tensor, found: Tensor) -> Tensor:
        """(N, A) bool: of each image, for each object's default box, so many others of the highest loss.

        Where the others run out, objects follow, which then count twice: so torchvision has it.
        """
        order = surprise.detach().masked_fill(found, -torch.inf).argsort(1, descending=True)
        places = torch.arange(found.shape[1], device=found.device)
        return torch.zeros_like(found).scatter(1, order, places < self.neg_to_pos_ratio * found.sum(1, keepdim=True))

    def _scores(self, outputs: dict[str, Tensor]) -> Tensor:
        return outputs["cls_logits"].softmax(-1)[..., self.background :]

    def _best(self, scores: Tensor, counts: Sequence[int]) -> Best:
        return best_of_classes(scores, self.topk_candidates, self.score_thresh)

    def _class_axes(self, layer: str) -> list[ClassAxis]:
        """`layer` names the last layer of the classification of a map, with {} for the map's number."""
        assert isinstance(self.anchor_generator, DefaultBoxGenerator)
        counts = enumerate(self.anchor_generator.num_anchors_per_location())
        return [
            ClassAxis(f"head.classification_head.module_list.{layer.format(i)}.{part}", anchors=count, background=1)
            for i, count in counts
            for part in ("weight", "bias")
        ]


class SSDDetector(MultiBoxDetector):
    """On torchvision's VGG16 it is SSD300; on other backbones C3 to C5 and three further maps."""

    def __init__(self, config: SSDConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        vgg = backbone.library is BackboneLibrary.torchvision and backbone.architecture == "vgg16"
        body = _vgg_body() if vgg else build_body(backbone, (8, 16, 32))
        network = body.module if vgg else ScaledBackbone(body, nn.BatchNorm2d)
        boxes = Ssd300Boxes() if vgg else DefaultBoxGenerator(RATIOS, scales=SCALES)
        channels = body.channels if vgg else (*body.channels, *EXTRA_CHANNELS)
        head = SSDHead(list(channels), boxes.num_anchors_per_location(), len(class_names) + 1)
        self._set_up_ssd(config, network, head, boxes, len(class_names))
        self.neck_prefixes = ("backbone.extra", "backbone.scales")
        if vgg:
            self.body_prefix = "backbone"
            self.body_outputs = ("backbone.features", f"backbone.extra.0.{_FC - 1}")
            further_maps = (f"backbone.extra.{i}" for i in range(1, 5))
            self.neck_prefixes = ("backbone.scale_weight", f"backbone.extra.0.{_FC}", *further_maps)
            self.min_canvas = 300  # smaller maps would shrink to nothing
        self._set_up(config, body, class_names, default_preprocessing(backbone))

    def class_axes(self) -> list[ClassAxis]:
        return self._class_axes("{}")

    def predictors(self) -> tuple[str, ...]:
        return ("head.classification_head.module_list", "head.regression_head.module_list")


class Ssd300Boxes(DefaultBoxGenerator):
    """torchvision's steps are those of a picture of 300 by 300 pixels; others have the cells' own."""

    STEPS = (8, 16, 32, 64, 100, 300)

    def __init__(self) -> None:
        super().__init__(RATIOS, scales=SCALES, steps=list(self.STEPS))

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        self.steps = list(self.STEPS) if image_list.tensors.shape[-2:] == (300, 300) else None
        return super().forward(image_list, feature_maps)


_FC = 7
"""Place of the convolutions that stand for VGG's fully connected layers, behind conv5_3, in `extra.0`."""


def _vgg_body() -> Body:
    """torchvision's `SSDFeatureExtractorVGG`: the layers behind conv4_3 go to `extra.0` and are renumbered."""
    model = classifier("vgg16")
    names = tensor_names(model)
    module = SSDFeatureExtractorVGG(model.get_submodule("features"), highres=False)
    firsts = (0, 5, 10, 17, 23)  # conv1_1, conv2_1 …, the last the end of `features`
    stages = [
        Stage("stem" if i == 0 else f"stage{i}", tuple(f"features.{k}" for k in range(firsts[i], firsts[i + 1])))
        for i in range(4)
    ]
    stages.append(Stage("stage4", tuple(f"extra.0.{k}" for k in range(_FC))))
    return Body(module, (512, 1024, 512, 256, 256, 256), tuple(stages), library_names(module, names))

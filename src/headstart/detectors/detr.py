"""D-FINE (Peng et al., ICLR 2025) and RT-DETR (Zhao et al., CVPR 2024; v2: Lv et al., 2024) on any body.

transformers' layers under the `Detector` contract: the same detections and losses for the same weights on the same
canvas. Boxes are in parts of the canvas, padding included.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headstart.config.detr_sizes import widths_of
from headstart.config.schema import Architecture, BackboneConfig, QueryConfig
from headstart.data.batch import Batch, Detections
from headstart.detectors import detr_losses as of_layers
from headstart.detectors.backbones import build_body
from headstart.detectors.coding import clipped
from headstart.detectors.denoising import Noised, noised
from headstart.detectors.detr_boxes import in_parts, in_pixels
from headstart.detectors.detr_decoder import Answers, DFineDecoder, RTDetrDecoder
from headstart.detectors.detr_head import QueryHead
from headstart.detectors.detr_library import untrained
from headstart.detectors.detr_losses import Layers, Objects, Steps, detection_losses, stacked, step_losses
from headstart.detectors.detr_matching import matched
from headstart.detectors.detr_neck import HybridEncoder
from headstart.detectors.interface import ClassAxis, ClassLogits, Features, Places, take_rows
from headstart.detectors.merging import merged
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.torchvision_base import TorchvisionDetector

DECODER = {Architecture.d_fine: DFineDecoder, Architecture.rt_detr: RTDetrDecoder}


class QueryBackbone(nn.Module):
    """A body, named as that of the other detectors."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.body(images)


class QueryDetector(TorchvisionDetector):
    head: QueryHead

    def __init__(self, config: QueryConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        nn.Module.__init__(self)
        widths = widths_of(config)
        body = build_body(backbone, widths.strides)
        network = untrained(config, widths, len(class_names))
        self.backbone = QueryBackbone(body.module)
        self.neck = HybridEncoder(network.model.encoder, body.channels, widths.neck)
        self.head = QueryHead(network.model, DECODER[config.architecture](network.model.decoder), config.queries)
        self.denoising = config.denoising
        self.score_threshold = config.score_threshold
        self._know(config, body, class_names, default_preprocessing(backbone))

    neck_prefixes = ("neck",)

    def _features(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.neck(self.backbone(images))

    def class_axes(self) -> list[ClassAxis]:
        layers = ["head.enc_score_head", *self._in_every_layer("class_embed")]
        noise = [ClassAxis("head.denoising.weight")] if self.denoising else []
        return [ClassAxis(f"{layer}.{part}") for layer in layers for part in ("weight", "bias")] + noise

    def predictors(self) -> tuple[str, ...]:
        own = ["head.decoder.pre_bbox_head.layers.2"] if isinstance(self.head.decoder, DFineDecoder) else []
        boxes = [f"{layer}.layers.2" for layer in self._in_every_layer("bbox_embed")]
        noise = ["head.denoising"] if self.denoising else []
        begun = ["head.enc_score_head", "head.enc_bbox_head.layers.2"]
        return (*begun, *self._in_every_layer("class_embed"), *boxes, *own, *noise)

    def _in_every_layer(self, name: str) -> list[str]:
        layers: Any = self.head.decoder.get_submodule(name)
        return [f"head.decoder.{name}.{i}" for i in range(len(layers))]

    def class_logits(self, features: Features, places: Places | None = None) -> ClassLogits:
        """Of the cells in which queries may begin: what the queries say is of no place that two networks share."""
        memory = self.head.remember(list(features.maps.values()))
        if places is None:
            present = torch.cat([features.inside(level).flatten(1) for level in features.maps.values()], 1)
            places = Places(present, torch.arange(present.shape[1], device=present.device).expand_as(present))
        return ClassLogits(take_rows(memory.logits, places.where), places)

    def detect(self, batch: Batch, features: Features | None = None) -> Detections:
        boxes, scores = self.every_box(features or self.features(batch))
        return merged(self._candidates(boxes, scores, batch.sizes_hw), self.rule)

    def every_box(self, features: Features) -> tuple[Tensor, Tensor]:
        answers = self.head(list(features.maps.values()))[0][-1]
        sides = answers.boxes[..., 2:].clamp(min=0)  # D-FINE's steps may cross
        boxes = in_pixels(torch.cat((answers.boxes[..., :2], sides), -1), features.batch.shape[-2:])
        return boxes, answers.logits.sigmoid()

    def _candidates(self, boxes: Tensor, scores: Tensor, sizes_hw: Tensor) -> Detections:
        """The best (query, class) pairs, as many as there are queries."""
        queries, classes = scores.shape[1:]
        best = scores.flatten(1).topk(queries, dim=1)
        found, labels = take_rows(boxes, best.indices // classes), best.indices % classes
        return Detections(best.values > self.rule.score_threshold, clipped(found, sizes_hw), best.values, labels)

    def losses(self, batch: Batch, features: Features | None = None) -> dict[str, Tensor]:
        features = features or self.features(batch)
        objects = self._taught(batch, features.batch.shape[-2:])
        noise = self._noise(objects)
        layers, begun = self.head(list(features.maps.values()), noised=noise)
        split = noise.labels.shape[1] if noise else 0
        of_noise, layers = (list(part) for part in zip(*(layer.split(split) for layer in layers), strict=True))
        found = self._of_queries(layers, begun, objects)
        if noise:
            found |= self._of_noise(of_noise, noise, objects)
        return found

    def _taught(self, batch: Batch, canvas_hw: Sequence[int]) -> Objects:
        truth = self._objects(batch)
        boxes = in_parts(truth.boxes_xyxy, canvas_hw)
        return Objects(truth.present, boxes, truth.labels, truth.ignored, boxes)

    def _noise(self, objects: Objects) -> Noised | None:
        if not self.denoising:
            return None
        return noised(objects.boxes, objects.labels, objects.present, len(self.class_names), self.denoising)

    def _of_queries(self, layers: list[Answers], begun: Answers, objects: Objects) -> dict[str, Tensor]:
        asked = [layers[-1], *self._earlier(layers), begun]
        matches = matched(*stacked(asked), objects.labels, objects.boxes, objects.present)
        found = detection_losses(Layers.of(asked, matches), objects, objects.count)
        if isinstance(self.head.decoder, DFineDecoder) and len(layers) > 2:
            earlier = Layers.of(asked[1:-1], matches[1:-1])
            found |= step_losses(earlier, self._steps(layers[:-1], layers[-1], len(layers) - 2), objects, objects.count)
        return _weighted(found)

    def _earlier(self, layers: list[Answers]) -> list[Answers]:
        """Those that learn beside the last; of D-FINE's, as transformers counts them, not the last but one."""
        return layers[: -2 if isinstance(self.head.decoder, DFineDecoder) else -1]

    def _steps(self, layers: Sequence[Answers], last: Answers, teaches: int) -> Steps:
        """transformers holds the distributions of each layer against the boxes of the one before."""
        steps = [layer.steps.unflatten(-1, (4, -1)) for layer in layers if layer.steps is not None]
        references = [layer.references for layer in layers if layer.references is not None]
        assert last.steps is not None
        decoder = self.head.decoder
        assert isinstance(decoder, DFineDecoder)
        scores = last.logits.sigmoid().amax(-1)
        teacher = last.steps.unflatten(-1, (4, -1))
        return Steps(
            torch.stack(steps), torch.stack(references), teacher, scores, decoder.table, decoder.reg_scale, teaches
        )

    def _of_noise(self, layers: list[Answers], noise: Noised, objects: Objects) -> dict[str, Tensor]:
        """Of queries whose objects are known; nothing where no image of the batch has one."""
        several = objects.tiled(noise.groups)
        matches = noise.wanted.flatten().where(several.present, -1)
        d_fine = isinstance(self.head.decoder, DFineDecoder)
        asked = Layers.of(layers[:-1] if d_fine else layers, matches.expand(len(layers) - d_fine, -1, -1))
        count = several.count
        found = detection_losses(asked, several, count)
        if d_fine:
            found |= step_losses(asked, self._steps(layers, layers[-1], len(layers) - 2), several, count)
        any_object = objects.present.any()
        return {f"denoising_{name}": loss.where(any_object, 0) for name, loss in _weighted(found).items()}


def _weighted(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: of_layers.WEIGHTS[name] * loss for name, loss in losses.items()}

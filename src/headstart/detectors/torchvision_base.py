"""What all detectors on torchvision's implementations share.

Each is torchvision's own class with the `Detector` contract in front: the names of its tensors are torchvision's, so
that torchvision's COCO weights load as they are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.config.schema import ModelConfig
from headstart.data.batch import Batch, Detections
from headstart.detectors.backbones import Body
from headstart.detectors.candidates import Best, best_of_levels
from headstart.detectors.coding import clipped, decode
from headstart.detectors.constants import Constants, anchors_xyxy
from headstart.detectors.interface import ClassLogits, Detector, Features, Places, Preprocessing, Stage, take_rows
from headstart.detectors.matching import GroundTruth
from headstart.detectors.merging import at, merged
from headstart.detectors.necks import FpnBackbone


def at_least_float32(tensor: Tensor) -> Tensor:
    """Boxes lose whole pixels in half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class TorchvisionDetector(Detector):
    """Batching, targets and predictions; `_set_up` comes after torchvision's constructor, where there is one."""

    backbone: nn.Module
    size_divisible = 32
    background = 0
    """1 where the head has a row for the background: torchvision's labels then begin at 1."""

    def _set_up(
        self, config: ModelConfig, body: Body, class_names: Sequence[str], preprocessing: Preprocessing
    ) -> None:
        self._modules.pop("transform", None)  # resizing belongs to the data, normalising and padding to `normalised`
        self._know(config, body, class_names, preprocessing)

    def _know(self, config: ModelConfig, body: Body, class_names: Sequence[str], preprocessing: Preprocessing) -> None:
        self.class_names = tuple(class_names)
        self.preprocessing = preprocessing
        self._body_stages = body.stages
        self.only_side = body.only_side
        self._constants = Constants()
        self._library_names = {f"{self.body_prefix}.{ours}": theirs for ours, theirs in body.library_names.items()}
        if isinstance(self.backbone, FpnBackbone):
            self.optional = tuple(f"backbone.{name}" for name in self.backbone.optional())
            self.replaced = tuple(f"backbone.{name}" for name in self.backbone.replaced())
        self._memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        self.to(memory_format=self._memory_format)

    body_prefix = "backbone.body"
    body_outputs: tuple[str, ...] = ("backbone.body",)
    """Modules whose outputs are the body's maps."""
    neck_prefixes: tuple[str, ...] = ("backbone.scales", "backbone.attention", "backbone.fpn")
    head_prefixes: tuple[str, ...] = ("head",)
    anchors_by = "anchor_generator"
    """The module that makes them."""

    def stages(self) -> list[Stage]:
        body = [replace(s, prefixes=tuple(f"{self.body_prefix}.{p}" for p in s.prefixes)) for s in self._body_stages]
        return [*body, Stage("neck", self.neck_prefixes), Stage("head", self.head_prefixes)]

    def library_names(self) -> dict[str, str]:
        return dict(self._library_names)

    def features_of(self, images: Tensor, sizes_hw: Tensor) -> Features:
        body_maps: list[Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            body_maps.extend(output.values() if isinstance(output, dict) else [output])

        hooks = [self.get_submodule(name).register_forward_hook(keep) for name in self.body_outputs]
        try:
            maps = self._features(images)
        finally:
            for hook in hooks:
                hook.remove()
        return Features(images, sizes_hw, maps, tuple(body_maps))

    def _features(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.backbone(images)

    def normalised(self, batch: Batch) -> Tensor:
        """Normalised, then padded with zeros to the right and below, as torchvision does."""
        height, width = (self._canvas(side) for side in batch.images.shape[-2:])
        dtype, device = self._dtype(), batch.images.device
        mean, std = self._mean_and_std(dtype, device)
        scaled = batch.images.to(dtype) / 255 if batch.images.dtype == torch.uint8 else batch.images.to(dtype)
        normalised = torch.where(self._inside(batch), (scaled - mean) / std, 0)
        right, below = width - batch.images.shape[-1], height - batch.images.shape[-2]
        return functional.pad(normalised, (0, right, 0, below)).contiguous(memory_format=self._memory_format)

    def _anchors(self, images: Tensor, maps: Sequence[Tensor], like: Tensor) -> Tensor:
        """(A, 4): those of all maps, the same for all images; of the type of `like`."""
        canvas, *cells = ((level.shape[-2], level.shape[-1]) for level in (images, *maps))
        return self._anchors_of(canvas, tuple(cells), like.dtype, like.device)

    def _anchors_of(
        self,
        canvas_hw: tuple[int, int],
        cells_hw: tuple[tuple[int, int], ...],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Tensor:
        generator: Any = self.get_submodule(self.anchors_by)
        make = partial(anchors_xyxy, generator, canvas_hw, cells_hw, dtype, device)
        return self._constants.get(("anchors", canvas_hw, *cells_hw, dtype, device), make)

    def _mean_and_std(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """(2, 3, 1, 1)"""
        values = self.preprocessing.mean, self.preprocessing.std
        made = partial(torch.tensor, values, dtype=dtype, device=device)
        return self._constants.get((values, dtype, device), made)[:, :, None, None]

    @staticmethod
    def _inside(batch: Batch) -> Tensor:
        """(N, 1, H, W) bool: the pixels of the images, without the padding."""
        down, right = (torch.arange(side, device=batch.images.device) for side in batch.images.shape[-2:])
        heights, widths = batch.sizes_hw[:, :1], batch.sizes_hw[:, 1:]
        return ((down < heights)[:, :, None] & (right < widths)[:, None, :])[:, None]

    def _canvas(self, size: int) -> int:
        step = self.size_divisible  # and no negative number, which ONNX would divide towards zero
        least: Any = torch.sym_max(size, self.min_canvas)
        return (least + step - 1) // step * step

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def _objects(self, batch: Batch) -> GroundTruth:
        """Whose labels begin at 1 where the head has a row for the background."""
        targets = batch.targets
        boxes = targets.boxes_xyxy.to(torch.promote_types(self._dtype(), torch.float32))
        has_area = (boxes[..., 2:] > boxes[..., :2]).all(-1)
        learnt = targets.present & ~targets.ignore & has_area
        return GroundTruth(learnt, boxes, targets.labels + self.background, targets.ignore)


class OneStageDetector(TorchvisionDetector):
    """A dense head on every cell: `self.head` and `self.anchor_generator` as torchvision names them."""

    head: nn.Module
    anchor_generator: Any
    """One of torchvision's, or `cells.Cells`."""
    box_coder: Any
    score_thresh: float
    nms_thresh: float
    topk_candidates: int
    detections_per_img: int

    def losses(self, batch: Batch, features: Features | None = None) -> dict[str, Tensor]:
        features = features or self.features(batch)
        return self.losses_of(*self._heads(features.batch, features.maps), self._objects(batch))

    @abstractmethod
    def losses_of(self, outputs: dict[str, Tensor], anchors_xyxy: Tensor, objects: GroundTruth) -> dict[str, Tensor]:
        """Of what the head says of each image, and (A, 4) anchors: as torchvision's `compute_loss`, for all images at
        once."""

    def class_logits(self, features: Features, places: Places | None = None) -> ClassLogits:
        head = self.head.get_submodule("classification_head")
        logits = at_least_float32(head(list(features.maps.values())))
        places = self._places(features) if places is None else places
        return ClassLogits(take_rows(logits, places.where), places)

    def _places(self, features: Features) -> Places:
        """Indices of the anchors, in the head's order; present where their cells lie in the image."""
        counts = self.anchor_generator.num_anchors_per_location()
        levels = zip(features.maps.values(), counts, strict=True)
        inside = [features.inside(level).flatten(1).repeat_interleave(count, dim=1) for level, count in levels]
        present = torch.cat(inside, dim=1)
        return Places(present, torch.arange(present.shape[1], device=present.device).expand_as(present))

    def _heads(self, images: Tensor, maps: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """What the head says of each image, in float32 or finer, and the (A, 4) anchors of them all."""
        outputs = {name: at_least_float32(output) for name, output in self.head(list(maps.values())).items()}
        like = next(iter(outputs.values()))
        return outputs, self._anchors(images, list(maps.values()), like)

    def detect(self, batch: Batch, features: Features | None = None) -> Detections:
        features = features or self.features(batch)
        heads = self._heads(features.batch, features.maps)
        return self.detections_of(*heads, self._counts(features), batch.sizes_hw)

    def every_box(self, features: Features) -> tuple[Tensor, Tensor]:
        outputs, anchors = self._heads(features.batch, features.maps)
        return self._decoded(outputs["bbox_regression"], anchors), self._scores(outputs)

    def detections_of(
        self, outputs: dict[str, Tensor], anchors_xyxy: Tensor, counts: Sequence[int], sizes_hw: Tensor
    ) -> Detections:
        """As torchvision's `postprocess_detections`, for all images at once; `counts`: anchors of each map."""
        best = self._best(self._scores(outputs), counts)
        boxes = self._decoded(take_rows(outputs["bbox_regression"], best.anchors), anchors_xyxy[best.anchors])
        candidates = Detections(best.present, clipped(boxes, sizes_hw), best.scores, best.labels)
        return merged(candidates, at(self.rule, self))

    def _scores(self, outputs: dict[str, Tensor]) -> Tensor:
        """(N, A, classes) in 0..1, of what the head says."""
        return outputs["cls_logits"].sigmoid()[..., self.background :]

    def _best(self, scores: Tensor, counts: Sequence[int]) -> Best:
        """What goes into suppression."""
        return best_of_levels(scores, counts, self.topk_candidates, self.score_thresh)

    def _decoded(self, codes: Tensor, anchors_xyxy: Tensor) -> Tensor:
        return decode(codes, anchors_xyxy, self.box_coder.weights)

    def _counts(self, features: Features) -> list[int]:
        of_a_cell = self.anchor_generator.num_anchors_per_location()
        levels = zip(features.maps.values(), of_a_cell, strict=True)
        return [level.shape[-2] * level.shape[-1] * count for level, count in levels]

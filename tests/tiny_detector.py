"""A detector short enough to read: stem (conv, BatchNorm), stage1, stage2 (with dropout), neck, head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headstart.data.batch import Batch, Detections
from headstart.detectors.interface import (
    ClassAxis,
    ClassLogits,
    Detector,
    Features,
    Places,
    Preprocessing,
    Stage,
    take_rows,
)

ANCHORS = 2


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, dropout: float = 0.0):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.SiLU()
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.act(self.bn(self.conv(x))))


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Block(3, 4)
        self.stage1 = Block(4, 6)
        self.stage2 = Block(6, 8, dropout=0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.stage2(self.stage1(self.stem(x)))


class Head(nn.Module):
    def __init__(self, rows: int):
        super().__init__()
        self.cls = nn.Conv2d(8, ANCHORS * rows, 1)
        self.box = nn.Conv2d(8, ANCHORS * 4, 1)


class TinyDetector(Detector):
    """One box per anchor and cell; `background` adds a row 0 to the classes."""

    def __init__(self, class_names: tuple[str, ...] = ("a", "b", "c"), background: int = 0, neck_dropout: float = 0.0):
        super().__init__()
        self.class_names = class_names
        self.background = background
        self.preprocessing = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.backbone = Backbone()
        self.neck = nn.Sequential(nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8), nn.Dropout(neck_dropout))
        self.head = Head(background + len(class_names))

    def normalised(self, batch: Batch) -> Tensor:
        return batch.images.to(self.head.box.weight.dtype)

    def features_of(self, images: Tensor, sizes_hw: Tensor) -> Features:
        body = self.backbone(images)
        return Features(images, sizes_hw, {"0": self.neck(body)}, (body,))

    def logits(self, images: Sequence[Tensor]) -> Tensor:
        """(images, anchors, background + classes, cells)."""
        return self._logits(self.features(Batch.of(images)))

    def _logits(self, features: Features) -> Tensor:
        out = self.head.cls(features.maps["0"])
        return out.reshape(len(out), ANCHORS, self.background + len(self.class_names), -1)

    def class_logits(self, features: Features, places: Places | None = None) -> ClassLogits:
        out = self.head.cls(features.maps["0"])
        rows = self.background + len(self.class_names)
        logits = out.reshape(len(out), ANCHORS, rows, -1).permute(0, 3, 1, 2).reshape(len(out), -1, rows).float()
        if places is None:
            everywhere = torch.arange(logits.shape[1]).expand(len(out), -1)
            places = Places(torch.ones_like(everywhere, dtype=torch.bool), everywhere)
        return ClassLogits(take_rows(logits, places.where), places)

    def losses(self, batch: Batch, features: Features | None = None) -> dict[str, Tensor]:
        level = (features or self.features(batch)).maps["0"]
        wanted = batch.targets.boxes_xyxy.mean((1, 2))
        return {
            "classification": self.head.cls(level).square().mean(),
            "box": (self.head.box(level).mean((1, 2, 3)) - wanted).square().mean(),
        }

    def detect(self, batch: Batch, features: Features | None = None) -> Detections:
        scores = self._logits(features or self.features(batch)).sigmoid().amax((1, 3))[:, self.background :]
        best = scores.max(1)
        boxes = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(batch), 1, 4)
        present = torch.ones(len(batch), 1, dtype=torch.bool)
        return Detections(present, boxes, best.values[:, None], best.indices[:, None])

    def stages(self) -> list[Stage]:
        inner = [Stage(name, (f"backbone.{name}",)) for name in ("stem", "stage1", "stage2")]
        return [*inner, Stage("neck", ("neck",)), Stage("head", ("head",))]

    def library_names(self) -> dict[str, str]:
        return {name: name.removeprefix("backbone.") for name in self.state_dict() if name.startswith("backbone.")}

    def class_axes(self) -> list[ClassAxis]:
        return [ClassAxis(f"head.cls.{part}", ANCHORS, self.background) for part in ("weight", "bias")]

    def predictors(self) -> tuple[str, ...]:
        return ("head.cls", "head.box")

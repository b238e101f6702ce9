"""A detector short enough to read: stem (conv, BatchNorm), stage1, stage2 (with dropout), neck, head."""

import torch
from torch import Tensor, nn

from headstart.data.types import Prediction, Target
from headstart.detectors.interface import ClassAxis, ClassLogits, Detector, Features, Preprocessing, Stage

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

    def features(self, images: list[Tensor]) -> Features:
        batch = torch.stack(images).to(self.head.box.weight.dtype)
        body = self.backbone(batch)
        return Features(batch, [tuple(image.shape[1:]) for image in images], {"0": self.neck(body)}, (body,))

    def logits(self, images: list[Tensor]) -> Tensor:
        """(images, anchors, background + classes, cells)."""
        out = self.head.cls(self.features(images).maps["0"])
        return out.reshape(len(images), ANCHORS, self.background + len(self.class_names), -1)

    def class_logits(self, features: Features, places: list[Tensor] | None = None) -> ClassLogits:
        out = self.head.cls(features.maps["0"])
        rows = self.background + len(self.class_names)
        logits = out.reshape(len(out), ANCHORS, rows, -1).permute(0, 3, 1, 2).reshape(len(out), -1, rows).float()
        places = [torch.arange(logits.shape[1])] * len(out) if places is None else places
        return ClassLogits([of_image[here] for of_image, here in zip(logits, places, strict=True)], places)

    def losses(
        self, images: list[Tensor], targets: list[Target], features: Features | None = None
    ) -> dict[str, Tensor]:
        level = (features or self.features(images)).maps["0"]
        wanted = torch.stack([target.boxes_xyxy.mean() for target in targets])
        return {
            "classification": self.head.cls(level).square().mean(),
            "box": (self.head.box(level).mean((1, 2, 3)) - wanted).square().mean(),
        }

    def predict(self, images: list[Tensor]) -> list[Prediction]:
        scores = self.logits(images).sigmoid().amax((1, 3))[:, self.background :]
        best = scores.max(1)
        return [
            Prediction(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), best.values[i : i + 1], best.indices[i : i + 1])
            for i in range(len(images))
        ]

    def stages(self) -> list[Stage]:
        inner = [Stage(name, (f"backbone.{name}",)) for name in ("stem", "stage1", "stage2")]
        return [*inner, Stage("neck", ("neck",)), Stage("head", ("head",))]

    def library_names(self) -> dict[str, str]:
        return {name: name.removeprefix("backbone.") for name in self.state_dict() if name.startswith("backbone.")}

    def class_axes(self) -> list[ClassAxis]:
        return [ClassAxis(f"head.cls.{part}", ANCHORS, self.background) for part in ("weight", "bias")]

    def predictors(self) -> tuple[str, ...]:
        return ("head.cls", "head.box")

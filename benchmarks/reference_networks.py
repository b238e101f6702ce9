"""The networks of `references.py`: each takes lists of pictures and targets as torchvision's do, and gives losses."""

from __future__ import annotations

import copy
import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

Targets = list[dict[str, Tensor]]

# -------------------------------------------------------------------------------------------------- transformers

B0 = {
    "stem_channels": [3, 16, 16],
    "stage_in_channels": [16, 64, 256, 512],
    "stage_mid_channels": [16, 32, 64, 128],
    "stage_out_channels": [64, 256, 512, 1024],
    "hidden_sizes": [64, 256, 512, 1024],
    "stage_num_blocks": [1, 1, 2, 1],
    "stage_numb_of_layers": [3, 3, 3, 3],
    "use_learnable_affine_block": True,
    "out_indices": [2, 3, 4],
}


class _Queries(nn.Module):
    """Of the size that is our default: D-FINE small, RT-DETR r18."""

    prefix: str
    own: dict[str, Any]

    def __init__(self, detector: Any) -> None:
        super().__init__()
        transformers = importlib.import_module("transformers")
        config = getattr(transformers, f"{self.prefix}Config")(
            backbone_config=transformers.HGNetV2Config(**B0),
            encoder_in_channels=[256, 512, 1024],
            hidden_expansion=0.5,
            decoder_layers=3,
            num_labels=len(detector.class_names),
            **self.own,
        )
        self.network = getattr(transformers, f"{self.prefix}ForObjectDetection")(config)

    def forward(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        labels = [{"class_labels": t["labels"], "boxes": middles(t["boxes"], images[0])} for t in targets]
        return {"loss": self.network(pixel_values=torch.stack(images), labels=labels).loss}


class DFine(_Queries):
    prefix = "DFine"
    own = {"decoder_n_points": [3, 6, 3], "depth_mult": 0.34}  # noqa: RUF012


class RTDetr(_Queries):
    prefix = "RTDetr"
    own: dict[str, Any] = {}  # noqa: RUF012


def middles(boxes_xyxy: Tensor, image: Tensor) -> Tensor:
    """(T, 4): middle, width and height in parts of the picture."""
    return box_convert(boxes_xyxy, "xyxy", "cxcywh") / torch.tensor([*image.shape[:0:-1]] * 2)


# -------------------------------------------------------------------------------------------------- Megvii's YOLOX


class YOLOX(nn.Module):
    """The authors' head and losses on our body and neck."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        head = importlib.import_module("yolox.models.yolo_head").YOLOXHead
        width = detector.head.stems[0].conv.in_channels
        self.backbone = copy.deepcopy(detector.backbone).to(memory_format=torch.contiguous_format)
        self.head = head(len(detector.class_names), width / 256, in_channels=[256] * 3)
        self.head.initialize_biases(0.01)

    def forward(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        rows = torch.zeros(len(images), max(len(t["labels"]) for t in targets), 5)
        for row, target in zip(rows, targets, strict=True):
            own = torch.cat((target["labels"][:, None], box_convert(target["boxes"], "xyxy", "cxcywh")), 1)
            row[: len(own)] = own
        stacked = torch.stack(images)
        loss, *_ = self.head([*self.backbone(stacked).values()], rows, stacked)
        return {"loss": loss}


# -------------------------------------------------------------------------------------------------- pytorchyolo

ANCHORS = "10,13, 16,30, 33,23, 30,61, 62,45, 59,119, 116,90, 156,198, 373,326"
NET = """
batch=1 subdivisions=1 width=416 height=416 channels=3 momentum=0.9 decay=0.0005 learning_rate=0.001 burn_in=1
max_batches=1 policy=steps steps=1 scales=1
"""


class YOLOv3(nn.Module):
    """The network of a .cfg as Darknet's, and the losses of that package."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        models, losses = (importlib.import_module(f"pytorchyolo.{name}") for name in ("models", "utils.loss"))
        self.loss = losses.compute_loss
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "yolov3.cfg"
            file.write_text("\n".join(cfg(len(detector.class_names))))
            self.network = models.Darknet(file)

    def forward(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        images_of = torch.repeat_interleave(torch.tensor([len(t["labels"]) for t in targets]))
        labels, boxes = (torch.cat([t[name] for t in targets]) for name in ("labels", "boxes"))
        rows = torch.cat((images_of[:, None], labels[:, None], middles(boxes, images[0])), 1)
        loss, _ = self.loss(self.network(torch.stack(images)), rows, self.network)
        return {"loss": loss.sum()}


def cfg(classes: int) -> Iterator[str]:
    """The lines of YOLOv3's: Darknet-53, then three scales."""
    yield from _block("net", *NET.split())
    yield from _conv(32, 3)
    for filters, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        yield from _conv(filters, 3, 2)
        for _ in range(blocks):
            yield from _conv(filters // 2, 1)
            yield from _conv(filters, 3)
            yield from _block("shortcut", "from=-3", "activation=linear")
    for filters, finer, mask in ((512, 61, "6,7,8"), (256, 36, "3,4,5"), (128, 0, "0,1,2")):
        for size in (1, 3, 1, 3, 1, 3):
            yield from _conv(filters * (2 if size == 3 else 1), size)
        last = (f"filters={3 * (5 + classes)}", "size=1", "stride=1", "pad=1", "activation=linear")
        yield from _block("convolutional", *last)
        yield from _block("yolo", f"mask={mask}", f"anchors={ANCHORS}", f"classes={classes}", "num=9")
        if finer:
            yield from _block("route", "layers=-4")
            yield from _conv(filters // 2, 1)
            yield from _block("upsample", "stride=2")
            yield from _block("route", f"layers=-1,{finer}")


def _conv(filters: int, size: int, stride: int = 1) -> Iterator[str]:
    own = (f"filters={filters}", f"size={size}", f"stride={stride}", "pad=1", "activation=leaky")
    return _block("convolutional", "batch_normalize=1", *own)


def _block(kind: str, *settings: str) -> Iterator[str]:
    yield f"[{kind}]"
    yield from settings

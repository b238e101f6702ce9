"""Resizing, which every image undergoes, and augmentation, which training images undergo."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from headstart.config.schema import AugmentConfig, Resize
from headstart.data.boxes import centre_inside, clip_boxes, has_area, scale_boxes

_FILL = [124.0, 116.0, 104.0]
"""What a picture is padded with: the mean colour of ImageNet."""


def resized_hw(image_hw: tuple[int, int], min_size: int, max_size: int, how: Resize = Resize.keep) -> tuple[int, int]:
    """Height and width after `resize`."""
    if how is Resize.stretch:
        return min_size, min_size
    height, width = image_hw
    factor = min(min_size / min(image_hw), max_size / max(image_hw))
    return max(1, round(height * factor)), max(1, round(width * factor))


def resize(
    image: Tensor, boxes_xyxy: Tensor, min_size: int, max_size: int, how: Resize = Resize.keep
) -> tuple[Tensor, Tensor]:
    """The image (3, H, W) uint8 and its boxes (N, 4), scaled up or down with their aspect ratio.

    The short side becomes `min_size` pixels, unless the long side would then exceed `max_size`: then that one becomes
    `max_size`. With `Resize.stretch` both become `min_size`, whatever the aspect ratio. Bilinear, antialiased. Boxes
    are scaled by the exact ratio of each axis.
    """
    height, width = image.shape[-2:]
    new_hw = resized_hw((height, width), min_size, max_size, how)
    if new_hw == (height, width):
        return image, boxes_xyxy
    resized = F.resize_image(image, list(new_hw), F.InterpolationMode.BILINEAR, antialias=True)
    return resized, scale_boxes(boxes_xyxy, (new_hw[1] / width, new_hw[0] / height))


def build_augmentation(config: AugmentConfig) -> v2.Compose:
    """Random changes, drawn from torch's global generator.

    Takes and gives `(image, target)`: a `tv_tensors.Image`, and a dict of tensors with a row for each object, of which
    `boxes_xyxy` is a `tv_tensors.BoundingBoxes`. An object stays as long as its centre is in the picture; its box is
    clipped to it. The crop changes the image's size.
    """
    steps: list[nn.Module] = []
    if any((config.brightness, config.contrast, config.saturation, config.hue)):
        steps.append(v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue))
    if (config.scale_min, config.scale_max) != (1.0, 1.0):
        steps.append(RandomScale(config.scale_min, config.scale_max))
    if config.crop > 0:
        steps.append(v2.RandomApply([v2.RandomIoUCrop()], p=config.crop))
    if config.hflip > 0:
        steps.append(v2.RandomHorizontalFlip(config.hflip))
    if config.vflip > 0:
        steps.append(v2.RandomVerticalFlip(config.vflip))
    return v2.Compose([*steps, DropEmpty()])


def wrap_boxes(boxes_xyxy: Tensor, image_hw: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    """As v2 wants them: a plain tensor, which slicing and arithmetic give, would not be moved with the picture."""
    return tv_tensors.BoundingBoxes(boxes_xyxy, format="XYXY", canvas_size=image_hw)  # pyright: ignore[reportCallIssue]


class RandomScale(v2.Transform):
    """Scales the picture by a random factor, then cuts or pads it to its former size, at a random place.

    Large scale jitter (Ghiasi et al., Simple Copy-Paste, CVPR 2021) for images of any size. Boxes whose centre leaves
    the picture become empty.
    """

    def __init__(self, smallest: float, largest: float) -> None:
        super().__init__()
        self.smallest = smallest
        self.largest = largest

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.query_size(flat_inputs)
        factor, x, y = torch.rand(3).tolist()
        factor = self.smallest + factor * (self.largest - self.smallest)
        new_hw = max(1, round(height * factor)), max(1, round(width * factor))
        return {
            "new_hw": new_hw,
            "size_hw": (height, width),
            # Where the scaled picture's corner comes to lie: left of the edge when it is larger, right of it otherwise.
            "offset_yx": (round(y * (height - new_hw[0])), round(x * (width - new_hw[1]))),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        (height, width), (top, left) = params["size_hw"], params["offset_yx"]
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            return self._move(inpt, params)
        if not isinstance(inpt, tv_tensors.Image):
            return inpt
        scaled = F.resize(inpt, list(params["new_hw"]), antialias=True)
        bottom, right = height - top - scaled.shape[-2], width - left - scaled.shape[-1]
        padded = F.pad(scaled, [max(0, left), max(0, top), max(0, right), max(0, bottom)], fill=_FILL)
        return F.crop(padded, max(0, -top), max(0, -left), height, width)

    def _move(self, boxes: tv_tensors.BoundingBoxes, params: dict[str, Any]) -> tv_tensors.BoundingBoxes:
        (height, width), (top, left) = params["size_hw"], params["offset_yx"]
        ratio_wh = (params["new_hw"][1] / width, params["new_hw"][0] / height)
        moved = scale_boxes(boxes.as_subclass(Tensor), ratio_wh) + torch.tensor([left, top, left, top])
        moved[~centre_inside(moved, (height, width))] = 0
        return wrap_boxes(clip_boxes(moved, (height, width)), (height, width))


class DropEmpty(nn.Module):
    """Clips boxes to the picture and removes those without area, with all that is said of them.

    torchvision's `SanitizeBoundingBoxes` would also remove true objects of less than one pixel.
    """

    def forward(self, image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        height, width = image.shape[-2:]
        boxes = clip_boxes(target["boxes_xyxy"].as_subclass(Tensor), (height, width))
        keep = has_area(boxes)
        kept = {name: rows[keep] for name, rows in target.items()}
        return image, kept | {"boxes_xyxy": wrap_boxes(boxes[keep], (height, width))}

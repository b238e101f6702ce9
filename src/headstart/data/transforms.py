"""Resizing, which every image undergoes; `augment` and `render` are what training images undergo besides."""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms.v2 import functional as F

from headstart.config.schema import Resize


def resized_hw(image_hw: tuple[int, int], min_size: int, max_size: int, how: Resize = Resize.keep) -> tuple[int, int]:
    """Height and width after `resize`."""
    if how is Resize.stretch:
        return min_size, min_size
    height, width = image_hw
    factor = min(min_size / min(image_hw), max_size / max(image_hw))
    return max(1, round(height * factor)), max(1, round(width * factor))


def resize(image: Tensor, min_size: int, max_size: int, how: Resize = Resize.keep) -> Tensor:
    """The image (3, H, W) uint8, scaled up or down with its aspect ratio.

    The short side becomes `min_size` pixels, unless the long side would then exceed `max_size`: then that one becomes
    `max_size`. With `Resize.stretch` both become `min_size`, whatever the aspect ratio. Bilinear, antialiased.
    """
    height, width = image.shape[-2:]
    new_hw = resized_hw((height, width), min_size, max_size, how)
    if new_hw == (height, width):
        return image
    return F.resize_image(image, list(new_hw), F.InterpolationMode.BILINEAR, antialias=True)

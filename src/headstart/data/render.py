"""What `augment.draw` drew, done to the pixels of a whole batch, on any device: no wait, no loop over images."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.data.augment import Changes
from headstart.data.colours import recolour
from headstart.data.resample import Axis, axis

FILL = (124, 116, 104)
"""What a picture is padded with: the mean colour of ImageNet."""


def render(images: Tensor, sizes_hw: Tensor, changes: Changes | None, canvas_hw: tuple[int, int]) -> Tensor:
    """(N, 3, H', W') uint8, zeros beside the pictures; of `images` (N, 3, H, W) uint8 and their (N, 2) sizes.

    Colours first, then what moves. Flips alone copy pixels; else each axis is resampled once, antialiased, as torch's
    bilinear resize does. Only then may `canvas_hw` be another than the images'.
    """
    if changes is None:
        return images
    pixels = images
    if changes.factors is not None and changes.order is not None:
        inside = _inside(sizes_hw, images.shape[-2:])
        colours = changes.factors, changes.order, changes.hue, changes.hue_place
        pixels = recolour(images.float(), sizes_hw, inside, *colours)
    if changes.window_xyxy is not None:
        pixels = _resample(pixels.float(), changes, canvas_hw)
    if pixels is not images:
        pixels = pixels.round_().to(torch.uint8).masked_fill_(~_inside(changes.sizes_hw, canvas_hw)[:, None], 0)
    if changes.window_xyxy is None:
        pixels = _flip(_flip(pixels, sizes_hw[:, 1], changes.flip_x, 3), sizes_hw[:, 0], changes.flip_y, 2)
    return pixels


def _inside(sizes_hw: Tensor, canvas_hw: tuple[int, ...]) -> Tensor:
    """(N, H, W) bool."""
    down, right = (torch.arange(side, device=sizes_hw.device) for side in canvas_hw)
    return (down < sizes_hw[:, :1])[:, :, None] & (right < sizes_hw[:, 1:])[:, None]


def _flip(images: Tensor, sides: Tensor, flipped: Tensor | None, axis: int) -> Tensor:
    """Those of (N,) `flipped`, within their own (N,) `sides`."""
    if flipped is None:
        return images
    places = _turned(torch.arange(images.shape[axis], device=images.device), sides, flipped)
    shape = [len(images), 1, 1, 1]
    shape[axis] = -1
    return images.gather(axis, places.view(shape).expand_as(images))


def _turned(places: Tensor, sides: Tensor, flipped: Tensor) -> Tensor:
    """(N, S): which source place stands at each of the (S,) places."""
    sides = sides[:, None]
    return torch.where(flipped[:, None] & (places < sides), sides - 1 - places, places)


def _resample(pixels: Tensor, changes: Changes, canvas_hw: tuple[int, int]) -> Tensor:
    """(N, 3, H', W') float."""
    rows = _axis(changes, 1, changes.flip_y, canvas_hw[0], pixels.shape[2])
    columns = _axis(changes, 0, changes.flip_x, canvas_hw[1], pixels.shape[3])
    moved = columns.mixed(rows.mixed(pixels).transpose(2, 3)).transpose(2, 3)
    shown = rows.shown[:, None, :, None] & columns.shown[:, None, None, :]
    return torch.where(shown, moved, torch.cat([moved.new_full((1, 1, 1), colour) for colour in FILL]))


def _axis(changes: Changes, xy: int, flipped: Tensor | None, canvas: int, source: int) -> Axis:
    """Of x (0) or y (1); flipped is what stands at the other end of the shown picture."""
    assert changes.window_xyxy is not None
    assert changes.place_xyxy is not None
    places = torch.arange(canvas, device=changes.sizes_hw.device).expand(len(changes.sizes_hw), -1)
    if flipped is not None:
        places = _turned(places, changes.sizes_hw[:, 1 - xy], flipped)
    return axis(changes.window_xyxy[:, xy::2], changes.place_xyxy[:, xy::2], places + 0.5, source, changes.taps)

"""What `augment.draw` drew, done to the pixels of a whole batch, on any device, without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.data.augment import Changes
from headstart.data.colours import recolour
from headstart.data.resample import Axis, axis

FILL = (124, 116, 104)
"""What a picture is padded with: the mean colour of ImageNet."""

_AT_ONCE = 2**19, 2**28
"""Numbers of a block of images, on a CPU and elsewhere: what a core's cache holds, and 1 GiB as floats."""


def render(images: Tensor, sizes_hw: Tensor, changes: Changes | None, canvas_hw: tuple[int, int]) -> Tensor:
    """(N, 3, H', W') uint8, zeros beside the pictures; of `images` (N, 3, H, W) uint8 and their (N, 2) sizes.

    Colours first, then what moves. Flips alone copy pixels; else each axis is resampled once, antialiased, as torch's
    bilinear resize does. Only then may `canvas_hw` be another than the images'.
    """
    if changes is None:
        return images
    number = max(1, _AT_ONCE[images.device.type != "cpu"] // images[0].numel())
    blocks = zip(images.split(number), sizes_hw.split(number), changes.split(number), strict=True)
    return torch.cat([_rendered(*block, canvas_hw) for block in blocks])


def _rendered(images: Tensor, sizes_hw: Tensor, changes: Changes, canvas_hw: tuple[int, int]) -> Tensor:
    pixels = images
    if changes.factors is not None and changes.order is not None:
        pixels = recolour(images.float(), sizes_hw, changes.factors, changes.order, changes.hue, changes.hue_place)
    if changes.window_xyxy is not None:
        return _resample(pixels.float(), changes, canvas_hw).round_().to(torch.uint8)
    if changes.factors is not None:
        height, width = (_inside(sizes_hw, axis, canvas_hw[axis]).float() for axis in (0, 1))
        pixels = pixels.mul_(_product(height, width)).round_().to(torch.uint8)
    return _flip(_flip(pixels, sizes_hw[:, 1], changes.flip_x, 3), sizes_hw[:, 0], changes.flip_y, 2)


def _inside(sizes_hw: Tensor, axis: int, canvas: int) -> Tensor:
    """(N, S) bool: which places of an axis, down (0) or right (1), are in the pictures."""
    return torch.arange(canvas, device=sizes_hw.device) < sizes_hw[:, axis, None]


def _product(rows: Tensor, columns: Tensor) -> Tensor:
    """(N, 1, H, W) of (N, H) and (N, W)."""
    return rows[:, None, :, None] * columns[:, None, None]


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
    down, right = (_inside(changes.sizes_hw, axis, canvas_hw[axis]) for axis in (0, 1))
    rows = _axis(changes, 1, changes.flip_y, down, pixels.shape[2])
    columns = _axis(changes, 0, changes.flip_x, right, pixels.shape[3])
    moved = columns.mixed(rows.mixed(pixels).transpose(2, 3)).transpose(2, 3)
    free = _product(down.float(), right.float()).sub_(_product(rows.shown, columns.shown))
    fill = torch.cat([moved.new_full((1, 1, 1), colour) for colour in FILL])
    return moved.contiguous().addcmul_(free, fill)


def _axis(changes: Changes, xy: int, flipped: Tensor | None, inside: Tensor, source: int) -> Axis:
    """Of x (0) or y (1); flipped is what stands at the other end of the shown picture."""
    assert changes.window_xyxy is not None
    assert changes.place_xyxy is not None
    places = torch.arange(inside.shape[1], device=inside.device).expand_as(inside)
    if flipped is not None:
        places = _turned(places, changes.sizes_hw[:, 1 - xy], flipped)
    window, place = (corners[:, xy::2] for corners in (changes.window_xyxy, changes.place_xyxy))
    return axis(window, place, places + 0.5, inside, source, changes.taps)

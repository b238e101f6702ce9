"""What augmentation does to the images of a batch: drawn on the host, for all of them at once, by their keys alone.

Sizes and boxes are changed here, as they must be known before any pixel; `render.render` changes the pixels, on any
device. Distributions are those of torchvision's `ColorJitter`, `RandomIoUCrop` and random flips, and of large scale
jitter (Ghiasi et al., Simple Copy-Paste, CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from headstart.config.schema import AugmentConfig
from headstart.data.draws import uniforms
from headstart.data.moves import FREE, Moves, TargetArrays, Window, move
from headstart.data.types import Size

_FACTORS, _ORDER, _HUE = FREE, FREE + 4, 3


@dataclass(frozen=True)
class Changes:
    """Of N images; None: nothing of the kind, in any batch of this configuration."""

    sizes_hw: Tensor
    """(N, 2) int64: of the pictures that are shown."""
    window_xyxy: Tensor | None = None
    """(N, 4) float32: the part of the source picture that is shown …"""
    place_xyxy: Tensor | None = None
    """(N, 4) float32: … and where it comes to lie, before flips; what is beyond the shown picture is cut, what of this
    one is left is filled."""
    taps: int = 0
    """How many source pixels a shown one is made of at most, along each axis."""
    flip_x: Tensor | None = None
    """(N,) bool: left becomes right."""
    flip_y: Tensor | None = None
    factors: Tensor | None = None
    """(N, 3) float32, of brightness, contrast and saturation: 1 for no change."""
    order: Tensor | None = None
    """(N, …) int64: which of those three come, one after another."""
    hue: Tensor | None = None
    """(N,) float32: turns of the colour circle …"""
    hue_place: Tensor | None = None
    """(N,) int64: … that come after so many of `order`."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Changes:
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Changes:
        return self.map(Tensor.pin_memory)

    def split(self, number: int) -> list[Changes]:
        """Of so many images each; fewer in the last."""
        starts = range(0, len(self.sizes_hw), number)
        return [self.map(lambda tensor, start=start: tensor[start : start + number]) for start in starts]

    def map(self, change: Callable[[Tensor], Tensor]) -> Changes:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items()})


Changed = tuple[Changes | None, TargetArrays, np.ndarray]
"""What becomes of the pixels, the objects, and the pictures' heights and widths."""


def draw(
    config: AugmentConfig,
    size: Size,
    keys: np.ndarray,
    sizes_hw: np.ndarray,
    objects: TargetArrays,
    canvas_hw: np.ndarray,
) -> Changed:
    """Of N images with these (N,) uint64 keys; None, and what was given, where the configuration changes nothing.

    An object stays as long as its centre is in the picture; its box is clipped to it. What a crop shows is resized as
    `size` says, but not beyond the picture's canvas, (N, 2) or (2,) height and width: one that does not depend on what
    else is in the batch. Objects that stay come first, in their order.
    """
    moves = Moves.drawn(config, keys)
    window = None
    if not moves.nothing:
        window, objects, sizes_hw = move(moves, size, keys, sizes_hw, objects, canvas_hw)
    colours = _colours(config, keys)
    if moves.nothing and not colours:
        return None, objects, sizes_hw
    return _changes(moves, window, sizes_hw, colours), objects, sizes_hw


def _colours(config: AugmentConfig, keys: np.ndarray) -> dict[str, np.ndarray]:
    """Fields of `Changes`. The four changes come in any order, those that are not there left out of it."""
    most = np.array([config.brightness, config.contrast, config.saturation, config.hue])
    if not most.any():
        return {}
    numbers = uniforms(keys, 8, _FACTORS)
    least = np.where(np.arange(4) == _HUE, -most, np.maximum(0, 1 - most))
    largest = np.where(np.arange(4) == _HUE, most, 1 + most)
    factors = (least + numbers[:, :4] * (largest - least)).astype(np.float32)
    order = numbers[:, _ORDER - _FACTORS :].argsort(axis=1)
    blends = (most > 0)[order] & (order != _HUE)
    found = {"factors": factors[:, :_HUE], "order": order[blends].reshape(len(keys), -1)}
    if not most[_HUE]:
        return found
    before = blends & (np.arange(4) < (order == _HUE).argmax(1)[:, None])
    return found | {"hue": factors[:, _HUE], "hue_place": before.sum(1)}


def _changes(moves: Moves, window: Window | None, sizes_hw: np.ndarray, colours: dict[str, np.ndarray]) -> Changes:
    arrays = {"flip_x": moves.flip_x, "flip_y": moves.flip_y} | colours
    taps = 0
    if window is not None:
        source, place = window
        arrays |= {"window_xyxy": source.reshape(-1, 4), "place_xyxy": place.reshape(-1, 4)}
        most = (np.diff(source, axis=1) / np.diff(place, axis=1)).max(initial=1)
        taps = 2 * int(np.ceil(most)) + 1
    tensors = {name: _tensor(array) for name, array in arrays.items() if array is not None}
    return Changes(_tensor(sizes_hw), taps=taps, **tensors)


def _tensor(array: np.ndarray) -> Tensor:
    kind = np.float32 if array.dtype.kind == "f" else array.dtype
    return torch.from_numpy(np.ascontiguousarray(array, kind))

"""Augmentation that is a finite set of views of each picture, so that what a frozen network makes of them can be kept.

Each epoch shows each image in one view, drawn by its key: the one that `augment.draw` shows it in.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from headstart.config.schema import AugmentConfig
from headstart.data.draws import uniforms

_FLIPS, _SCALE = 0, 2
"""Which of a key's numbers decide; those from `FREE` on are for other changes."""
FREE = 3


class View(NamedTuple):
    """What is done to a picture: scaled, then cut or padded to its former size around its middle, then flipped."""

    flip_x: bool = False
    """Left becomes right."""
    flip_y: bool = False
    scale: float = 1.0

    @property
    def augment(self) -> AugmentConfig:
        """That shows every picture in this view, whatever its key."""
        scales = [] if self.scale == 1 else [self.scale]
        return AugmentConfig("view", hflip=float(self.flip_x), vflip=float(self.flip_y), scales=scales)


def views(config: AugmentConfig) -> tuple[View, ...] | None:
    """All that an image is ever shown in; None where there is no end of them: colours, scales of a range, crops."""
    endless = (config.brightness, config.contrast, config.saturation, config.hue, config.crop)
    if any(endless) or (config.scale_min, config.scale_max) != (1.0, 1.0):
        return None
    return tuple(View(*view) for view in product(_sides(config.hflip), _sides(config.vflip), config.scales or [1.0]))


def shown_in(config: AugmentConfig, keys: np.ndarray) -> np.ndarray:
    """(N,) int64: which of `views(config)` images with these keys are shown in."""
    flip_x, flip_y = flips(config, keys).T
    columns = _place(config.hflip, flip_x), _place(config.vflip, flip_y), scale_numbers(config, keys)
    sizes = len(_sides(config.hflip)), len(_sides(config.vflip)), len(config.scales or [1.0])
    return np.ravel_multi_index(columns, sizes)


def flips(config: AugmentConfig, keys: np.ndarray) -> np.ndarray:
    """(N, 2) bool: left-right, upside down."""
    return uniforms(keys, 2, _FLIPS) < np.array([config.hflip, config.vflip])


def scale_numbers(config: AugmentConfig, keys: np.ndarray) -> np.ndarray:
    """(N,) int64: which of `config.scales`; 0 where there are none."""
    return (scale_share(keys) * max(1, len(config.scales))).astype(np.int64)


def scale_share(keys: np.ndarray) -> np.ndarray:
    """(N,): where between the first and the last a scale lies."""
    return uniforms(keys, 1, _SCALE)[:, 0]


def _sides(probability: float) -> tuple[bool, ...]:
    if probability in (0, 1):
        return (probability == 1,)
    return False, True


def _place(probability: float, flipped: np.ndarray) -> np.ndarray:
    """Where each stands in `_sides`."""
    return flipped.astype(np.int64) if len(_sides(probability)) == 2 else np.zeros(len(flipped), np.int64)

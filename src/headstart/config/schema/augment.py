"""Random changes to training images."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class AugmentConfig:
    """Random changes to training images. All zero: none."""

    name: str = MISSING
    hflip: float = 0.0
    """Probability of a left-right flip."""
    vflip: float = 0.0
    brightness: float = 0.0
    """Largest relative change; as torchvision's ColorJitter."""
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    """Largest change, 0 to 0.5 of the colour circle."""
    scale_min: float = 1.0
    """Scale jitter: the image is scaled by a factor between `scale_min` and `scale_max`, then cut or padded."""
    scale_max: float = 1.0
    scales: list[float] = field(default_factory=list)
    """In place of that range: the image is scaled by one of these, then cut or padded around its middle. With flips
    alone it has so many views (`data.views`), which can be stored."""
    crop: float = 0.0
    """Probability of a random crop that keeps boxes (SSD's minimum-IoU crop)."""

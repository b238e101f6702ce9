"""Pictures made small, for pages."""

from __future__ import annotations

import io

import PIL.Image
from torch import Tensor

QUALITY = 80


def small_jpeg(image: Tensor, side: int) -> bytes:
    """Of a (3, H, W) uint8 picture on any device, its long side `side` pixels at most."""
    picture = PIL.Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    picture.thumbnail((side, side))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=QUALITY, optimize=True)
    return written.getvalue()

"""Pixels as they are stored -> upright RGB.

Palettes are resolved, grey is repeated, 16 bits are cut to the upper 8, and what is transparent is laid on white
(cut-outs are drawn for a white page; black would draw an outline nobody annotated).
"""

from __future__ import annotations

import numpy as np
import PIL.Image

TRANSPOSE = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the image upright (TIFF 6.0, tag 274). 1 and invalid values: nothing to do."""


def turn(image: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        pixels = np.asarray(image).astype(np.int64) >> 8
        return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    page = PIL.Image.new("RGBA", image.size, "white")
    return PIL.Image.alpha_composite(page, image).convert("RGB")


def is_sixteen_bit(image: PIL.Image.Image) -> bool:
    """In colour Pillow itself drops the lower bits; only how it is stored tells."""
    stored = " ".join(str(tile[3]) for tile in getattr(image, "tile", []))
    return image.mode.startswith("I") or ";16" in stored

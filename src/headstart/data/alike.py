"""Pictures that are nearly the same: resized, compressed again, brightened.

Two pictures are alike where their difference hashes (64 bits: whether a pixel of a 9 x 8 thumbnail is brighter than the
one before it; N. Krawetz, "Kind of Like That", 2013) differ in few bits, and a larger thumbnail of theirs correlates.
A hash alone takes all plain pictures for one, and two frames of one scene as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import PIL.Image

MOST_BITS = 6
"""Of 64."""
LEAST_CORRELATION = 0.995
LEAST_CONTRAST = 4.0
"""Standard deviation, of 255: what has less is plain, and looks like every other plain picture."""
MOST_ASPECT = 1.03

_SIDE = 24
_ROWS = 512


@dataclass(frozen=True)
class Look:
    """A picture, as small as it can be recognised."""

    hash: int
    """64 bits."""
    thumbnail: np.ndarray
    """(576,) float32 grey, mean 0, length 1; all 0 for a plain picture."""
    aspect: float


def look(picture: PIL.Image.Image) -> Look:
    grey = picture.convert("L")
    box = PIL.Image.Resampling.BOX
    small = np.asarray(grey.resize((9, 8), box), dtype=np.int16)
    bits = np.packbits((small[:, 1:] > small[:, :-1]).ravel())
    large = np.asarray(grey.resize((_SIDE, _SIDE), box), dtype=np.float32).ravel()
    centred = large - large.mean()
    scale = np.linalg.norm(centred) if large.std() >= LEAST_CONTRAST else np.inf
    return Look(int(bits.view(np.uint64)[0]), centred / scale, picture.width / picture.height)


def pairs(ones: list[Look], others: list[Look]) -> Iterator[tuple[int, int]]:
    """(i, j) of each of `ones` that is like one of `others`."""
    if not ones or not others:
        return
    hashes, thumbnails, aspects = _arrays(others)
    for start in range(0, len(ones), _ROWS):
        some = ones[start : start + _ROWS]
        mine, small, shape = _arrays(some)
        near: np.ndarray = np.less_equal(np.bitwise_count(mine[:, None] ^ hashes[None]), MOST_BITS)
        near[~small.any(axis=1)] = False
        for i, j in np.argwhere(near).tolist():
            same_shape = max(shape[i] / aspects[j], aspects[j] / shape[i]) <= MOST_ASPECT
            if same_shape and float(small[i] @ thumbnails[j]) >= LEAST_CORRELATION:
                yield start + i, j


def _arrays(looks: list[Look]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hashes (N,), thumbnails (N, 576), aspects (N,)."""
    hashes = np.array([one.hash for one in looks], dtype=np.uint64)
    return hashes, np.stack([one.thumbnail for one in looks]), np.array([one.aspect for one in looks])

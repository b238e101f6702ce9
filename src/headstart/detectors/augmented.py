"""Test-time augmentation: a batch looked at mirrored and in other sizes, too, and the detections of all views made one.

Views are of the pictures as the network sees them, on its device, and without waiting for it: the data's own resizing
would undo another scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from headstart.config.postprocess import Rule
from headstart.config.schema import Flip
from headstart.data.batch import Batch, Detections
from headstart.detectors.coding import clipped
from headstart.detectors.merging import merged


@dataclass(frozen=True)
class View:
    """One way to look at a picture."""

    scale: float = 1.0
    flip: Flip | None = None


def views_of(rule: Rule) -> list[View]:
    """The picture as it is first; each scale with each of its mirrored views."""
    return [View(scale, flip) for scale, flip in product((1.0, *rule.scales), (None, *rule.flips))]


def over_views(detect: Callable[..., Detections], batch: Batch, rule: Rule, features: Any = None) -> Detections:
    """`detect(batch, features)` of every view, merged as `rule.across` says. `features` are of the picture as it is,
    where they are known."""
    others = views_of(rule)[1:]
    found = detect(batch, features)
    if not others:
        return found
    parts = [found, *(back(detect(seen(batch, view)), view, batch.sizes_hw) for view in others)]
    together = Detections(*(torch.cat(columns, 1) for columns in zip(*(vars(p).values() for p in parts), strict=True)))
    return merged(together, rule.merging_views, sources=1 + len(others))


def seen(batch: Batch, view: View) -> Batch:
    """The pictures of the batch in that view; its objects stay where they were."""
    assert batch.pending is None, "augmentation comes before views"
    images = batch.images
    for axis, flip in ((2, Flip.vertical), (3, Flip.horizontal)):
        mirrored = view.flip is flip
        if mirrored or view.scale != 1:
            images = _along(images, axis, batch.sizes_hw[:, axis - 2], mirrored)
    if view.scale == 1:
        return Batch(images, batch.sizes_hw, batch.targets, batch.frames)
    sizes = (batch.sizes_hw * view.scale).floor().long().clamp(min=1)
    return Batch(_scaled(images, view.scale), sizes, batch.targets, batch.frames)


def back(found: Detections, view: View, sizes_hw: Tensor) -> Detections:
    """Detections in a view of pictures of (N, 2) sizes, as boxes in the pictures themselves."""
    left, top, right, bottom = (found.boxes_xyxy / view.scale).unbind(-1)
    height, width = sizes_hw.to(left)[:, :, None].unbind(1)
    if view.flip is Flip.horizontal:
        left, right = width - right, width - left
    if view.flip is Flip.vertical:
        top, bottom = height - bottom, height - top
    boxes = clipped(torch.stack((left, top, right, bottom), -1), sizes_hw)
    return Detections(found.present, boxes.masked_fill(~found.present[..., None], 0), found.scores, found.labels)


def _along(images: Tensor, axis: int, sizes: Tensor, mirrored: bool) -> Tensor:
    """Each image mirrored within its own size, or as it is; its last line goes on in the padding, so that resizing
    mixes nothing else into it."""
    places = torch.arange(images.shape[axis], device=images.device)[None]
    last = sizes[:, None] - 1
    chosen = (last - places).clamp(min=0) if mirrored else places.minimum(last)
    shape = [len(images), 1, 1, 1]
    shape[axis] = -1
    return images.gather(axis, chosen.view(shape).expand_as(images))


def _scaled(images: Tensor, scale: float) -> Tensor:
    """The whole canvas, so that every picture in it is scaled exactly so."""
    resized = functional.interpolate(images.float(), scale_factor=scale, mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(images.dtype) if images.dtype == torch.uint8 else resized.to(images.dtype)

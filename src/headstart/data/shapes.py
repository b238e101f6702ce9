"""Data sets of drawn shapes: no files, no downloads, the same pictures everywhere.

The domains `source` and `target` (`drawing.STYLES`) share some classes and differ in style, clutter and object size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

import numpy as np
import PIL.Image

from headstart.config.schema import ShapesConfig
from headstart.data.boxes import box_areas
from headstart.data.drawing import HEIGHT, STYLES, WIDTH, make_scene, paint
from headstart.data.sampling import stable_seed
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.errors import UserError

VERSION = 1
"""Of the drawing: counted up when any picture changes, so that no result is compared across the change."""


def draw(config: ShapesConfig) -> DetectionData:
    """The data set; its pictures are painted when they are read.

    Picture `index` of a split depends on (draw_seed, domain, split, index) alone: a larger `num_train` adds pictures
    and changes none. Raises UserError for an unknown domain or a split without pictures.
    """
    if config.domain not in STYLES:
        raise UserError(f"dataset.domain={config.domain}: must be one of {', '.join(STYLES)}.")
    counts = {"train": config.num_train, "val": config.num_val}
    for split, count in counts.items():
        if count < 1:
            raise UserError(f"dataset.num_{split}={count}: must be 1 or more.")
    splits: dict[str, Sequence[AnnotatedImage]] = {
        split: ImageTable.of(_annotate(config.domain, split, index, config.draw_seed) for index in range(count))
        for split, count in counts.items()
    }
    origin = dict.fromkeys(splits, "painted by code")
    return DetectionData(config.name, STYLES[config.domain].class_names, splits, splits_from=origin)


def _annotate(domain: str, split: str, index: int, draw_seed: int) -> AnnotatedImage:
    style = STYLES[domain]
    seed = stable_seed("shapes", draw_seed, domain, split, index)
    shapes = make_scene(style, seed).shapes
    boxes = np.array([shape.box_xyxy for shape in shapes], dtype=np.float64).reshape(-1, 4)
    return AnnotatedImage(
        name=f"{split}/{index:05d}",
        read=partial(_read, domain, seed),
        size_wh=(WIDTH, HEIGHT),
        boxes_xyxy=boxes,
        labels=np.array([style.class_names.index(shape.class_name) for shape in shapes], dtype=np.int64),
        crowd=np.zeros(len(shapes), dtype=bool),
        difficult=np.zeros(len(shapes), dtype=bool),
        area=box_areas(boxes),
        digest=hashlib.blake2b(f"shapes {VERSION} {domain} {seed}".encode(), digest_size=16).hexdigest(),
    )


def _read(domain: str, seed: int) -> PIL.Image.Image:
    return paint(make_scene(STYLES[domain], seed))

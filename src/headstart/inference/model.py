"""A trained model as Python uses it: `headstart.load(path).predict(pictures)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from headstart.config.schema import PostprocessConfig, TileConfig
from headstart.data.canvases import Canvases
from headstart.detectors.extension import name_file
from headstart.errors import UserError
from headstart.inference.export import load_exported
from headstart.inference.found import Found, found_in
from headstart.inference.given import Given, taken
from headstart.inference.predictor import Find, Predictor
from headstart.inference.tiled import tiled

UNCHOSEN = 0.5
"""Threshold of a class for which validation chose none."""
Threshold = float | Mapping[str, float]
Picture = str | Path | PIL.Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class Model:
    """A detector that is ready to use; `headstart.load` gives one."""

    class_names: tuple[str, ...]
    thresholds: Mapping[str, float]
    """By class, all of them: what validation chose, else 0.5."""
    chosen: frozenset[str]
    """Classes for which validation chose one."""
    lineage: tuple[str, ...]
    """What it was trained on, one after another."""
    find: Find
    """Pictures -> all detections, whatever their score: what `predict` picks from, of a picture or of each of its
    tiles. With `dataclasses.replace` it may be another."""
    tile: TileConfig
    """How large pictures are divided; `size` is None: they are not."""
    least_score: float
    """Below this the network itself reports nothing (`postprocess.score_threshold`)."""
    batch_size: int = 8

    @overload
    def predict(self, images: Picture, threshold: Threshold | None = None) -> Found: ...

    @overload
    def predict(self, images: Sequence[Picture], threshold: Threshold | None = None) -> list[Found]: ...

    def predict(self, images: Picture | Sequence[Picture], threshold: Threshold | None = None) -> Found | list[Found]:
        """What is in a picture, or in each of a list of them.

        `images`: paths (turned upright as EXIF says), PIL images (taken as they are: `PIL.ImageOps.exif_transpose`
        turns one), numpy arrays (H, W, 3) uint8 RGB, tensors (3, H, W) uint8 RGB, or a list of such. Of a list
        `batch_size` pictures are in memory at a time. OpenCV's BGR is turned by `[..., ::-1]`.

        `threshold`: the least score, of all classes, or by class for those named; None: `thresholds`.

        Raises `UserError` for what is no picture, naming it; for an address: nothing is downloaded.
        """
        least = self.least(threshold)
        if isinstance(images, str | Path | PIL.Image.Image | np.ndarray | Tensor):
            return self._found([images], least)[0]
        parts = (images[start : start + self.batch_size] for start in range(0, len(images), self.batch_size))
        return [found for part in parts for found in self._found(part, least)]

    def least(self, threshold: Threshold | None) -> dict[str, float]:
        """The threshold of every class. Raises `UserError` for one that is no score, or of a class there is not."""
        given = dict.fromkeys(self.class_names, threshold) if isinstance(threshold, int | float) else threshold or {}
        for name, value in given.items():
            if name not in self.class_names:
                known = ", ".join(self.class_names[:20])
                raise UserError(f"thresholds: the model has no class {name!r}; it has {known}.")
            if not self.least_score <= value <= 1:
                raise UserError(
                    f"threshold={value:g} is not between {self.least_score:g}, below which this network reports "
                    "nothing (postprocess.score_threshold), and 1."
                )
        return {**self.thresholds, **given}

    def _found(self, images: Sequence[Picture], least: Mapping[str, float]) -> list[Found]:
        return self.found([taken(image) for image in images], least)

    def found(self, given: Sequence[Given], least: Mapping[str, float]) -> list[Found]:
        """As `predict`, of pictures that were read already."""
        predictions = tiled(self.find, self.tile)([one.pixels for one in given])
        pairs = zip(predictions, given, strict=True)
        return [found_in(found, self.class_names, least, one.size_wh, one.again) for found, one in pairs]


def load(
    path: str | Path,
    device: str | torch.device | None = None,
    batch_size: int = 8,
    autocast: torch.dtype | None = None,
    tile: TileConfig | None = None,
    postprocess: PostprocessConfig | None = None,
    extension: str | Path | None = None,
) -> Model:
    """The model of a finished run: `path` is the run's folder, or its model.safetensors or model.json.

    `device`: `cuda`, `cpu`, …; None: the GPU where there is one. `autocast`: the type to compute in, such as
    `torch.bfloat16`, which is faster on a GPU; None: float32. `tile`: None: as the run saw its pictures, whole unless
    it had `dataset.tile`. `postprocess`: what makes one of several detections; what it leaves open is as in the run.
    `extension`: the Python file of a detector of your own (docs/extending/detector.md), which is run.

    Raises `UserError` naming the file where there is no model, or a damaged one; nothing in it is ever run.
    """
    if extension is not None:
        name_file(extension)
    detector, exported = load_exported(Path(path).expanduser(), postprocess)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    thresholds = {name: exported.thresholds.get(name, UNCHOSEN) for name in exported.class_names}
    return Model(
        class_names=exported.class_names,
        thresholds=thresholds,
        chosen=frozenset(exported.thresholds) & frozenset(exported.class_names),
        lineage=exported.lineage,
        find=Predictor.of(detector, exported.size, batch_size, where, autocast, Canvases(exported.canvases_hw)),
        tile=tile or exported.tile,
        least_score=detector.rule.score_threshold,
        batch_size=batch_size,
    )

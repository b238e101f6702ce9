"""From a data set's configuration to the data set: the one place that knows every format."""

from __future__ import annotations

import gc
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.config import schema as s
from headstart.config.schema import CocoConfig, DatasetConfig, FileDatasetConfig, ShapesConfig, VocConfig, YoloConfig
from headstart.data import download, subsets
from headstart.data.policy import Policy
from headstart.data.readers import (
    classes,
    coco,
    csv_boxes,
    cvat,
    dota,
    hugging_face,
    label_studio,
    labelme,
    open_images,
    tree,
    via,
    voc,
    yolo,
)
from headstart.data.types import Defect, DetectionData
from headstart.errors import UserError
from headstart.visible import one_line

_log = logging.getLogger(__name__)
_NAMES_SHOWN = 3
_OBJECTS = 20_000
"""Made since the last look for circles, to look again; Python's own is 700 or some more."""


def read(config: DatasetConfig, seed: int, policy: Policy | None = None) -> DetectionData:
    """The data set of `config`, downloaded first where it says so, and cut to its `fraction` or `shots`.

    `seed` draws the subset where `config.subset_seed` is null; `policy` says what is done about defects, None: what
    `dataset.on` says. Whoever brings one has its defects to show; else what had to be mended is logged once. `show.py`
    says what there is.
    """
    _check_subset(config)
    return cut(whole(config, policy), config, seed)


def whole(config: DatasetConfig, policy: Policy | None = None) -> DetectionData:
    """As `read`, with all training images."""
    if isinstance(config, VocConfig | CocoConfig) and config.download:
        download.fetch(config.url_set, Path(config.root).expanduser())
    silent = policy is not None
    policy = policy or Policy(config.on if isinstance(config, FileDatasetConfig) else None)
    with tree.kept(), _rare_collection():
        data = _READERS[type(config)](config, policy)
    if data.defects and not silent:
        _log.warning("%s: %s", one_line(data.name), summarise(data.defects))
    if isinstance(config, FileDatasetConfig):
        data = _with_classes(data, policy)
    return data


@contextmanager
def _rare_collection() -> Iterator[None]:
    """A reader makes many small objects that stay: to look for circles among them again and again takes a sixth of the
    time."""
    kept = gc.get_threshold()
    gc.set_threshold(kept[0] and max(kept[0], _OBJECTS), *kept[1:])
    try:
        yield
    finally:
        gc.set_threshold(*kept)


def _with_classes(data: DetectionData, policy: Policy) -> DetectionData:
    """With what is odd about the use of its classes, which `show.py` puts into words."""
    known = len(policy.defects)
    classes.report_use(data.class_names, data.splits, policy)
    policy.check()
    return replace(data, defects=(*data.defects, *policy.defects[known:]))


def summarise(defects: Sequence[Defect]) -> str:
    """One line: how many of each kind, what was done, and where the first ones are."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for defect in defects:
        places[defect.kind, defect.action].append(defect.where)
    return "; ".join(_line(kind, action, where) for (kind, action), where in places.items())


def _line(kind: str, action: str, where: list[str]) -> str:
    more = ", …" if len(where) > _NAMES_SHOWN else ""
    return f"{len(where)} {kind}, {action} ({', '.join(map(one_line, where[:_NAMES_SHOWN]))}{more})"


def _draw_shapes(config: ShapesConfig, policy: Policy) -> DetectionData:
    from headstart.data import shapes

    return shapes.draw(config)


_READERS: dict[type, Callable[[Any, Policy], DetectionData]] = {
    VocConfig: voc.read,
    CocoConfig: coco.read,
    YoloConfig: yolo.read,
    s.CsvConfig: csv_boxes.read,
    s.LabelmeConfig: labelme.read,
    s.ViaConfig: via.read,
    s.CvatConfig: cvat.read,
    s.LabelStudioConfig: label_studio.read,
    s.DotaConfig: dota.read,
    s.OpenImagesConfig: open_images.read,
    s.HuggingFaceConfig: hugging_face.read,
    ShapesConfig: _draw_shapes,
}


def _check_subset(config: DatasetConfig) -> None:
    if not 0 < config.fraction <= 1:
        raise UserError(f"dataset.fraction={config.fraction}: must be above 0 and at most 1.")
    if config.shots is not None and config.shots < 1:
        raise UserError(f"dataset.shots={config.shots}: must be 1 or more images per class, or null for all.")
    if config.shots is not None and config.fraction < 1:
        raise UserError(
            f"dataset.fraction={config.fraction} and dataset.shots={config.shots} both choose the training images; "
            "set one of them."
        )


def cut(data: DetectionData, config: DatasetConfig, seed: int) -> DetectionData:
    """`data` with the training images that `fraction` or `shots` leave."""
    train = data.splits["train"]
    seed = seed if config.subset_seed is None else config.subset_seed
    if config.shots is not None:
        used, how = subsets.take_shots(train, config.shots, len(data.class_names), seed), f"shots={config.shots}"
    elif config.fraction < 1:
        used, how = subsets.take_fraction(train, config.fraction, seed), f"fraction={config.fraction:g}"
    else:
        return data
    origin = f"{data.splits_from['train']}, dataset.{how} of its {len(train)}"
    return replace(data, splits={**data.splits, "train": used}, splits_from={**data.splits_from, "train": origin})

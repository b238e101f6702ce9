"""`.weights` files of Darknet as a source: YOLOv3 whole, or Darknet-53, under the names of timm's (Redmon & Farhadi,
2018).

A file is a header, and after it the float32 of all layers in the network's order: of a convolution with batch
normalisation its bias, weight, mean, variance and then the kernels; of one without, bias and kernels. Darknet adds
0.00001 to the variance where it trains on a GPU, which is torch's epsilon, and 0.000001 to its root on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.models._meta import _COCO_CATEGORIES

from headstart.config.fitting import refuse_darknet
from headstart.config.schema import BackboneConfig, DarknetConfig
from headstart.detectors.cells import STRIDES
from headstart.detectors.interface import PLAIN, Detector
from headstart.detectors.yolov3 import PER_CELL, YOLOv3Detector
from headstart.errors import UserError
from headstart.transfer.class_rows import NO_CLASS
from headstart.transfer.types import SourceWeights

COCO = tuple(name for name in _COCO_CATEGORIES if name.lower() not in NO_CLASS)
"""Of the 80 rows of Darknet's COCO models, in its order."""
BODY = 40_620_640
"""Numbers of Darknet-53 up to its last map …"""
CLASSIFIER = 1000 * (1024 + 1)
"""… of the layer that classifies ImageNet …"""
FUSION = 20_923_392
"""… of what YOLOv3 has behind the body, but for the last layer of each map …"""
OF_A_ROW = PER_CELL * (1024 + 512 + 256 + 3)
"""… and of each row of those: 4 of a box, 1 of the objectness, and one for each class."""
WIDTH = 256
"""`backbone.neck_channels` of the paper."""
_NORM = ("bias", "weight", "running_mean", "running_var")


def load_darknet(config: DarknetConfig, backbone: BackboneConfig, detector: Detector) -> SourceWeights:
    """All weights for `model=yolov3` where the file has them, else those of the body.

    Raises `UserError` for another backbone or width, and where the file is absent, cut or none of Darknet's.
    """
    if problem := refuse_darknet(backbone):
        raise UserError(problem)
    path = Path(config.path).expanduser()
    numbers = _numbers(path)
    classes = _classes_of(len(numbers))
    whole = classes is not None and isinstance(detector, YOLOv3Detector)
    names = _class_names(config, classes) if whole else None
    if whole and backbone.neck_channels != WIDTH:
        raise UserError(
            f"source.path={path} holds the whole of YOLOv3, whose maps are {WIDTH // 2} to {2 * WIDTH} channels wide: "
            f"backbone.neck_channels={backbone.neck_channels} must be {WIDTH}."
        )
    tensors = dict(_tensors(_Reader(numbers), detector, classes if whole else None))
    library = detector.library_names()
    return SourceWeights(
        kind="darknet",
        tensors=tensors,
        expected=("",) if whole else tuple(name for name in library if not name.endswith("num_batches_tracked")),
        row_names=names,
        preprocessing=PLAIN,
        lineage=_lineage(path, classes),
        where=str(path),
        unused=() if whole or len(numbers) == BODY else ("what lies behind the body",),
    )


def _lineage(path: Path, classes: int | None) -> tuple[str, ...]:
    return ("imagenet",) if classes is None else ("imagenet", "coco" if classes == len(COCO) else path.stem)


def _class_names(config: DarknetConfig, classes: int | None) -> tuple[str, ...]:
    names = tuple(config.class_names) or COCO
    if len(names) == classes:
        return names
    given = (
        f"source.class_names lists {len(names)}" if config.class_names else f"COCO, which is assumed, has {len(COCO)}"
    )
    raise UserError(
        f"source.path={config.path} has a head of {classes} classes, but {given}: list the class of each row with "
        "source.class_names, in order."
    )


# ------------------------------------------------------------------------------------------------- the file


def _numbers(path: Path) -> np.ndarray:
    """All behind the header. Raises `UserError` where they are as many as no network's of these."""
    if not path.is_file():
        raise UserError(f"source.path={path}: no such file.")
    size, header = path.stat().st_size, _header(path)
    if (size - header) % 4 or not _is_known((size - header) // 4):
        counts = (BODY, BODY + CLASSIFIER, _whole(0), _whole(len(COCO)))
        body, classifier, none, coco = (f"{header + 4 * count:,}" for count in counts)
        raise UserError(
            f"source.path={path}: it has {size:,} bytes. Expected are {body} of Darknet-53 (darknet53.conv.74), "
            f"{classifier} with its classifier, or of YOLOv3 {none} and {4 * OF_A_ROW:,} for each class: {coco} with "
            f"COCO's {len(COCO)}. It is cut, or another network's: get it again."
        )
    return np.fromfile(path, "<f4", offset=header)


def _header(path: Path) -> int:
    """Bytes: three int32 of the version, and the number of pictures seen, which has 8 bytes since version 0.2."""
    head = np.fromfile(path, "<i4", count=3)
    if len(head) < 3 or not ((head >= 0) & (head < 1000)).all():
        raise UserError(
            f"source.path={path} is no .weights file of Darknet: its first 12 bytes are no version "
            f"({', '.join(map(str, head)) or 'it has fewer'})."
        )
    return 12 + (8 if 10 * head[0] + head[1] >= 2 else 4)


def _whole(classes: int) -> int:
    return BODY + FUSION + (5 + classes) * OF_A_ROW


def _is_known(count: int) -> bool:
    return count in (BODY, BODY + CLASSIFIER) or _classes_of(count) is not None


def _classes_of(count: int) -> int | None:
    """Of a file of YOLOv3 with so many numbers; None: it is none."""
    classes, rest = divmod(count - _whole(0), OF_A_ROW)
    return classes if classes > 0 and rest == 0 else None


class _Reader:
    """Tensors, one after the other."""

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers = torch.from_numpy(numbers)
        self._at = 0

    def next(self, shape: Sequence[int]) -> Tensor:
        count = int(np.prod(shape))
        self._at += count
        return self._numbers[self._at - count : self._at].reshape(tuple(shape))


# ------------------------------------------------------------------------------------------------ its layers


def _tensors(reader: _Reader, detector: Detector, classes: int | None) -> Iterator[tuple[str, Tensor]]:
    """Under the detector's names; behind the body where there are `classes`."""
    shapes = {name: tensor.shape for name, tensor in detector.state_dict().items()}
    ending = ".conv.weight"
    for name in detector.library_names():
        if name.endswith(ending):
            yield from _unit(reader, shapes, name.removesuffix(ending))
    if classes is None:
        return
    for level in reversed(range(len(STRIDES))):
        for i in range(5):
            yield from _unit(reader, shapes, f"backbone.neck.fives.{level}.{i}")
        yield from _unit(reader, shapes, f"head.layers.{level}")
        yield from _last(reader, shapes, level, classes)
        if level:
            yield from _unit(reader, shapes, f"backbone.neck.narrow.{level - 1}")


def _unit(reader: _Reader, shapes: dict[str, torch.Size], layer: str) -> Iterator[tuple[str, Tensor]]:
    kernels = shapes[f"{layer}.conv.weight"]
    for part in _NORM:
        yield f"{layer}.bn.{part}", reader.next(kernels[:1])
    yield f"{layer}.conv.weight", reader.next(kernels)


def _last(reader: _Reader, shapes: dict[str, torch.Size], level: int, classes: int) -> Iterator[tuple[str, Tensor]]:
    """One layer in the file, whose rows are those of three: of each anchor a box, an objectness, the classes."""
    inputs = shapes[f"head.regression_head.{level}.weight"][1:]
    heads = {"regression_head": 4, "objectness_head": 1, "classification_head": classes}
    for part, shape in (("bias", ()), ("weight", inputs)):
        rows = reader.next((PER_CELL, 5 + classes, *shape))
        for head, found in zip(heads, rows.split(list(heads.values()), 1), strict=True):
            yield f"head.{head}.{level}.{part}", found.flatten(0, 1)

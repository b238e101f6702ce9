"""The contract between a detector and everything that transfers, trains or records it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.config.postprocess import Rule, rule_of
from headstart.config.schema import ModelConfig
from headstart.data.batch import Batch, Detections, Padded, take_rows
from headstart.data.types import Prediction
from headstart.detectors.augmented import over_views


@dataclass(frozen=True)
class Stage:
    """A part of the network, in order from input to output."""

    name: str
    """`stem`, `stage1` … `stageN`, `neck`, `head`."""
    prefixes: tuple[str, ...]
    """Names of the submodules (or parameters) that it holds, as in `named_modules()`."""


@dataclass(frozen=True)
class ClassAxis:
    """How the first axis of one tensor is laid out over classes: (anchors, background + classes, block)."""

    tensor: str
    """Name in the state dict."""
    anchors: int = 1
    """Repetitions, outermost: RetinaNet's and SSD's classification channels are anchor-major."""
    background: int = 0
    """1 where row 0 of each repetition is the background class."""
    block: int = 1
    """Consecutive rows of one class: 4 for a per-class box regression."""


@dataclass(frozen=True)
class Preprocessing:
    """What the weights expect of an image that is scaled to 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


PLAIN = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Pictures in 0..1 as they are."""


@dataclass(frozen=True)
class Features:
    """What a network makes of N images in front of its head."""

    batch: Tensor
    """(N, 3, H, W): normalised, padded to the right and below."""
    sizes_hw: Tensor
    """(N, 2) int64: height and width of each image in pixels, without the padding."""
    maps: dict[str, Tensor]
    """(N, C, h, w) each, as the head sees them, in its order."""
    body_maps: tuple[Tensor, ...]
    """(N, C, h, w) each, as they leave the body, before the neck."""

    def inside(self, level: Tensor) -> Tensor:
        """(N, h, w) bool: the cells of one of the maps that begin in the image rather than in the padding."""

        def along(axis: int) -> Tensor:
            cells, pixels = level.shape[axis], self.batch.shape[axis]
            return torch.arange(cells, device=level.device) * pixels < self.sizes_hw[:, axis, None] * cells

        return along(-2)[:, :, None] & along(-1)[:, None, :]


@dataclass(frozen=True)
class Places(Padded):
    """What a head's rows are about, for each of N images."""

    where: Tensor
    """(N, M) int64 indices of anchors or cells, or (N, M, 4) proposals xyxy in pixels."""

    def take(self, rows: Tensor) -> Places:
        """Those of the (N, K) rows."""
        return self.map(lambda tensor: take_rows(tensor, rows))


@dataclass(frozen=True)
class ClassLogits:
    """What a head says about the classes, before sigmoid or softmax."""

    logits: Tensor
    """(N, M, background + classes), float32 or finer."""
    places: Places


class Detector(nn.Module, ABC):
    """An object detector. `losses` and `detect`, no switch on `self.training`.

    It takes a `Batch`, normalises the images with `preprocessing`, sets the padding to zero after that, and computes
    in the autocast precision it is called in, but always decodes boxes and computes losses in float32.
    """

    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    size_divisible = 1
    """It pads batches to multiples of this many pixels …"""
    min_canvas = 1
    """… and to at least this many: a batch that has them is padded no further."""
    only_side: int | None = None
    """Of square canvases, where it takes these alone."""
    rule: Rule = rule_of(ModelConfig())
    """How several detections of one object become one, and what views of a picture are looked at."""

    code: str = ""
    """Digest of the user's own file that it is made by; empty where it is one of ours."""
    optional: tuple[str, ...] = ()
    """Prefixes of what a source of this architecture may lack, and which is new then: what extends its neck."""
    replaced: tuple[str, ...] = ()
    """Prefixes of what such a source may have, and which is left out: what its neck has in another's place."""

    @abstractmethod
    def losses(self, batch: Batch, features: Features | None = None) -> dict[str, Tensor]:
        """Named scalar losses, to be summed. An image may have no object.

        Ignored boxes are no objects; what would be background and lies in one by half of its area is left out, too
        (`detectors/ignored.py`).

        `features`: those of the same batch, where they are known already.
        """

    @abstractmethod
    def detect(self, batch: Batch, features: Features | None = None) -> Detections:
        """Detections above the score threshold, merged by `rule`'s method; the pictures are looked at once, as they
        are. `features` as in `losses`."""

    def find(self, batch: Batch, features: Features | None = None) -> Detections:
        """`detect`, of all views that `rule` asks for (test-time augmentation)."""
        return over_views(self.detect, batch, self.rule, features)

    def predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        """`find` for a list of (3, H, W) images, uint8 in 0..255 or float in 0..1, of any sizes."""
        return self.find(Batch.of(images)).per_image()

    def every_box(self, features: Features) -> tuple[Tensor, Tensor]:
        """(N, A, 4) boxes xyxy in pixels, not cut at the edges, and (N, A, classes) scores: all that `detect` chooses
        from, where it is as many of every picture of a size."""
        raise NotImplementedError

    @abstractmethod
    def stages(self) -> list[Stage]:
        """From input to output; together they hold every parameter and buffer exactly once."""

    @abstractmethod
    def library_names(self) -> dict[str, str]:
        """Tensor of the backbone, as named in this detector -> its name in the backbone library's own model.

        So that ImageNet weights of timm or torchvision find their place whatever the architecture built around them.
        """

    @abstractmethod
    def class_axes(self) -> list[ClassAxis]:
        """Every tensor whose first axis depends on the number of classes."""

    def predictors(self) -> tuple[str, ...]:
        """Names of the head's last classification and regression layers, or of what holds nothing else.

        The "last layers" of TFA (Wang et al., ICML 2020); every tensor of `class_axes` lies in one of them.
        """
        raise NotImplementedError

    def features(self, batch: Batch) -> Features:
        """The feature maps of the images, as `losses` and `detect` compute them."""
        return self.features_of(self.normalised(batch), batch.sizes_hw)

    def normalised(self, batch: Batch) -> Tensor:
        """(N, 3, H, W): what the network takes, on the canvas that it takes it on. No parameter has a part in it."""
        raise NotImplementedError

    def features_of(self, images: Tensor, sizes_hw: Tensor) -> Features:
        """Of what `normalised` gave, layer by layer through all stages but the head: `detectors/split.py` goes this
        way in two parts, so that a prefix that is frozen is gone through once."""
        raise NotImplementedError

    def class_logits(self, features: Features, places: Places | None = None) -> ClassLogits:
        """The head's logits at `places`, as another network of this architecture gave them for the same images.

        None: at all of the head's own, of which those outside the padding are present. Layers in training mode take
        this for another batch: batch normalisation in a head moves its statistics.
        """
        raise NotImplementedError


def stage_of_tensor(detector: Detector) -> dict[str, str]:
    """Name of every parameter and buffer in the state dict -> name of its stage.

    Raises `AssertionError` where the stages are no partition: a mistake in the detector, not the user's.
    """
    owner: dict[str, str] = {}
    for name in detector.state_dict():
        stages = [
            stage.name
            for stage in detector.stages()
            if any(name == prefix or name.startswith(prefix + ".") for prefix in stage.prefixes)
        ]
        assert len(stages) == 1, f"{name} is in the stages {stages}, not in exactly one"
        owner[name] = stages[0]
    return owner

"""The name of a file of stored features: of all that they depend on, so that any change of it makes another file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch

from headstart.data.images import FileImage
from headstart.data.types import AnnotatedImage
from headstart.data.views import View
from headstart.detectors.interface import Detector
from headstart.detectors.split import Cut
from headstart.features.borders import tensors_through

FORMAT = 1
"""Counted up where the same name would stand for other numbers."""
PACKAGES = ("headstart", "torch", "torchvision", "timm", "pillow")


@dataclass(frozen=True)
class Arithmetic:
    """In which a prefix is computed."""

    device: torch.device
    precision: str
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    """That the network is called in."""

    @classmethod
    def of(cls, trainer: Any) -> Arithmetic:
        """Lightning's, in a fit."""
        plugin = trainer.precision_plugin
        return cls(trainer.strategy.root_device, str(plugin.precision), plugin.forward_context)


def key(
    detector: Detector,
    cut: Cut,
    weights: str,
    images: Iterable[AnnotatedImage],
    views: Sequence[View],
    size: Sequence[Any],
    arithmetic: Arithmetic,
) -> str:
    """`weights`: digest of the prefix's tensors; `size`: of the pictures and of their canvas."""
    state = detector.state_dict()
    known = {
        "format": FORMAT,
        "packages": {name: version(name) for name in PACKAGES},
        "network": [type(detector).__name__, asdict(cut), [repr(detector.get_submodule(name)) for name in cut.layers]],
        **({"code": detector.code} if detector.code else {}),
        "weights": weights,
        "layout": [state[name].stride() for name in tensors_through(detector, cut.stage)],
        "normalisation": asdict(detector.preprocessing),
        "arithmetic": [arithmetic.device.type, arithmetic.precision],
        "size": [str(part) for part in size],
        "views": views,
        "pictures": [_picture(image) for image in images],
    }
    return hashlib.blake2b(json.dumps(known).encode(), digest_size=16).hexdigest()


def _picture(image: AnnotatedImage) -> tuple[Any, ...]:
    """A file's own bytes and how it is turned upright; not its name, and not what is annotated in it."""
    turned = image.read.orientation if isinstance(image.read, FileImage) else 1
    return image.digest, turned, image.size_wh

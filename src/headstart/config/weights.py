"""Weights that others trained and published: for which network, where they lie, and what is known of them.

One table (`published`), read by whoever loads them, refuses them or shows them. What nobody published is "unknown".
Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

from headstart.config.schema import (
    Architecture,
    BackboneLibrary,
    DFineSize,
    RTDetrSize,
    SourceKind,
    SSDVariant,
    Variant,
)

UNKNOWN = "unknown"
RESNET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

MeanStd = tuple[tuple[float, float, float], tuple[float, float, float]]


class Part(Enum):
    """What of a detector the weights fill."""

    detector = "detector"  # the whole of it
    trunk = "trunk"  # the backbone, trained to detect
    backbone = "backbone"  # trained to classify


@dataclass(frozen=True)
class Package:
    """A Python package that holds the file."""

    module: str
    file: str
    install: str
    """What pip is given."""


@dataclass(frozen=True)
class Published:
    """Weights, and the network they are for."""

    source: SourceKind
    part: Part
    title: str
    """torchvision's name of their enum, where it has one."""
    architecture: Architecture | None
    """None: under any detector."""
    variant: Variant | SSDVariant | None
    library: BackboneLibrary
    backbone: str
    """`backbone.architecture`."""
    trained_on: str
    score: str
    """As published."""
    score_from: str
    """On what, and by whom."""
    licence: str
    mib: float | None
    """Of the file; None where it is unknown before it is there."""
    place: str | Package
    """URL, name in the Hugging Face hub (`timm/…`), or the package that holds them."""
    size: DFineSize | RTDetrSize | None = None
    """`model.size`, where the architecture has several."""
    given: tuple[str, ...] = ()
    """What the source has to be given on the command line."""
    darknet: bool = False
    """Trained with Darknet's slope (`backbone.darknet`)."""
    tensorflow: bool = False
    """Trained with TensorFlow's padding and epsilon (`backbone.tensorflow`)."""
    mean_std: MeanStd = RESNET
    norm_eps: float | None = None
    """Of the backbone's normalisation, where it is another than our detector's."""
    stretched: int | None = None
    """Side of the squares that pictures were stretched to in training; None: they kept their shape."""


def installed(package: Package) -> Path | None:
    """The file, where the package is installed; nothing of it is run."""
    found = find_spec(package.module)
    return Path(found.origin).parent / package.file if found and found.origin else None

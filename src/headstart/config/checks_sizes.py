"""Image size and anchors: which may be left to the data (`null`). Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from headstart.config.checks_transfer import EXPORTED, read_description, source_folder
from headstart.config.fitting import taken_kind
from headstart.config.schema import Architecture, RunConfig, SourceKind, SSDVariant
from headstart.errors import UserError

SIZES = ("min_size", "max_size")
ANCHORS = ("anchor_scale", "anchors")
"""Of a detector with anchors, one of the two."""


def left_to_data(config: RunConfig) -> list[str]:
    """The settings that are null, for which the training boxes are to say the number."""
    null = [f"dataset.{name}" for name in SIZES if getattr(config.dataset, name) is None]
    return [*null, *(f"model.{name}" for name in ANCHORS if getattr(config.model, name, 1) is None)]


def size_problems(config: RunConfig) -> Iterator[str]:
    """An anchor scale that is none; and null where the source is a whole detector, whose own numbers fit as well."""
    scale = getattr(config.model, "anchor_scale", None)
    if scale is not None and not 0 < scale < float("inf"):
        yield f"model.anchor_scale={scale} must be a number above 0, or null for one found from the training boxes."
    if (anchors := getattr(config.model, "anchors", None)) is not None and (problem := anchors_problem(anchors)):
        yield problem
    null = left_to_data(config)
    if null and (own := _own(config)):
        yield (
            f"{', '.join(f'{key}=null' for key in null)} with source={config.source.name}: it is a whole detector, "
            f"trained with numbers of its own ({own}), and the data may ask for others. Give the numbers."
        )


def anchors_problem(anchors: Sequence[Sequence[float]]) -> str:
    """Why they are no nine sizes: empty where they are."""
    if len(anchors) == 9 and all(len(pair) == 2 and all(0 < side < float("inf") for side in pair) for pair in anchors):
        return ""
    given = ",".join(f"[{','.join(f'{side:g}' for side in pair)}]" for pair in anchors)
    return (
        f"model.anchors=[{given}] must be nine pairs [width,height] of pixels above 0, three for each map, those of "
        "the finest first; null finds nine from the training boxes."
    )


def _own(config: RunConfig) -> str:
    """Of a source that brings heads, the numbers that they were trained with; empty of any other."""
    kind = taken_kind(config)
    if kind is SourceKind.coco:
        return "torchvision's: pictures of 800 to 1333 pixels, or of 300 or 320 for SSDs; model.anchor_scale=1"
    if kind is SourceKind.coco_ssd and getattr(config.model, "variant", None) is SSDVariant.tf:
        return "dataset.min_size=300 dataset.max_size=300"
    if kind is SourceKind.darknet and config.model.architecture is Architecture.yolov3:
        return "Darknet's: squares of 320 to 608 pixels, the anchors of the paper, which are model.anchors' default"
    return _exported(str(getattr(config.source, "path", ""))) if kind is SourceKind.checkpoint else ""


def _exported(path: str) -> str:
    """As the model's description says; reading all of it, and refusing what is wrong with it, comes later."""
    file = source_folder(path) / EXPORTED[1]
    try:
        found = read_description(file)
        numbers = {f"dataset.{name}": found["preprocessing"][name] for name in SIZES}
        numbers |= {f"model.{name}": found["model"][name] for name in ANCHORS if name in found["model"]}
    except (UserError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"which {Path(path)} does not say"
    return " ".join(f"{key}={value}" for key, value in numbers.items())

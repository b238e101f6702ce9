"""Puts a source's weights into a detector, and rebuilds the head for the detector's classes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from headstart.detectors.backbones import set_norm_eps
from headstart.detectors.interface import ClassAxis, Detector, stage_of_tensor
from headstart.errors import UserError
from headstart.transfer.class_rows import ClassMatch, fits, keep_rows, match_classes, other_anchors
from headstart.transfer.types import LoadReport, SourceWeights

SHOWN = 5
"""Tensors that an error lists of each kind of mismatch."""


def apply_source(detector: Detector, weights: SourceWeights) -> LoadReport:
    """Copies the source's tensors into the detector, in place, and says what became of each.

    Tensors over classes are rebuilt by class name; their other rows keep their initial values. Also sets the
    detector's preprocessing, and the epsilon of the backbone's BatchNorm, where the weights need another.
    Raises `UserError`, with the detector untouched, where a mismatch is more than other classes.
    """
    filling = _fill(detector, weights)
    _refuse_mismatch(detector, weights, filling)
    state = detector.state_dict()
    with torch.no_grad():
        for name, value in filling.values.items():
            state[name].copy_(value)
    if weights.preprocessing is not None:
        detector.preprocessing = weights.preprocessing
    if weights.norm_eps is not None:
        set_norm_eps(detector, weights.norm_eps)
    return _report(detector, weights, filling)


@dataclass
class _Filling:
    """What will be copied, and what does not match."""

    match: ClassMatch
    values: dict[str, Tensor] = field(default_factory=dict)
    loaded: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    other_shape: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


def _fill(detector: Detector, weights: SourceWeights) -> _Filling:
    state = detector.state_dict()
    axes = {axis.tensor: axis for axis in detector.class_axes()}
    filling = _Filling(match_classes(detector.class_names, weights.row_names or ()))
    filling.unexpected = [name for name in weights.tensors if name not in state]
    for name, target in state.items():
        source = weights.tensors.get(name)
        if source is None:
            _without_source(name, weights, filling)
        elif name in axes and weights.row_names is not None:
            _fill_classes(name, target, source, axes[name], detector, filling)
        elif source.shape != target.shape:
            filling.other_shape.append(f"{name} {tuple(source.shape)}, here {tuple(target.shape)}")
        else:
            filling.values[name] = source
            filling.loaded.append(name)
    return filling


def _without_source(name: str, weights: SourceWeights, filling: _Filling) -> None:
    layer, _, tensor = name.rpartition(".")
    if tensor == "num_batches_tracked" and f"{layer}.running_var" in weights.tensors:
        filling.loaded.append(name)  # FrozenBatchNorm has none, and nothing depends on it
    elif _covers(weights.expected, name):
        filling.missing.append(name)
    else:
        filling.new.append(name)


def _covers(prefixes: Collection[str], name: str) -> bool:
    return any(prefix in ("", name) or name.startswith(prefix + ".") for prefix in prefixes)


def _fill_classes(
    name: str, target: Tensor, source: Tensor, axis: ClassAxis, detector: Detector, filling: _Filling
) -> None:
    num_rows = len(filling.match.row_names)
    if not fits(target, source, axis, num_rows):
        if other_anchors(target, source, axis, num_rows):
            filling.new.append(name)
        else:
            filling.other_shape.append(
                f"{name} {tuple(source.shape)} over {num_rows} rows, here {tuple(target.shape)} over "
                f"{axis.background + len(detector.class_names)}"
            )
        return
    value, kept = keep_rows(target, source, axis, filling.match)
    whole = kept == axis.background + len(detector.class_names)
    if kept:
        filling.values[name] = value
    (filling.loaded if whole else filling.partial if kept else filling.new).append(name)


# --------------------------------------------------------------------------------------------- mismatches


def _refuse_mismatch(detector: Detector, weights: SourceWeights, filling: _Filling) -> None:
    problems = {
        "missing in the source": filling.missing,
        "of another shape in the source": filling.other_shape,
        "unknown to this detector": filling.unexpected,
    }
    lines = [f"  {len(names)} {what}: {_first(names)}" for what, names in problems.items() if names]
    if lines:
        raise UserError(
            f"source={weights.kind} ({weights.where or 'weights'}) does not fit this detector:\n"
            + "\n".join(lines)
            + f"\nLikely cause: {_likely_cause(detector, filling)}"
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _likely_cause(detector: Detector, filling: _Filling) -> str:
    owner = stage_of_tensor(detector)
    stages = {owner[entry.split(" ")[0]] for entry in (*filling.missing, *filling.other_shape)}
    if stages - {"neck", "head"} or not stages:
        return "the source has another backbone, or is another model: set backbone=… and model=… as in the source"
    if "neck" in stages:
        return "the source has another backbone.neck_channels or model.variant: set them as in the source"
    return "the source has another head: set model=…, model.variant and the anchors as in the source"


def _report(detector: Detector, weights: SourceWeights, filling: _Filling) -> LoadReport:
    axes = {axis.tensor for axis in detector.class_axes()}
    filled_head = bool(axes & {*filling.loaded, *filling.partial})
    rows = filling.match.row_of_class if filled_head else {}
    return LoadReport(
        source=weights.kind,
        lineage=weights.lineage,
        where=weights.where,
        loaded=tuple(filling.loaded),
        partial=tuple(filling.partial),
        kept_classes={detector.class_names[index]: filling.match.row_names[row] for index, row in rows.items()},
        new_classes=tuple(name for index, name in enumerate(detector.class_names) if index not in rows),
        new=tuple(filling.new),
        unexpected=weights.unused,
    )

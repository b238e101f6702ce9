"""Puts a source's weights into a detector, and rebuilds the head for the detector's classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from headstart.detectors.backbones import set_norm_eps
from headstart.detectors.interface import ClassAxis, Detector, stage_of_tensor
from headstart.detectors.prefixes import prefixes
from headstart.errors import UserError
from headstart.transfer.class_rows import ClassMatch, fits, keep_rows, match_classes, other_anchors
from headstart.transfer.types import LoadReport, SourceWeights

SHOWN = 5
"""Tensors that an error lists of each kind of mismatch."""


def apply_source(detector: Detector, weights: SourceWeights, aliases: Mapping[str, str] | None = None) -> LoadReport:
    """Copies the source's tensors into the detector, in place, and says what became of each.

    Tensors over classes are rebuilt by class name; their other rows keep their initial values. `aliases`: target
    class -> source class whose rows it takes. Also sets the detector's preprocessing, and the epsilon of the
    backbone's BatchNorm, where the weights need another. Raises `UserError`, with the detector untouched, where a
    mismatch is more than other classes, or an alias has no effect.
    """
    if aliases and weights.row_names is None:
        raise UserError(_idle_aliases(weights, "has no head with classes"))
    filling = _fill(detector, weights, match_classes(detector.class_names, weights.row_names or (), aliases))
    _refuse_mismatch(detector, weights, filling)
    if aliases and not filling.over_classes:
        raise UserError(_idle_aliases(weights, "has a head with other anchors, of which no row can be kept"))
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
    kept_rows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    over_classes: list[str] = field(default_factory=list)
    """Tensors over classes of which rows can be kept."""
    new: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    other_shape: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    """Of the source, in whose place the detector has something else."""


def _fill(detector: Detector, weights: SourceWeights, match: ClassMatch) -> _Filling:
    state = detector.state_dict()
    axes = {axis.tensor: axis for axis in detector.class_axes()}
    filling = _Filling(match)
    strange = [name for name in weights.tensors if name not in state]
    filling.replaced = [name for name in strange if _covers(detector.replaced, name)]
    filling.unexpected = [name for name in strange if name not in filling.replaced]
    for name, target in state.items():
        source = weights.tensors.get(name)
        if source is None:
            _without_source(name, weights, detector.optional, filling)
        elif name in axes and weights.row_names is not None:
            _fill_classes(name, target, source, axes[name], detector, filling)
        elif source.shape != target.shape:
            filling.other_shape.append(f"{name} {tuple(source.shape)}, here {tuple(target.shape)}")
        else:
            filling.values[name] = source
            filling.loaded.append(name)
    return filling


def _without_source(name: str, weights: SourceWeights, optional: Collection[str], filling: _Filling) -> None:
    layer, _, tensor = name.rpartition(".")
    if tensor == "num_batches_tracked" and f"{layer}.running_var" in weights.tensors:
        filling.loaded.append(name)  # FrozenBatchNorm has none, and nothing depends on it
    elif _covers(weights.expected, name) and not _covers(optional, name):
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
    filling.over_classes.append(name)
    if not kept:
        filling.new.append(name)
        return
    filling.values[name] = value
    if len(kept) == len(target):
        filling.loaded.append(name)
    else:
        filling.kept_rows[name] = kept


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
            + f"\nLikely cause: {_likely_cause(detector, weights, filling)}"
        )


def _idle_aliases(weights: SourceWeights, why: str) -> str:
    return f"source.aliases has no effect: source={weights.kind} {why}. Remove the setting, or use another source"


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _likely_cause(detector: Detector, weights: SourceWeights, filling: _Filling) -> str:
    if weights.tensors and not filling.loaded and not filling.other_shape and not filling.over_classes:
        return _other_names(detector, weights)
    owner = stage_of_tensor(detector)
    stages = {owner[entry.split(" ")[0]] for entry in (*filling.missing, *filling.other_shape)}
    necks = [prefix for stage in detector.stages() if stage.name == "neck" for prefix in stage.prefixes]
    stages |= {"neck"} if any(_covers(necks, name) for name in filling.unexpected) else set()
    if stages - {"neck", "head"} or not stages:
        return "the source has another backbone, or is another model: set backbone=… and model=… as in the source"
    if "neck" in stages:
        settings = "backbone.neck_channels, model.variant, model.neck or model.attention"
        return f"the source has another {settings}: set them as in the source"
    return "the source has another head: set model=…, model.variant and the anchors as in the source"


def _other_names(detector: Detector, weights: SourceWeights) -> str:
    expected, found = next(iter(detector.state_dict())), next(iter(weights.tensors))
    starts = ", ".join(prefix for prefix in prefixes(weights.tensors) if prefix.count(".") == 1)
    return (
        f"the source names its tensors otherwise: {found}, where this detector has {expected} (names there begin with "
        f"{starts or 'no prefix'}). It is another program's model, or another model: save the state dict of the same "
        "detector, under torchvision's names"
    )


def _report(detector: Detector, weights: SourceWeights, filling: _Filling) -> LoadReport:
    match, names = filling.match, detector.class_names
    rows = match.row_of_class if filling.over_classes else {}
    return LoadReport(
        source=weights.kind,
        lineage=weights.lineage,
        where=weights.where,
        loaded=tuple(filling.loaded),
        partial=tuple(filling.kept_rows),
        kept_classes={names[index]: match.row_names[row] for index, row in rows.items()},
        new_classes=tuple(name for index, name in enumerate(names) if index not in rows),
        new=tuple(filling.new),
        kept_rows=filling.kept_rows,
        ambiguous=tuple(names[index] for index in match.ambiguous) if filling.over_classes else (),
        unexpected=(*weights.unused, *filling.replaced),
    )

"""How detections become one: what model, run and command line say of it, settled. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headstart.config.schema import Architecture, Flip, Method, ModelConfig, PostprocessConfig

SCALES = (0.25, 4.0)
"""The least and the most that a picture is looked at: memory grows with the square."""


@dataclass(frozen=True)
class Rule:
    """`PostprocessConfig` with a value for everything."""

    iou_threshold: float
    score_threshold: float
    max_detections: int
    method: Method = Method.nms
    class_agnostic: bool = False
    sigma: float = 0.5
    flips: tuple[Flip, ...] = ()
    scales: tuple[float, ...] = ()
    across: Method = Method.weighted_boxes_fusion

    @property
    def merging_views(self) -> Rule:
        """What makes one of several views' detections, or several runs'."""
        return replace(self, method=self.across)


OF_MODEL = {
    "iou_threshold": "nms_threshold",
    "score_threshold": "score_threshold",
    "max_detections": "detections_per_image",
}
"""What the model's settings say of it: ours -> theirs."""


METHOD_OF = {Architecture.d_fine: Method.none, Architecture.rt_detr: Method.none}
"""How detections become one where nobody says it, if not by NMS: a query is taught to be the only one of its object."""


def rule_of(model: ModelConfig, *configs: PostprocessConfig) -> Rule:
    """Of `configs` a later one goes before an earlier one, and each before the model's own settings."""
    chosen: dict[str, Any] = {ours: getattr(model, theirs) for ours, theirs in OF_MODEL.items()}
    chosen["method"] = METHOD_OF.get(model.architecture, Method.nms)
    for config in configs:
        chosen |= given(config)
    return Rule(**chosen)


def given(config: PostprocessConfig) -> dict[str, Any]:
    """What is not null of it, lists as tuples."""
    said = {name: value for name, value in vars(config).items() if value is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}


def with_thresholds(model: ModelConfig, rule: Rule) -> ModelConfig:
    """`model` with those of `rule`, for a network is built with them."""
    return replace(model, **{theirs: getattr(rule, ours) for ours, theirs in OF_MODEL.items()})


def postprocess_problems(config: PostprocessConfig) -> Iterator[str]:
    """What is out of range, a line each."""
    for name in ("iou_threshold", "score_threshold"):
        value = getattr(config, name)
        if value is not None and not 0 <= value <= 1:
            yield f"postprocess.{name}={value:g} must be 0 to 1."
    if config.max_detections is not None and config.max_detections < 1:
        yield f"postprocess.max_detections={config.max_detections} must be 1 or more."
    if config.sigma is not None and not 0 < config.sigma < math.inf:
        yield f"postprocess.sigma={config.sigma:g} must be a number above 0: 0.5 is usual."
    if config.across is Method.none:
        yield (
            "postprocess.across=none would keep each object once for every view: use weighted_boxes_fusion, nms or "
            "soft_nms."
        )
    yield from _view_problems(config.flips or [], config.scales or [])


def _view_problems(flips: Sequence[Flip], scales: Sequence[float]) -> Iterator[str]:
    listed = f"postprocess.scales=[{','.join(f'{scale:g}' for scale in scales)}]"
    if not all(SCALES[0] <= scale <= SCALES[1] for scale in scales):
        yield f"{listed} must each be {SCALES[0]:g} to {SCALES[1]:g}."
    if 1 in scales:
        yield f"{listed}: the picture as it is is looked at anyway. Name the other scales."
    if len(set(scales)) < len(scales):
        yield f"{listed}: one is there twice. Name each once."
    if len(set(flips)) < len(flips):
        yield f"postprocess.flips=[{','.join(flip.value for flip in flips)}]: one is there twice. Name each once."

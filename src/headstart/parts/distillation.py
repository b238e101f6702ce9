"""The source's detector teaches the one that is trained (Shmelkov et al., ICCV 2017)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from headstart.config.schema import DistillConfig, RunConfig
from headstart.data.batch import Batch
from headstart.detectors.interface import Detector, Features, stage_of_tensor, take_rows
from headstart.detectors.torchvision_base import at_least_float32
from headstart.parts.part import Part
from headstart.transfer.types import LoadReport, TransferPlan

PLACES = 128
"""Of each image, where the outputs are compared."""


class Teacher:
    """A detector as the source left it, frozen. No `nn.Module`: whatever holds it does not save it."""

    kept: tuple[int, ...]
    """Indices of the classes whose rows are the source's."""
    with_neck: bool
    """Whether the source filled the neck: the maps behind a random one teach nothing."""

    def __init__(self, detector: Detector, report: LoadReport, config: DistillConfig) -> None:
        """`detector` is copied: give it right after `report` was made, before any training."""
        self.config = config
        self.detector = copy.deepcopy(detector).eval().requires_grad_(False)
        self.kept = tuple(i for i, name in enumerate(detector.class_names) if name in report.kept_classes)
        neck = {name for name, stage in stage_of_tensor(detector).items() if stage == "neck"}
        self.with_neck = neck <= set(report.loaded)

    def to(self, device: torch.device) -> Teacher:
        if next(self.detector.parameters()).device != device:
            self.detector.to(device)
        return self

    def losses(self, student: Detector, batch: Batch, student_features: Features) -> dict[str, Tensor]:
        """`distill_features` and `distill_outputs`, weighted, to be summed with the student's own losses.

        `student_features` are those of `batch`, with gradients. A loss whose weight is 0 is absent, and so is
        `distill_outputs` where no class is kept. The teacher moves to the images' device, and computes in the autocast
        precision of the caller.
        """
        losses = {}
        with torch.no_grad():
            features = self.to(batch.images.device).detector.features(batch)
        if self.config.features:
            losses["distill_features"] = self.config.features * feature_loss(student_features, features, self.with_neck)
        if self.config.outputs and self.kept:
            outputs = output_loss(student, self.detector, student_features, features, self.kept)
            losses["distill_outputs"] = self.config.outputs * outputs
        return losses


# ----------------------------------------------------------------------------------------------- features


def feature_loss(student: Features, teacher: Features, with_neck: bool) -> Tensor:
    """Mean over the maps of the squared difference, relative to the teacher's squares; the padding is left out."""
    ours, theirs = (list(f.maps.values()) if with_neck else list(f.body_maps) for f in (student, teacher))
    pairs = zip(ours, theirs, strict=True)
    return torch.stack([_map_loss(one, other, teacher.inside(other)) for one, other in pairs]).mean()


def _map_loss(student: Tensor, teacher: Tensor, inside: Tensor) -> Tensor:
    """Of (N, C, h, w) each, in the cells of `inside` (N, h, w)."""
    ours, theirs, here = at_least_float32(student), at_least_float32(teacher), inside[:, None]
    values = inside.sum() * teacher.shape[1]
    apart, size = (torch.where(here, level, 0).square().sum() / values for level in (ours - theirs, theirs))
    return apart / size.clamp_min(torch.finfo(theirs.dtype).tiny)


# ------------------------------------------------------------------------------------------------ outputs


def output_loss(
    student: Detector, teacher: Detector, student_features: Features, teacher_features: Features, kept: Sequence[int]
) -> Tensor:
    """Mean squared difference of the kept classes' logits where the teacher is surest of one of them."""
    background = max(axis.background for axis in teacher.class_axes())
    with torch.no_grad():
        found = teacher.class_logits(teacher_features)
        rows = _rows((*range(background), *(background + index for index in kept)), found.logits.device)
        best = surest_places(found.logits[..., rows], found.places.present, background)
        places, theirs = found.places.take(best), take_rows(found.logits, best)
    ours = student.class_logits(student_features, places).logits
    difference = comparable(ours[..., rows], background) - comparable(theirs[..., rows], background)
    apart = torch.where(places.present[..., None], difference, 0).square().sum()
    return apart / (places.present.sum() * len(rows)).clamp(min=1)  # no proposal, no difference


@lru_cache
def _rows(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Brought to the device once: a step that brought them again would wait for it."""
    return torch.tensor(numbers, device=device)


def surest_places(logits: Tensor, present: Tensor, background: int) -> Tensor:
    """(N, up to `PLACES`): rows of (N, M, background + kept) with the highest probability of a kept class; those that
    are not present come last.

    The softmax goes over these columns alone: the others are new in the teacher, and random.
    """
    scores = logits.softmax(dim=-1)[..., background:] if background else logits
    best = scores.amax(dim=-1).masked_fill(~present, -torch.inf)
    return best.topk(min(PLACES, best.shape[1])).indices


def comparable(logits: Tensor, background: int) -> Tensor:
    """Logits under a softmax are known up to a constant for each place, which is taken out."""
    return logits - logits.mean(dim=-1, keepdim=True) if background else logits


# --------------------------------------------------------------------------------- the part of a strategy


class DistillationPart(Part):
    name = "distill"
    needs_features = True

    def __init__(self, config: DistillConfig, freeze_through: str | None) -> None:
        self.config = config
        self.freeze_through = freeze_through

    def refusals(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
        features, outputs = self.config.features, self.config.outputs
        if min(features, outputs) < 0 or features == outputs == 0:
            yield f"strategy.distill: features={features} and outputs={outputs} must be 0 or more, one of them above 0"
        owner, loaded = stage_of_tensor(detector), set(report.loaded)
        trained = {name for group in plan.groups for name in group.parameters}
        moving = {owner[name] for name in trained & loaded} - {"head"}
        if not (moving and features) and not (report.kept_classes and outputs):
            yield (
                f"strategy.distill has nothing to teach: strategy.freeze_through={self.freeze_through} keeps all "
                f"features of {report.source}, and it shares no class with the target. Freeze less, or remove distill"
            )

    def equip(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> TransferPlan:
        self.teacher = Teacher(detector, report, self.config)
        return plan

    def losses(self, detector: Detector, batch: Batch, features: Features | None) -> dict[str, Tensor]:
        assert features is not None
        return self.teacher.losses(detector, batch, features)


def distillation(config: RunConfig) -> Part | None:
    strategy = config.strategy
    return None if strategy.distill is None else DistillationPart(strategy.distill, strategy.freeze_through)

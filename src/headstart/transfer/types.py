"""What passes between source, detector, strategy and training."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from headstart.data.types import Size
from headstart.detectors.interface import Preprocessing


@dataclass(frozen=True)
class SourceWeights:
    """Weights of a source and what they know about themselves."""

    kind: str
    """`scratch`, `imagenet`, `coco`, `darknet`, `hub`, `checkpoint` …"""
    tensors: dict[str, Tensor]
    """Under the names of the detector that will take them; empty for scratch."""
    expected: tuple[str, ...]
    """Names or prefixes that the source must fill: `("",)` for a whole detector, `()` for scratch."""
    row_names: tuple[str, ...] | None = None
    """Class name of each row of the source's head, background and `N/A` slots included; None without a head."""
    preprocessing: Preprocessing | None = None
    """None: the backbone's own."""
    size: Size | None = None
    """Of the pictures that they were trained on; None: not known."""
    norm_eps: float | None = None
    """Epsilon of the backbone's normalisation layers, where the weights need another than ours (COCO_V1 of
    torchvision's ResNet-50 detectors: 0.0)."""
    lineage: tuple[str, ...] = ()
    """Where the weights come from, oldest first: `("imagenet", "coco")`."""
    where: str = ""
    """File, package or URL."""
    unused: tuple[str, ...] = ()
    """Names of tensors, as the source calls them, that are rightly left out: an ImageNet classifier."""


@dataclass(frozen=True)
class LoadReport:
    """What a source gave to a detector."""

    source: str
    lineage: tuple[str, ...]
    where: str
    loaded: tuple[str, ...]
    """Tensors filled whole: these alone may be frozen."""
    partial: tuple[str, ...]
    """Classification tensors whose rows were kept in part."""
    kept_classes: dict[str, str]
    """Target class -> source class that its rows come from."""
    new_classes: tuple[str, ...]
    """Target classes whose rows are new."""
    new: tuple[str, ...]
    """Tensors the source does not know: they keep their initial values."""
    kept_rows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Of each tensor in `partial`: the positions along its first axis that the source filled."""
    ambiguous: tuple[str, ...] = ()
    """Those of `new_classes` that stay new because more than one class of the source could be meant."""
    unexpected: tuple[str, ...] = ()
    """Tensors of the source with no place in the detector, explained ones only (an ImageNet classifier …)."""

    def as_rows(self) -> list[tuple[str, str]]:
        """(what, value) pairs for the table shown before training."""
        classes = ", ".join(
            f"{target}<-{source}" if target != source else target for target, source in self.kept_classes.items()
        )
        rows = [
            ("source", f"{self.source} ({' -> '.join(self.lineage) or 'random initialisation'})"),
            ("from", self.where or "-"),
            ("tensors loaded", str(len(self.loaded) + len(self.partial))),
            ("tensors new", str(len(self.new))),
            ("classes kept", classes or "-"),
            ("classes new", ", ".join(self.new_classes) or "-"),
        ]
        if self.ambiguous:
            names = ", ".join(self.ambiguous)
            rows.append(("ambiguous", f"{names}: new, as more than one match is possible (source.aliases decides)"))
        return rows


@dataclass(frozen=True)
class StagePlan:
    """One row of the plan."""

    stage: str
    parameters: int
    trainable: int
    """Parameters (scalars) that train, in one phase or another."""
    lr: float | None
    """None where nothing trains."""
    norm: str
    """What the normalisation layers do: `-` (none), `frozen`, `affine_only`, `train`, or a mix joined by `+`; where
    phases differ, of the last."""
    start_epoch: int | None = 0
    """Epochs done when the first of its tensors begins to train; None where nothing trains."""


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share one learning rate, weight decay and beginning."""

    name: str
    """`<stage>` or `<stage>/no_decay`, with `/from<epoch>` where a part of the stage begins later."""
    parameters: tuple[str, ...]
    lr: float
    weight_decay: float
    start_epoch: int = 0
    """Epochs done when they begin to train."""


@dataclass(frozen=True)
class PhasePlan:
    """What stands still in one part of the training."""

    name: str
    start_epoch: int
    """Epochs done when it begins."""
    frozen: frozenset[str]
    """Parameters and buffers that do not move in it."""
    eval_modules: frozenset[str]
    """Modules that stay in eval mode while training: fixed normalisation statistics, frozen stages."""
    lr_factor: float = 1.0


@dataclass(frozen=True)
class TransferPlan:
    """What trains, when, at what rate: made from a strategy, a detector and a load report; shown and recorded."""

    strategy: str
    stages: tuple[StagePlan, ...]
    groups: tuple[ParamGroup, ...]
    phases: tuple[PhasePlan, ...]
    """By their beginning; the first at epoch 0."""
    pulled: tuple[str, ...] = ()
    """Parameters that are pulled back to the source."""
    notes: tuple[str, ...] = field(default=())
    """Sentences that explain where the plan differs from the plain reading of the strategy."""

    @property
    def frozen(self) -> frozenset[str]:
        """Parameters and buffers that must be bit-equal after training: frozen in every phase."""
        return frozenset.intersection(*(phase.frozen for phase in self.phases))

    @property
    def trained_parameters(self) -> int:
        return sum(stage.trainable for stage in self.stages)

    def phase_at(self, epoch: int) -> PhasePlan:
        """The phase of an epoch, counted from 0."""
        return [phase for phase in self.phases if phase.start_epoch <= epoch][-1]

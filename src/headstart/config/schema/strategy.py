"""What learns, when and how fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from omegaconf import MISSING


class NormPolicy(Enum):
    """What normalisation layers do whose statistics the source filled; others always train."""

    frozen = "frozen"  # statistics and affine parameters stay
    affine_only = "affine_only"  # statistics stay, affine parameters train
    train = "train"  # statistics and affine parameters train
    recalibrate = "recalibrate"  # statistics of all layers estimated anew on the target's images, then affine_only


class Thaw(Enum):
    """Tensors that train although their stage is frozen."""

    norm = "norm"  # weights and biases of normalisation layers
    predictors = "predictors"  # the head's last classification and regression layers


class FeatureStore(Enum):
    """Whether what a frozen part of the network makes of each picture is computed once, and read back."""

    auto = "auto"  # where it changes nothing but the time, pays and is not too large; the plan says which
    off = "off"
    on = "on"  # or the run is refused, with the reason


@dataclass
class PhaseConfig:
    """A part of the training, until the next phase starts or the training ends."""

    start: float = MISSING
    """Below 1: the share of all epochs that lies before it, in whole epochs; from 1: that many epochs."""
    freeze_through: Optional[str] = None
    """As the strategy's own, which holds before the first phase."""
    lr_factor: float = 1.0
    """On every rate of this phase."""


@dataclass
class GradualConfig:
    """Phases that open one stage after the other, from the head to the input (ULMFiT, Howard & Ruder, ACL 2018)."""

    first: float = MISSING
    """When the frozen stage next to the head opens; counted as a phase's `start`."""
    last: float = MISSING
    """When the stem opens; the stages between them at even distances."""


@dataclass
class PullConfig:
    """After each step, trained tensors go back towards the source (L2-SP, Li et al., ICML 2018)."""

    strength: float = MISSING
    """alpha: a step with rate lr takes the share lr * alpha of the distance; weight decay is off for these tensors."""


@dataclass
class AdaptersConfig:
    """Low-rank changes of frozen convolutions and linear layers (LoRA, Hu et al., ICLR 2022), merged at the end."""

    rank: int = 8
    alpha: float = 16.0
    """The change is multiplied by alpha / rank."""


@dataclass
class DistillConfig:
    """The source's detector, frozen, teaches the one that is trained (Shmelkov et al., ICCV 2017)."""

    features: float = 1.0
    """Weight of the difference between the feature maps."""
    outputs: float = 1.0
    """Weight of the difference between the logits of the classes that both know."""


@dataclass
class StrategyConfig:
    """What learns, when and how fast. A strategy of your own is a YAML file with these keys."""

    name: str = MISSING
    freeze_through: Optional[str] = None
    """The last frozen stage, from the input: `stem`, `stage1` … `stageN`, `neck`, `head`; null: nothing is frozen.
    Tensors that the source did not fill are never frozen."""
    thaw: list[Thaw] = field(default_factory=list)
    """Tensors that train although their stage is frozen."""
    norm: NormPolicy = NormPolicy.affine_only
    """Normalisation layers outside the frozen stages."""
    lr: dict[str, float] = field(default_factory=dict)
    """Optimizer name -> base learning rate that works for this strategy; `optimizer.lr` goes before it."""
    lr_decay: Optional[float] = None
    """Factor on the rate from each stage of the backbone to the one before it (ViTDet: 0.7 to 0.9)."""
    lr_factors: dict[str, float] = field(default_factory=dict)
    """Stage -> factor on the base learning rate, in place of `lr_decay`; stages not named: 1."""
    gradual: Optional[GradualConfig] = None
    """`{first, last}`: the frozen stages open one after the other, the first at `first`, the stem at `last`; below 1 a
    share of the training, from 1 a number of epochs."""
    phases: dict[str, PhaseConfig] = field(default_factory=dict)
    """Name -> `{start, freeze_through, lr_factor}`: a later part of the training, in which something else is frozen."""
    pull: Optional[PullConfig] = None
    """`{strength}`: after a step with rate lr, trained tensors go back lr * strength of the way to the source."""
    adapters: Optional[AdaptersConfig] = None
    """`{rank, alpha}`: low-rank changes of the convolutions and linear layers of the frozen stages."""
    cosine_scale: Optional[float] = None
    """The last classification layers compare directions only, times this scale (TFA: 20); null: as they are."""
    distill: Optional[DistillConfig] = None
    """`{features, outputs}`: weights of what the frozen source teaches: feature maps, logits of shared classes."""
    interpolate: list[float] = field(default_factory=list)
    """Shares of the fine-tuned weights, 0 to 1: after training, mixtures of source and result are measured and the
    best is kept (WiSE-FT, Wortsman et al., CVPR 2022)."""
    feature_store: FeatureStore = FeatureStore.auto
    """Whether the outputs of the frozen stages are computed once for each picture, in each view that `augment` has
    of it (none: one, views: a few, others: no end of them, and nothing is stored), and read back, from a file in
    `<output_dir>/cache/features` that runs share; in the numbers that the network computes in, bfloat16 with
    `trainer.precision=bf16-mixed`. Then every picture lies on the largest one's canvas. In a YAML file: in quotes."""
    few_shot: bool = False
    """Refuse a source that knows none of the target's classes, and a training set that is not `dataset.shots=K`."""

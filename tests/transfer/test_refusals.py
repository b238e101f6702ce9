"""What cannot be obeyed, or would have no effect, is refused with both settings' names and what would work."""

import dataclasses

import pytest

from headstart.config.compose import compose
from headstart.config.schema import (
    AdamWConfig,
    AdaptersConfig,
    DistillConfig,
    NormPolicy,
    PhaseConfig,
    PullConfig,
    StrategyConfig,
    Thaw,
)
from headstart.errors import UserError
from headstart.parts.table import equip_all, parts_of
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.strategy import make_plan
from headstart.transfer.types import SourceWeights

SCRATCH = SourceWeights("scratch", {}, ())
ADAMW = AdamWConfig(name="adamw", weight_decay=0.1)
LORA, PULL, TEACHER = AdaptersConfig(), PullConfig(strength=1.0), DistillConfig()
PHASE = {"later": PhaseConfig(start=0.5)}

REFUSED = {
    "scratch with freezing": (
        "scratch",
        {"freeze_through": "stem"},
        ("source=scratch", "freeze_through=stem", "strategy=full"),
    ),
    "scratch with a later freezing": (
        "scratch",
        {"phases": {"later": PhaseConfig(0.5, "stem")}},
        ("source=scratch", "freeze_through=stem", "strategy=full"),
    ),
    "scratch with a pull": ("scratch", {"pull": PULL}, ("source=scratch", "strategy.pull", "strategy=full")),
    "scratch with a teacher": (
        "scratch",
        {"distill": TEACHER},
        ("source=scratch", "strategy.distill", "strategy=full"),
    ),
    "scratch with mixtures": ("scratch", {"interpolate": [0.5]}, ("source=scratch", "strategy.interpolate")),
    "scratch recalibrated": (
        "scratch",
        {"norm": NormPolicy.recalibrate},
        ("source=scratch", "norm=recalibrate", "strategy=full"),
    ),
    "a stage that is none": (
        "checkpoint",
        {"freeze_through": "layer4"},
        ("freeze_through=layer4", "stem, stage1, stage2"),
    ),
    "a phase's stage that is none": (
        "checkpoint",
        {"phases": {"later": PhaseConfig(0.5, "layer4")}},
        ("freeze_through=layer4", "stem, stage1, stage2"),
    ),
    "adapters and full training": (
        "checkpoint",
        {"adapters": LORA},
        ("adapters.rank=8", "freeze_through=null", "neck"),
    ),
    "adapters on stages that open": (
        "checkpoint",
        {"adapters": LORA, "freeze_through": "neck", "phases": PHASE},
        ("strategy.adapters", "phases", "Remove"),
    ),
    "adapters without rank": (
        "checkpoint",
        {"adapters": AdaptersConfig(rank=0), "freeze_through": "neck"},
        ("adapters.rank=0", "1 or more"),
    ),
    "few shots without base classes": (
        "imagenet",
        {"few_shot": True, "freeze_through": "head", "thaw": [Thaw.predictors]},
        ("strategy=mine", "source=imagenet", "source=checkpoint"),
    ),
    "a pull on nothing": (
        "imagenet",
        {"pull": PULL, "freeze_through": "neck"},
        ("pull.strength=1.0", "freeze_through=neck", "Freeze less"),
    ),
    "a push": ("checkpoint", {"pull": PullConfig(strength=-1.0)}, ("pull.strength=-1.0", "above 0")),
    "a teacher of nothing": (
        "imagenet",
        {"distill": TEACHER, "freeze_through": "neck"},
        ("strategy.distill", "freeze_through=neck", "Freeze less"),
    ),
    "a teacher who says nothing": ("checkpoint", {"distill": DistillConfig(0.0, 0.0)}, ("features=0.0", "outputs=0.0")),
    "mixtures of what did not move": (
        "imagenet",
        {"interpolate": [0.5], "freeze_through": "neck"},
        ("strategy.interpolate", "freeze_through=neck", "Freeze less"),
    ),
    "a share above 1": ("checkpoint", {"interpolate": [0.5, 1.5]}, ("interpolate=1.5", "0 to 1")),
    "mixtures with new statistics": (
        "checkpoint",
        {"interpolate": [0.5], "norm": NormPolicy.recalibrate},
        ("norm=recalibrate", "interpolate"),
    ),
    "thawing what is not frozen": ("checkpoint", {"thaw": [Thaw.norm]}, ("thaw=[norm]", "freeze_through=null")),
    "a decay among frozen stages": (
        "checkpoint",
        {"lr_decay": 0.5, "freeze_through": "stage2"},
        ("lr_decay=0.5", "freeze_through=stage2"),
    ),
    "a decay of nothing": ("checkpoint", {"lr_decay": 0.0}, ("lr_decay=0.0", "above 0")),
}


def complete_plan(strategy, detector, report, epochs=None):
    """As a run makes it."""
    parts = parts_of(dataclasses.replace(compose([]), strategy=strategy, optimizer=ADAMW))
    return equip_all(parts, detector, report, make_plan(strategy, ADAMW, detector, report, epochs))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tiny, weights_of):
    kind, strategy, words = REFUSED[name]
    detector = tiny()
    source = SCRATCH if kind == "scratch" else weights_of(tiny(seed=1), kind)
    report = apply_source(detector, source)
    config = StrategyConfig(name="mine", lr={"adamw": 1e-2}, **strategy)
    with pytest.raises(UserError) as raised:
        complete_plan(config, detector, report, epochs=4)
    for word in words:
        assert word in str(raised.value)


LET_THROUGH = {
    "a pull": {"pull": PULL},
    "a teacher of the outputs alone": {"distill": DistillConfig(0.0, 1.0), "freeze_through": "neck"},
    "adapters": {"adapters": LORA, "freeze_through": "neck"},
    "few shots": {"few_shot": True, "freeze_through": "head", "thaw": [Thaw.predictors]},
    "a decay": {"lr_decay": 0.5, "freeze_through": "stage1"},
}


@pytest.mark.parametrize("name", LET_THROUGH)
def test_let_through(name, tiny, weights_of):
    detector = tiny()
    report = apply_source(detector, weights_of(tiny(seed=1)))
    config = StrategyConfig(name="mine", lr={"adamw": 1e-2}, **LET_THROUGH[name])
    assert complete_plan(config, detector, report).groups

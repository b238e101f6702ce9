"""What the tests of transfer share: a tiny detector, sources for it, and ten steps of training."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from headstart.data.types import Target
from headstart.detectors.interface import Detector
from headstart.transfer.freezing import apply_plan, set_train_mode
from headstart.transfer.param_groups import optimizer_groups
from headstart.transfer.types import SourceWeights, TransferPlan


def _load_tiny() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_detector", Path(__file__).with_name("tiny_detector.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_tiny = _load_tiny()


@pytest.fixture
def tiny() -> Callable[..., Detector]:
    """Builds a `TinyDetector` with random BatchNorm statistics, so that an untouched tensor cannot be mistaken."""

    def build(class_names: tuple[str, ...] = ("a", "b", "c"), seed: int = 0, **settings) -> Detector:
        torch.manual_seed(seed)
        detector = _tiny.TinyDetector(class_names, **settings)
        for name, buffer in detector.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
        return detector

    return build


@pytest.fixture
def weights_of() -> Callable[..., SourceWeights]:
    """The weights of one detector as a source for another: `imagenet` gives the backbone alone."""

    def give(detector: Detector, kind: str = "checkpoint", **changes) -> SourceWeights:
        state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
        if kind == "imagenet":
            backbone = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
            return SourceWeights(kind, backbone, tuple(backbone), lineage=("imagenet",), **changes)
        background = any(axis.background for axis in detector.class_axes())
        changes.setdefault("row_names", (("__background__",) if background else ()) + tuple(detector.class_names))
        return SourceWeights(kind, state, ("",), **changes)

    return give


def a_batch(size: int = 32, seed: int = 1) -> tuple[list[Tensor], list[Target]]:
    """Two images of (3, size, size) with one box each."""
    generator = torch.Generator().manual_seed(seed)
    images = [torch.rand(3, size, size, generator=generator) for _ in range(2)]
    box = torch.tensor([[4.0, 4.0, size / 2, size / 2]])
    targets = [
        Target(i, box.clone(), torch.tensor([0]), torch.tensor([False]), (size, size), (size, size)) for i in range(2)
    ]
    return images, targets


@pytest.fixture
def batch() -> tuple[list[Tensor], list[Target]]:
    return a_batch()


@pytest.fixture
def train() -> Callable[..., None]:
    """Ten steps of AdamW, as the plan says."""

    def run(detector: Detector, plan: TransferPlan, steps: int = 10, size: int = 32) -> None:
        apply_plan(detector, plan)
        optimizer = torch.optim.AdamW(optimizer_groups(detector, plan))
        for step in range(steps):
            set_train_mode(detector, plan)
            images, targets = a_batch(size, seed=step)
            optimizer.zero_grad()
            torch.stack(list(detector.losses(images, targets).values())).sum().backward()
            optimizer.step()

    return run

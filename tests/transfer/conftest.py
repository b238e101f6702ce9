"""What the tests of transfer share: sources for the tiny detector, and ten steps of training."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors.interface import Detector
from headstart.transfer.freezing import apply_phase, set_train_mode
from headstart.transfer.param_groups import optimizer_groups
from headstart.transfer.types import SourceWeights, TransferPlan


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
    label, no, area = torch.tensor([0]), torch.tensor([False]), torch.tensor([(size / 2 - 4) ** 2])
    targets = [Target(i, box.clone(), label, no, no, area, (size, size), (size, size)) for i in range(2)]
    return images, targets


@pytest.fixture
def batch() -> tuple[list[Tensor], list[Target]]:
    return a_batch()


@pytest.fixture
def train() -> Callable[..., None]:
    """Ten steps of AdamW, as the plan says."""

    def run(detector: Detector, plan: TransferPlan, steps: int = 10, size: int = 32) -> None:
        apply_phase(detector, plan.phases[0])
        optimizer = torch.optim.AdamW(optimizer_groups(detector, plan))
        for step in range(steps):
            set_train_mode(detector, plan.phases[0])
            images, targets = a_batch(size, seed=step)
            optimizer.zero_grad()
            torch.stack(list(detector.losses(Batch.of(images, targets)).values())).sum().backward()
            optimizer.step()

    return run

"""torchvision's COCO files load whole, whatever torchvision wrote them, and only class rows are new."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection

from headstart.transfer.coco import with_new_names

OLD_NAMES = (
    (r"(fpn\.(?:inner|layer)_blocks\.\d+)\.0\.", lambda m: f"{m[1]}."),
    (r"(rpn\.head\.conv)\.0\.0\.", lambda m: f"{m[1]}."),
    (r"(head\.(?:classification|regression)_head\.conv)\.(\d+)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}."),
)
"""torchvision's names before 0.13, which its COCO files of 2019 to 2021 have."""


def as_written_before_0_13(model: nn.Module) -> dict[str, Tensor]:
    """The state dict with old names, and without counters, as FrozenBatchNorm2d leaves them out."""
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    for pattern, old in OLD_NAMES:
        state = {re.sub(pattern, old, name): tensor for name, tensor in state.items()}
    return state


@pytest.mark.parametrize("build", [detection.retinanet_resnet50_fpn, detection.fasterrcnn_mobilenet_v3_large_320_fpn])
def test_old_names_are_renamed_as_torchvision_itself_does(build: Callable[..., nn.Module]):
    torch.manual_seed(0)
    written = build(weights=None, weights_backbone=None, num_classes=91)
    old = as_written_before_0_13(written)
    assert set(old) - set(written.state_dict())
    with torch.device("meta"):
        theirs = build(weights=None, weights_backbone=None, num_classes=91)
    theirs.load_state_dict(old, strict=False, assign=True)  # not strict: the counters
    expected = {name: tensor for name, tensor in theirs.state_dict().items() if "num_batches" not in name}
    ours = with_new_names(old, written.state_dict())
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in expected.items())

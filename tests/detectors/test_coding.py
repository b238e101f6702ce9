"""Boxes and codes of many images at once are those of torchvision's `BoxCoder` for one."""

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import clip_boxes_to_image

from headstart.detectors.coding import clipped, decode, encode
from tests.waiting import no_waiting

WEIGHTS = [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)]
ANCHORS = torch.tensor([[-8.0, -4.0, 8.0, 4.0], [3.0, 5.0, 40.0, 17.5], [100.0, 90.0, 101.0, 250.0]])


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_codes_are_torchvisions_one_image_after_the_other(weights):
    corners = 50 * drawn(2, 3, 2)
    boxes = torch.cat([corners, corners + 60 * drawn(2, 3, 2).abs()], -1)
    with no_waiting():
        found = encode(boxes, ANCHORS, weights)
    expected = [BoxCoder(weights).encode_single(of_image, ANCHORS) for of_image in boxes]
    assert torch.equal(found, torch.stack(expected))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_boxes_are_torchvisions_one_image_after_the_other(weights):
    codes = 3 * drawn(2, 3, 4)
    codes[0, 0, 2:] = 1000.0
    with no_waiting():
        found = decode(codes, ANCHORS, weights)
    assert torch.equal(found, torch.stack([BoxCoder(weights).decode_single(of_image, ANCHORS) for of_image in codes]))


def test_boxes_are_clipped_each_to_its_own_image():
    boxes, sizes = 100 * drawn(2, 30, 4), [(40, 90), (70, 30)]
    found = clipped(boxes, torch.tensor(sizes))
    assert torch.equal(found, torch.stack([clip_boxes_to_image(*one) for one in zip(boxes, sizes, strict=True)]))

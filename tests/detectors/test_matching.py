"""Matching a whole batch is torchvision's matching of each image, absent rows left out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection._utils import Matcher, SSDMatcher
from torchvision.ops import box_iou

from headstart.detectors import matching
from headstart.detectors.ignored import in_ignored, left_out
from headstart.detectors.matching import match, match_ssd

RULES: dict[str, tuple[Callable[..., Tensor], dict[str, Any], Any]] = {
    "retinanet": (match, {"low": 0.4, "high": 0.5, "allow_low_quality": True}, Matcher(0.5, 0.4, True)),
    "rpn": (match, {"low": 0.3, "high": 0.7, "allow_low_quality": True}, Matcher(0.7, 0.3, True)),
    "regions": (match, {"low": 0.5, "high": 0.5}, Matcher(0.5, 0.5, False)),
    "ssd": (match_ssd, {"threshold": 0.5}, SSDMatcher(0.5)),
}
rule = pytest.mark.parametrize("rule", RULES)


def drawn(seed: int, *shape: int, whole: bool) -> Tensor:
    """Boxes within 0..60; with `whole` corners on a grid of 4, so that many IoUs are equal."""
    generator = torch.Generator().manual_seed(seed)
    low, size = torch.rand(2, *shape, 2, generator=generator)
    low, size = (40 * low, 2 + 18 * size) if not whole else ((10 * low).floor() * 4, 4 + (4 * size).floor() * 4)
    return torch.cat([low, low + size], dim=-1)


def of_each(matcher: Any, candidates: Tensor, boxes: Tensor, present: Tensor) -> Tensor:
    """By torchvision, image by image, in the rows of the padded boxes."""
    found = []
    for i in range(len(boxes)):
        rows, own = present[i].nonzero()[:, 0], candidates if candidates.ndim == 2 else candidates[i]
        if len(rows) == 0:
            found.append(torch.full((len(own),), -1))
            continue
        matches = matcher(box_iou(boxes[i, rows], own))
        found.append(torch.where(matches < 0, matches, rows[matches.clamp(min=0)]))
    return torch.stack(found)


@rule
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.booleans(), st.booleans())
def test_a_batch_is_matched_as_torchvision_matches_each_image(rule, seed, whole, shared):
    """Absent rows are anywhere, and look like any other; in the first image all are absent."""
    batched, settings, matcher = RULES[rule]
    candidates = drawn(seed, *(40,) if shared else (4, 40), whole=whole)
    boxes = drawn(seed + 1, 4, 6, whole=whole)
    present = torch.rand(4, 6, generator=torch.Generator().manual_seed(seed)) < 0.6
    present[0] = False
    assert torch.equal(batched(candidates, boxes, present, **settings), of_each(matcher, candidates, boxes, present))


@rule
def test_a_box_that_meets_no_candidate_is_treated_as_by_torchvision(rule):
    batched, settings, matcher = RULES[rule]
    candidates = drawn(0, 40, whole=True)
    boxes = torch.stack([drawn(1, 3, whole=True), drawn(2, 3, whole=True)])
    boxes[0, 1] += 1000
    present = torch.tensor([[True, True, False], [True, True, True]])
    assert torch.equal(batched(candidates, boxes, present, **settings), of_each(matcher, candidates, boxes, present))


@rule
@pytest.mark.parametrize("shared", [True, False])
def test_blocks_of_images_give_what_one_table_gives(rule, shared, monkeypatch):
    batched, settings, _ = RULES[rule]
    candidates, boxes = drawn(0, *(40,) if shared else (5, 40), whole=True), drawn(1, 5, 6, whole=True)
    present = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.6
    whole = batched(candidates, boxes, present, **settings)
    out = left_out(whole < 0, candidates, boxes, ~present)
    sizes = []
    plain = matching.shared_area
    monkeypatch.setattr(matching, "shared_area", lambda c, b: sizes.append(len(b)) or plain(c, b))
    monkeypatch.setattr(matching, "MOST_ELEMENTS", 2 * 40 * 6 + 1)
    assert torch.equal(batched(candidates, boxes, present, **settings), whole)
    assert sizes == [2, 2, 1]
    assert torch.equal(left_out(whole < 0, candidates, boxes, ~present), out)


def test_background_in_an_ignored_box_is_left_out_of_each_image():
    candidates, boxes = drawn(0, 40, whole=False), drawn(1, 5, 6, whole=False)
    ignored = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    ignored[0] = False
    background = torch.rand(5, 40, generator=torch.Generator().manual_seed(1)) < 0.7
    found = left_out(background, candidates, boxes, ignored)
    images = zip(background, boxes, ignored, strict=True)
    assert torch.equal(found, torch.stack([b & in_ignored(candidates, own[here]) for b, own, here in images]))
    assert found.any()
    assert (background & ~found).any()

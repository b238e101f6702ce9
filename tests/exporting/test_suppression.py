"""What stays of candidates, in a program of torch.export, is what stays without one, however few there are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from headstart.data.batch import Detections
from headstart.detectors import suppression
from headstart.exporting.program_file import without_ours
from tests.detectors.test_suppression import drawn


class Suppressing(nn.Module):
    def forward(self, present: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        found = suppression.suppressed(Detections(present, boxes, scores, labels), 0.5, 40)
        return found.present, found.boxes_xyxy, found.scores, found.labels


def tensors_of(found: Detections) -> tuple[Tensor, ...]:
    return found.present, found.boxes_xyxy, found.scores, found.labels


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    images = {0: Dim("images", min=1)}
    made = without_ours(export(Suppressing(), tensors_of(drawn()), dynamic_shapes=(images,) * 4))
    path: Path = tmp_path_factory.mktemp("program") / "model.pt2"
    torch.export.save(made, path)
    return torch.export.load(path).module()


@pytest.mark.parametrize("present", [0, 1, 2, 60])
@pytest.mark.parametrize("images", [1, 3])
def test_a_program_takes_as_many_candidates_as_there_are(program, images: int, present: int):
    candidates = drawn(images, seed=present)
    candidates.present[:] = False
    candidates.present[-1, :present] = True
    expected = suppression.suppressed(candidates, 0.5, 40)
    assert expected.present.sum() <= present
    for one, other in zip(program(*tensors_of(candidates)), tensors_of(expected), strict=True):
        assert torch.equal(one, other)

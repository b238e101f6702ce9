"""Suppression as one operator of a graph keeps what `suppressed` keeps, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from headstart.data.batch import Detections
from headstart.detectors.suppression import suppressed
from headstart.exporting.onnx_file import as_onnx
from headstart.exporting.program_file import without_ours

SCORE, IOU, MOST = 0.3, 0.4, 40


class Suppressing(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = suppressed(Detections(scores > SCORE, boxes, scores, labels), IOU, MOST)
        return found.boxes_xyxy, found.scores, found.labels, found.present.sum(1)


def candidates(images: int, rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Close together, so that many suppress others."""
    random = torch.Generator().manual_seed(seed)
    corners = 60 * torch.rand(images, rows, 2, generator=random)
    boxes = torch.cat([corners, corners + 20 + 20 * torch.rand(images, rows, 2, generator=random)], 2)
    scores = torch.rand(images, rows, generator=random)
    return boxes, scores, torch.randint(4, (images, rows), generator=random)


@pytest.fixture(scope="module")
def program() -> ExportedProgram:
    """For any number of images and of candidates."""
    batch, rows = Dim("batch", min=1), Dim("rows", min=MOST)
    dynamic = ({0: batch, 1: rows},) * 3
    return torch.export.export(Suppressing(), candidates(2, 50, 0), dynamic_shapes=dynamic)


def assert_kept(find: Any) -> None:
    for images, rows in ((1, 50), (3, 50), (2, 200)):
        given = candidates(images, rows, rows)
        expected = Suppressing()(*given)
        assert expected[3].min() > 3
        assert expected[3].max() < rows
        for one, other in zip(find(*given), expected, strict=True):
            assert torch.equal(torch.as_tensor(one), other)


def test_onnxs_operator_keeps_what_suppressed_keeps(program: ExportedProgram) -> None:
    assert_kept(in_onnx(program))


def in_onnx(program: ExportedProgram) -> Any:
    return as_onnx(program, ["boxes", "scores", "labels"], ["b", "s", "l", "c"])


@pytest.mark.parametrize("present", [0, 1, 2, 50])
@pytest.mark.parametrize("images", [1, 3])
def test_files_take_as_few_candidates_as_there_are(program: ExportedProgram, tmp_path: Path, images: int, present: int):
    """What torch has seen two of it takes to be two or more."""
    torch.export.save(without_ours(program), tmp_path / "model.pt2")
    ways = torch.export.load(tmp_path / "model.pt2").module(), in_onnx(program)
    boxes, scores, labels = candidates(images, 50, present)
    scores[:-1], scores[-1, present:] = 0, 0
    expected = Suppressing()(boxes, scores, labels)
    assert expected[3].sum() <= present
    for find in ways:
        for one, other in zip(find(boxes, scores, labels), expected, strict=True):
            assert torch.equal(torch.as_tensor(one), other)


class Sorting(nn.Module):
    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        first = values.sort(dim=1, descending=True, stable=True)
        return tuple(first) + tuple(values.sort(dim=0, stable=True)) + tuple(values.sort(stable=True))


def test_equals_are_sorted_in_onnx_as_they_came() -> None:
    dynamic = ({0: Dim("batch", min=1), 1: Dim("rows", min=1)},)
    given = torch.randint(4, (3, 50), generator=torch.Generator().manual_seed(0)).float()
    sort = as_onnx(torch.export.export(Sorting(), (given,), dynamic_shapes=dynamic), ["values"], [])
    for values in (given, given[:2, :7]):
        for one, other in zip(sort(values), Sorting()(values), strict=True):
            assert torch.equal(torch.as_tensor(one), other)


def test_a_program_of_torchs_operators_alone_keeps_what_suppressed_keeps(program: ExportedProgram) -> None:
    plain = without_ours(program)
    assert not any("headstart" in str(node.target) for node in plain.graph.nodes)
    assert_kept(plain.module())

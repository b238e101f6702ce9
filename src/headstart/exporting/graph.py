"""A detector as a graph of operators, for any number of pictures of any size: what every format is made from."""

from __future__ import annotations

import copy
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from headstart.data.batch import Batch, nothing
from headstart.detectors.interface import Detector

LEAST = 160
"""Pixels of a side that a program of torch.export is made for: below, most networks' coarsest map is one cell wide,
which torch takes for a special case."""
NO_PADDING = 1 << 30
"""Pixels: a picture as large as its canvas, whatever that is."""


class Detecting(nn.Module):
    """Of uint8 RGB pictures on a canvas (N, 3, H, W), and the (N, 2) heights and widths that they have of it: boxes
    (N, K, 4) xyxy in pixels, scores (N, K), labels (N, K) and how many of the K rows there are (N,)."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor, sizes_hw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = self.detector.detect(Batch(images, sizes_hw, nothing(1, 1, images.device), ()))
        return found.boxes_xyxy, found.scores, found.labels, found.present.sum(1)


class EveryBox(nn.Module):
    """Of float32 RGB pictures (N, 3, H, W) in 0..255 without padding: all boxes (N, A, 4) xyxy in pixels, not cut at
    the edges, and scores (N, A, classes)."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        sizes_hw = torch.full((1, 2), NO_PADDING, device=images.device)
        batch = Batch(images / 255, sizes_hw, nothing(1, 1, images.device), ())
        return self.detector.every_box(self.detector.features(batch))


class SamePadding(nn.Conv2d):
    """timm's convolution as TensorFlow pads it, in whole numbers: of sizes that are not known yet no roots and no
    comparisons are left."""

    def forward(self, input: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (1, 0):
            side, stride = input.shape[2 + axis], self.stride[axis]
            extent = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            missing = ((side + stride - 1) // stride - 1) * stride + extent - side  # of positive numbers, for ONNX
            pads += [missing // 2, missing - missing // 2]
        padded = functional.pad(input, pads)
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class AnyRotation(RotaryEmbeddingDinoV3):
    """timm's rotary embedding as every DINOv3 has it, of counts of cells that are not known yet."""

    def _create_embed(self, feat_shape: Sequence[int], no_aug: bool = False) -> Tensor:
        axes = [(torch.arange(cells) + 0.5) / cells for cells in feat_shape]
        middles = 2 * torch.stack(torch.meshgrid(axes, indexing="ij"), -1).flatten(0, 1) - 1
        return torch.cat(self._get_pos_embed_from_coords(middles), -1)


OF_ANY_SIZE: dict[type, type] = {Conv2dSame: SamePadding, RotaryEmbeddingDinoV3: AnyRotation}
"""What asks for sizes while it runs -> the same, without asking."""


def traced(detector: Detector, nms: bool, fixed_hw: Sequence[int] | None = None) -> ExportedProgram:
    """The graph of a copy of `detector`, which has `every_box`. `fixed_hw`: of pictures of one size."""
    network = _exportable(detector)
    start = max(network.min_canvas, LEAST)
    height, width = fixed_hw or (start + 96, start + 160)
    images = torch.zeros(2, 3, height, width, dtype=torch.uint8 if nms else torch.float32)
    batch, of_pictures = (
        Dim("batch", min=1),
        {} if fixed_hw else {2: Dim("height", min=LEAST), 3: Dim("width", min=LEAST)},
    )
    shapes = {0: batch, **of_pictures}
    if nms:
        sizes_hw = torch.tensor([[height, width]]).repeat(2, 1)
        arguments, dynamic, module = (images, sizes_hw), (shapes, {0: batch}), Detecting(network)
    else:
        arguments, dynamic, module = (images,), (shapes,), EveryBox(network)
    with torch.no_grad(), _unsaid():
        return _without_checks(torch.export.export(module, arguments, dynamic_shapes=dynamic))


def _without_checks(program: ExportedProgram) -> ExportedProgram:
    """What a library asserts of its own shapes, which hold whatever the pictures: ONNX has no operators for it."""
    for node in reversed(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


@contextmanager
def _unsaid() -> Iterator[None]:
    """Of a network that has no graph torch prints half of one, and logs; the error that it raises says why."""
    logging.disable(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def has_any_size(detector: Detector) -> bool:
    """Whether a graph may be of pictures of any size: on the smallest canvas no map is a single cell."""
    network = _exportable(detector)
    side = max(network.min_canvas, LEAST)
    with torch.no_grad():
        maps = network.features(Batch.of([torch.zeros(3, side, side, dtype=torch.uint8)])).maps
    return min(min(level.shape[-2:]) for level in maps.values()) > 1


def _exportable(detector: Detector) -> Detector:
    network: Any = copy.deepcopy(detector).cpu().eval()
    network.requires_grad_(False)
    network._memory_format = torch.contiguous_format
    network.to(memory_format=torch.contiguous_format)
    for module in network.modules():
        module.__class__ = OF_ANY_SIZE.get(type(module), type(module))
    return network

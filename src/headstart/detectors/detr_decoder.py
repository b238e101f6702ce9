"""What queries are refined by: D-FINE's decoder (Peng et al., ICLR 2025) and RT-DETR's (Zhao et al., CVPR 2024).

Layers of transformers, gone through here: in training and elsewhere alike, with boxes in float32, and nothing is asked
of the device. Boxes are cx, cy, width, height, in parts of the canvas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headstart.detectors.torchvision_base import at_least_float32


@dataclass(frozen=True)
class Answers:
    """What Q queries say of each of N images."""

    logits: Tensor
    """(N, Q, classes), float32 or finer."""
    boxes: Tensor
    """(N, Q, 4)"""
    steps: Tensor | None = None
    """(N, Q, 4 * bins) logits of how far each side is moved from `references`; D-FINE's alone."""
    references: Tensor | None = None
    """(N, Q, 4)"""

    def split(self, first: int) -> tuple[Answers, Answers]:
        """Of the first so many queries, and of the others."""
        return self._taken(slice(first)), self._taken(slice(first, None))

    def _taken(self, queries: slice) -> Answers:
        more = (None if tensor is None else tensor[:, queries] for tensor in (self.steps, self.references))
        return Answers(self.logits[:, queries], self.boxes[:, queries], *more)


@dataclass(frozen=True)
class Memory:
    """The maps, as the decoder sees them."""

    tokens: Tensor
    """(N, S, C): the cells of all maps."""
    scored: Tensor
    """(N, S, C): what the scores that choose queries are made of."""
    logits: Tensor
    """(N, S, classes): of a cell, whether a query should begin there."""
    anchors: Tensor
    """(1, S, 4): logits of the boxes that they begin with."""
    shapes: tuple[tuple[int, int], ...]
    """Height and width of each map."""


class Decoder(nn.Module):
    """`decoder`: transformers'."""

    layers: Any
    query_pos_head: Any
    class_embed: Any
    bbox_embed: Any

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        for name, child in decoder.named_children():
            self.add_module(name, child)
        for name, value in decoder.named_parameters(recurse=False):
            self.register_buffer(name, value.detach())  # two numbers of D-FINE's, that no one trains

    def forward(self, queries: Tensor, boxes: Tensor, memory: Memory, mask: Tensor | None) -> list[Answers]:
        """Behind each layer; `mask` (Q, Q) bool: which queries see which."""
        raise NotImplementedError

    def _seen(self, memory: Memory, boxes: Tensor, mask: Tensor | None) -> dict[str, Any]:
        """What a layer is given beside its queries."""
        return {
            "encoder_hidden_states": memory.tokens,
            "reference_points": boxes.unsqueeze(2),
            "spatial_shapes": torch.ones(memory.tokens.shape[1], 2),  # on the host: transformers counts cells by it
            "spatial_shapes_list": list(memory.shapes),
            "encoder_attention_mask": mask,
        }


class RTDetrDecoder(Decoder):
    def forward(self, queries: Tensor, boxes: Tensor, memory: Memory, mask: Tensor | None) -> list[Answers]:
        found: list[Answers] = []
        for layer, classes, moves in zip(self.layers, self.class_embed, self.bbox_embed, strict=True):
            seen = self._seen(memory, boxes.to(queries.dtype), mask)
            asked = self.query_pos_head(boxes.to(queries.dtype))
            queries = layer(queries, object_queries_position_embeddings=asked, **seen)
            moved = (at_least_float32(moves(queries)) + inverse_sigmoid(boxes)).sigmoid()
            found.append(Answers(at_least_float32(classes(queries)), moved))
            boxes = moved.detach()
        return found


class DFineDecoder(Decoder):
    """Each layer moves the four sides by a distribution over steps, on top of what the layers before it said."""

    up: Tensor
    reg_scale: Tensor
    integral: Any
    pre_bbox_head: Any
    lqe_layers: Any

    @property
    def table(self) -> Tensor:
        return step_table(self.up, self.reg_scale, self.integral.max_num_bins)

    def forward(self, queries: Tensor, boxes: Tensor, memory: Memory, mask: Tensor | None) -> list[Answers]:
        """Of one more than the layers: first what the first one says without a distribution."""
        table = self.table
        found: list[Answers] = []
        steps, before, first = boxes.new_zeros(()), boxes.new_zeros(()), boxes
        for i, layer in enumerate(self.layers):
            seen = self._seen(memory, boxes.to(queries.dtype), mask)
            asked = self.query_pos_head(boxes.to(queries.dtype)).clamp(-10, 10)
            queries = layer(queries, position_embeddings=asked, **seen)
            logits = at_least_float32(self.class_embed[i](queries))
            if i == 0:
                moved = (at_least_float32(self.pre_bbox_head(queries)) + inverse_sigmoid(boxes)).sigmoid()
                found, first = [Answers(logits, moved)], moved.detach()
            steps = at_least_float32(self.bbox_embed[i](queries + before)) + steps
            refined = moved_sides(first, expected(steps, table), self.reg_scale)
            found.append(
                Answers(at_least_float32(self.lqe_layers[i](logits, steps.to(queries.dtype))), refined, steps, first)
            )
            boxes, before = refined.detach(), queries.detach()
        return found


def inverse_sigmoid(values: Tensor, least: float = 1e-5) -> Tensor:
    values = values.clamp(0, 1)
    return torch.log(values.clamp(min=least) / (1 - values).clamp(min=least))


def step_table(up: Tensor, scale: Tensor, bins: int) -> Tensor:
    """(bins + 1,): what each step means, finer near 0; `up` (1,) and `scale` (1,) bound them."""
    most = up.abs() * scale.abs()
    powers = torch.arange(1, bins // 2, dtype=most.dtype, device=most.device)
    right = ((most + 1) ** (2 / (bins - 2))) ** powers - 1
    return torch.cat((-2 * most, -right.flip(0), torch.zeros_like(most), right, 2 * most))


def expected(steps: Tensor, table: Tensor) -> Tensor:
    """(N, Q, 4): the mean of (N, Q, 4 * bins) distributions; no product of matrices, which autocast would round."""
    return (steps.unflatten(-1, (4, -1)).softmax(-1) * table.to(steps.dtype)).sum(-1)


def moved_sides(boxes: Tensor, by: Tensor, scale: Tensor) -> Tensor:
    """(N, Q, 4): `boxes` with left, top, right and bottom moved outwards by so many `scale`-ths of their sides."""
    scale = scale.abs()
    centres, sides = boxes[..., :2], boxes[..., 2:] / scale
    least = centres - (0.5 * scale + by[..., :2]) * sides
    most = centres + (0.5 * scale + by[..., 2:]) * sides
    return torch.cat(((least + most) / 2, most - least), -1)

"""Queries that ask the maps for objects: D-FINE's decoder (Peng et al., ICLR 2025) and RT-DETR's (Zhao et al., CVPR
2024).

Layers of transformers, gone through here: in training and elsewhere alike, boxes in float32, and nothing is asked of
the device. Boxes are cx, cy, width, height, in parts of the canvas.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headstart.data.batch import take_rows
from headstart.detectors.constants import Constants
from headstart.detectors.denoising import Noised
from headstart.detectors.torchvision_base import at_least_float32

NARROWEST = 0.05
"""Side of the box that a query on the finest map begins with, in parts of the canvas; twice that on the next."""
EDGE = 0.01
"""Where a box begins nearer to the canvas's edge than this, its logits are too large to learn."""


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
        parts = [(tensor[:, :first], tensor[:, first:]) if tensor is not None else (None, None) for tensor in self]
        return Answers(*(part[0] for part in parts)), Answers(*(part[1] for part in parts))  # type: ignore[arg-type]

    def __iter__(self) -> Any:
        return iter((self.logits, self.boxes, self.steps, self.references))


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


class QueryHead(nn.Module):
    """`model`: transformers' network behind its neck, of which the layers are taken."""

    enc_output: nn.Module
    enc_score_head: nn.Module
    enc_bbox_head: nn.Module
    of_nothing: Tensor

    def __init__(self, model: Any, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.input_proj = model.decoder_input_proj
        for name in ("enc_output", "enc_score_head", "enc_bbox_head"):
            self.add_module(name, model.get_submodule(name))
        self.decoder = nn.Module()
        for name, child in model.decoder.named_children():
            self.decoder.add_module(name, child)
        for name, value in model.decoder.named_parameters(recurse=False):
            self.decoder.register_buffer(name, value.detach())  # two numbers that no one trains
        self._noise_of(getattr(model, "denoising_class_embed", None))
        self._constants = Constants()

    def _noise_of(self, embedding: nn.Embedding | None) -> None:
        """Its last row, of queries that are of nothing, is no class and is never moved: it is kept apart."""
        if embedding is None:
            return
        rows = embedding.weight.detach()
        self.denoising = nn.Embedding.from_pretrained(rows[:-1].clone(), freeze=False)
        self.register_buffer("of_nothing", rows[-1:].clone())

    def remember(self, maps: Mapping[str, Tensor]) -> Memory:
        levels = [project(level) for project, level in zip(self.input_proj, maps.values(), strict=True)]
        shapes = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        dtype, device = torch.promote_types(tokens.dtype, torch.float32), tokens.device
        anchors = self._constants.get((shapes, dtype, device), partial(anchor_logits, shapes, dtype, device))
        scored = self.enc_output(tokens * anchors.isfinite().all(-1, keepdim=True))
        return Memory(tokens, scored, at_least_float32(self.enc_score_head(scored)), anchors, shapes)

    def forward(self, memory: Memory, noised: Noised | None = None) -> tuple[list[Answers], Answers]:
        """What the queries say behind each layer, those of `noised` first, and what they began with, without those."""
        fewest: Any = torch.sym_min(self.queries, memory.logits.shape[1])
        chosen = memory.logits.amax(-1).topk(fewest, dim=1).indices
        content, logits = take_rows(memory.scored, chosen), take_rows(memory.logits, chosen)
        starts = memory.anchors.clamp(max=torch.finfo(memory.anchors.dtype).max).expand(len(chosen), -1, -1)
        references = at_least_float32(self.enc_bbox_head(content)) + take_rows(starts, chosen)
        begun = Answers(logits, references.sigmoid())
        queries, references, mask = content.detach(), references.detach(), None
        if noised is not None:
            queries = torch.cat((self._embedded(noised).to(queries.dtype), queries), 1)
            references, mask = torch.cat((noised.references, references), 1), noised.mask(fewest)
        return self.refined(queries, references.sigmoid(), memory, mask), begun

    def _embedded(self, noised: Noised) -> Tensor:
        rows = torch.cat((self.denoising.weight, self.of_nothing))
        return nn.functional.embedding(noised.labels, rows)

    @abstractmethod
    def refined(self, queries: Tensor, boxes: Tensor, memory: Memory, mask: Tensor | None) -> list[Answers]:
        """Behind each layer of the decoder; `mask` (Q, Q) bool: which queries see which."""

    def _seen(self, memory: Memory, boxes: Tensor, mask: Tensor | None) -> dict[str, Any]:
        """What a layer of the decoder is given beside its queries."""
        return {
            "encoder_hidden_states": memory.tokens,
            "reference_points": boxes.unsqueeze(2),
            "spatial_shapes": torch.ones(memory.tokens.shape[1], 2),  # on the host: transformers counts cells by it
            "spatial_shapes_list": list(memory.shapes),
            "encoder_attention_mask": mask,
        }


class RTDetrHead(QueryHead):
    def refined(self, queries: Tensor, boxes: Tensor, memory: Memory, mask: Tensor | None) -> list[Answers]:
        decoder: Any = self.decoder
        found: list[Answers] = []
        for layer, classes, moves in zip(decoder.layers, decoder.class_embed, decoder.bbox_embed, strict=True):
            asked = decoder.query_pos_head(boxes)
            seen = self._seen(memory, boxes, mask)
            queries = layer(queries, object_queries_position_embeddings=asked, **seen)
            moved = (at_least_float32(moves(queries)) + inverse_sigmoid(boxes)).sigmoid()
            found.append(Answers(at_least_float32(classes(queries)), moved))
            boxes = moved.detach()
        return found


class DFineHead(QueryHead):
    """Each layer moves the four sides by a distribution over steps, on top of what the layers before it said."""

    def refined(self, queries: Tensor, boxes: Tensor, memory: Memory, mask: Tensor | None) -> list[Answers]:
        """Of one more than the layers: first what the first one says without a distribution."""
        decoder: Any = self.decoder
        scale = decoder.reg_scale
        table = step_table(decoder.up, scale, decoder.integral.max_num_bins)
        found: list[Answers] = []
        steps, before, first = torch.zeros((), device=boxes.device), torch.zeros((), device=boxes.device), boxes
        for i, layer in enumerate(decoder.layers):
            asked = decoder.query_pos_head(boxes).clamp(-10, 10)
            queries = layer(queries, position_embeddings=asked, **self._seen(memory, boxes, mask))
            logits = at_least_float32(decoder.class_embed[i](queries))
            if i == 0:
                moved = (at_least_float32(decoder.pre_bbox_head(queries)) + inverse_sigmoid(boxes)).sigmoid()
                found, first = [Answers(logits, moved)], moved.detach()
            steps = at_least_float32(decoder.bbox_embed[i](queries + before)) + steps
            refined = moved_sides(first, expected(steps, table), scale)
            found.append(Answers(at_least_float32(decoder.lqe_layers[i](logits, steps)), refined, steps, first))
            boxes, before = refined.detach(), queries.detach()
        return found


def anchor_logits(shapes: Sequence[tuple[int, int]], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, S, 4): of a box on the middle of each cell; infinite where that is too near to an edge."""
    levels = []
    for level, (height, width) in enumerate(shapes):
        down = (torch.arange(height, dtype=dtype, device=device) + 0.5) / height
        right = (torch.arange(width, dtype=dtype, device=device) + 0.5) / width
        rows, columns = torch.meshgrid(down, right, indexing="ij")
        side = torch.full_like(rows, NARROWEST * 2.0**level)
        levels.append(torch.stack((columns, rows, side, side), -1).flatten(0, 1))
    boxes = torch.cat(levels)[None]
    valid = ((boxes > EDGE) & (boxes < 1 - EDGE)).all(-1, keepdim=True)
    return torch.log(boxes / (1 - boxes)).where(valid, torch.inf)


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
    """(N, Q, 4): the mean of (N, Q, 4 * bins) distributions."""
    return steps.unflatten(-1, (4, -1)).softmax(-1) @ table.to(steps.dtype)


def moved_sides(boxes: Tensor, by: Tensor, scale: Tensor) -> Tensor:
    """(N, Q, 4): `boxes` with left, top, right and bottom moved outwards by so many `scale`-ths of their sides."""
    scale = scale.abs()
    centres, sides = boxes[..., :2], boxes[..., 2:] / scale
    least = centres - (0.5 * scale + by[..., :2]) * sides
    most = centres + (0.5 * scale + by[..., 2:]) * sides
    return torch.cat(((least + most) / 2, most - least), -1)

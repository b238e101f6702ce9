"""Queries that ask the maps for objects; each begins at one of the best cells of all maps (Zhao et al., CVPR 2024).

Boxes are cx, cy, width, height, in parts of the canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headstart.data.batch import take_rows
from headstart.detectors.constants import Constants
from headstart.detectors.denoising import Noised
from headstart.detectors.detr_decoder import Answers, Decoder, Memory
from headstart.detectors.torchvision_base import at_least_float32

NARROWEST = 0.05
"""Side of the box that a query on the finest map begins with, in parts of the canvas; twice that on the next."""
EDGE = 0.01
"""Where a box begins nearer to the canvas's edge than this, its logits are too large to learn."""


class QueryHead(nn.Module):
    """`model`: transformers' network behind its neck, of which the layers are taken."""

    enc_output: nn.Module
    enc_score_head: nn.Module
    enc_bbox_head: nn.Module
    denoising: nn.Embedding
    of_nothing: Tensor

    def __init__(self, model: Any, decoder: Decoder, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.input_proj = model.decoder_input_proj
        for name in ("enc_output", "enc_score_head", "enc_bbox_head"):
            self.add_module(name, model.get_submodule(name))
        self.decoder = decoder
        self._noise_of(getattr(model, "denoising_class_embed", None))
        self._constants = Constants()

    def _noise_of(self, embedding: nn.Embedding | None) -> None:
        """Its last row, of queries that are of nothing, is no class and is never moved: it is kept apart."""
        if embedding is not None:
            rows = embedding.weight.detach()
            self.denoising = nn.Embedding.from_pretrained(rows[:-1].clone(), freeze=False)
            self.register_buffer("of_nothing", rows[-1].clone())

    def remember(self, maps: Sequence[Tensor]) -> Memory:
        levels = [project(level) for project, level in zip(self.input_proj, maps, strict=True)]
        shapes = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        dtype, device = torch.promote_types(tokens.dtype, torch.float32), tokens.device
        anchors = self._constants.get((shapes, dtype, device), partial(anchor_logits, shapes, dtype, device))
        scored = self.enc_output(tokens * anchors.isfinite().all(-1, keepdim=True))
        return Memory(tokens, scored, at_least_float32(self.enc_score_head(scored)), anchors, shapes)

    def forward(self, maps: Sequence[Tensor], noised: Noised | None = None) -> tuple[list[Answers], Answers]:
        """What the queries say behind each layer, those of `noised` first, and what they began with, without those."""
        memory = self.remember(maps)
        fewest: Any = torch.sym_min(self.queries, memory.logits.shape[1])
        chosen = memory.logits.amax(-1).topk(fewest, dim=1).indices
        content, logits = take_rows(memory.scored, chosen), take_rows(memory.logits, chosen)
        starts = memory.anchors.clamp(max=torch.finfo(memory.anchors.dtype).max).expand(chosen.shape[0], -1, -1)
        references = at_least_float32(self.enc_bbox_head(content)) + take_rows(starts, chosen)
        begun = Answers(logits, references.sigmoid())
        queries, references, mask = content.detach(), references.detach(), None
        if noised is not None:
            queries = torch.cat((self._embedded(noised.labels).to(queries.dtype), queries), 1)
            references, mask = torch.cat((noised.references, references), 1), noised.mask(fewest)
        return self.decoder(queries, references.sigmoid(), memory, mask), begun

    def _embedded(self, labels: Tensor) -> Tensor:
        last = len(self.denoising.weight) - 1
        return self.denoising(labels.clamp(max=last)).where((labels <= last)[..., None], self.of_nothing)


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

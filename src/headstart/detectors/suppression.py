"""Suppression of a whole batch, hard and soft: each class of each image by itself, and of each image the best.

Where classes are kept apart by shifts, these are in float64 and cost a box no digit: in float32, as torchvision has
them, two boxes of a late class can move over the threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import nms

from headstart.config.postprocess import Rule
from headstart.config.schema import Method
from headstart.data.batch import Detections, take_rows


def suppressed(candidates: Detections, iou_threshold: float, most: int, class_agnostic: bool = False) -> Detections:
    """At most `most` rows: of an image's candidates, (N, M) in any order, the best ones of which no better one of the
    same class has a higher IoU than `iou_threshold`. Of equal scores the first one is the better.

    On a CPU there is nothing to wait for, and torchvision's own loop is quickest, image by image. Elsewhere nothing
    waits, and it takes `most` rounds of a dozen kernels, however many images and candidates there are: right for the
    hundred best, not for thousands. In a graph that is exported it is one operator.
    """
    fewest: Any = torch.sym_min(most, candidates.scores.shape[1])
    if torch.compiler.is_exporting():
        choose = by_operator
    else:
        choose = by_library if candidates.scores.device.type == "cpu" else in_rounds
    return taken(candidates, *choose(_grouped(candidates, class_agnostic), iou_threshold, fewest))


def best_of(candidates: Detections, most: int) -> Detections:
    """The best rows, whatever they overlap."""
    best = candidates.scores.masked_fill(~candidates.present, -1).sort(dim=1, descending=True, stable=True)
    return taken(candidates, best.indices[:, :most], best.values[:, :most] >= 0)


def taken(candidates: Detections, rows: Tensor, found: Tensor, scores: Tensor | None = None) -> Detections:
    """The (N, K) `rows`, zeros where nothing is `found`; with other `scores`, where those are given."""
    kept, none = candidates.map(lambda tensor: take_rows(tensor, rows)), ~found
    return Detections(
        found,
        kept.boxes_xyxy.masked_fill(none[..., None], 0),
        (kept.scores if scores is None else scores).masked_fill(none, 0),
        kept.labels.masked_fill(none, 0),
    )


def by_library(candidates: Detections, iou_threshold: float, most: int) -> tuple[Tensor, Tensor]:
    """The rows that stay, (N, most), best ones first, and which of them there are."""
    rows = torch.zeros(len(candidates.scores), most, dtype=torch.int64)
    found = torch.zeros_like(rows, dtype=torch.bool)
    for i, present in enumerate(candidates.present):
        here = present.nonzero()[:, 0]
        if not len(here):
            continue
        scores, order = candidates.scores[i, here].double().sort(descending=True, stable=True)
        here = here[order]
        boxes = apart(candidates.boxes_xyxy[i, here], candidates.labels[i, here])
        kept = here[_first_kept(boxes, scores, iou_threshold, most)]
        rows[i, : len(kept)], found[i, : len(kept)] = kept, True
    return rows, found


def _first_kept(boxes: Tensor, scores: Tensor, iou_threshold: float, most: int) -> Tensor:
    """Worse boxes change nothing for better ones: mostly a few times as many as are wanted say it all."""
    some = 4 * most
    kept = nms(boxes[:some], scores[:some], iou_threshold)
    if len(kept) < most and len(boxes) > some:
        kept = nms(boxes, scores, iou_threshold)
    return kept[:most]


def in_rounds(candidates: Detections, iou_threshold: float, most: int) -> tuple[Tensor, Tensor]:
    """As `by_library`, without waiting: in each round the best row that is left is taken, and what it suppresses
    goes."""

    def stays(iou: Tensor) -> Tensor:
        return ~(iou > iou_threshold)

    rows, values = _rounds(candidates, most, _ranks, stays)
    return rows, values > 0


def softened(candidates: Detections, rule: Rule, most: int) -> Detections:
    """Soft-NMS (Bodla et al., ICCV 2017): what overlaps a better one scores less, and may stay. On any device in
    rounds, as `in_rounds`."""

    def gaussian(iou: Tensor) -> Tensor:
        return (-iou.nan_to_num(0).square() / rule.sigma).exp()

    def linear(iou: Tensor) -> Tensor:
        return 1 - iou.where(iou > rule.iou_threshold, 0)

    weight = gaussian if rule.method is Method.soft_nms else linear
    rows, scores = _rounds(_grouped(candidates, rule.class_agnostic), most, _present_scores, weight)
    return taken(candidates, rows, scores > rule.score_threshold, scores)


def _rounds(
    candidates: Detections, most: int, worth: Callable[[Detections], Tensor], weight: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The rows taken, (N, most), and what each was worth then: the one of most `worth` first, and from then on what
    overlaps it in its class is worth `weight(IoU)` times as much. 0 is worth nothing."""
    order = candidates.scores.masked_fill(~candidates.present, -1).argsort(dim=1, descending=True, stable=True)
    ranked = candidates.map(lambda tensor: take_rows(tensor, order))
    boxes, labels, left = ranked.boxes_xyxy, ranked.labels, worth(ranked)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    found = []
    for _ in range(most):
        best = left.max(1, keepdim=True)  # of equals the first
        found.append(best)
        box, area = take_rows(boxes, best.indices), areas.gather(1, best.indices)
        sides = torch.minimum(boxes[..., 2:], box[..., 2:]) - torch.maximum(boxes[..., :2], box[..., :2])
        shared = sides.clamp_(min=0).prod(-1)
        same = labels == labels.gather(1, best.indices)
        left.mul_(torch.where(same, weight(shared / (areas + area - shared)), 1)).scatter_(1, best.indices, 0)
    rows = order.gather(1, torch.cat([best.indices for best in found], 1))
    return rows, torch.cat([best.values for best in found], 1)


def _grouped(candidates: Detections, class_agnostic: bool) -> Detections:
    """Those of one label may be of one object."""
    return replace(candidates, labels=torch.zeros_like(candidates.labels)) if class_agnostic else candidates


def _ranks(ranked: Detections) -> Tensor:
    """So that equal scores are told apart."""
    places = torch.arange(ranked.present.shape[1], 0, -1, device=ranked.present.device)
    return torch.where(ranked.present, places, 0)


def _present_scores(ranked: Detections) -> Tensor:
    return ranked.scores.masked_fill(~ranked.present, 0)


def apart(boxes: Tensor, labels: Tensor) -> Tensor:
    """(…, 4) float64: the boxes, those of each class where no other class has any."""
    exact = boxes.double()
    return exact + labels[..., None] * (exact.amax() - exact.amin() + 1)


def by_operator(candidates: Detections, iou_threshold: float, most: int) -> tuple[Tensor, Tensor]:
    """As `by_library`, in a graph: whatever the shapes will be."""
    scores = candidates.scores.masked_fill(~candidates.present, -1)
    best = staying(candidates.boxes_xyxy, scores, candidates.labels, iou_threshold).topk(most)
    return best.indices, best.values >= 0


def staying_scores(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """(N, M): the scores of what stays, and -1 of all else; those of a score below 0 are no candidates.

    The last row, twice among what is here and what is kept, is of nothing: a program of torch.export is made for two
    rows or more.
    """
    flat = functional.pad(scores.flatten(), (0, 1), value=-1)
    images = torch.arange(scores.shape[0], device=scores.device)
    boxes = apart(boxes_xyxy, images[:, None] * (labels.amax() + 1) + labels).flatten(0, 1)
    boxes, last = functional.pad(boxes, (0, 0, 0, 1)), images.new_full((2,), -1)
    here = torch.cat(((flat >= 0).nonzero()[:, 0], last))
    kept = here[torch.cat((nms(boxes[here], flat[here].double(), iou_threshold), last))]
    return torch.full_like(flat, -1).index_put((kept,), flat[kept])[:-1].view_as(scores)


staying = torch.library.custom_op("headstart::staying", staying_scores, mutates_args=())
"""`staying_scores` as one node of a graph, for which every format that it is written in has its own."""


@staying.register_fake
def _as_scores(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    return torch.empty_like(scores)

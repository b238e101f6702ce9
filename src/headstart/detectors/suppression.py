"""Non-maximum suppression of a whole batch: each class of each image by itself, and of each image the best that stay.

Where classes are kept apart by shifts, these are in float64 and cost a box no digit: in float32, as torchvision has
them, two boxes of a late class can move over the threshold.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms

from headstart.data.batch import Detections
from headstart.detectors.interface import take_rows


def suppressed(candidates: Detections, iou_threshold: float, most: int) -> Detections:
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
    rows, found = choose(candidates, iou_threshold, fewest)
    kept, none = candidates.map(lambda tensor: take_rows(tensor, rows)), ~found
    return Detections(
        found,
        kept.boxes_xyxy.masked_fill(none[..., None], 0),
        kept.scores.masked_fill(none, 0),
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
    order = candidates.scores.masked_fill(~candidates.present, -1).argsort(dim=1, descending=True, stable=True)
    ranked = candidates.map(lambda tensor: take_rows(tensor, order))
    boxes, labels = ranked.boxes_xyxy, ranked.labels
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    left = torch.where(ranked.present, torch.arange(boxes.shape[1], 0, -1, device=boxes.device), 0)
    taken = []
    for _ in range(most):
        best = left.max(1, keepdim=True)
        taken.append(best)
        box, area = take_rows(boxes, best.indices), areas.gather(1, best.indices)
        sides = torch.minimum(boxes[..., 2:], box[..., 2:]) - torch.maximum(boxes[..., :2], box[..., :2])
        shared = sides.clamp_(min=0).prod(-1)
        gone = (shared / (areas + area - shared) > iou_threshold) & (labels == labels.gather(1, best.indices))
        left.masked_fill_(gone, 0).scatter_(1, best.indices, 0)
    rows = order.gather(1, torch.cat([best.indices for best in taken], 1))
    return rows, torch.cat([best.values for best in taken], 1) > 0


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
    """(N, M): the scores of what stays, and -1 of all else; those of a score below 0 are no candidates."""
    flat, images = scores.flatten(), torch.arange(scores.shape[0], device=scores.device)[:, None]
    here = (flat >= 0).nonzero()[:, 0]
    boxes = apart(boxes_xyxy, images * (labels.amax() + 1) + labels).flatten(0, 1)
    kept = here[nms(boxes[here], flat[here].double(), iou_threshold)]
    return torch.full_like(flat, -1).index_put((kept,), flat[kept]).view_as(scores)


staying = torch.library.custom_op("headstart::staying", staying_scores, mutates_args=())
"""`staying_scores` as one node of a graph, for which every format that it is written in has its own."""


@staying.register_fake
def _as_scores(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    return torch.empty_like(scores)

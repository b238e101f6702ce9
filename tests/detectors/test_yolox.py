"""YOLOX: SimOTA against the paper's steps for one image and one object at a time, its losses against plain ones."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary, YOLOXConfig
from headstart.detectors.factory import build_detector
from headstart.detectors.matching import GroundTruth
from headstart.detectors.simota import taken
from tests.waiting import no_waiting

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=16)
HEIGHT, WIDTH, CLASSES = 64, 96, 3


@pytest.fixture(scope="module")
def detector() -> Any:
    torch.manual_seed(0)
    names = tuple("abc")
    return build_detector(YOLOXConfig(Architecture.yolox, channels_last=False), LITE0, names).eval()


@pytest.fixture(scope="module")
def cells(detector) -> Tensor:
    maps = tuple((HEIGHT // stride, WIDTH // stride) for stride in (8, 16, 32))
    return detector._anchors_of((HEIGHT, WIDTH), maps, torch.float32, torch.device("cpu"))


def answers(cells: Tensor, images: int, seed: int) -> dict[str, Tensor]:
    """Boxes a few strides wide, some of them good; scores of all heights."""
    generator = torch.Generator().manual_seed(seed)
    shape = images, len(cells)
    codes = torch.randn(*shape, 4, generator=generator) * torch.tensor([0.5, 0.5, 0.7, 0.7]) + 0.5
    logits = torch.randn(*shape, CLASSES, generator=generator)
    return {"cls_logits": logits, "objectness": torch.randn(*shape, generator=generator), "bbox_regression": codes}


def truth(*images: list[tuple], ignored: tuple[Any, ...] = ()) -> GroundTruth:
    """Labels 0, 1, 2, 0 …; the ignored boxes are the first image's, behind its objects."""
    rows = max(map(len, images)) + len(ignored) + 1
    boxes = torch.zeros(len(images), rows, 4)
    present, leave = (torch.zeros(len(images), rows, dtype=torch.bool) for _ in range(2))
    for image, own in enumerate(images):
        if own:
            boxes[image, : len(own)] = torch.tensor(own)
        present[image, : len(own)] = True
    for row, box in enumerate(ignored, len(images[0])):
        boxes[0, row], leave[0, row] = torch.tensor(box), True
    return GroundTruth(present, boxes, torch.arange(rows).expand(len(images), -1) % 3, leave)


def decoded(codes: Tensor, cells: Tensor) -> Tensor:
    """((x + c_x) s, (y + c_y) s, s e^w, s e^h) of one image, as xyxy."""
    found = []
    for (x, y, w, h), (left, top, right, _) in zip(codes.tolist(), cells.tolist(), strict=True):
        stride = right - left
        cx, cy = (x + left / stride) * stride, (y + top / stride) * stride
        wide, high = stride * math.exp(w), stride * math.exp(h)
        found.append([cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2])
    return torch.tensor(found)


def by_the_paper(cells: Tensor, said: dict[str, Tensor], image: int, boxes: list[tuple]) -> list[int]:
    """Pairwise costs L_cls + 3 L_reg within a fixed region around the middle; k of each object is the sum of its ten
    highest IoUs; the k cheapest are its positives, and a cell of several goes to the cheapest."""
    predicted = decoded(said["bbox_regression"][image], cells)
    score = (said["cls_logits"][image].sigmoid() * said["objectness"][image].sigmoid()[:, None]).sqrt().tolist()
    claims: dict[int, list[tuple[float, int]]] = {}
    for number, box in enumerate(boxes):
        overlaps = box_iou(predicted, torch.tensor([box]))[:, 0].tolist()
        mine = []
        for i, (left, top, right, bottom) in enumerate(cells.tolist()):
            x, y, stride = (left + right) / 2, (top + bottom) / 2, right - left
            if max(abs(x - (box[0] + box[2]) / 2), abs(y - (box[1] + box[3]) / 2)) >= 2.5 * stride:
                continue
            of_class = sum(-math.log(p if c == number % 3 else 1 - p) for c, p in enumerate(score[i]))
            outside = not (box[0] < x < box[2] and box[1] < y < box[3])
            mine.append((of_class - 3 * math.log(overlaps[i] + 1e-8) + 1e5 * outside, i))
        k = max(1, int(sum(sorted((overlaps[i] for _, i in mine), reverse=True)[:10])))
        for cost, i in sorted(mine)[:k]:
            claims.setdefault(i, []).append((cost, number))
    return [min(claims[i])[1] if i in claims else -1 for i in range(len(cells))]


IMAGES = [
    [(10.0, 12.0, 40.0, 50.0), (14.0, 14.0, 44.0, 52.0), (70.0, 5.0, 90.0, 40.0)],
    [(1.0, 1.0, 3.0, 3.0)],  # no cell's middle lies in it
    [],
    [(0.0, 0.0, 96.0, 64.0), (30.0, 20.0, 60.0, 44.0), (33.0, 21.0, 62.0, 47.0), (80.0, 50.0, 96.0, 64.0)],
]


@pytest.mark.parametrize("seed", range(3))
def test_cells_are_taken_as_the_paper_says_one_image_at_a_time(detector, cells, seed):
    said = answers(cells, len(IMAGES), seed)
    with no_waiting():
        found = taken(cells, detector._decoded(said["bbox_regression"], cells), detector._scores(said), truth(*IMAGES))
    expected = [by_the_paper(cells, said, image, boxes) for image, boxes in enumerate(IMAGES)]
    assert found.tolist() == expected
    assert [len(set(rows) - {-1}) for rows in expected][1:3] == [1, 0]
    assert max(map(expected[0].count, (0, 1, 2))) > 1


def entropy(logit: float, wanted: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -wanted * math.log(p) - (1 - wanted) * math.log(1 - p)


def test_the_losses_are_those_of_plain_sums(detector, cells):
    """Class: binary cross-entropies towards the IoU; box: 5 (1 - IoU^2); objectness of all cells but those that lie
    in an ignored box; all over the number of cells that learn an object."""
    said, ignored = answers(cells, 2, 5), (60.0, 20.0, 96.0, 64.0)
    images = [IMAGES[0], IMAGES[3]]
    found = detector.losses_of(said, cells, truth(*images, ignored=(ignored,)))
    classes = boxes = holds = 0.0
    count = 0
    for image, objects in enumerate(images):
        rows = by_the_paper(cells, said, image, objects)
        predicted = decoded(said["bbox_regression"][image], cells)
        for i, row in enumerate(rows):
            left, top, right, bottom = cells[i].tolist()
            spared = image == 0 and (
                2 * (min(right, 96) - max(left, 60)) * (min(bottom, 64) - max(top, 20)) >= (right - left) ** 2
                and right > 60
                and bottom > 20
            )
            if row >= 0 or not spared:
                holds += entropy(said["objectness"][image, i].item(), float(row >= 0))
            if row < 0:
                continue
            count += 1
            iou = box_iou(predicted[i : i + 1], torch.tensor([objects[row]])).item()
            boxes += 5 * (1 - iou**2)
            logits = said["cls_logits"][image, i].tolist()
            classes += sum(entropy(logit, iou if c == row % 3 else 0.0) for c, logit in enumerate(logits))
    assert count > 5
    assert found["classification"].item() == pytest.approx(classes / count, rel=1e-4)
    assert found["bbox_regression"].item() == pytest.approx(boxes / count, rel=1e-4)
    assert found["objectness"].item() == pytest.approx(holds / count, rel=1e-4)


OF_BOXES = {"stems", "of_boxes"}


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("cls_logits", {"stems", "of_classes", "classification_head"}),
        ("bbox_regression", OF_BOXES | {"regression_head"}),
        ("objectness", OF_BOXES | {"objectness_head"}),
    ],
)
def test_the_branches_of_class_and_box_share_nothing_but_the_first_layer(detector, name, layers):
    maps = [torch.randn(1, 16, 8, 12), torch.randn(1, 16, 4, 6), torch.randn(1, 16, 2, 3)]
    detector.head.zero_grad()
    detector.head(maps)[name].sum().backward()
    assert {name.split(".")[0] for name, p in detector.head.named_parameters() if p.grad is not None} == layers
    detector.head.zero_grad()


def test_every_map_of_the_neck_depends_on_every_map_of_the_body(detector):
    """Down and up again."""
    body = {str(i): torch.randn(1, c, 2 ** (4 - i), 2 ** (4 - i)) for i, c in enumerate((40, 112, 320))}
    for level in body.values():
        level.requires_grad_()
    for made in detector.backbone.neck(body).values():
        assert all(g.abs().sum() > 0 for g in torch.autograd.grad(made.sum(), list(body.values()), retain_graph=True))

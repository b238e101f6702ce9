"""YOLOv3's anchors, codes and losses, against the paper's formulas by hand and in plain Python."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.config.compose import compose
from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary, YOLOv3Config
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors.clusters import alike, clusters, mean_alike
from headstart.detectors.factory import build_detector
from headstart.detectors.matching import GroundTruth
from headstart.detectors.priors import decode, encode, responsible
from headstart.detectors.yolov3 import with_priors
from headstart.errors import UserError
from tests.waiting import no_waiting

SIZES = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
"""The paper's, 2.3."""
CANVAS = 64
LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=32)


@pytest.fixture(scope="module")
def detector() -> Any:
    torch.manual_seed(0)
    config = YOLOv3Config(Architecture.yolov3, channels_last=False)
    return build_detector(config, LITE0, ("a", "b", "c")).eval()


def anchors_of(detector: Any, height: int = CANVAS, width: int = CANVAS) -> Tensor:
    cells = tuple((height // stride, width // stride) for stride in (8, 16, 32))
    return detector._anchors_of((height, width), cells, torch.float32, torch.device("cpu"))


def place(level: int, x: int, y: int, number: int, width: int = CANVAS, height: int = CANVAS) -> int:
    """Row of an anchor, counted by hand: map after map, row after row, cell after cell."""
    before = sum(3 * (width // stride) * (height // stride) for stride in (8, 16, 32)[:level])
    return before + 3 * (y * (width // (8, 16, 32)[level]) + x) + number


# --------------------------------------------------------------------------------------------- anchors and codes


def test_each_cell_has_the_three_anchors_of_its_map_around_its_middle(detector):
    anchors = anchors_of(detector, 64, 96)
    assert anchors.shape == (3 * (8 * 12 + 4 * 6 + 2 * 3), 8)
    for level, x, y, number in ((0, 0, 0, 0), (0, 11, 7, 2), (1, 5, 2, 1), (2, 2, 1, 0)):
        stride, (wide, high) = 8 * 2**level, SIZES[3 * level + number]
        cx, cy = (x + 0.5) * stride, (y + 0.5) * stride
        box = [cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2]
        cell = [x * stride, y * stride, (x + 1) * stride, (y + 1) * stride]
        assert anchors[place(level, x, y, number, 96, 64)].tolist() == [*box, *cell]


def test_decoding_is_the_papers():
    """b_x = sigmoid(t_x) + c_x, b_y = sigmoid(t_y) + c_y, b_w = p_w e^t_w, b_h = p_h e^t_h, in cells of 16 pixels."""
    row = torch.tensor([24.0 - 31, 40.0 - 22.5, 24.0 + 31, 40.0 + 22.5, 16.0, 32.0, 32.0, 48.0])  # 62 x 45 in (1, 2)
    tx, ty, tw, th = 0.3, -1.2, 0.5, -0.7
    bx, by = (1 / (1 + math.exp(-0.3)) + 1) * 16, (1 / (1 + math.exp(1.2)) + 2) * 16
    bw, bh = 62 * math.exp(0.5), 45 * math.exp(-0.7)
    found = decode(torch.tensor([tx, ty, tw, th]), row)
    torch.testing.assert_close(found, torch.tensor([bx - bw / 2, by - bh / 2, bx + bw / 2, by + bh / 2]))


def test_encoding_is_decoding_backwards_but_for_the_sigmoid(detector):
    anchors = anchors_of(detector)
    codes = torch.randn(len(anchors), 4, generator=torch.Generator().manual_seed(0))
    found = encode(decode(codes, anchors), anchors)
    torch.testing.assert_close(found[:, :2], codes[:, :2].sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[:, 2:], codes[:, 2:], atol=1e-4, rtol=0)


# ----------------------------------------------------------------------------------------------------- who learns


def truth(*boxes: Any, ignored: Any = (), rows: int = 1) -> GroundTruth:
    """Of one picture, with labels 0, 1, 2, 0 …; padded."""
    everything = [*boxes, *ignored, *[(0, 0, 0, 0)] * rows]
    number = torch.arange(len(everything))
    return GroundTruth(
        (number < len(boxes))[None],
        torch.tensor(everything, dtype=torch.float32)[None],
        (number % 3)[None],
        ((number >= len(boxes)) & (number < len(boxes) + len(ignored)))[None],
    )


def by_hand(anchors: Tensor, boxes: list[tuple], ignored: list[tuple]) -> list[int]:
    """The paper's rule, one anchor and one object at a time; -1 background, -2 left out."""

    def iou(one: Any, other: Any) -> float:
        wide, high = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
        both = max(wide, 0) * max(high, 0)
        return both / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both)

    def shape(one: Any) -> tuple[float, ...]:
        return (0, 0, one[2] - one[0], one[3] - one[1])

    def inside(one: Any, other: Any) -> float:
        wide, high = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
        return max(wide, 0) * max(high, 0) / ((one[2] - one[0]) * (one[3] - one[1]))

    rows = anchors.tolist()
    left = [any(iou(row[:4], box) >= 0.5 for box in boxes) for row in rows]
    left = [out or any(inside(row[:4], box) >= 0.5 for box in ignored) for out, row in zip(left, rows, strict=True)]
    found = [-2 if out else -1 for out in left]
    for number, box in enumerate(boxes):
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        here = [i for i, row in enumerate(rows) if row[4] <= x < row[6] and row[5] <= y < row[7]]
        found[max(here, key=lambda i: iou(shape(rows[i]), shape(box)))] = number
    return found


@pytest.mark.parametrize(
    ("boxes", "ignored"),
    [
        ([(10, 10, 22, 24)], []),
        ([(2, 3, 60, 50), (30, 30, 44, 50), (8, 8, 16, 24)], []),
        ([(10, 10, 22, 24)], [(0, 0, 64, 64)]),
        ([(40, 40, 52, 56)], [(0, 0, 30, 30)]),
        ([(0, 0, 16, 16), (56, 48, 64, 64)], []),  # a middle on the border of four cells
        ([(0, 0, 6, 7)], []),  # the very first anchor, which padding points to as well
        ([], [(5, 5, 40, 40)]),
        ([], []),
    ],
)
def test_the_anchor_most_alike_in_the_cell_of_an_objects_middle_is_responsible(detector, boxes, ignored):
    anchors = anchors_of(detector)
    found = responsible(anchors, truth(*boxes, ignored=ignored))[0]
    assert found.clamp(min=-3).where(found > -3, -2).tolist() == by_hand(anchors, boxes, ignored)


def test_where_two_objects_want_one_anchor_the_last_gets_it(detector):
    found = responsible(anchors_of(detector), truth((10, 10, 20, 23), (9, 11, 19, 24)))[0]
    assert found.max() == 1
    assert (found == 0).sum() == 0
    assert found[place(0, 1, 2, 0)] == 1


def test_batches_are_matched_image_by_image_and_without_waiting(detector):
    anchors = anchors_of(detector)
    one, other = truth((10, 10, 22, 24), (2, 3, 60, 50)), truth((30, 30, 44, 50), ignored=[(0, 0, 20, 20)])
    together = GroundTruth(*(torch.cat(pair) for pair in zip(*(vars(t).values() for t in (one, other)), strict=True)))
    with no_waiting():
        found = responsible(anchors, together)
    assert torch.equal(found, torch.cat([responsible(anchors, each) for each in (one, other)]))


# --------------------------------------------------------------------------------------------------------- losses


def entropy(logit: float, wanted: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -wanted * math.log(p) - (1 - wanted) * math.log(1 - p)


def test_the_losses_are_those_computed_by_hand(detector):
    """One object, 30 x 61 pixels around (27, 33): of the middle map's first anchor, in its cell (1, 2)."""
    anchors = anchors_of(detector)
    mine, count = place(1, 1, 2, 0), len(anchors)
    objects = truth((12.0, 2.5, 42.0, 63.5))
    outputs = {
        "cls_logits": torch.full((1, count, 3), 9.0),
        "bbox_regression": torch.full((1, count, 4), 5.0),
        "objectness": torch.full((1, count), -2.0),
    }
    outputs["cls_logits"][0, mine] = torch.tensor([0.5, -1.0, 2.0])
    outputs["bbox_regression"][0, mine] = torch.tensor([0.2, -0.4, 0.1, -0.3])
    outputs["objectness"][0, mine] = 1.5
    found = detector.losses_of(outputs, anchors, objects)
    middle = entropy(0.2, 27 / 16 - 1) + entropy(-0.4, 33 / 16 - 2)
    sides = 0.5 * 0.1**2 + 0.5 * 0.3**2  # its own size: both t are 0
    boxes = (2 - 30 * 61 / CANVAS**2) * (middle + sides)
    classes = entropy(0.5, 1) + entropy(-1.0, 0) + entropy(2.0, 0)
    others = by_hand(anchors, [(12.0, 2.5, 42.0, 63.5)], []).count(-1)
    assert others < count - 1
    assert found["classification"].item() == pytest.approx(classes, rel=1e-5)
    assert found["bbox_regression"].item() == pytest.approx(boxes, rel=1e-5)
    assert found["objectness"].item() == pytest.approx(entropy(1.5, 1) + others * entropy(-2.0, 0), rel=1e-5)


def test_an_objectness_begins_at_a_hundredth_whatever_the_map(detector):
    with torch.no_grad():
        features = detector.features(Batch.of([torch.rand(3, 64, 64)]))
        outputs, _ = detector._heads(features.batch, features.maps)
    assert (outputs["objectness"].sigmoid() - 0.01).abs().max() < 0.01


def test_what_lies_in_an_ignored_box_costs_no_objectness_and_changes_no_other_loss(detector):
    images = [torch.rand(3, CANVAS, CANVAS, generator=torch.Generator().manual_seed(0))]
    losses = [detector.losses(Batch.of(images, [target(ignored)])) for ignored in ([], [(20.0, 20.0, 64.0, 64.0)])]
    assert losses[1]["objectness"] < losses[0]["objectness"]
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in ("classification", "bbox_regression"))


def target(ignored: list[tuple[float, ...]]) -> Target:
    boxes = torch.tensor([(2.0, 2.0, 14.0, 16.0), *ignored])
    ignore = torch.arange(len(boxes)) > 0
    no, size = torch.zeros_like(ignore), (CANVAS, CANVAS)
    return Target(0, boxes, torch.zeros(len(boxes), dtype=torch.int64), ignore, no, torch.ones(len(boxes)), size, size)


# -------------------------------------------------------------------------------------------------------- k-means


def test_clusters_are_the_best_partition_that_there_is_where_shapes_lie_apart():
    """By trying all partitions of seven boxes into three, by the sum of 1 - IoU to the means."""
    sides = np.array([(10, 10), (11, 9), (40, 20), (38, 22), (42, 21), (90, 100), (95, 92)], float)
    found = clusters(sides, 3)

    def cost(owners: tuple[int, ...]) -> float:
        centres = [sides[np.array(owners) == k].mean(0) for k in range(3)]
        return sum(1 - alike(sides[i : i + 1], centres[k][None])[0, 0] for i, k in enumerate(owners))

    best = min((o for o in itertools.product(range(3), repeat=7) if len(set(o)) == 3), key=cost)
    means = sorted((sides[np.array(best) == k].mean(0).round().tolist() for k in range(3)), key=math.prod)
    assert found.tolist() == means


def test_alike_is_the_iou_of_boxes_with_one_middle():
    assert alike(np.array([[10.0, 20.0]]), np.array([[20.0, 10.0], [10.0, 20.0]])).tolist() == [[100 / 300, 1.0]]


def test_clusters_meet_boxes_better_than_the_papers_sizes_and_do_not_depend_on_their_order():
    sides = np.random.default_rng(0).lognormal(2.5, 0.5, (500, 2))
    found = clusters(sides, 9)
    assert mean_alike(sides, found) > mean_alike(sides, np.array(SIZES)) + 0.1
    assert found.tolist() == clusters(sides[::-1], 9).tolist()
    assert (np.diff(found.prod(axis=1)) >= 0).all()


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_few_boxes_or_equal_ones_give_nine_anchors_as_well(count):
    found = clusters(np.full((count, 2), 20.4), 9)
    assert found.tolist() == [[20.0, 20.0]] * 9


@pytest.mark.parametrize("given", ["[]", "[[8,8]]", "[[8,8,8]]", f"[{','.join(['[0,8]'] * 9)}]"])
def test_anchors_that_are_no_nine_sizes_are_refused(given):
    with pytest.raises(UserError, match=r"model\.anchors=\[.*nine pairs \[width,height\]"):
        compose(["model=yolov3", f"model.anchors={given}"])


def test_a_detector_is_not_built_without_anchors_nor_an_odd_width():
    with pytest.raises(UserError, match=r"model\.anchors=null.*`headstart train`"):
        build_detector(YOLOv3Config(Architecture.yolov3, anchors=None), LITE0, ("a",))
    odd = BackboneConfig("lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=33)
    with pytest.raises(UserError, match=r"backbone\.neck_channels=33 .*even"):
        build_detector(YOLOv3Config(Architecture.yolov3), odd, ("a",))


def test_the_papers_widths_are_those_of_256_channels():
    with torch.device("meta"):
        network = build_detector(
            YOLOv3Config(Architecture.yolov3),
            BackboneConfig("darknet53", BackboneLibrary.timm, "darknet53", darknet=True),
            ("a",),
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert [shapes[f"backbone.neck.fives.{i}.0.conv.weight"] for i in range(3)] == [
        (128, 384, 1, 1),
        (256, 768, 1, 1),
        (512, 1024, 1, 1),
    ]
    assert [shapes[f"head.layers.{i}.conv.weight"][0] for i in range(3)] == [256, 512, 1024]


def test_priors_of_each_map_lie_in_its_cells():
    cells = torch.tensor([[0.0, 0.0, 8.0, 8.0]] * 3 + [[0.0, 0.0, 16.0, 16.0]] * 3 + [[0.0, 0.0, 32.0, 32.0]] * 3)
    found = with_priors(cells, [(1, 1)] * 3, SIZES)
    assert (found[:, 2:4] - found[:, :2]).tolist() == [list(map(float, size)) for size in SIZES]

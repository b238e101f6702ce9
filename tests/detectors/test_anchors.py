"""The table of anchors is that of the networks, and the scale found is the one that meets the boxes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from headstart.config import schema as s
from headstart.data.batch import Batch
from headstart.detectors.anchors import SCALES, best_iou, find_scale, levels_of, retinanet
from headstart.detectors.factory import build_detector
from headstart.errors import UserError

LITE0 = s.BackboneConfig("lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0")
MOBILENET = s.BackboneConfig("mobilenet", s.BackboneLibrary.torchvision, "mobilenet_v3_large", neck_channels=256)
NETWORKS = {
    "retinanet": (s.RetinaNetConfig(s.Architecture.retinanet), LITE0),
    "faster_rcnn": (s.FasterRCNNConfig(s.Architecture.faster_rcnn), LITE0),
    "faster_rcnn mobilenet": (s.FasterRCNNConfig(s.Architecture.faster_rcnn), MOBILENET),
}


def some_boxes(width: int, height: int) -> np.ndarray:
    generator = np.random.default_rng(width)
    sides = np.exp(generator.uniform(np.log(4), np.log(min(width, height)), (300, 2)))
    corners = generator.uniform(0, 1, (300, 2)) * (np.array([width, height]) - sides)
    return np.concatenate([corners, corners + sides], axis=1)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("scale", [1.0, 0.35])
def test_the_best_anchor_of_each_box_is_that_of_torchvisions_generator(network: str, scale: float) -> None:
    model, backbone = NETWORKS[network]
    model.anchor_scale = scale
    detector = build_detector(model, backbone, ("a",)).eval()
    found = detector.features(Batch.of([torch.zeros(3, 200, 290, dtype=torch.uint8)]))
    generator = detector.rpn.anchor_generator if "rcnn" in network else detector.anchor_generator
    (anchors,) = generator(ImageList(found.batch, [(200, 290)]), list(found.maps.values()))
    boxes = some_boxes(290, 200)
    expected = box_iou(torch.from_numpy(boxes), anchors.double()).amax(1)
    ours = best_iou(boxes, np.tile([290, 200], (300, 1)), levels_of(model, backbone), scale)
    assert torch.from_numpy(ours).sub(expected).abs().max() < 1e-9


def test_a_detector_without_a_number_for_its_anchors_is_refused() -> None:
    for model in (s.RetinaNetConfig, s.FasterRCNNConfig):
        name = "retinanet" if model is s.RetinaNetConfig else "faster_rcnn"
        with pytest.raises(UserError, match=r"model\.anchor_scale=null"):
            build_detector(model(s.Architecture(name), anchor_scale=None), LITE0, ("a",))


def squares(side: float) -> tuple[np.ndarray, np.ndarray]:
    """50 boxes of one size at random places of a picture of 640 x 480."""
    corners = np.random.default_rng(0).uniform(0, 1, (50, 2)) * (np.array([640, 480]) - side)
    return np.concatenate([corners, corners + side], axis=1), np.tile([640, 480], (50, 1))


@pytest.mark.parametrize(("side", "scale"), [(14, 0.5), (22, 0.7), (100, 1.0)])
def test_smaller_boxes_get_smaller_anchors_and_torchvisions_own_where_they_serve(side: float, scale: float) -> None:
    assert find_scale(*squares(side), retinanet()) == scale


box = st.tuples(*[st.floats(0, 0.9)] * 2, *[st.floats(0.01, 1)] * 2)


@given(st.lists(box, min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_no_scale_meets_the_boxes_much_better_and_no_larger_one_as_well(found: list[tuple[float, ...]]) -> None:
    fractions = np.array(found)
    low = fractions[:, :2] * [320, 240]
    boxes = np.concatenate([low, np.maximum(low + 1, np.minimum(low + fractions[:, 2:] * 240, [320, 240]))], axis=1)
    pictures = np.tile([320, 240], (len(boxes), 1))
    means = {scale: best_iou(boxes, pictures, retinanet(), scale).mean() for scale in SCALES}
    chosen = find_scale(boxes, pictures, retinanet())
    assert means[chosen] >= max(means.values()) - 0.05
    assert all(means[larger] < max(means.values()) - 0.05 for larger in SCALES if larger > chosen)

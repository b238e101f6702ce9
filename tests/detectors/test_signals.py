"""What strategies ask of a detector beyond its losses: last layers, feature maps, logits of the classes."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary
from headstart.config.schemas import SCHEMAS
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors.detr import QueryDetector
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector, Features, stage_of_tensor

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
VGG16 = BackboneConfig("vgg16", BackboneLibrary.torchvision, "vgg16")
MOBILENET = BackboneConfig("mobilenet_v3_large", BackboneLibrary.torchvision, "mobilenet_v3_large", neck_channels=64)
COMBINATIONS = {
    **{one.value: (one, LITE0) for one in Architecture if one is not Architecture.extension},
    "ssd-vgg16": (Architecture.ssd, VGG16),
    "ssdlite-mobilenet": (Architecture.ssdlite, MOBILENET),
    "faster_rcnn-mobilenet": (Architecture.faster_rcnn, MOBILENET),
}
CLASSES = ("a", "b", "c")
SIZES = ((64, 96), (128, 80))


@pytest.fixture(scope="module", params=COMBINATIONS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def detector(name) -> Detector:
    architecture, backbone = COMBINATIONS[name]
    config = SCHEMAS["model"][architecture.value](architecture=architecture, channels_last=False)
    torch.manual_seed(0)
    return build_detector(config, backbone, CLASSES).eval()


def pictures() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in SIZES]


def targets() -> list[Target]:
    box, label, no = torch.tensor([[4.0, 6.0, 44.0, 50.0]]), torch.tensor([1]), torch.tensor([False])
    return [Target(0, box, label, no, no, torch.tensor([1760.0]), size, size) for size in SIZES]


def batch() -> Batch:
    return Batch.of(pictures(), targets())


def calls_of(module: nn.Module) -> list[tuple]:
    """Grows by (inputs, output) with each call."""
    calls: list[tuple] = []
    module.register_forward_hook(lambda _, inputs, output: calls.append((inputs, output)))
    return calls


# -------------------------------------------------------------------------------------------- last layers

LAST_LAYERS = {
    Architecture.retinanet: [9 * 3, 9 * 4],
    Architecture.fcos: [3, 4, 1],
    Architecture.faster_rcnn: [4, 4 * 4],
    Architecture.ssd: 2 * [4 * n for n in (4, 6, 6, 6, 4, 4)],
    Architecture.ssdlite: 12 * [4 * 6],
    Architecture.yolov3: [*3 * [3 * 3], *3 * [3 * 4], *3 * [3]],
    Architecture.yolox: [*3 * [3], *3 * [4], *3 * [1]],
    Architecture.d_fine: [3, 4, *3 * [3], *3 * [4 * 33], 4, 3],
    Architecture.rt_detr: [3, 4, *3 * [3], *3 * [4], 3],
}
"""Outputs of each: anchors times rows of three classes (and the background), four of a box, one of an object.

Of queries: what chooses them, then classes and boxes of three layers (of D-FINE's, 33 steps of each side), and the
embedding of three classes, which are rows."""


def test_predictors_are_the_last_layers_of_the_head_and_nothing_else(name, detector):
    layers = [
        layer
        for prefix in detector.predictors()
        for layer in detector.get_submodule(prefix).modules()
        if list(layer.parameters(recurse=False))
    ]
    assert [layer.weight.shape[0] for layer in layers] == LAST_LAYERS[COMBINATIONS[name][0]]


def test_every_tensor_with_rows_of_classes_lies_in_a_predictor_and_every_predictor_in_the_head(detector):
    prefixes = tuple(f"{prefix}." for prefix in detector.predictors())
    owner = stage_of_tensor(detector)
    assert all(axis.tensor.startswith(prefixes) for axis in detector.class_axes())
    assert {owner[tensor] for tensor in owner if tensor.startswith(prefixes)} == {"head"}


# ----------------------------------------------------------------------------------------------- features


def test_features_are_the_maps_that_the_head_is_given(detector):
    head = calls_of(detector.get_submodule("rpn.head" if hasattr(detector, "rpn") else "head"))
    with torch.no_grad():
        detector.predict(pictures())
        found = detector.features(batch())
    ((maps,), _) = head[0]
    assert len(maps) == len(found.maps) > 2
    assert all(torch.equal(one, other) for one, other in zip(maps, found.maps.values(), strict=True))
    assert found.sizes_hw.tolist() == [list(size) for size in SIZES]
    assert found.batch.shape[0] == 2


def test_body_maps_depend_on_every_parameter_of_the_body_and_on_no_other(detector):
    detector.zero_grad()
    sum(level.sum() for level in detector.features(batch()).body_maps).backward()
    owner = stage_of_tensor(detector)
    reached = {tensor for tensor, parameter in detector.named_parameters() if parameter.grad is not None}
    body = {tensor for tensor, _ in detector.named_parameters() if owner[tensor].startswith("st")}
    detector.zero_grad()
    assert reached == body


BODY_CHANNELS = {
    "faster_rcnn": [24, 40, 112, 320],
    "faster_rcnn-mobilenet": [160, 960],
    "ssd-vgg16": [512, 512],
    "ssdlite-mobilenet": [672, 480],
}
"""Of C2 to C5, conv4_3 and conv5_3, the expansion of layer 13 and the last; C3 to C5 of EfficientNet-Lite0 else."""


def test_there_is_a_body_map_for_each_scale_of_the_body(name, detector):
    with torch.no_grad():
        maps = detector.features(batch()).body_maps
    assert [level.shape[1] for level in maps] == BODY_CHANNELS.get(name, [40, 112, 320])


def test_losses_from_given_features_are_the_same_bit_for_bit_without_another_pass(detector):
    passes = calls_of(detector.get_submodule("backbone"))
    torch.manual_seed(1)
    expected = detector.losses(batch())
    features = detector.features(batch())
    before = len(passes)
    torch.manual_seed(1)
    found = detector.losses(batch(), features)
    assert len(passes) == before == 2
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_no_hook_stays_behind(detector):
    hooks = [len(module._forward_hooks) for module in detector.modules()]
    detector.features(batch())
    assert [len(module._forward_hooks) for module in detector.modules()] == hooks


def test_cells_that_begin_in_the_padding_are_outside():
    batch = torch.zeros(2, 3, 64, 32)
    level = torch.zeros(2, 5, 4, 2)  # cells of 16 pixels
    found = Features(batch, torch.tensor([(64, 16), (33, 17)]), {"0": level}, ()).inside(level)
    expected = [[[1, 0], [1, 0], [1, 0], [1, 0]], [[1, 1], [1, 1], [1, 1], [0, 0]]]
    assert found.tolist() == torch.tensor(expected).bool().tolist()


# ------------------------------------------------------------------------------------------ logits of classes

DENSE = [name for name in COMBINATIONS if not name.startswith("faster")]
TWO_STAGES = [name for name in COMBINATIONS if name.startswith("faster")]


@pytest.mark.parametrize("name", DENSE, indirect=True)
def test_logits_of_a_picture_without_padding_are_all_of_the_heads(detector):
    side = max(detector.min_canvas, 64)
    queries = isinstance(detector, QueryDetector)  # whose head says of each cell whether one should begin there
    heads = calls_of(detector.get_submodule("head.enc_score_head" if queries else "head"))
    with torch.no_grad():
        detector.predict([torch.ones(3, side, side)])
        found = detector.class_logits(detector.features(Batch.of([torch.ones(3, side, side)])))
    said = {"cls_logits": heads[0][1]} if queries else heads[0][1]
    assert said["cls_logits"].shape[2] == found.logits[0].shape[1]
    if "objectness" in said:  # the two probabilities of a score are one
        score = said["cls_logits"].double().sigmoid() * said["objectness"].double().sigmoid()[..., None]
        torch.testing.assert_close(found.logits[0].double(), score.logit()[0], atol=1e-5, rtol=1e-5)
    else:
        assert torch.equal(found.logits[0], said["cls_logits"][0])


IN_A_QUARTER = {
    "retinanet": 9 * (16 * 16 + 8 * 8 + 4 * 4 + 2 * 2 + 1),
    "fcos": 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2 + 1,
    "ssd": 4 * 18 * 18 + 6 * (9 * 9 + 5 * 5 + 3 * 3) + 4 * (2 * 2 + 1),
    "yolov3": 3 * (16 * 16 + 8 * 8 + 4 * 4),
    "yolox": 16 * 16 + 8 * 8 + 4 * 4,
    "ssdlite": 6 * (18 * 18 + 9 * 9 + 5 * 5 + 3 * 3 + 2 * 2 + 1),
}
"""Anchors whose cells begin in the upper left quarter of 256 by 256 pixels (strides 8 to 128), or, with SSD, of 288 by
288: of 36, 18, 9, 5, 3 and 2 cells in a row."""


@pytest.mark.parametrize("name", IN_A_QUARTER, indirect=True)
def test_places_in_the_padding_are_left_out(name, detector):
    """The order of the places is the anchors' own: all whose centres lie in the picture are among them."""
    side = 288 if name.startswith("ssd") else 256
    images = [torch.ones(3, side // 2, side // 2), torch.ones(3, side, side)]
    with torch.no_grad():
        features = detector.features(Batch.of(images))
        found = detector.class_logits(features)
    of_image = ImageList(features.batch, [(side, side)])
    (boxes,) = detector.anchor_generator(of_image, list(features.maps.values()))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    within = (centres < side // 2 - 1e-3).all(dim=1).nonzero().squeeze(1).tolist()
    present, where = found.places.present, found.places.where
    assert set(within) <= set(where[0, present[0]].tolist())
    assert present.sum(1).tolist() == [IN_A_QUARTER[name], len(boxes)]
    assert found.logits.shape[:2] == present.shape == where.shape


@pytest.mark.parametrize("name", DENSE, indirect=True)
def test_a_dense_head_answers_at_the_places_it_is_asked_about(detector):
    with torch.no_grad():
        features = detector.features(batch())
        everywhere = detector.class_logits(features)
        places = everywhere.places.take(torch.tensor([[7, 3], [2, 9]]))
        found = detector.class_logits(features, places)
    assert torch.equal(found.logits[0], everywhere.logits[0, [7, 3]])
    assert torch.equal(found.logits[1], everywhere.logits[1, [2, 9]])


@pytest.mark.parametrize("name", TWO_STAGES, indirect=True)
def test_a_second_stage_answers_about_its_own_proposals_or_those_given(detector):
    detector.rpn.score_thresh = 0.0
    predictor = calls_of(detector.get_submodule("roi_heads.box_predictor"))
    with torch.no_grad():
        detector.predict(pictures())
        features = detector.features(batch())
        own = detector.class_logits(features)
        found = detector.class_logits(features, own.places.take(torch.tensor([[7, 3], [0, 1]])))
    torch.testing.assert_close(own.logits[own.places.present], predictor[0][1][0])
    assert own.logits.shape[:2] == own.places.present.shape == own.places.where.shape[:2]
    torch.testing.assert_close(found.logits[0], own.logits[0, [7, 3]])


def test_logits_are_exact_in_bfloat16_and_carry_gradients(detector):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detector.class_logits(detector.features(batch()))
    assert found.logits.dtype == torch.float32
    assert found.logits.requires_grad

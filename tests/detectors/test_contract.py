"""Every detector keeps the contract of `detectors/interface.py`, whatever its architecture and its backbone."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from headstart.conf_path import conf_dir
from headstart.config.schema import BackboneConfig, BackboneLibrary, ModelConfig
from headstart.config.schemas import SCHEMAS
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors.detr import QueryDetector
from headstart.detectors.factory import build_detector
from headstart.detectors.faster_rcnn import FasterRCNNDetector
from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.detectors.ssd import MultiBoxDetector
from headstart.errors import UserError

CLASSES = ("a", "b", "c")
TIMM_NETWORKS = ("regnety_002", "convnext_atto", "swin_tiny_patch4_window7_224", "resnet18")


# ------------------------------------------------------------------------------------------- what is tested


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def choice(group: str, name: str, **changes: Any) -> Any:
    """The configuration node of `group=name` with `changes`."""
    content = OmegaConf.load(Path(conf_dir()) / group / f"{name}.yaml")
    assert isinstance(content, DictConfig)
    schema, _ = content.pop("defaults")
    node = OmegaConf.structured(SCHEMAS[group][schema.removeprefix("schema_")])
    return OmegaConf.to_object(OmegaConf.merge(node, content, changes))


@dataclass(frozen=True)
class Combination:
    model: ModelConfig
    backbone: BackboneConfig

    def build(self, class_names: tuple[str, ...] = CLASSES) -> Detector:
        return build_detector(self.model, self.backbone, class_names)


def combination(model: str, backbone: str, of_model: Any = None, **of_backbone: Any) -> Combination:
    return Combination(choice("model", model, **of_model or {}), choice("backbone", backbone, **of_backbone))


LITE0 = "efficientnet_lite0"
V2 = {"variant": "v2"}
MODELS = choices("model")
OWN_BACKBONE = {"ssd_tf": "mobilenetv2_100"}
"""Of models that are defined on one network."""
FIRST = [f"{model}-{OWN_BACKBONE.get(model, LITE0)}" for model in MODELS]
BACKBONES = choices("backbone")
COMBINATIONS = {
    **{name: combination(*name.split("-")) for name in FIRST},
    **{f"retinanet-{name}": combination("retinanet", name) for name in BACKBONES if name not in ("timm", LITE0)},
    **{f"retinanet-timm-{name}": combination("retinanet", "timm", architecture=name) for name in TIMM_NETWORKS},
    "ssd-vgg16": combination("ssd", "vgg16"),
    "ssdlite-mobilenet_v3_large": combination("ssdlite", "mobilenet_v3_large"),
    "ssdlite-mobilenet_v3_large-whole_tail": combination("ssdlite", "mobilenet_v3_large", {"reduced_tail": False}),
    "faster_rcnn-mobilenet_v3_large": combination("faster_rcnn", "mobilenet_v3_large"),
    "faster_rcnn_v2-resnet18": combination("faster_rcnn", "resnet18", V2, neck_channels=64),
    "faster_rcnn_v2-lite0": combination("faster_rcnn", LITE0, V2),
    "retinanet_v2-lite0": combination("retinanet", LITE0, V2, neck_channels=64),
    "retinanet_pan_cbam-lite0": combination("retinanet", LITE0, {"neck": "pan", "attention": "cbam"}),
    "fcos_bifpn_coordinate-lite0": combination("fcos", LITE0, {"neck": "bifpn", "attention": "coordinate"}),
}
HEADS = [name for name in COMBINATIONS if not name.startswith("retinanet-") or name == f"retinanet-{LITE0}"]
"""All but the further backbones of RetinaNet, whose head is the same."""
BEHAVING = [*FIRST, "faster_rcnn_v2-lite0", "retinanet_v2-lite0"]
"""Every architecture and variant once, on the backbone that is quick."""
LIMIT = 30
"""Detections per image."""
UNTOUCHED_BY_PADDING = {
    "retinanet-efficientnet_lite0": 0.99,
    "retinanet_v2-lite0": 0.99,
    "fcos-efficientnet_lite0": 0.95,
    "yolov3-efficientnet_lite0": 0.95,
    "yolox-efficientnet_lite0": 0.95,
    "faster_rcnn-efficientnet_lite0": 0.1,
}
"""Share of the detections. Faster R-CNN pools regions between the centres of cells: those at the edge see beyond it,
and in a small picture most lie there.
Not SSD and SSDlite, nor D-FINE and RT-DETR: their boxes are shares of the padded batch, and change with it."""


def test_every_model_and_every_backbone_of_conf_is_tested():
    assert (len(MODELS), len(BACKBONES)) == (10, 20)
    assert all(f"{model}-{LITE0}" in COMBINATIONS for model in SCHEMAS["model"] if model != "extension")
    assert all(f"retinanet-{name}" in COMBINATIONS for name in BACKBONES if name != "timm")


# ------------------------------------------------------------------------------------------------ structure


LARGE = ("resnet152", "vgg19", "efficientnet_lite2", "swin_tiny", "dinov3_small")
"""Backbones of a kind that a smaller one or another is of, too."""
BUILT = [
    pytest.param(name, marks=pytest.mark.slow) if name in [f"retinanet-{large}" for large in LARGE] else name
    for name in COMBINATIONS
]


@pytest.fixture(scope="module", params=BUILT)
def built(request, without_initialising) -> tuple[Combination, Detector]:
    """All zeros, in eval mode."""
    one = COMBINATIONS[request.param]
    with without_initialising():
        detector = one.build()
    for tensor in detector.state_dict().values():
        tensor.zero_()
    return one, detector.eval()


def test_stages_hold_every_parameter_and_buffer_once_and_are_named_in_order(built):
    _, detector = built
    *body, neck, head = [stage.name for stage in detector.stages()]
    assert [*body, neck, head] == ["stem", *(f"stage{i}" for i in range(1, len(body))), "neck", "head"]
    assert len(body) >= 5
    tensors = [*detector.named_parameters(), *detector.named_buffers()]
    assert len(tensors) > 100 or "vgg" in built[0].backbone.name
    for name, _ in tensors:
        holders = [s.name for s in detector.stages() for p in s.prefixes if name == p or name.startswith(f"{p}.")]
        assert len(holders) == 1, (name, holders)
    assert set(stage_of_tensor(detector).values()) == {*body, "neck", "head"}


def test_data_flows_through_the_stages_in_their_order(built):
    """Each layer's first call, by a forward hook: no stage begins before the one in front of it has ended. Tensors of
    the body itself, a transformer's tokens, are of no layer that is called."""
    _, detector = built
    owner = {tensor.rpartition(".")[0]: stage for tensor, stage in stage_of_tensor(detector).items()}
    owner.pop("backbone.body", None)
    called: list[str] = []
    for layer in owner:
        detector.get_submodule(layer).register_forward_hook(lambda *_, layer=layer: called.append(layer))
    with torch.no_grad():
        detector.predict([torch.zeros(3, 64, 64)])
        if isinstance(detector, QueryDetector):  # whose denoising queries are of training alone
            detector.losses(Batch.of([torch.zeros(3, 64, 64)], [target((4.0, 6.0, 44.0, 50.0))]))
    order = [stage.name for stage in detector.stages()]
    at = [order.index(owner[layer]) for layer in dict.fromkeys(called)]
    assert set(called) == set(owner)
    assert at == sorted(at)


def test_class_axes_name_tensors_with_a_row_for_each_class(built):
    _, detector = built
    shapes = shapes_of(detector)
    assert detector.class_axes()
    for axis in detector.class_axes():
        assert shapes[axis.tensor][0] == axis.anchors * (axis.background + len(CLASSES)) * axis.block


@pytest.mark.parametrize("built", HEADS, indirect=True)
def test_more_classes_change_the_tensors_of_class_axes_and_no_others(built, without_initialising):
    one, detector = built
    with without_initialising():
        larger = one.build(("a", "b", "c", "d", "e"))
    before, after = shapes_of(detector), shapes_of(larger)
    axes = {axis.tensor: axis for axis in larger.class_axes()}
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == set(axes)
    assert detector.class_axes() == list(axes.values())
    assert all(after[name][0] - before[name][0] == axis.anchors * 2 * axis.block for name, axis in axes.items())


def shapes_of(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def library_model(one: Combination) -> nn.Module:
    if one.backbone.library is BackboneLibrary.timm:
        return timm.create_model(one.backbone.architecture)
    tail = {"reduced_tail": True} if getattr(one.model, "reduced_tail", False) else {}
    return torchvision.models.get_model(one.backbone.architecture, weights=None, **tail)


def test_every_backbone_tensor_has_its_name_in_the_library(built, without_initialising):
    one, detector = built
    with without_initialising():
        library = shapes_of(library_model(one))
    names, shapes = detector.library_names(), shapes_of(detector)
    assert set(names) == {name for name, stage in stage_of_tensor(detector).items() if stage.startswith("st")}
    assert {ours: library[theirs] for ours, theirs in names.items()} == {ours: shapes[ours] for ours in names}
    assert sorted(names.values(), key=list(library).index) == [names[n] for n in shapes if n in names]  # none swapped
    assert len(set(names.values())) == len(names)


# ---------------------------------------------------------------------------------------------- behaviour


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Coloured patches, uint8."""
    patches = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return (nn.functional.interpolate(patches, (height, width), mode="bicubic").clamp(0, 1)[0] * 255).to(torch.uint8)


IMAGES = [picture(64, 96), picture(96, 72, seed=1)]
"""Of two sizes."""


def target(*boxes: tuple[float, ...]) -> Target:
    """Boxes of the classes 0, 1, 2, 0 …"""
    labels, no = torch.arange(len(boxes)) % len(CLASSES), torch.zeros(len(boxes), dtype=torch.bool)
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Target(0, corners, labels, no, no, torch.ones(len(boxes)), (64, 96), (64, 96))


BOXES = ((4.0, 6.0, 44.0, 50.0), (30.0, 10.0, 64.0, 40.0))
TARGETS = [target(*BOXES), target((10.0, 20.0, 60.0, 90.0))]


def lively(name: str, **settings: Any) -> Detector:
    """Random; its normalisation has seen pictures, and its scores lie around a half."""
    torch.manual_seed(0)
    one = COMBINATIONS[name]
    detector = quick(build_detector(replace(one.model, **settings), one.backbone, CLASSES))
    for axis in detector.class_axes():
        detector.state_dict()[axis.tensor].normal_(std=0.05)
    for name in detector.predictors():
        if "objectness" in name:
            for parameter in detector.get_submodule(name).parameters():
                nn.init.normal_(parameter, std=0.05)
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in norms:
        module.momentum = None  # the mean of what it has seen
    with torch.no_grad():
        detector.train().predict(IMAGES)
    assert all(module.num_batches_tracked for module in norms)
    return detector.eval()


def quick(detector: Detector) -> Detector:
    """With few proposals, and a ninth of the canvas."""
    if isinstance(detector, FasterRCNNDetector):
        detector.rpn._pre_nms_top_n = detector.rpn._post_nms_top_n = {"training": 40, "testing": 40}
    if isinstance(detector, MultiBoxDetector):
        detector.min_canvas = 96
    if isinstance(detector, QueryDetector):
        for name in detector.predictors():  # its boxes begin with zeros, from which no distribution differs
            detector.get_submodule(name).get_parameter("weight").data.normal_(std=0.05)
    return detector


@pytest.fixture(scope="module", params=BEHAVING)
def detector(request) -> Detector:
    return lively(request.param, detections_per_image=LIMIT)


def losses(detector: Detector, targets: list[Target], images: list[Tensor] = IMAGES) -> dict[str, Tensor]:
    """With the same draws each time: Faster R-CNN samples its proposals."""
    torch.manual_seed(0)
    detector.zero_grad()
    return detector.losses(Batch.of(images, targets))


def predict(detector: Detector, images: list[Tensor] = IMAGES) -> list[tuple[Tensor, Tensor, Tensor]]:
    with torch.no_grad():
        return [(found.boxes_xyxy, found.scores, found.labels) for found in detector.predict(images)]


def same(ones: Any, others: Any) -> bool:
    """Whether all tensors are equal, bit for bit."""
    if isinstance(ones, Tensor):
        return torch.equal(ones, others)
    if isinstance(ones, dict):
        return ones.keys() == others.keys() and all(same(ones[key], others[key]) for key in ones)
    return len(ones) == len(others) and all(same(one, other) for one, other in zip(ones, others, strict=True))


def state_of(detector: Detector) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in detector.state_dict().items()}


def set_containers(detector: Detector, training: bool) -> None:
    """Everything but the layers, whose mode is their own: timm's BatchNorm has a child."""
    for module in detector.modules():
        if next(module.children(), None) is not None and not isinstance(module, nn.BatchNorm2d):
            module.training = training


def test_predicting_changes_nothing(detector):
    before, modes = state_of(detector), [module.training for module in detector.modules()]
    predict(detector)
    assert same(before, detector.state_dict())
    assert [module.training for module in detector.modules()] == modes


def test_losses_in_eval_mode_are_finite_train_every_stage_and_leave_the_statistics_alone(detector):
    before, modes = state_of(detector), [module.training for module in detector.modules()]
    found = losses(detector, TARGETS)
    assert len(found) > 1
    assert all(loss.shape == () and loss.isfinite() and loss > 0 for loss in found.values())
    sum(found.values(), torch.zeros(())).backward()
    owner = stage_of_tensor(detector)
    moved = {owner[name] for name, parameter in detector.named_parameters() if gradient_size(parameter) > 0}
    assert moved == {stage.name for stage in detector.stages()}
    assert same(before, detector.state_dict())
    assert [module.training for module in detector.modules()] == modes


def gradient_size(parameter: nn.Parameter) -> float:
    return 0.0 if parameter.grad is None else float(parameter.grad.abs().sum())


def test_only_the_layers_own_mode_counts(detector):
    expected = losses(detector, TARGETS), predict(detector)
    set_containers(detector, training=True)
    found = losses(detector, TARGETS), predict(detector)
    set_containers(detector, training=False)
    assert same(found, expected)


def test_predictions_lie_in_their_image_best_first_and_within_the_limits(detector):
    for image, (boxes, scores, labels) in zip(IMAGES, predict(detector), strict=True):
        assert 1 < len(scores) <= LIMIT
        assert (boxes >= 0).all()
        assert (boxes[:, 0::2] <= image.shape[2]).all()
        assert (boxes[:, 1::2] <= image.shape[1]).all()
        assert (boxes[:, 2:] >= boxes[:, :2]).all()
        assert (scores.diff() <= 0).all()
        assert ((scores > 0.05) & (scores <= 1)).all()
        assert set(labels.tolist()) <= set(range(len(CLASSES)))
        assert (boxes.dtype, scores.dtype, labels.dtype) == (torch.float32, torch.float32, torch.int64)


def test_images_of_two_sizes_in_one_batch_each_get_their_own_detections(detector):
    found, expected = predict(detector, IMAGES[::-1]), predict(detector)[::-1]
    if isinstance(detector, QueryDetector):  # products of matrices, whose rows are summed by where they lie
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    else:
        assert same(found, expected)


def test_bytes_and_numbers_from_0_to_1_are_the_same_picture(detector):
    assert same(predict(detector, [image / 255 for image in IMAGES]), predict(detector))


@pytest.mark.parametrize("detector", UNTOUCHED_BY_PADDING, indirect=True)
def test_a_larger_neighbour_in_the_batch_leaves_detections_where_they_were(detector, request):
    """In a network that looks at one point at a time: others see the padding beyond the edge, and random ones so much
    that nothing could be told. Without suppression: the padding's own boxes would suppress others."""
    detector = keep_everything(look_at_points(copy.deepcopy(detector)))
    image = picture(32, 32)
    (alone,), (beside, _) = predict(detector, [image]), predict(detector, [image, picture(64, 64, seed=2)])
    apart = torch.cdist(rows(alone), rows(beside), p=float("inf")).amin(dim=1)
    assert len(alone[0]) > 50
    assert (apart < 1e-3).float().mean() >= UNTOUCHED_BY_PADDING[request.node.callspec.params["detector"]]


def look_at_points(detector: Detector) -> Detector:
    """Leaves of every kernel its middle, and no normalisation over a whole map."""
    for module in detector.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            height, width = module.kernel_size
            middle = torch.zeros(height, width)
            middle[height // 2, width // 2] = height
            module.weight.data *= middle
        if isinstance(module, nn.GroupNorm):
            module.forward = nn.Identity().forward
    return detector


def keep_everything(detector: Any) -> Detector:
    """Neither threshold nor suppression."""
    part = getattr(detector, "roi_heads", detector)
    part.score_thresh, part.nms_thresh, part.detections_per_img = 0.0, 1.0, 1_000_000
    detector.topk_candidates = 1_000_000
    if isinstance(detector, FasterRCNNDetector):
        detector.rpn._pre_nms_top_n = detector.rpn._post_nms_top_n = {"testing": 1_000_000}
        detector.rpn.nms_thresh = 1.0
    return detector


def rows(found: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Box, score and label of each detection as one point; other labels are far apart."""
    boxes, scores, labels = found
    return torch.cat([boxes, scores[:, None], 1000.0 * labels[:, None]], dim=1)


def test_ssd_on_other_backbones_can_train_on_one_small_picture():
    """Its last map has more than one cell, whatever the size of the picture: batch normalisation needs two values."""
    detector = combination("ssd", LITE0).build().train()
    found = losses(detector, TARGETS[:1], IMAGES[:1])
    assert all(loss.isfinite() for loss in found.values())


# ---------------------------------------------------------------------------------------------- empty targets


@pytest.mark.parametrize("targets", [[target()], [target(), TARGETS[1]]], ids=["no boxes", "boxes in one"])
def test_images_without_boxes_give_finite_losses_and_gradients(detector, targets):
    found = losses(detector, targets, IMAGES[: len(targets)])
    assert all(loss.isfinite() for loss in found.values())
    sum(found.values(), torch.zeros(())).backward()
    gradients = [parameter.grad for parameter in detector.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_boxes_without_area_are_left_out(detector):
    """But for the last digits: sums over padded rows are grouped otherwise, and noise is drawn for all rows."""
    flat = target(BOXES[0], (5.0, 5.0, 5.0, 30.0))
    found, expected = losses(detector, [flat, TARGETS[1]]), losses(detector, [target(BOXES[0]), TARGETS[1]])
    found, expected = ({k: v for k, v in each.items() if "denoising" not in k} for each in (found, expected))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


# ------------------------------------------------------------------------------------------------- precision


def test_in_bfloat16_losses_are_finite_and_boxes_exact(detector):
    image, objects = picture(32, 32), target((2.0, 3.0, 30.0, 28.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, ((boxes, scores, _),) = losses(detector, [objects], [image]), predict(detector, [image])
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in found.values())
    assert (boxes.dtype, scores.dtype) == (torch.float32, torch.float32)
    assert (boxes != boxes.bfloat16()).any()


@pytest.mark.parametrize("detector", [name for name in BEHAVING if "faster" not in name], indirect=True)
def test_the_boxes_of_objects_keep_their_fractions_in_a_bfloat16_network(detector):
    """`trainer.precision=bf16-true`: 30.05 would become 30."""
    half, image = copy.deepcopy(detector).bfloat16(), picture(32, 32)
    one, other = (losses(half, [target((2.0, 3.0, right, 28.0))], [image]) for right in (30.0, 30.05))
    assert not same(one, other)


def test_in_bfloat16_a_map_one_pixel_wide_gives_gradients_and_not_what_the_memory_held(detector):
    """Each strided convolution by itself, beside the same in float64."""
    strided = [m for m in detector.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2) and m.groups == 1]
    assert strided
    for convolution in {tuple(module.weight.shape): module for module in strided}.values():
        maps = torch.randn(2, convolution.in_channels, 1, 1)
        grown = [torch.full((convolution.weight.numel(),), 1e20) for _ in range(4)]
        del grown  # what the memory then holds
        exact = copy.deepcopy(convolution).double()
        exact(maps.double()).square().sum().backward()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = convolution(maps)
        (gradient,) = torch.autograd.grad(found.float().square().sum(), convolution.weight)
        assert exact.weight.grad is not None
        largest = exact.weight.grad.abs().max().item()
        torch.testing.assert_close(gradient.double(), exact.weight.grad, atol=0.02 * largest, rtol=0.02)


# -------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("width", [16, 32, 48, 100])
@pytest.mark.parametrize(("model", "settings"), [("fcos", {}), ("retinanet", V2)], ids=["fcos", "retinanet_v2"])
def test_a_width_that_group_normalisation_cannot_have_is_refused(model, settings, width):
    with pytest.raises(
        UserError, match=rf"backbone\.neck_channels={width} .*model={model}.*multiple of 32, 64 or more"
    ):
        combination(model, LITE0, settings, neck_channels=width).build()


@pytest.mark.parametrize(("model", "settings"), [("fcos", {}), ("retinanet", V2)], ids=["fcos", "retinanet_v2"])
def test_the_smallest_width_of_group_normalisation_works_on_maps_of_one_cell(model, settings):
    detector = combination(model, LITE0, settings, neck_channels=64).build().eval()
    assert len(predict(detector, [picture(32, 32)])) == 1


@pytest.mark.parametrize("model", ["retinanet", "faster_rcnn"])
def test_other_detectors_take_any_width(model, without_initialising):
    with without_initialising():
        detector = combination(model, LITE0, neck_channels=24).build()
    assert detector.get_parameter("backbone.fpn.inner_blocks.0.0.weight").shape[0] == 24

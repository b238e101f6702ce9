"""COCO weights give the detections and the losses of torchvision's own detectors, called as its users call them.

The files have the names and shapes of those that torchvision publishes, and random values that make them lively. In
double precision: torchvision computes some normalisations in another order, and the rounding of float32 alone moves
the boxes of such networks by pixels. In double precision less than 1e-9 is left, and a wrong epsilon shows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary, CocoSourceConfig, SourceKind, Variant
from headstart.config.schemas import SCHEMAS
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors.backbones import set_norm_eps
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import ClassAxis, Detector
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.sources import load_source
from headstart.transfer.types import LoadReport

TOLERANCE = 1e-8
"""Of scores and losses, and of boxes in pixels."""
PROPOSALS = {"fasterrcnn_resnet50_fpn": 150, "fasterrcnn_resnet50_fpn_v2": 25}
"""On both sides, instead of a thousand, which take a minute in v2."""
NO_CLASS = ("__background__", "N/A")


@dataclass(frozen=True)
class Case:
    architecture: str
    backbone: str
    variant: str | None
    builder: str
    """Of torchvision."""
    size_wh: tuple[int, int]
    renamed: bool
    """Whether the file was written before torchvision 0.13."""
    frozen: bool
    """Whether it was trained with FrozenBatchNorm2d, which counts no batches."""
    wrong_eps: float | None
    """Of the backbone's normalisation: what it would have without the source's word; None where there is none."""

    def __str__(self) -> str:
        return self.builder


SMALL = (96, 64)
CASES = [
    Case("retinanet", "resnet50", "v1", "retinanet_resnet50_fpn", SMALL, True, True, 1e-5),
    Case("retinanet", "resnet50", "v2", "retinanet_resnet50_fpn_v2", SMALL, False, False, 0.0),
    Case("faster_rcnn", "resnet50", "v1", "fasterrcnn_resnet50_fpn", SMALL, True, True, 1e-5),
    Case("faster_rcnn", "resnet50", "v2", "fasterrcnn_resnet50_fpn_v2", SMALL, False, False, 0.0),
    Case("faster_rcnn", "mobilenet_v3_large", "v1", "fasterrcnn_mobilenet_v3_large_fpn", (128, 128), True, True, 1e-3),
    Case("fcos", "resnet50", None, "fcos_resnet50_fpn", SMALL, True, True, 0.0),
    Case("ssd", "vgg16", None, "ssd300_vgg16", (300, 300), False, False, None),
    Case("ssdlite", "mobilenet_v3_large", None, "ssdlite320_mobilenet_v3_large", (320, 320), False, False, 1e-5),
]
NORMALISED = [case for case in CASES if case.wrong_eps is not None]
LOSSES = [case for case in CASES if case.builder not in ("fasterrcnn_resnet50_fpn_v2", "ssd300_vgg16")]
"""Without two whose losses are those of a quicker one."""


# --------------------------------------------------------------------------------------- torchvision's side


def weights_of(case: Case) -> Any:
    return torchvision.models.get_model_weights(case.builder)["COCO_V1"]


def torchvision_detector(case: Case, **arguments: Any) -> nn.Module:
    """Resizes no picture of the case's size."""
    if not case.architecture.startswith("ssd"):
        arguments |= {"min_size": min(case.size_wh), "max_size": max(case.size_wh)}
    return few_proposals(torchvision.models.get_model(case.builder, **arguments), case).eval()


def few_proposals(detector: Any, case: Case) -> Any:
    if case.builder in PROPOSALS:
        assert detector.rpn._post_nms_top_n == {"training": 2000, "testing": 1000}
        detector.rpn._post_nms_top_n = dict.fromkeys(("training", "testing"), PROPOSALS[case.builder])
    return detector


def fill(model: nn.Module, generator: torch.Generator) -> None:
    """Random weights that keep the size of a signal, small where a normalisation follows: epsilon then matters.

    FCOS' boxes get some pixels, instead of none.
    """
    names = {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            before_norm = f"{name.removesuffix('weight')}bias" not in names
            gain = 0.03 if before_norm else 0.3 if "bbox" in name or "regression" in name else 1.4
            gain = 0.01 if name == "backbone.features.0.weight" else gain  # SSD300: pictures in 0..255
            bound = gain * (3 / parameter[0].numel()) ** 0.5
            parameter.uniform_(-bound, bound, generator=generator)
        elif name.endswith("weight"):
            parameter.uniform_(0.5, 1.5, generator=generator)
        else:
            parameter.normal_(2.0 if name.endswith("bbox_reg.bias") else 0.0, 0.2, generator=generator)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.reset_running_stats()


def normalise(model: nn.Module, images: list[Tensor], generator: torch.Generator) -> None:
    """Gives every BatchNorm nearly the statistics of `images`."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    model(images)
    for norm in norms:
        norm.eval()
        noise = torch.randn(norm.num_features, generator=generator)
        norm.running_mean.add_(0.2 * noise * norm.running_var.sqrt())
        norm.running_var.mul_(torch.empty(norm.num_features).uniform_(0.7, 1.4, generator=generator))


def spread(model: nn.Module, layers: dict[str, float], image: Tensor, generator: torch.Generator) -> None:
    """Scales the scores of `layers` (name -> mean logit), so that some lie above the threshold, each different."""
    outputs: dict[str, list[Tensor]] = {name: [] for name in layers}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda *call, name=name: outputs[name].append(call[2].flatten())
        )
        for name in layers
    ]
    model([image])
    for hook in hooks:
        hook.remove()
    for name, mean in layers.items():
        layer = model.get_submodule(name)
        layer.weight.mul_(2.5 / torch.cat(outputs[name]).std())
        layer.bias.normal_(mean, 0.5, generator=generator)


@torch.no_grad()
def published(case: Case, ours: Detector, photo: Tensor) -> dict[str, Tensor]:
    """A state dict as torchvision publishes it, whose rows of no class never win. `ours` knows where those are."""
    generator = torch.Generator().manual_seed(0)
    axes = [axis for axis in ours.class_axes() if axis.block == 1]
    with torch.device("cpu" if case.wrong_eps is not None else "meta"):
        model = torchvision_detector(case, weights=None, weights_backbone=None, num_classes=91)
    if case.wrong_eps is None:
        fill(model.to_empty(device="cpu"), generator)
    else:
        fill(model, generator)
        images = [photo / 255, photo.flip(2) / 255]
        normalise(model, images, generator)
        layers = {axis.tensor.rpartition(".")[0]: 0.0 if axis.background else -5.0 for axis in axes}
        proposals = {"rpn.head.cls_logits": -1.0} if hasattr(model, "rpn") else {}
        spread(model, layers | proposals, images[0], generator)
    state = model.state_dict()
    empty = [row for row, name in enumerate(weights_of(case).meta["categories"]) if is_empty(name, axes[0])]
    for axis in axes:
        state[axis.tensor].reshape(axis.anchors, 91, -1)[:, empty] = 0.0 if axis.tensor.endswith("weight") else -1e4
    return as_published(case, state)


def is_empty(category: str, axis: ClassAxis) -> bool:
    return category == "N/A" or (category == "__background__" and not axis.background)


OLD_NAMES = (
    (r"(fpn\.(?:inner|layer)_blocks\.\d+)\.0\.", lambda m: f"{m[1]}."),
    (r"(rpn\.head\.conv)\.0\.0\.", lambda m: f"{m[1]}."),
    (r"(head\.(?:classification|regression)_head\.conv)\.(\d+)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}."),
)
"""Of torchvision before 0.13; FCOS' head had today's then."""


def as_published(case: Case, state: dict[str, Tensor]) -> dict[str, Tensor]:
    if case.frozen:
        state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    for pattern, old in OLD_NAMES if case.renamed else ():
        state = {re.sub(pattern, old, name): tensor for name, tensor in state.items()}
    return state


# ----------------------------------------------------------------------------------------------- both sides


@dataclass
class Compared:
    case: Case
    photo: Tensor
    theirs: Any
    ours: Detector
    report: LoadReport
    state: dict[str, Tensor]
    """Of the file."""

    @cached_property
    def expected(self) -> tuple[list[str], Tensor, Tensor]:
        """Class names, scores and boxes of torchvision's detections."""
        with torch.no_grad():
            (found,) = self.theirs([pixels(self)])
        names = weights_of(self.case).meta["categories"]
        return [names[label] for label in found["labels"]], found["scores"], found["boxes"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Iterator[Path]:
    """torch.hub's folder."""
    home = tmp_path_factory.mktemp("torch")
    (home / "hub" / "checkpoints").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        yield home / "hub" / "checkpoints"


@pytest.fixture(scope="module", params=CASES, ids=str)
def compared(request, cache, photo, without_initialising) -> Compared:
    """torchvision's detector and ours, both from the same cached file."""
    case = request.param
    weights, picture = weights_of(case), photo(*case.size_wh)
    path = cache / Path(weights.url).name
    with without_initialising():
        state = published(case, build(case), picture)
        torch.save(state, path)
        theirs = torchvision_detector(case, weights=weights)
        ours, report = from_coco(case, theirs)
    path.unlink()
    return Compared(case, picture, in_double(theirs, case), in_double(ours, case), report, state)


def in_double(detector: Any, case: Case) -> Any:
    """VGG's body has no normalisation: both sides compute the same in float32, in a fourth of the time."""
    if case.backbone != "vgg16":
        return detector.double()
    detector.head.double()
    detector.backbone.register_forward_hook(lambda *call: {name: level.double() for name, level in call[2].items()})
    return detector


def class_names(case: Case) -> tuple[str, ...]:
    return tuple(name for name in weights_of(case).meta["categories"] if name not in NO_CLASS)


def model_config(case: Case, **settings: Any) -> Any:
    if case.variant:
        settings["variant"] = Variant(case.variant)
    architecture = Architecture(case.architecture)
    return SCHEMAS["model"][case.architecture](architecture=architecture, channels_last=False, **settings)


def backbone_config(case: Case) -> BackboneConfig:
    return BackboneConfig(case.backbone, BackboneLibrary.torchvision, case.backbone)


def build(case: Case, **settings: Any) -> Detector:
    detector = build_detector(model_config(case, **settings), backbone_config(case), class_names(case))
    return few_proposals(detector, case).eval()


def from_coco(case: Case, theirs: Any) -> tuple[Detector, LoadReport]:
    """Ours with torchvision's thresholds and `source=coco`."""
    limits = theirs.roi_heads if hasattr(theirs, "roi_heads") else theirs
    settings = {
        "score_threshold": limits.score_thresh,
        "nms_threshold": limits.nms_thresh,
        "detections_per_image": limits.detections_per_img,
    }
    detector = build(case, **settings)
    source = CocoSourceConfig("coco", SourceKind.coco)
    weights = load_source(source, model_config(case, **settings), backbone_config(case), detector)
    return detector, apply_source(detector, weights)


def detections(compared: Compared) -> tuple[list[str], Tensor, Tensor]:
    """Class names, scores and boxes of ours."""
    with torch.no_grad():
        (found,) = compared.ours.predict([compared.photo])
    return [compared.ours.class_names[label] for label in found.labels], found.scores, found.boxes_xyxy


def pixels(compared: Compared) -> Tensor:
    """In the precision of the body."""
    return compared.photo.to(next(compared.theirs.parameters()).dtype) / 255


def test_the_file_fills_the_detector_whole(compared):
    """All 80 classes have their rows; what stays out is the rows of no class."""
    ours, report = compared.ours, compared.report
    assert (report.new, report.partial, report.unexpected, report.new_classes) == ((), (), (), ())
    assert set(report.loaded) == set(ours.state_dict())
    assert report.kept_classes == {name: name for name in ours.class_names}
    assert len(report.kept_classes) == 80
    rows_left_out = 91 - 80 - max(axis.background for axis in ours.class_axes())
    size = sum(tensor.numel() for tensor in compared.state.values())
    kept = sum(t.numel() for name, t in ours.state_dict().items() if not left_uncounted(compared.case, name))
    per_row = sum(row_size(axis, ours) for axis in ours.class_axes())
    assert size == kept + rows_left_out * per_row


def left_uncounted(case: Case, name: str) -> bool:
    return case.frozen and name.endswith("num_batches_tracked")


def row_size(axis: ClassAxis, detector: Detector) -> int:
    tensor = detector.state_dict()[axis.tensor]
    return tensor.numel() // (axis.background + len(detector.class_names))


def test_detections_are_torchvisions(compared):
    names, scores, boxes = detections(compared)
    expected_names, expected_scores, expected_boxes = compared.expected
    assert len(names) > 30
    assert len(set(names)) > 3
    assert names == expected_names
    torch.testing.assert_close(scores, expected_scores, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(boxes, expected_boxes, rtol=0, atol=TOLERANCE)


BOXES = ((8.0, 10.0, 60.0, 60.0), (30.0, 5.0, 90.0, 50.0), (60.0, 30.0, 80.0, 60.0))
OBJECTS = ("person", "dog", "traffic light")


@pytest.mark.parametrize("compared", LOSSES, ids=str, indirect=True)
def test_losses_are_torchvisions(compared, monkeypatch):
    """Where Faster R-CNN draws candidates, of all of them: draws are each one's own."""
    for detector in (compared.ours, compared.theirs):
        for sampler in (part.fg_bg_sampler for part in detector.modules() if hasattr(part, "fg_bg_sampler")):
            monkeypatch.setattr(sampler, "batch_size_per_image", 100_000)
    names, categories = compared.ours.class_names, weights_of(compared.case).meta["categories"]
    boxes = torch.tensor(BOXES)
    labels, no = torch.tensor([names.index(n) for n in OBJECTS]), torch.zeros(3).bool()
    target = Target(0, boxes, labels, no, no, torch.ones(3), (0, 0), (0, 0))
    with torch.no_grad():
        found = compared.ours.losses(Batch.of([compared.photo], [target]))
    expected = torchvisions_losses(compared, boxes, torch.tensor([categories.index(n) for n in OBJECTS]))
    assert found.keys() == expected.keys()
    for name, loss in expected.items():
        assert loss > 0
        exact = max(TOLERANCE, torch.finfo(loss.dtype).eps)  # of objectness, torchvision's is in float32
        torch.testing.assert_close(found[name], loss, rtol=exact, atol=0, check_dtype=False)


def torchvisions_losses(compared: Compared, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """In training mode, which torchvision needs for losses, but with fixed normalisation."""
    compared.theirs.train()
    compared.theirs.transform._skip_resize = True  # it would draw a size, though there is but one
    for norm in (module for module in compared.theirs.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.eval()
    with torch.no_grad():
        losses = compared.theirs([pixels(compared)], [{"boxes": boxes.double(), "labels": labels}])
    compared.theirs.eval()
    return losses


def test_every_setting_is_torchvisions(compared):
    """Thresholds, numbers of candidates, samplers, anchors, kernels: of every module of theirs."""
    ours = dict(compared.ours.named_modules())
    not_ours = {"transform", *(axis.tensor.rpartition(".")[0] for axis in compared.ours.class_axes())}
    checked = 0
    for name, module in compared.theirs.named_modules():
        if name in not_ours or not isinstance(ours[name], type(module)):
            continue  # FrozenBatchNorm2d is BatchNorm2d
        expected = settings_of(module)
        expected.pop("scales", None)  # of the maps, which torchvision's pooling finds on its first pictures
        assert {key: settings_of(ours[name]).get(key) for key in expected} == expected, name
        checked += len(expected)
    assert checked > 300


def settings_of(thing: Any) -> dict[str, Any]:
    """Its numbers, and those of its helpers that are no modules."""
    helpers = {
        f"{name}.{key}": number
        for name, value in vars(thing).items()
        if type(value).__module__.startswith("torchvision.models.detection") and not isinstance(value, nn.Module)
        for key, number in settings_of(value).items()
    }
    without = {*vars(nn.Module()), "num_classes", "num_columns"}
    own = {name: value for name, value in vars(thing).items() if name not in without and is_plain(value)}
    return own | helpers


def is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(is_plain(item) for item in value.values())
    return isinstance(value, (int, float, str))


@pytest.mark.parametrize("compared", NORMALISED, ids=str, indirect=True)
def test_another_epsilon_would_give_other_detections(compared):
    """The trap: the file fits as well, and nobody notices."""
    _, expected, _ = compared.expected
    before = {module: module.eps for module in compared.ours.modules() if isinstance(module, nn.BatchNorm2d)}
    assert compared.case.wrong_eps not in before.values()
    set_norm_eps(compared.ours, compared.case.wrong_eps)
    _, scores, _ = detections(compared)
    for module, eps in before.items():
        module.eps = eps
    assert scores.shape != expected.shape or (scores - expected).abs().max() > 1000 * TOLERANCE

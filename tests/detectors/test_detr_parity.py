"""D-FINE and RT-DETR against transformers' own classes, for the same weights, through our padding and surgery."""

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from headstart.data.batch import Batch
from headstart.data.types import Target

pytest.importorskip("transformers")
_spec = importlib.util.spec_from_file_location("detr_reference", Path(__file__).with_name("detr_reference.py"))
assert _spec
assert _spec.loader
reference: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

SHORTEST = 160


@pytest.fixture(scope="module", params=reference.KINDS)
def pair(request, tmp_path_factory) -> tuple[str, Any, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, reference.saved(request.param, folder), folder


def photos(root: Path, count: int = 10) -> list[Tensor]:
    """Of several sizes, none a multiple of 32."""
    files = sorted(file for name in ("bccd", "kangaroo") for file in (root / name).rglob("*.jp*g"))
    found = []
    for i, file in enumerate(files[:: len(files) // count][:count]):
        picture = PIL.Image.open(file).convert("RGB").resize((SHORTEST + 7 * i, SHORTEST + 5 * (count - i)))
        found.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    return found


def by_hand(images: list[Tensor]) -> Tensor:
    """(N, 3, H, W) in 0..1, zeros to the right and below, sides multiples of 32."""
    height, width = (-(-max(image.shape[axis] for image in images) // 32) * 32 for axis in (1, 2))
    canvas = torch.zeros(len(images), 3, height, width)
    for i, image in enumerate(images):
        canvas[i, :, : image.shape[1], : image.shape[2]] = image / 255
    return canvas


def test_ten_photos_give_the_detections_of_transformers(pair, real_data):
    from transformers import RTDetrImageProcessor

    kind, network, folder = pair
    images = photos(real_data)
    assert len(images) == 10
    canvas = by_hand(images)
    sizes = [tuple(canvas.shape[-2:])] * len(images)
    detector = reference.loaded(kind, folder, score_threshold=0.0, detections_per_image=reference.QUERIES)
    with torch.no_grad():
        outputs = network(pixel_values=canvas)
        found = detector.predict(images)
    expected = RTDetrImageProcessor().post_process_object_detection(outputs, threshold=0.0, target_sizes=sizes)
    for image, ours, theirs in zip(images, found, expected, strict=True):
        assert len(ours.scores) == reference.QUERIES
        height, width = image.shape[-2:]
        most = torch.tensor([width, height, width, height])
        torch.testing.assert_close(ours.scores, theirs["scores"], atol=1e-5, rtol=1e-5)
        assert torch.equal(ours.labels, theirs["labels"])
        clipped = torch.minimum(theirs["boxes"].clamp(min=0), most)
        torch.testing.assert_close(ours.boxes_xyxy, clipped, atol=1e-2, rtol=1e-4)


def a_batch() -> Batch:
    """Two pictures of other sizes: three objects, and none."""
    generator = torch.Generator().manual_seed(3)
    sizes = (3, 96, 120), (3, 90, 96)
    images = [torch.randint(0, 256, size, generator=generator, dtype=torch.uint8) for size in sizes]
    boxes = [[[10, 10, 50, 60], [30, 20, 90, 80], [5.0, 50, 40, 90]], [[20, 10, 60, 80.0]]]
    return Batch.of(images, [_target(i, torch.tensor(rows)) for i, rows in enumerate(boxes)])


def _target(image_id: int, boxes: Tensor) -> Target:
    count = len(boxes)
    no = torch.zeros(count, dtype=torch.bool)
    return Target(image_id, boxes, torch.arange(count) % 3, no, no, torch.ones(count), (96, 120), (96, 120))


def their_labels(batch: Batch, canvas: Tensor) -> list[dict[str, Tensor]]:
    height, width = canvas.shape[-2:]
    labels = []
    for _, target in batch.per_image():
        left, top, right, bottom = target.boxes_xyxy.to(canvas).unbind(-1)
        centres = (left + right) / 2 / width, (top + bottom) / 2 / height
        boxes = torch.stack((*centres, (right - left) / width, (bottom - top) / height), -1)
        labels.append({"class_labels": target.labels, "boxes": boxes})
    return labels


def train_but_for_the_body(network: torch.nn.Module, body: torch.nn.Module) -> None:
    network.train()
    body.eval()  # transformers' has fixed statistics


NAMES: dict[str, Callable[[str], bool]] = {
    "classification": lambda name: name.startswith("loss_vfl"),
    "boxes_l1": lambda name: name.startswith("loss_bbox"),
    "boxes_giou": lambda name: name.startswith("loss_giou"),
    "boxes_fgl": lambda name: name.startswith("loss_fgl"),
    "boxes_ddf": lambda name: name.startswith("loss_ddf"),
}


@pytest.fixture
def in_double(monkeypatch):
    """transformers' losses make single numbers of some of theirs: rounding would hide what is compared."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("in_double")
def test_losses_and_gradients_are_those_of_transformers(pair):
    """With the denoising queries, whose noise is drawn alike."""
    kind, network, folder = pair
    network, detector = copy.deepcopy(network).double(), reference.loaded(kind, folder).double()
    network.set_attn_implementation("eager")  # its other one takes a mask of single numbers for one of double ones
    batch = a_batch()
    canvas = detector.normalised(batch)
    train_but_for_the_body(network, network.model.backbone)
    train_but_for_the_body(detector, detector.backbone)
    torch.manual_seed(7)
    outputs = network(pixel_values=canvas, labels=their_labels(batch, canvas))
    torch.manual_seed(7)
    found = detector.losses(batch)
    for name, is_of in NAMES.items():
        for denoising in (False, True):
            theirs = [value for key, value in outputs.loss_dict.items() if is_of(key) and ("_dn_" in key) == denoising]
            ours = found.get(f"denoising_{name}" if denoising else name)
            assert (ours is None) == (not theirs), name
            if ours is not None:
                torch.testing.assert_close(ours, torch.stack([*theirs]).sum().to(ours), rtol=1e-6, atol=0)
    outputs.loss.backward()
    torch.stack(list(found.values())).sum().backward()
    compare_gradients(network, detector)


def compare_gradients(network: torch.nn.Module, detector: torch.nn.Module) -> None:
    from headstart.detectors.detr_names import ours

    theirs = ours({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    compared = 0
    for name, parameter in detector.named_parameters():
        if name in theirs:
            assert parameter.grad is not None, name
            apart = (parameter.grad - theirs[name]).abs().max()
            assert apart <= 1e-5 * theirs[name].abs().max() + 1e-9, name
            compared += bool(theirs[name].abs().sum())
    assert compared > 200


def test_the_resnet_of_rt_detr_r50_is_timm_s_resnet50d():
    """Under the names that a file of the hub has."""
    from transformers import RTDetrResNetConfig
    from transformers.models.rt_detr.modeling_rt_detr_resnet import RTDetrResNetBackbone

    from headstart.config.schema import BackboneConfig, BackboneLibrary
    from headstart.detectors.backbones import build_body
    from headstart.detectors.detr_names import BODY, ours

    torch.manual_seed(0)
    network = RTDetrResNetBackbone(RTDetrResNetConfig(out_indices=[2, 3, 4])).eval()
    body = build_body(BackboneConfig("resnet50d", BackboneLibrary.timm, "resnet50d"), (8, 16, 32)).module.eval()
    state = ours({f"{BODY}{name}": tensor for name, tensor in network.state_dict().items()})
    body.load_state_dict({name.removeprefix("backbone.body."): tensor for name, tensor in state.items()})
    picture = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found, expected = list(body(picture).values()), network(picture).feature_maps
    assert [level.shape[1] for level in found] == [512, 1024, 2048]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())

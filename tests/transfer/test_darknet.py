"""Files made here as Darknet writes them, loaded, and computed a second time from the file alone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from headstart.config import schema as s
from headstart.config.compose import compose
from headstart.data.batch import Batch
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Preprocessing
from headstart.errors import UserError
from headstart.transfer.darknet import COCO, load_darknet
from headstart.transfer.head_surgery import apply_source

BACKBONE = s.BackboneConfig("darknet53", s.BackboneLibrary.timm, "darknet53", darknet=True)
MODEL = s.YOLOv3Config(s.Architecture.yolov3)
BODY_BYTES, YOLOV3_BYTES = 162_482_580, 248_007_048
"""Of the published darknet53.conv.74 and yolov3.weights."""
HEADER = np.array([0, 2, 0, 0, 0], "<i4").tobytes()
"""Version 0.2.0, and no picture seen, in 8 bytes."""

# ------------------------------------------------------------------------- the network, as Darknet's cfg has it
# (kind, …): a convolution of (filters, size, stride) with batch normalisation, a last one, a shortcut from so many
# layers back, a route, an upsampling.


def body() -> Iterator[tuple]:
    yield ("conv", 32, 3, 1)
    for width, count in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        yield ("conv", width, 3, 2)
        for _ in range(count):
            yield from (("conv", width // 2, 1, 1), ("conv", width, 3, 1), ("shortcut", 3))


def yolov3(classes: int) -> Iterator[tuple]:
    yield from body()
    for width, route in ((512, None), (256, 61), (128, 36)):
        if route is not None:
            yield from (("route", 4), ("conv", width, 1, 1), ("upsample",), ("routes", 1, route))
        yield from (("conv", width, 1, 1), ("conv", 2 * width, 3, 1)) * 3
        yield from (("last", 3 * (5 + classes)), ("yolo",))


class File:
    """Numbers that are read one after the other."""

    def __init__(self, path: Path) -> None:
        self.rest = torch.from_numpy(np.fromfile(path, "<f4", offset=len(HEADER)))

    def take(self, *shape: int) -> Tensor:
        count = int(np.prod(shape))
        found, self.rest = self.rest[:count].reshape(shape), self.rest[count:]
        return found


def forward(layers: Iterator[tuple], images: Tensor, file: File) -> list[Tensor]:
    """What each layer gives, from the numbers of the file alone."""
    made: list[Tensor] = []
    last = images
    for kind, *settings in layers:
        if kind == "conv":
            filters, size, stride = settings
            bias, scale, mean, variance = (file.take(filters)[:, None, None] for _ in range(4))
            seen = F.conv2d(last, file.take(filters, last.shape[1], size, size), stride=stride, padding=size // 2)
            last = (seen - mean) / (variance + 1e-5).sqrt() * scale + bias
            last = torch.where(last > 0, last, 0.1 * last)
        elif kind == "last":
            bias = file.take(settings[0])
            last = F.conv2d(last, file.take(settings[0], last.shape[1], 1, 1), bias)
        elif kind == "shortcut":
            last = last + made[-settings[0]]
        elif kind == "route":
            last = made[-settings[0]]
        elif kind == "upsample":
            last = last.repeat_interleave(2, 2).repeat_interleave(2, 3)
        elif kind == "routes":
            last = torch.cat((made[-settings[0]], made[settings[1]]), 1)
        made.append(last)
    assert len(file.rest) == 0
    return made


def decoded(made: list[Tensor], classes: int) -> tuple[Tensor, Tensor]:
    """(A, 4) boxes and (A, classes) scores of one image by the paper's formulas, cells of the finest map first."""
    sizes = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
    boxes, scores = [], []
    for level, said in enumerate(reversed([layer for layer in made if layer.shape[1] == 3 * (5 + classes)][::2])):
        stride = 8 * 2**level
        for y in range(said.shape[2]):
            for x in range(said.shape[3]):
                for number, (width, height) in enumerate(sizes[3 * level : 3 * level + 3]):
                    tx, ty, tw, th, to, *of_classes = said[
                        0, number * (5 + classes) : (number + 1) * (5 + classes), y, x
                    ]
                    bx, by = (tx.sigmoid() + x) * stride, (ty.sigmoid() + y) * stride
                    bw, bh = width * tw.exp(), height * th.exp()
                    boxes.append(torch.stack((bx - bw / 2, by - bh / 2, bx + bw / 2, by + bh / 2)))
                    scores.append(to.sigmoid() * torch.stack(of_classes).sigmoid())
    return torch.stack(boxes), torch.stack(scores)


# ------------------------------------------------------------------------------------------------------ files


def write(path: Path, layers: Iterator[tuple]) -> Path:
    """Random, so that every map is about as large as the one before."""
    random = np.random.default_rng(0)
    widths, last = [], 3
    with path.open("wb") as file:
        file.write(HEADER)
        for kind, *settings in layers:
            if kind in ("conv", "last"):
                inputs, last, size = last, settings[0], settings[1] if kind == "conv" else 1
                file.write(random.normal(0, 0.2, last).astype("<f4"))
                if kind == "conv":
                    file.write(random.uniform(0.6, 0.9, last).astype("<f4"))
                    file.write(random.normal(0, 0.2, last).astype("<f4"))
                    file.write(random.uniform(0.5, 1.5, last).astype("<f4"))
                count = last * inputs * size * size
                file.write(random.standard_normal(count, np.float32) * np.float32((size * size * inputs) ** -0.5))
            elif kind == "route":
                last = widths[-settings[0]]
            elif kind == "routes":
                last = widths[-settings[0]] + widths[settings[1]]
            widths.append(last)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Of two classes."""
    return write(tmp_path_factory.mktemp("darknet") / "mine.weights", yolov3(2))


def config(path: Path, *class_names: str) -> s.DarknetConfig:
    return s.DarknetConfig("darknet", s.SourceKind.darknet, path=str(path), class_names=list(class_names))


def image() -> Tensor:
    return torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_a_whole_file_gives_the_boxes_and_scores_of_another_forward_pass(whole: Path) -> None:
    detector = build_detector(MODEL, BACKBONE, ("cat", "dog")).eval()
    report = apply_source(detector, load_darknet(config(whole, "cat", "dog"), BACKBONE, detector))
    assert set(report.loaded) == set(detector.state_dict())
    with torch.no_grad():
        boxes, scores = detector.every_box(detector.features(Batch.of(list(image()))))
        their_boxes, their_scores = decoded(forward(yolov3(2), image(), File(whole)), 2)
    assert their_scores.std() > 0.01
    torch.testing.assert_close(boxes[0], their_boxes, atol=0.01, rtol=1e-4)
    torch.testing.assert_close(scores[0], their_scores, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_class_rows_go_to_the_classes_of_their_names(whole: Path) -> None:
    kept, other = (build_detector(MODEL, BACKBONE, names).eval() for names in (("cat", "dog"), ("dog", "new", "cat")))
    for detector in (kept, other):
        report = apply_source(detector, load_darknet(config(whole, "cat", "dog"), BACKBONE, detector))
    assert report.new_classes == ("new",)
    with torch.no_grad():
        batch = Batch.of(list(image()))
        (boxes, scores), (same_boxes, found) = (one.every_box(one.features(batch)) for one in (kept, other))
    torch.testing.assert_close(same_boxes, boxes)
    torch.testing.assert_close(found[..., [2, 0]], scores)


@pytest.mark.slow
def test_of_a_whole_file_another_detector_takes_the_body_as_of_the_bodys_own_file(whole: Path, tmp_path: Path) -> None:
    own = tmp_path / "darknet53.conv.74"
    own.write_bytes(whole.read_bytes()[:BODY_BYTES])
    network = s.FCOSConfig(s.Architecture.fcos), BACKBONE, ("a",)
    expected = forward(body(), image(), File(own))
    for path in (whole, own):
        detector = build_detector(*network).eval()
        weights = load_darknet(config(path), BACKBONE, detector)
        report = apply_source(detector, weights)
        assert {name for name in detector.state_dict() if name.startswith("backbone.body.")} == set(report.loaded)
        assert detector.preprocessing == Preprocessing((0, 0, 0), (1, 1, 1))
        with torch.no_grad():
            maps = detector.features(Batch.of(list(image()))).body_maps
        for found, layer in zip(maps, (36, 61, 74), strict=True):
            torch.testing.assert_close(found, expected[layer], atol=1e-4, rtol=1e-4)
    assert weights.lineage == ("imagenet",)


# ------------------------------------------------------------------------------------------- sizes and names


@pytest.fixture
def sparse(tmp_path: Path) -> Callable[..., Path]:
    """A file of so many bytes, most of them zeros that lie nowhere."""

    def make(size: int, header: bytes = HEADER) -> Path:
        path = tmp_path / "x.weights"
        path.write_bytes(header)
        with path.open("r+b") as file:
            file.truncate(size)
        return path

    return make


@pytest.fixture(scope="module")
def detector(tiny):
    """Takes of any file nothing but its names."""
    return tiny()


@pytest.mark.parametrize(
    "size", [BODY_BYTES - 4, BODY_BYTES + 4, YOLOV3_BYTES - 1, YOLOV3_BYTES + 3, YOLOV3_BYTES + 8, 20]
)
def test_a_file_that_is_too_short_or_too_long_is_refused_by_its_bytes(sparse, detector, size: int) -> None:
    said = rf"it has {size:,} bytes\. Expected are 162,482,580 .*166,582,580 .*21,540 for each class: 248,007,048"
    with pytest.raises(UserError, match=said):
        load_darknet(config(sparse(size)), BACKBONE, detector)


@pytest.mark.parametrize(
    ("content", "said"), [(b"PK\x03\x04" + bytes(99), "is no .weights file of Darknet"), (b"12", "it has fewer")]
)
def test_a_file_without_a_version_is_refused(tmp_path: Path, detector, content: bytes, said: str) -> None:
    path = tmp_path / "x.weights"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_darknet(config(path), BACKBONE, detector)


def test_an_old_header_counts_pictures_in_four_bytes(sparse, detector) -> None:
    weights = load_darknet(config(sparse(BODY_BYTES - 4, np.array([0, 1, 0, 7], "<i4").tobytes())), BACKBONE, detector)
    assert weights.where.endswith("x.weights")


@pytest.mark.parametrize(
    ("classes", "names", "said"),
    [(3, (), "head of 3 classes, but COCO.*has 80"), (80, ("a",), "80 classes, but source.class_names lists 1")],
)
def test_a_head_whose_classes_are_not_known_is_refused(sparse, classes, names, said) -> None:
    path = sparse(YOLOV3_BYTES + (classes - 80) * 21_540)
    with torch.device("meta"):
        yolo = build_detector(MODEL, BACKBONE, ("a",))
    with pytest.raises(UserError, match=said):
        load_darknet(config(path, *names), BACKBONE, yolo)


def test_a_head_of_80_knows_cocos_names(sparse) -> None:
    with torch.device("meta"):
        yolo = build_detector(MODEL, BACKBONE, ("a",))
    weights = load_darknet(config(sparse(YOLOV3_BYTES)), BACKBONE, yolo)
    assert weights.row_names == COCO
    assert (COCO[0], COCO[11], COCO[-1], weights.lineage) == ("person", "stop sign", "toothbrush", ("imagenet", "coco"))


def test_a_neck_of_another_width_is_refused(sparse) -> None:
    narrow = s.BackboneConfig("darknet53", s.BackboneLibrary.timm, "darknet53", darknet=True, neck_channels=64)
    with torch.device("meta"):
        yolo = build_detector(MODEL, narrow, ("a",))
    with pytest.raises(UserError, match=r"neck_channels=64 must be 256"):
        load_darknet(config(sparse(YOLOV3_BYTES)), narrow, yolo)


@pytest.mark.parametrize("words", [["backbone=resnet18"], ["backbone=darknet53", "backbone.darknet=false"]])
def test_another_body_is_refused_before_anything_is_read(words) -> None:
    with pytest.raises(UserError, match=r"source=darknet does not go with backbone=.*backbone=darknet53"):
        compose(["model=yolov3", "source=darknet", "source.path=x.weights", *words])


def test_timms_imagenet_weights_are_refused_for_darknets_slope_and_the_slope_for_other_networks() -> None:
    with pytest.raises(UserError, match=r"slope 0\.01.*backbone\.darknet=false.*darknet53\.conv\.74"):
        compose(["backbone=darknet53", "source=imagenet"])
    compose(["backbone=darknet53", "source=imagenet", "backbone.darknet=false"])
    with pytest.raises(UserError, match=r"backbone\.darknet=true: backbone=resnet18 has no leaky ReLU"):
        build_detector(
            MODEL, s.BackboneConfig("resnet18", s.BackboneLibrary.torchvision, "resnet18", darknet=True), "a"
        )


def test_anchors_left_to_the_data_are_refused_beside_a_head_that_was_trained_with_the_papers() -> None:
    words = ["backbone=darknet53", "source=darknet", "source.path=x.weights", "model.anchors=null"]
    with pytest.raises(UserError, match=r"model\.anchors=null with source=darknet.*anchors of the paper"):
        compose(["model=yolov3", *words])

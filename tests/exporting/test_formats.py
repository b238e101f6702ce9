"""Other programs than onnxruntime find the same: OpenCV without suppression, torch without Headstart."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from headstart.config.schema import ExportConfig, ExportTo
from headstart.data.batch import Batch, nothing
from headstart.detectors.detr import QueryDetector
from headstart.errors import UserError
from headstart.exporting.contract import KEY, read_contract
from headstart.exporting.graph import NO_PADDING
from headstart.exporting.verb import export

pytestmark = pytest.mark.slow  # a minute each
OF_OPENCV = ["small", "retinanet", "ssd", "ssdlite", "fcos", "yolov3", "yolox"]


@pytest.mark.parametrize("name", OF_OPENCV)
def test_opencv_has_every_box_and_score_of_pytorchs(exported, drawn, name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    height, width = 300, 320
    detector, path = exported(name, nms=False, size=[height, width])
    for pictures in (1, 3):
        images = drawn(pictures, height, width)
        whole = Batch(images / 255, torch.full((1, 2), NO_PADDING), nothing(1, 1, "cpu"), ())
        with torch.inference_mode():
            boxes, scores = detector.every_box(detector.features(whole))
        net = cv2.dnn.readNetFromONNX(str(path))
        bgr = [picture.numpy().transpose(1, 2, 0)[:, :, ::-1].copy() for picture in images]
        net.setInput(cv2.dnn.blobFromImages(bgr, swapRB=True))
        their_boxes, their_scores = net.forward(["boxes_xyxy", "scores"])
        np.testing.assert_allclose(their_boxes, boxes.numpy(), atol=0.5)
        np.testing.assert_allclose(their_scores, scores.numpy(), atol=1e-3)
        assert scores.std() > 0.01


@pytest.mark.parametrize("name", ["small", "d_fine", "rt_detr"])
def test_a_file_without_suppression_takes_any_size_in_onnxruntime(exported, drawn, name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    detector, path = exported(name, nms=False)
    session = onnxruntime.InferenceSession(path)
    for pictures, height, width in ((1, 200, 320), (2, 257, 190)):
        images = drawn(pictures, height, width)
        whole = Batch(images / 255, torch.full((1, 2), NO_PADDING), nothing(1, 1, "cpu"), ())
        with torch.inference_mode():
            ours = detector.every_box(detector.features(whole))
        theirs = session.run(None, {"images": images.float().numpy()})
        if isinstance(detector, QueryDetector):
            theirs = in_the_order_of(ours, theirs)
        for one, other, most in zip(theirs, ours, (0.5, 1e-3), strict=True):
            np.testing.assert_allclose(one, other.numpy(), atol=most)


def in_the_order_of(ours: Sequence[torch.Tensor], theirs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Queries stand in the order of scores, which may be equal: each of ours gets the one of theirs that is nearest,
    each of theirs once."""
    numbers = [torch.cat([torch.as_tensor(part) for part in side], -1) for side in (ours, theirs)]
    nearest = [linear_sum_assignment(torch.cdist(*of_one))[1] for of_one in zip(*numbers, strict=True)]
    return [np.take_along_axis(part, np.stack(nearest)[..., None], 1) for part in theirs]


WITHOUT_US = """
import sys, numpy, torch, torchvision
extra = {"headstart": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
given = numpy.load(sys.argv[2])
found = program(*(torch.from_numpy(given[name]) for name in ("images", "sizes_hw")))
numpy.savez(sys.argv[3], *(tensor.numpy() for tensor in found))
assert not any(name.split(".")[0] == "headstart" for name in sys.modules)
print(extra["headstart"])
"""


@pytest.fixture
def run_program(tmp_path: Path) -> Callable[..., Any]:
    """`run_program(path, images, sizes_hw)`: (what it found, its description), in a process that has no Headstart."""

    def call(path: Path, images: torch.Tensor, sizes_hw: torch.Tensor) -> tuple[list[np.ndarray], dict[str, Any]]:
        np.savez(tmp_path / "given.npz", images=images.numpy(), sizes_hw=sizes_hw.numpy())
        words = [sys.executable, "-c", WITHOUT_US, path, tmp_path / "given.npz", tmp_path / "found.npz"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "found.npz") as found:
            return [found[name] for name in found.files], json.loads(done.stdout)

    return call


@pytest.mark.parametrize(
    ("name", "settings", "other"),
    [
        ("small", {}, (240, 320)),
        ("ssd_tf", {"size": [300, 300]}, (300, 300)),
        ("d_fine", {}, (240, 320)),
        ("rt_detr", {}, (240, 320)),
        ("retinanet-dinov3", {}, (240, 320)),
    ],
)
def test_a_program_of_torch_export_finds_the_same_without_headstart(
    exported, drawn, run_program, assert_same, name: str, settings: dict[str, Any], other: tuple[int, int]
) -> None:
    detector, path = exported(name, to=ExportTo.torch_export, **settings)
    for pictures, height, width in ((1, 300, 300), (3, *other)):
        images = drawn(pictures, height, width)
        sizes_hw = torch.tensor([[height - 9 * i, width - 20 * i] for i in range(pictures)])
        with torch.inference_mode():
            ours = detector.detect(Batch(images, sizes_hw, nothing(1, 1, "cpu"), ())).per_image()
        (boxes, scores, labels, count), said = run_program(path, images, sizes_hw)
        least = detector.rule.score_threshold
        for i, one in enumerate(ours):
            n = count[i]
            mine = one.boxes_xyxy.numpy(), one.scores.numpy(), one.labels.numpy()
            assert assert_same(mine, (boxes[i, :n], scores[i, :n], labels[i, :n]), least) > 20
        assert read_contract({KEY: json.dumps(said)}, "x").class_names == detector.class_names


def test_a_program_holds_its_weights_as_bytes_and_no_pickle_of_them(exported) -> None:
    _, path = exported("small", to=ExportTo.torch_export)
    with zipfile.ZipFile(path) as archive:
        configs = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("_config.json")]
    payloads = [entry for config in configs for entry in config["config"].values()]
    assert len(payloads) > 20
    assert not any(entry["use_pickle"] for entry in payloads)


def test_a_model_that_has_no_graph_is_refused_by_name(exported) -> None:
    with pytest.raises(UserError, match="architecture=faster_rcnn on backbone=resnet10t cannot be exported"):
        exported("faster_rcnn")


@pytest.mark.parametrize("name", ["ssd-vgg16", "ssd_tf", "ssdlite-mobilenet"])
def test_a_model_whose_coarsest_map_may_be_one_cell_is_refused_for_any_size(exported, name: str) -> None:
    with pytest.raises(UserError, match=r"on backbone=\w+ cannot be exported for .* any size: .*size=\[height,width\]"):
        exported(name)


def test_a_run_on_stretched_pictures_is_written_for_their_size(described_as) -> None:
    """TensorFlow's SSD as it is trained: `resize=stretch` to 300 x 300."""
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = described_as("ssd_tf", "preprocessing", min_size=300, max_size=300, resize="stretch")
    path = export(ExportConfig(run=str(folder)))
    images, _ = onnxruntime.InferenceSession(path).get_inputs()
    assert images.shape == ["batch", 3, 300, 300]

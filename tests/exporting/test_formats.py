"""Other programs than onnxruntime find the same: OpenCV without suppression, torch without Headstart."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.config.schema import ExportTo
from headstart.data.batch import Batch, nothing
from headstart.errors import UserError
from headstart.exporting.contract import KEY, read_contract
from headstart.exporting.graph import NO_PADDING, every_box

pytestmark = pytest.mark.slow  # a minute each


@pytest.mark.parametrize("name", ["small", "retinanet", "ssd", "ssdlite", "fcos", "yolov3", "yolox"])
def test_opencv_has_every_box_and_score_of_pytorchs(exported, drawn, name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    height, width = 300, 320
    detector, path = exported(name, nms=False, size=[height, width])
    for pictures in (1, 3):
        images = drawn(pictures, height, width)
        whole = Batch(images / 255, torch.full((1, 2), NO_PADDING), nothing(1, 1, "cpu"), ())
        with torch.inference_mode():
            boxes, scores = every_box(detector, whole)
        net = cv2.dnn.readNetFromONNX(str(path))
        bgr = [picture.numpy().transpose(1, 2, 0)[:, :, ::-1].copy() for picture in images]
        net.setInput(cv2.dnn.blobFromImages(bgr, swapRB=True))
        their_boxes, their_scores = net.forward(["boxes_xyxy", "scores"])
        np.testing.assert_allclose(their_boxes, boxes.numpy(), atol=0.5)
        np.testing.assert_allclose(their_scores, scores.numpy(), atol=1e-3)
        assert scores.std() > 0.01


def test_a_file_without_suppression_takes_any_size_in_onnxruntime(exported, drawn) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    detector, path = exported("small", nms=False)
    session = onnxruntime.InferenceSession(path)
    for pictures, height, width in ((1, 200, 320), (2, 257, 190)):
        images = drawn(pictures, height, width)
        whole = Batch(images / 255, torch.full((1, 2), NO_PADDING), nothing(1, 1, "cpu"), ())
        with torch.inference_mode():
            ours = every_box(detector, whole)
        for one, other, most in zip(
            session.run(None, {"images": images.float().numpy()}), ours, (0.5, 1e-3), strict=True
        ):
            np.testing.assert_allclose(one, other.numpy(), atol=most)


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


@pytest.mark.parametrize("name", ["small", "ssd_tf"])
def test_a_program_of_torch_export_finds_the_same_without_headstart(
    exported, drawn, run_program, assert_same, name: str
) -> None:
    detector, path = exported(name, to=ExportTo.torch_export)
    for pictures, height, width in ((1, 300, 300), (3, 240, 320)):
        images = drawn(pictures, height, width)
        sizes_hw = torch.tensor([[height - 9 * i, width - 20 * i] for i in range(pictures)])
        with torch.inference_mode():
            ours = detector.detect(Batch(images, sizes_hw, nothing(1, 1, "cpu"), ())).per_image()
        (boxes, scores, labels, count), said = run_program(path, images, sizes_hw)
        for i, one in enumerate(ours):
            n = count[i]
            mine = one.boxes_xyxy.numpy(), one.scores.numpy(), one.labels.numpy()
            assert assert_same(mine, (boxes[i, :n], scores[i, :n], labels[i, :n]), detector.score_thresh) > 20
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


def test_ssd300_is_written_for_pictures_of_300_pixels_and_refused_for_any(exported, drawn, assert_same) -> None:
    from headstart.exporting.runtime import OnnxDetector

    with pytest.raises(UserError, match=r"backbone=vgg16 cannot be exported .*size=\[height,width\]"):
        exported("ssd-vgg16")
    detector, path = exported("ssd-vgg16", size=[300, 300])
    batch = Batch(drawn(2, 300, 300), torch.tensor([[300, 300], [290, 280]]), nothing(2, 1, "cpu"), ())
    with torch.inference_mode():
        ours, theirs = detector.detect(batch).per_image(), OnnxDetector(path).detect(batch).per_image()
    for one, other in zip(ours, theirs, strict=True):
        pair = [(found.boxes_xyxy.numpy(), found.scores.numpy(), found.labels.numpy()) for found in (one, other)]
        assert assert_same(*pair, detector.score_thresh) > 20

"""An ONNX file finds what the detector finds: boxes to 0.5 pixels, scores to 0.001, in onnxruntime and in OpenCV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from headstart.data.batch import Batch, nothing
from headstart.exporting.contract import KEY, read_contract
from headstart.exporting.runtime import OnnxDetector

SLOW = ["retinanet", "retinanet-same", "retinanet-resnet18", "retinanet-v2", "fcos", "ssd", "ssd_tf"]
SLOW += ["ssdlite", "ssdlite-mobilenet"]
EXPORTABLE = ["small", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
SIZES = ((240, 320), (301, 333))


def of_picture(found: Any, i: int) -> tuple[np.ndarray, ...]:
    one = found.per_image()[i]
    return one.boxes_xyxy.numpy(), one.scores.numpy(), one.labels.numpy()


def batch_of(images: Tensor, sizes_hw: list[tuple[int, int]]) -> Batch:
    return Batch(images, torch.tensor(sizes_hw), nothing(len(images), 1, "cpu"), ())


@pytest.mark.parametrize("name", EXPORTABLE)
def test_detections_are_pytorchs_at_two_sizes_and_two_batch_sizes(exported, drawn, assert_same, name: str) -> None:
    detector, path = exported(name)
    theirs, compared = OnnxDetector(path), 0
    for height, width in SIZES:
        for pictures in (1, 3):
            sizes = [(height - 20 * i, width - 7 * i) for i in range(pictures)]
            batch = batch_of(drawn(pictures, height, width), sizes)
            with torch.inference_mode():
                ours, found = detector.detect(batch), theirs.detect(batch)
            least = detector.score_thresh
            compared += sum(assert_same(of_picture(ours, i), of_picture(found, i), least) for i in range(pictures))
    assert compared > 100


def photos(real_data: Path, count: int, height: int, width: int) -> Tensor:
    paths = sorted((real_data / "voc2007_1000" / "JPEGImages").glob("*.jpg"))[:count]
    pixels = [np.asarray(PIL.Image.open(path).convert("RGB").resize((width, height))) for path in paths]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", *SLOW])
def test_twenty_photos_have_pytorchs_detections(exported, real_data, assert_same, name: str) -> None:
    detector, path = exported(name)
    theirs, compared = OnnxDetector(path), 0
    for height, width in ((300, 300), (288, 416)):
        images = photos(real_data, 20, height, width)
        for pictures in (1, 4):
            for first in range(0, 20, pictures):
                batch = batch_of(images[first : first + pictures], [(height, width)] * pictures)
                with torch.inference_mode():
                    ours, found = detector.detect(batch), theirs.detect(batch)
                least = detector.score_thresh
                compared += sum(assert_same(of_picture(ours, i), of_picture(found, i), least) for i in range(pictures))
    assert compared > 400


def test_the_file_says_what_goes_in_and_what_comes_out(exported) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    _, path = exported("small")
    session = onnxruntime.InferenceSession(path)
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        ("images", "tensor(uint8)", ["batch", 3, "height", "width"]),
        ("sizes_hw", "tensor(int64)", ["batch", 2]),
    ]
    assert [one.name for one in session.get_outputs()] == ["boxes_xyxy", "scores", "labels", "count"]
    metadata = session.get_modelmeta().custom_metadata_map
    said = json.loads(metadata[KEY])
    assert said["class_names"] == ["cat", "red dog", "étoile"]
    assert said["resize"] == {"min_size": 240, "max_size": 320, "resize": "keep"}
    assert (said["score_threshold"], said["nms_threshold"], said["detections_per_image"]) == (0.05, 0.5, 100)
    assert (said["size_divisible"], said["min_canvas"], said["lineage"]) == (32, 1, ["imagenet", "toys"])
    assert read_contract(metadata, "x").size.max_size == 320

"""An ONNX file finds what the detector finds: boxes to 0.5 pixels, scores to 0.001, in onnxruntime and in OpenCV."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from headstart.config import schema as s
from headstart.data.batch import Batch, nothing
from headstart.errors import UserError
from headstart.exporting.contract import KEY, read_contract
from headstart.exporting.runtime import OnnxDetector
from headstart.exporting.verb import export
from headstart.inference.export import load_exported

MODELS = ["small", "retinanet", "retinanet-same", "retinanet-resnet18", "retinanet-v2"]
MODELS += ["d_fine", "rt_detr", "rt_detr-v2", "retinanet-dinov2", "retinanet-dinov3"]
MODELS += ["pan-cbam", "bifpn-coordinate", "fcos", "ssd", "ssdlite", "yolov3", "yolox"]
OF_ONE_SIZE = ["ssd_tf", "ssdlite-mobilenet", "ssd-vgg16"]
"""A file each."""
ANY = ((240, 320), (301, 333))
ONE = ((240, 320),)


def of_picture(found: Any, i: int) -> tuple[np.ndarray, ...]:
    one = found.per_image()[i]
    return one.boxes_xyxy.numpy(), one.scores.numpy(), one.labels.numpy()


def batch_of(images: Tensor, sizes_hw: list[tuple[int, int]]) -> Batch:
    return Batch(images, torch.tensor(sizes_hw), nothing(len(images), 1, "cpu"), ())


def compared(detector: Any, path: Path, images: Tensor, sizes_hw: list[tuple[int, int]], assert_same: Any) -> int:
    """How many detections were found to be the same in both."""
    batch = batch_of(images, sizes_hw)
    with torch.inference_mode():
        ours, found = detector.detect(batch), OnnxDetector(path).detect(batch)
    pairs = [(of_picture(ours, i), of_picture(found, i)) for i in range(len(images))]
    return sum(assert_same(*pair, detector.rule.score_threshold) for pair in pairs)


def compared_at(sizes: Any, detector: Any, path: Path, drawn: Any, assert_same: Any) -> int:
    """Of one picture, and of three, of which two are smaller than their canvas."""
    return sum(
        compared(
            detector,
            path,
            drawn(pictures, height, width),
            [(height - 20 * i, width - 7 * i) for i in range(pictures)],
            assert_same,
        )
        for height, width in sizes
        for pictures in (1, 3)
    )


def test_detections_are_pytorchs_in_batches_of_one_and_three(exported, drawn, assert_same) -> None:
    assert compared_at(ONE, *exported("small", size=[240, 320]), drawn, assert_same) > 100


def test_what_torch_prints_of_a_network_without_a_graph_is_not_the_users(exported, monkeypatch, capfd, caplog) -> None:
    """The user is told why, by name, and nothing else."""

    def refuse(*_: Any, **__: Any) -> None:
        print("half a graph", file=sys.stderr)
        logging.getLogger("torch.export").error("a page on what may be done")
        raise RuntimeError("its sides are known too late")

    monkeypatch.setattr(torch.export, "export", refuse)
    with pytest.raises(UserError, match=r"backbone=resnet10t cannot be exported \(its sides are known too late\)"):
        exported("small", size=[64, 64])
    logging.getLogger("torch.export").error("heard again")
    assert "half a graph" not in "".join(capfd.readouterr())
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["heard again"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method", "threshold"), [("small", "none", 1.0), ("d_fine", "nms", 0.5)])
def test_how_detections_become_one_is_in_the_file_as_the_run_asks(
    described_as, drawn, assert_same, name: str, method: str, threshold: float
) -> None:
    folder = described_as(name, "postprocess", method=method)
    path = export(s.ExportConfig(run=str(folder), size=[240, 320]))
    assert compared_at(ONE, load_exported(folder)[0], path, drawn, assert_same) > 100
    assert OnnxDetector(path).contract.nms_threshold == threshold


def test_what_no_file_does_with_detections_is_refused_by_name(described_as) -> None:
    folder = described_as("small", "postprocess", method="soft_nms")
    with pytest.raises(UserError, match=r"postprocess\.method=soft_nms is in the model"):
        export(s.ExportConfig(run=str(folder), size=[64, 64]))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_detections_are_pytorchs_at_any_size_in_any_batch(exported, drawn, assert_same, name: str) -> None:
    assert compared_at(ANY, *exported(name), drawn, assert_same) > 200


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ONE_SIZE)
def test_detections_of_pictures_of_one_size_are_pytorchs_in_any_batch(exported, drawn, assert_same, name: str) -> None:
    for size in ((300, 300), (301, 333)):
        assert compared_at((size,), *exported(name, size=[*size]), drawn, assert_same) > 100


def photos(real_data: Path, count: int, height: int, width: int) -> Tensor:
    paths = sorted((real_data / "voc2007_1000" / "JPEGImages").glob("*.jpg"))[:count]
    pixels = [np.asarray(PIL.Image.open(path).convert("RGB").resize((width, height))) for path in paths]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS + OF_ONE_SIZE)
def test_twenty_photos_have_pytorchs_detections(exported, real_data, assert_same, name: str) -> None:
    same = 0
    for height, width in ((300, 300), (288, 416) if name in MODELS else (320, 416)):
        detector, path = exported(name) if name in MODELS else exported(name, size=[height, width])
        images = photos(real_data, 20, height, width)
        for batch in (*images[:10].split(1), *images[10:].split(5)):
            same += compared(detector, path, batch, [(height, width)] * len(batch), assert_same)
    assert same > 400


@pytest.mark.slow
def test_tensorflows_coco_detector_finds_the_same_on_twenty_photos(
    real_data, tmp_path, assert_same, coco_ssd_folder
) -> None:
    """Trained weights, found on another's machine: eighty classes, and the objects of the photos."""
    path = export(s.ExportConfig(run=str(coco_ssd_folder), output=str(tmp_path / "coco.onnx")))
    detector, _ = load_exported(coco_ssd_folder)
    images = photos(real_data, 20, 300, 300)
    same = sum(compared(detector, path, batch, [(300, 300)] * 4, assert_same) for batch in images.split(4))
    assert same > 50


def test_the_file_says_what_goes_in_and_what_comes_out(exported) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    _, path = exported("small", size=[240, 320])
    session = onnxruntime.InferenceSession(path)
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        ("images", "tensor(uint8)", ["batch", 3, 240, 320]),
        ("sizes_hw", "tensor(int64)", ["batch", 2]),
    ]
    assert [one.name for one in session.get_outputs()] == ["boxes_xyxy", "scores", "labels", "count"]
    metadata = session.get_modelmeta().custom_metadata_map
    said = json.loads(metadata[KEY])
    assert said["class_names"] == ["cat", "red dog", "étoile"]
    assert said["resize"] == {"min_size": 240, "max_size": 320, "resize": "keep"}
    assert (said["score_threshold"], said["nms_threshold"], said["detections_per_image"]) == (0.05, 0.5, 100)
    assert said["fixed_hw"] == [240, 320]
    assert (said["size_divisible"], said["min_canvas"], said["lineage"]) == (32, 1, ["imagenet", "toys"])
    assert read_contract(metadata, "x").size.max_size == 320

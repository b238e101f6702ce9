"""What is measured of an ONNX file is what it says, under its own names of classes and in its own size of pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from headstart.config.schema import EvaluateConfig, Resize, VocConfig
from headstart.data.types import Size
from headstart.errors import UserError
from headstart.evaluate import evaluate
from headstart.exporting.contract import KEY, Contract, read_contract

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CONTRACT = Contract("retinanet", "lite0", ("other", "square"), Size(45, 60), True, 0.05, 0.5, 100)
SQUARE = (20.0, 10.0, 40.0, 30.0)
"""In pictures of 45 x 60 pixels; twice as large in those of the data set."""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(boxes, scores, labels)`: a file that answers so whatever it sees."""

    def constant(name: str, values: np.ndarray) -> list[Any]:
        tensor = onnx.numpy_helper.from_array(values[None], f"{name}_of_one")
        whole = onnx.numpy_helper.from_array(np.array(values.shape, np.int64), f"{name}_shape")
        return [
            onnx.helper.make_node("Constant", [], [f"{name}_of_one"], value=tensor),
            onnx.helper.make_node("Constant", [], [f"{name}_shape"], value=whole),
            onnx.helper.make_node("Concat", ["pictures", f"{name}_shape"], [f"{name}_all"], axis=0),
            onnx.helper.make_node("Expand", [f"{name}_of_one", f"{name}_all"], [name]),
        ]

    def make(boxes: Any, scores: Any, labels: Any, contract: Contract = CONTRACT) -> Path:
        values = {
            "boxes_xyxy": np.array(boxes, np.float32).reshape(-1, 4),
            "scores": np.array(scores, np.float32),
            "labels": np.array(labels, np.int64),
            "count": np.array(len(scores), np.int64),
        }
        info, kinds = onnx.helper.make_tensor_value_info, onnx.TensorProto
        inputs = [
            info("images", kinds.UINT8, ["N", 3, "H", "W"]),
            info("sizes_hw", kinds.INT64, ["N", 2]),
        ]
        types = {name: kinds.INT64 if value.dtype == np.int64 else kinds.FLOAT for name, value in values.items()}
        outputs = [info(name, types[name], ["N", *value.shape]) for name, value in values.items()]
        nodes = [onnx.helper.make_node("Shape", ["images"], ["pictures"], start=0, end=1)]
        nodes += [node for name, value in values.items() for node in constant(name, value)]
        graph = onnx.helper.make_graph(nodes, "constant", inputs, outputs)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
        onnx.helper.set_model_props(model, contract.as_metadata())
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return make


@pytest.fixture
def squares(tmp_path: Path) -> VocConfig:
    """Ten pictures of 90 x 120 pixels with the same square on each."""
    root = tmp_path / "squares"
    root.mkdir()
    for number in range(10):
        picture = PIL.Image.new("RGB", (120, 90), (number, 0, 0))
        picture.paste("white", (40, 20, 80, 60))
        picture.save(root / f"{number}.png")
        box = "<xmin>40</xmin><ymin>20</ymin><xmax>80</xmax><ymax>60</ymax>"
        text = f"<annotation><object><name>square</name><bndbox>{box}</bndbox></object></annotation>"
        (root / f"{number}.xml").write_text(text)
    return VocConfig(name="squares", root=str(root), cache_dir=str(tmp_path / "cache"), batch_size=3)


def measure(file: Path, dataset: VocConfig, **settings: Any) -> Any:
    return evaluate(EvaluateConfig(file=str(file), dataset=dataset, enable_progress_bar=False, **settings))


def test_the_right_box_on_every_picture_is_a_map_of_1(write: Write, squares: VocConfig) -> None:
    found = measure(write([SQUARE], [0.9], [1]), squares)
    assert found.map == pytest.approx(1)
    assert list(found.per_class) == ["square"]


def test_a_wrong_box_before_the_right_one_halves_it(write: Write, squares: VocConfig) -> None:
    """Of two detections a picture the better is wrong: precision 1/2 at every recall."""
    found = measure(write([(0, 0, 9, 9), SQUARE], [0.9, 0.8], [1, 1]), squares)
    assert found.map == pytest.approx(0.5)


def test_another_class_in_the_right_place_is_no_detection_of_the_data_sets(write: Write, squares: VocConfig) -> None:
    assert measure(write([SQUARE, SQUARE], [0.9, 0.8], [0, 1]), squares).map == pytest.approx(1)
    assert measure(write([SQUARE], [0.9], [0]), squares).map == 0


def test_pictures_have_the_size_that_the_file_says(write: Write, squares: VocConfig) -> None:
    """The unstretched box has an IoU of 0.556 with the stretched square: two of the ten thresholds."""
    stretched = replace(CONTRACT, size=Size(60, 60, Resize.stretch))
    assert measure(write([SQUARE], [0.9], [1], stretched), squares).map == pytest.approx(0.2)
    assert measure(write([(20, 13.33, 40, 40)], [0.9], [1], stretched), squares).map == pytest.approx(1)


@pytest.mark.parametrize(
    ("contract", "settings", "said"),
    [
        (replace(CONTRACT, class_names=("round",)), {}, "classes that the file does not know: square"),
        (replace(CONTRACT, nms=False), {}, "nms=false"),
        (replace(CONTRACT, fixed_hw=(32, 32)), {}, r"size=\[32,32\], and the pictures are 45 x 60 pixels"),
        (CONTRACT, {"split": "train"}, "split=train: of squares there is val"),
        (CONTRACT, {"split": "test"}, "split=test: of squares there is val"),
    ],
)
def test_what_cannot_be_measured_is_refused(write, squares, contract, settings, said) -> None:
    with pytest.raises(UserError, match=said):
        measure(write([SQUARE], [0.9], [0], contract), squares, **settings)


def test_a_file_for_one_size_gets_pictures_on_a_canvas_of_that_size(write: Write, squares: VocConfig) -> None:
    assert measure(write([SQUARE], [0.9], [1], replace(CONTRACT, fixed_hw=(64, 64))), squares).map == pytest.approx(1)


def test_a_file_that_is_none_is_refused(tmp_path: Path, squares: VocConfig) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"x\.onnx cannot be read by onnxruntime"):
        measure(tmp_path / "x.onnx", squares)


def test_the_description_is_read_as_it_was_written() -> None:
    full = replace(CONTRACT, fixed_hw=(64, 96), size_divisible=32, min_canvas=288, quantized="int8", lineage=("a", "b"))
    for contract in (CONTRACT, full):
        assert read_contract(contract.as_metadata(), "x") == contract


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "`headstart export` did not write it"),
        ({KEY: "["}, "cannot be used"),
        ({KEY: '{"schema_version": 2}'}, "schema_version=2, this Headstart reads 1"),
        ({KEY: '{"schema_version": 1}'}, "KeyError"),
        ({KEY: CONTRACT.as_metadata()[KEY].replace('"nms": true', '"nms": 1')}, "nms=1 is neither true nor false"),
        ({KEY: CONTRACT.as_metadata()[KEY].replace("0.05", "-1")}, "score_threshold=-1 is no number of 0 or more"),
        ({KEY: CONTRACT.as_metadata()[KEY].replace('"min_size": 45', '"min_size": 1e9')}, "min_size"),
        ({KEY: CONTRACT.as_metadata()[KEY].replace('"fixed_hw": null', '"fixed_hw": [1]')}, "IndexError"),
    ],
)
def test_a_description_that_is_wrong_is_refused_by_what_is_wrong(metadata: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_contract(metadata, "x.onnx")

"""The graph as an ONNX file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from onnxscript import FLOAT, INT64, opset18
from torch.export import ExportedProgram
from torch.onnx import ONNXProgram

from headstart.exporting.contract import Contract
from headstart.replacing import replacing

OPSET = 18
op: Any = opset18
"""Its operators; their types are not those of values that are traced."""


def save_onnx(program: ExportedProgram, contract: Contract, path: Path) -> None:
    """One file, whole or not at all, with what `contract` says in its metadata."""
    sides = {} if contract.fixed_hw else {2: "height", 3: "width"}
    axes = ({0: "batch", **sides}, {0: "batch"})[: len(contract.inputs)]
    made = as_onnx(program, list(contract.inputs), list(contract.outputs), axes)
    made.model.metadata_props.update(contract.as_metadata())
    with replacing(path) as temporary:
        made.save(str(temporary), external_data=False)


def as_onnx(
    program: ExportedProgram, inputs: list[str], outputs: list[str], axes: tuple[dict[int, str], ...] | None = None
) -> ONNXProgram:
    """`axes`: names of those of the inputs that may have any size."""
    operators = {
        torch.ops.headstart.staying.default: _non_max_suppression,
        torch.ops.aten.sort.stable: _stable_sort,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own names of axes
        made = torch.onnx.export(
            program,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=axes,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
            custom_translation_table=operators,
        )
    assert made is not None
    return made


def _non_max_suppression(boxes_xyxy: FLOAT, scores: FLOAT, labels: INT64, iou_threshold: float) -> Any:
    """`suppression.staying_scores` by ONNX's own operator, which keeps classes apart by itself."""
    classes = op.Add(op.ReduceMax(labels, keepdims=0), op.Constant(value_int=1))
    none = op.Constant(value_float=-1.0)
    is_of = op.Cast(op.OneHot(labels, classes, op.Constant(value_ints=[0, 1]), axis=1), to=9)  # (N, classes, M) bool
    of_classes = op.Where(is_of, op.Unsqueeze(scores, op.Constant(value_ints=[1])), none)
    found = op.NonMaxSuppression(
        boxes_xyxy,
        of_classes,
        op.Constant(value_ints=[(1 << 31) - 1]),
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[-0.5]),
    )
    places = op.Gather(found, op.Constant(value_ints=[0, 2]), axis=1)  # of image and candidate
    return op.ScatterND(op.Expand(none, op.Shape(scores)), places, op.GatherND(scores, places))


def _stable_sort(values: FLOAT, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """Of equal values TopK has the first one first."""
    length = op.Shape(values, start=dim, end=dim + 1 or None)
    return op.TopK(values, length, axis=dim, largest=descending)

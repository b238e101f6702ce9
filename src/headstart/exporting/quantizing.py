"""Convolutions in 8 bits (Jacob et al., CVPR 2018), by onnxruntime."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from headstart.data.batch import Batch
from headstart.replacing import replacing


def quantized(path: Path, target: Path, seen: Iterable[Batch], last_layers: Sequence[str]) -> None:
    """Writes `target`, a file like the one at `path` whose convolutions compute in 8 bits: weights by channel,
    activations between the least and the largest value that they have on the pictures of `seen`.

    Not those of the `last_layers`, as `Detector.predictors` names them: of 256 scores many would be equal.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    fed = _fed(seen)

    class Pictures(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            return next(fed, None)

    with tempfile.TemporaryDirectory() as folder, replacing(target) as temporary, _without_advice():
        folded = Path(folder) / "folded.onnx"
        quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
        quantize_static(
            str(folded),
            str(temporary),
            Pictures(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_nodes(folded, last_layers),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _nodes(path: Path, layers: Sequence[str]) -> list[str]:
    """Names of the convolutions whose weights are of one of the layers."""
    import onnx

    prefixes = tuple(f"detector.{layer}." for layer in layers)
    return [node.name for node in onnx.load(path).graph.node if any(name.startswith(prefixes) for name in node.input)]


def _fed(seen: Iterable[Batch]) -> Iterator[dict[str, np.ndarray]]:
    """One picture at a time."""
    for batch in seen:
        for i in range(len(batch)):
            yield {"images": batch.images[i : i + 1].numpy(), "sizes_hw": batch.sizes_hw[i : i + 1].numpy()}


@contextmanager
def _without_advice() -> Iterator[None]:
    """onnxruntime's, on preparing a file, which was done."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)

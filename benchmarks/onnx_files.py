"""Predicting with RetinaNet on EfficientNet-Lite0: PyTorch against onnxruntime, in float32 and in 8 bits.

Two threads each, drawn pictures of 240 x 320 pixels, a network of random weights that finds a hundred objects on each,
all sides in turn, `--rounds` times. Prints rows of a table: median milliseconds a picture, and the median of the
rounds' ratios to PyTorch.

    python benchmarks/onnx_files.py [--rounds 9] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from headstart.config import schema as s
from headstart.data.batch import Batch
from headstart.data.types import DatasetInfo
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector
from headstart.exporting.quantizing import quantized
from headstart.exporting.verb import export
from headstart.inference.export import save_exported

HW, NAMES = (240, 320), ("a", "b", "c")
INFO = DatasetInfo("drawn", NAMES, "", {"train": 1, "val": 1}, {}, "", min_size=240, max_size=320)
MODEL = s.RetinaNetConfig(s.Architecture.retinanet, anchor_scale=1.0)
BACKBONE = s.BackboneConfig("efficientnet_lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
Find = Callable[[Batch], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    detector = network()
    with tempfile.TemporaryDirectory() as folder:
        files = written(Path(folder), detector)
        sides = {"PyTorch": torch.inference_mode()(detector.detect)}
        sides |= {name: of_file(path, args.threads) for name, path in files.items()}
        print("| batch | | ms a picture | against PyTorch |\n|---|---|---|---|")
        for pictures in (1, 8):
            report(sides, Batch.of(list(drawn(pictures))), args.rounds)


def network() -> Detector:
    torch.manual_seed(0)
    detector = build_detector(MODEL, BACKBONE, NAMES)
    detector.get_parameter("head.classification_head.cls_logits.weight").data.mul_(40)
    return detector.eval()


def drawn(pictures: int) -> Tensor:
    blocks = torch.randint(0, 256, (pictures, 3, 12, 16), generator=torch.Generator().manual_seed(pictures)).float()
    return torch.nn.functional.interpolate(blocks, HW, mode="bilinear").to(torch.uint8)


def written(folder: Path, detector: Detector) -> dict[str, Path]:
    save_exported(folder, detector, MODEL, BACKBONE, INFO, None, [])
    plain, small = export(s.ExportConfig(run=str(folder))), folder / "int8.onnx"
    quantized(plain, small, [Batch.of(list(drawn(16)))], detector.predictors())
    return {"onnxruntime": plain, "onnxruntime, int8": small}


def of_file(path: Path, threads: int) -> Find:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"images": batch.images.numpy(), "sizes_hw": batch.sizes_hw.numpy()})


def report(sides: dict[str, Find], batch: Batch, rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):  # the first one warms up
        for name, find in sides.items():
            start = time.perf_counter()
            for _ in range(8 // len(batch)):
                find(batch)
            if number:
                seconds[name].append((time.perf_counter() - start) / 8)
    for name, found in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds["PyTorch"], found, strict=True))
        print(f"| {len(batch)} | {name} | {1000 * statistics.median(found):.1f} | {ratio:.2f}x |")


if __name__ == "__main__":
    main()

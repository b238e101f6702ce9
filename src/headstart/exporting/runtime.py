"""An ONNX file as something that detects: what is measured of it is measured as of a detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from headstart.config.schema import AugmentConfig, DatasetConfig
from headstart.data import catalog
from headstart.data.batch import Batch, Detections
from headstart.data.canvases import Padding
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.data.keeping import Place
from headstart.errors import UserError
from headstart.evaluation.coco_map import CocoMeanAveragePrecision, MapResult
from headstart.exporting.contract import Contract, read_contract
from headstart.exporting.packages import needs
from headstart.say import console


class OnnxDetector:
    """`detect`, as detectors have it, in onnxruntime on the CPU."""

    def __init__(self, path: Path) -> None:
        """Raises `UserError` where the file is none that `headstart export nms=true` wrote."""
        needs("onnxruntime")
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # of a dozen classes of its own, none of them public
            raise UserError(f"{path} cannot be read by onnxruntime: {str(error)[:300]}") from None
        self.contract: Contract = read_contract(self._session.get_modelmeta().custom_metadata_map, str(path))
        if not self.contract.nms:
            raise UserError(f"{path} was exported with nms=false: its boxes are no detections. Export with nms=true.")
        self.class_names = self.contract.class_names
        self.size_divisible, self.min_canvas = self.contract.size_divisible, self.contract.min_canvas

    def detect(self, batch: Batch) -> Detections:
        images = _filled_up(batch.images, self.contract.fixed_hw)
        fed = {"images": images.numpy(), "sizes_hw": batch.sizes_hw.numpy()}
        found: Any = self._session.run(["boxes_xyxy", "scores", "labels", "count"], fed)
        boxes, scores, labels, count = map(torch.from_numpy, found)
        return Detections(torch.arange(scores.shape[1]) < count[:, None], boxes, scores, labels)


def _filled_up(images: Tensor, fixed_hw: tuple[int, int] | None) -> Tensor:
    """On the canvas of a file that takes no other."""
    if fixed_hw is None:
        return images
    height, width = images.shape[-2:]
    if height > fixed_hw[0] or width > fixed_hw[1]:
        raise UserError(
            f"The file was exported with size=[{fixed_hw[0]},{fixed_hw[1]}], and the pictures are {height} x {width} "
            "pixels (height x width): export it without size, or with that of the largest."
        )
    return functional.pad(images, (0, fixed_hw[1] - width, 0, fixed_hw[0] - height))


def datamodule_for(detector: OnnxDetector, dataset: DatasetConfig, split: str) -> DetectionDataModule:
    """The data set with its pictures as the file wants them. Raises `UserError` where it has no such split, or a class
    that the file does not know."""
    size = detector.contract.size
    dataset = replace(dataset, min_size=size.min_size, max_size=size.max_size, resize=size.resize)
    data = catalog.read(dataset, 0)
    if split not in ("val", "test") or split not in data.splits:
        there = [name for name in ("val", "test") if name in data.splits]
        raise UserError(f"split={split}: of {data.name} there is {', '.join(there)} to be measured.")
    if unknown := [name for name in data.class_names if name not in detector.class_names]:
        raise UserError(
            f"dataset={data.name} has classes that the file does not know: {', '.join(unknown)}. It knows "
            f"{', '.join(detector.class_names)}: choose a data set of these, or export another run."
        )
    padding = Padding(detector.size_divisible, detector.min_canvas)
    return DetectionDataModule(data, describe(data, dataset), dataset, AugmentConfig(), 0, Place(padding=padding))


def measured(
    detector: OnnxDetector,
    datamodule: DetectionDataModule,
    split: str,
    metric: CocoMeanAveragePrecision,
    show_progress: bool,
) -> MapResult:
    """The mAP of the whole split; a class that the data set does not have counts nothing there."""
    names = datamodule.info.class_names
    known = torch.tensor([names.index(name) if name in names else -1 for name in detector.class_names])
    loader = datamodule.val_dataloader() if split == "val" else datamodule.test_dataloader()
    for batch in track(loader, f"{split}, onnxruntime", console=console, transient=True, disable=not show_progress):
        found = detector.detect(batch)
        labels = known[found.labels]
        of_ours = Detections(found.present & (labels >= 0), found.boxes_xyxy, found.scores, labels.clamp(min=0))
        metric.update(of_ours, batch.targets, batch.frames)
    return metric.compute()

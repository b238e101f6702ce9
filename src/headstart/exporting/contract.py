"""What an exported file says about itself: in the metadata of ONNX, and beside the program of torch.export."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from headstart.config.restore import restore
from headstart.config.schema import Method
from headstart.data.types import Size
from headstart.detectors.interface import Detector
from headstart.errors import UserError
from headstart.inference import described
from headstart.inference.export import ExportedModel

KEY = "headstart"
"""Under which the text of `Contract.as_metadata` stands."""
SCHEMA_VERSION = 1

FOUND = {
    "boxes_xyxy": "(N, K, 4) float32: left, top, right, bottom in pixels of the input, best first; rows from count on "
    "are zeros",
    "scores": "(N, K) float32 in 0..1",
    "labels": "(N, K) int64: index into class_names",
    "count": "(N,) int64: how many of the K rows of a picture are detections",
}
EVERY = {
    "boxes_xyxy": "(N, A, 4) float32: left, top, right, bottom in pixels of the input, not cut at its edges",
    "scores": "(N, A, classes) float32 in 0..1, in the order of class_names",
}
IMAGES = "RGB pictures in 0..255, resized as `resize` says: mean, std and padding to what the network needs are inside"


@dataclass(frozen=True)
class Contract:
    """How the file is to be used."""

    architecture: str
    backbone: str
    class_names: tuple[str, ...]
    size: Size
    nms: bool
    score_threshold: float
    """Detections lie above it; a raw file leaves it to its user, as the two that follow."""
    nms_threshold: float
    """IoU above which the better of two boxes of a class suppresses the other; 1: never."""
    detections_per_image: int
    fixed_hw: tuple[int, int] | None = None
    """Of the only pictures that it takes; None: any."""
    size_divisible: int = 1
    """Pictures are padded inside to multiples of this many pixels …"""
    min_canvas: int = 1
    """… and to at least this many."""
    quantized: str | None = None
    lineage: tuple[str, ...] = ()

    @classmethod
    def of(cls, detector: Detector, model: ExportedModel, nms: bool, fixed_hw: tuple[int, int] | None) -> Contract:
        rule = detector.rule
        return cls(
            architecture=model.architecture,
            backbone=restore("backbone", model.backbone).name,
            class_names=model.class_names,
            size=model.size,
            nms=nms,
            score_threshold=rule.score_threshold,
            nms_threshold=1.0 if rule.method is Method.none else rule.iou_threshold,
            detections_per_image=rule.max_detections,
            fixed_hw=fixed_hw,
            size_divisible=detector.size_divisible,
            min_canvas=detector.min_canvas,
            lineage=model.lineage,
        )

    @property
    def canvas(self) -> str:
        """Which sizes it takes, in words."""
        if self.fixed_hw is not None:
            return f"the file takes {self.fixed_hw[0]} x {self.fixed_hw[1]} alone (height x width)"
        multiple = f"multiples of {self.size_divisible}" if self.size_divisible > 1 else ""
        least = f"{self.min_canvas} pixels or more" if self.min_canvas > 1 else ""
        inside = " and ".join(filter(None, (multiple, least)))
        return "any number of any size" + (f", padded inside to {inside}" if inside else "")

    @property
    def inputs(self) -> dict[str, str]:
        if not self.nms:
            return {"images": f"(N, 3, H, W) float32 {IMAGES}; all of one size, without padding"}
        return {
            "images": f"(N, 3, H, W) uint8 {IMAGES}; smaller ones of a batch lie left and above",
            "sizes_hw": "(N, 2) int64: height and width in pixels of each picture on its canvas",
        }

    @property
    def outputs(self) -> dict[str, str]:
        return FOUND if self.nms else EVERY

    def as_metadata(self) -> dict[str, str]:
        values = {
            "schema_version": SCHEMA_VERSION,
            **vars(self),
            "resize": {
                "min_size": self.size.min_size,
                "max_size": self.size.max_size,
                "resize": self.size.resize.value,
            },
            "inputs": self.inputs,
            "outputs": self.outputs,
        }
        del values["size"]
        return {KEY: json.dumps(values, indent=1, ensure_ascii=False)}


def read_contract(metadata: dict[str, str], where: str) -> Contract:
    """Of a stranger's file as well: `UserError` for what is no description of ours."""
    if KEY not in metadata:
        raise UserError(f"{where} has no description under `{KEY}`: `headstart export` did not write it.")
    try:
        values: dict[str, Any] = json.loads(metadata[KEY])
        if values["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version={values['schema_version']}, this Headstart reads {SCHEMA_VERSION}")
        fixed = values["fixed_hw"]
        return Contract(
            architecture=described.text(values, "architecture"),
            backbone=described.text(values, "backbone"),
            class_names=described.texts(values, "class_names"),
            size=described.size(values["resize"]),
            nms=described.flag(values, "nms"),
            score_threshold=described.number(values, "score_threshold"),
            nms_threshold=described.number(values, "nms_threshold"),
            detections_per_image=described.side(values, "detections_per_image"),
            fixed_hw=None
            if fixed is None
            else (described.side({"h": fixed[0]}, "h"), described.side({"w": fixed[1]}, "w")),
            size_divisible=described.side(values, "size_divisible"),
            min_canvas=described.side(values, "min_canvas"),
            quantized=values["quantized"] and described.text(values, "quantized"),
            lineage=described.texts(values, "lineage"),
        )
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(
            f"{where}: its description cannot be used ({type(error).__name__}: {error}): export it again."
        ) from None

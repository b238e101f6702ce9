"""Settings of the verbs that use a finished run's model."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from omegaconf import MISSING

from headstart.config.schema.postprocess import PostprocessConfig
from headstart.config.schema.tile import TileConfig


class ExportTo(Enum):
    """What a finished model is written as."""

    onnx = "onnx"  # for onnxruntime, and without NMS for OpenCV
    torch_export = "torch_export"  # a program for torch.export.load, without Headstart


class Quantize(Enum):
    """To how many bits."""

    int8 = "int8"  # weights and activations of the convolutions; to=onnx nms=true


@dataclass
class ExportConfig:
    """`headstart export run=<folder>`."""

    run: str = MISSING
    """A run folder, or any with model.safetensors and model.json."""
    to: ExportTo = ExportTo.onnx
    nms: bool = True
    """false: every decoded box and the scores of all classes, as OpenCV's DNN can run it."""
    size: Optional[list[int]] = None
    """`[height,width]` of the pictures, where the file is to be for one size alone; null: any, or the
    one size that stretched pictures have."""
    quantize: Optional[Quantize] = None
    """Measures the mAP of both, on the pictures of the run's validation split."""
    calibration: Optional[int] = None
    """Training pictures from which `quantize` learns how large activations become; null: 64."""
    output: Optional[str] = None
    """The file to write; null: in the run, model.onnx, model_raw.onnx (nms=false), model_int8.onnx or model.pt2."""
    root: Optional[str] = None
    """The folder of the run's data set now, for `quantize`; null: where it was then."""
    data_dir: Optional[str] = None
    """Where the named data sets lie now, in place of `root`."""
    enable_progress_bar: bool = True


class Save(Enum):
    """What `predict` writes."""

    coco = "coco"  # predictions.json: pictures, categories, and detections with their scores
    csv = "csv"  # predictions.csv: a line a detection
    yolo = "yolo"  # labels/: a text file a picture
    geojson = "geojson"  # geojson/: of a GeoTIFF, with headstart[geo], its detections on the map
    pictures = "pictures"  # pictures/: with the detections drawn on them; of a video a video


class Precision(Enum):
    """Of the network's arithmetic."""

    float32 = "float32"
    bfloat16 = "bfloat16"  # faster on a GPU
    float16 = "float16"  # on a GPU without bfloat16


@dataclass
class PredictConfig:
    """`headstart predict run=<folder> images=<file, folder, pattern or video>`."""

    run: str = MISSING
    """The folder of a finished run, or its model.safetensors."""
    images: str = MISSING
    """A picture, a folder with all that is in it, a pattern such as 'photos/**/*.jpg', or a video."""
    output: Optional[str] = None
    """A new folder, or an empty one; null: outputs/predict/<run>, or the first of <run>-2, <run>-3, … that is not
    there."""
    save: list[Save] = field(default_factory=lambda: list(Save))
    """Some of coco, csv, yolo, geojson and pictures, as in `save=[coco,csv]`."""
    threshold: Optional[float] = None
    """The least score of all classes; null: that which validation chose for each, by the best F1 (model.json), else
    0.5."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """The least score of some classes, as in `thresholds.kangaroo=0.4`; in a name _ stands for a blank."""
    tile: TileConfig = field(default_factory=TileConfig)
    """`tile.size=512` looks at pictures in tiles and as a whole; `tile.size=null`: as the run saw them."""
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    """`postprocess.method=soft_nms`, `postprocess.flips=[horizontal]` and others, in place of what the run had;
    --help postprocess."""
    batch_size: int = 8
    """Pictures that the network looks at at a time."""
    device: Optional[str] = None
    """`cpu`, `cuda`, `cuda:1`, …; null: the GPU where there is one."""
    precision: Optional[Precision] = None
    """null: the run's own, where it was measured on such a device, else float32."""
    max_pixels: float = 500e6
    """A file that claims more is skipped before memory is taken for it."""
    extension: Optional[str] = None
    """The Python file of a detector of your own, where the run's model is one: it is run."""
    enable_progress_bar: bool = True


@dataclass
class PushConfig:
    """`headstart push run=<folder> repo=<user>/<name>`."""

    run: str = MISSING
    """The folder of a finished run."""
    repo: str = MISSING
    """On huggingface.co: `<user or organisation>/<name>`; it is made where it is not there."""
    picture: bool = False
    """Sends the model card's picture, too: one of the validation pictures, with what the model finds on it."""
    private: bool = True
    """Of a repository that is made: seen by you alone. One that is there stays as it is."""
    dry_run: bool = False
    """Lists what would be sent, and sends nothing; needs no network and no account."""

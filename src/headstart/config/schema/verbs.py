"""The verbs that train nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from omegaconf import MISSING

from headstart.config.schema.augment import AugmentConfig
from headstart.config.schema.backbone import BackboneConfig
from headstart.config.schema.dataset import DatasetConfig
from headstart.config.schema.logger import WandbConfig
from headstart.config.schema.model import ModelConfig
from headstart.config.schema.postprocess import PostprocessConfig


@dataclass
class EvaluateConfig:
    """`headstart evaluate run=<folder>`, or `model=<file.onnx> dataset=<choice>`."""

    run: Optional[str] = None
    """A run folder with record.json and model.safetensors; of several, `run=<folder>,<folder>`, what they find is
    fused: an ensemble."""
    file: Optional[str] = None
    """In place of `run`: an ONNX file that `headstart export` wrote, measured on `dataset`; `model=<file>` says the
    same."""
    dataset: Optional[DatasetConfig] = None
    """What `file` is measured on, with its pictures resized as the file says; a run has its own."""
    split: str = "val"
    root: Optional[str] = None
    """The folder of the run's data set now; null: where it was then."""
    data_dir: Optional[str] = None
    """Where the named data sets lie now, in place of `root`; with `file`, null: $HEADSTART_DATA, else data/."""
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    """`postprocess.method=soft_nms` and others, in place of what the run had; --help postprocess."""
    enable_progress_bar: bool = True


@dataclass
class RescoreConfig:
    """`headstart rescore run=<folder> postprocess.…`."""

    run: str = MISSING
    """A run folder with record.json and detections.npz; of several, `run=<folder>,<folder>`, what they found is fused:
    an ensemble."""
    split: str = "val"
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    """What is done to the detections that the run has kept; --help postprocess."""
    merge_classes: dict[str, str] = field(default_factory=dict)
    """Class -> class that it becomes, in truth and detections: `merge_classes='{rbc: cell, wbc: cell}'`."""
    out: Optional[str] = None
    """A JSON file for the numbers before and after."""


class Cost(Enum):
    """What a run spends; of each less is better."""

    cpu_seconds = "cpu_seconds"
    wall_seconds = "wall_seconds"  # on a GPU, where the CPU's time says little
    peak_memory_mib = "peak_memory_mib"
    trained_parameters = "trained_parameters"


@dataclass
class CompareConfig:
    """`headstart compare <folder>`."""

    folder: str = "outputs"
    """Runs are found in it, however deep; `headstart compare outputs/` says it without the name."""
    group: Optional[str] = None
    """Pool the runs by these settings, as in `group=strategy` or `group=source,strategy`; null: a row for every
    combination."""
    baseline: Optional[str] = None
    """What each row is compared with, as in `baseline=source=scratch` or `baseline=source=imagenet,strategy=full`;
    null: scratch where there is one, else full fine-tuning."""
    metric: str = "map"
    """`map`, `map_50`, `map_75`, `map_small`, `mar`, `per_class/<class>` …: any that the records have."""
    split: Optional[str] = None
    """`val`, which also chose the best epoch, or `test`, which chose nothing; null: of each target `test` where every
    run has the same one, else `val`."""
    cost: Cost = Cost.cpu_seconds
    """What the mAP is weighed against."""
    margin: float = 0.02
    """In units of the metric: a cheaper way is advised where it surely loses no more than this against the best."""
    report_dir: Optional[str] = None
    """Where report.html and the CSV files go; null: into `folder`."""
    wandb: bool = False
    """Log the comparison to Weights & Biases as a run of its own; offline unless you are logged in."""
    wandb_run: WandbConfig = field(default_factory=WandbConfig)
    """`{project, entity, group, tags, notes, mode}` of that run, as in logger.wandb of training."""


@dataclass
class ReportConfig:
    """`headstart report <folder>`."""

    folder: str = "outputs"
    """A run's folder, or one that holds runs, however deep; `headstart report outputs/` says it without the name."""


@dataclass
class LookConfig:
    """`headstart look dataset=…`."""

    dataset: DatasetConfig = MISSING
    augment: AugmentConfig = MISSING
    pictures: int = 8
    """Training pictures on the contact sheet, spread over the split: as they are, and as training sees them in three
    epochs."""
    out: Optional[str] = None
    """Where look.html goes; null: outputs/look/<dataset.name>."""
    data_dir: str = MISSING
    """Where the named data sets lie: $HEADSTART_DATA, else data/."""
    seed: int = 0
    """Draws augmentation, and `dataset.fraction` and `shots` where `dataset.subset_seed` does not."""


@dataclass
class DoctorConfig:
    """`headstart doctor dataset=…`."""

    dataset: DatasetConfig = MISSING
    fix: Optional[str] = None
    """A new folder: writes there, in COCO format, what is left of the data set without what is an error."""
    out: Optional[str] = None
    """Where doctor.json goes; null: outputs/doctor/<dataset.name>."""
    data_dir: str = MISSING
    """Where the named data sets lie: $HEADSTART_DATA, else data/."""
    enable_progress_bar: bool = True


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
    """`[height,width]` of the pictures, where the file is to be for one size alone; null: any."""
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


class Format(Enum):
    """What a data set is written as."""

    coco = "coco"  # holds everything
    voc = "voc"  # no crowds, no areas of outlines, classes sorted
    yolo = "yolo"  # neither crowds nor difficult objects, no areas of outlines


class Ignored(Enum):
    """What becomes of crowds and difficult objects in YOLO's format, which cannot mark them."""

    keep = "keep"  # they become ordinary objects, to be learnt and found
    drop = "drop"  # they are left out, and what they show becomes background
    skip_image = "skip_image"  # their pictures are left out


@dataclass
class ConvertConfig:
    """`headstart convert dataset=<choice> to=coco|voc|yolo folder=<new folder>`."""

    dataset: DatasetConfig = MISSING
    to: Format = MISSING
    folder: str = MISSING
    """Where the converted data set goes: a new folder, or an empty one."""
    link: bool = False
    """Pictures become second names of the same files (hard links), which takes no space; else copies."""
    ignored: Ignored = Ignored.keep
    data_dir: str = MISSING
    """Where the named data sets lie: $HEADSTART_DATA, else data/."""
    seed: int = 0
    """Draws `dataset.fraction` and `shots`, where `dataset.subset_seed` does not."""
    enable_progress_bar: bool = True


@dataclass
class SourcesConfig:
    """`headstart sources model=… backbone=…`."""

    model: Optional[ModelConfig] = None
    """null: any."""
    backbone: Optional[BackboneConfig] = None
    """null: any."""
    folder: str = "outputs"
    """Where your own runs lie; those below `folder`/sources count, too."""


class Save(Enum):
    """What `predict` writes."""

    coco = "coco"  # predictions.json: pictures, categories, and detections with their scores
    csv = "csv"  # predictions.csv: a line a detection
    yolo = "yolo"  # labels/: a text file a picture
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
    """Some of coco, csv, yolo and pictures, as in `save=[coco,csv]`."""
    threshold: Optional[float] = None
    """The least score of all classes; null: that which validation chose for each, by the best F1 (model.json), else
    0.5."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """The least score of some classes, as in `thresholds.kangaroo=0.4`; in a name _ stands for a blank."""
    batch_size: int = 8
    """Pictures that the network looks at at a time."""
    device: Optional[str] = None
    """`cpu`, `cuda`, `cuda:1`, …; null: the GPU where there is one."""
    precision: Optional[Precision] = None
    """null: the run's own, where it was measured on such a device, else float32."""
    max_pixels: float = 500e6
    """A file that claims more is skipped before memory is taken for it."""
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

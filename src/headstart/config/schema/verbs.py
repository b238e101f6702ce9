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
    extension: Optional[str] = None
    """The Python file of a detector of your own, where the run's model is one: it is run."""
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

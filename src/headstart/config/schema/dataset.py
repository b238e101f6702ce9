"""What every data set, and each format, can be set to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from omegaconf import MISSING

from headstart.config.schema.tile import TileConfig


class Cache(Enum):
    """Where decoded, resized images are kept between epochs."""

    auto = "auto"  # on the GPU that trains, in memory, on disk or not at all: whatever is the first with room for them
    none = "none"
    memory = "memory"
    device = "device"  # the GPU that trains
    disk = "disk"


class Resize(Enum):
    """What becomes of a picture's shape."""

    keep = "keep"  # its aspect ratio stays
    stretch = "stretch"  # it becomes a square, whatever it was


class Overlap(Enum):
    """What becomes of a picture that stands in two splits."""

    move = "move"  # it stays where it is measured: out of train, and what test has, out of val
    keep = "keep"  # it stays in both, and is counted
    error = "error"  # the data set is refused


@dataclass
class DatasetConfig:
    """What every data set has."""

    name: str = MISSING
    """Appears in the run's name and in the record."""
    min_size: Optional[int] = 240
    """Images keep their aspect ratio and are resized until the short side has this many pixels; null: found from the
    training boxes …"""
    max_size: Optional[int] = 320
    """… or the long side this many, if that comes first; null: 4/3 of `min_size`, which then may be up to 480."""
    resize: Resize = Resize.keep
    """`stretch`: both sides become `min_size` pixels, which `max_size` then equals, whatever the aspect ratio: as SSD
    is trained."""
    tile: TileConfig = field(default_factory=TileConfig)
    """Windows in which large pictures are seen."""
    fraction: float = 1.0
    """Share of the training images used, 0 < fraction <= 1; drawn with `subset_seed`."""
    shots: Optional[int] = None
    """Train on this many images per class (each class has at least so many, where there are enough)."""
    subset_seed: Optional[int] = None
    """Draws `fraction` and `shots`; null: the run's `seed`."""
    batch_size: int = 8
    """Images per process and step."""
    num_workers: Optional[int] = None
    """Processes that read images, where they do not lie in memory or on the GPU; null: none when the CPU trains, which
    they would slow down, else up to 4."""
    cache: Cache = Cache.auto
    """`auto`: on the GPU where they fit in a third of its free memory, in memory up to 1 GiB, else on disk."""
    cache_dir: Optional[str] = None
    """Folder of the images on disk, which all runs share that use the same ones at the same size; null: `cache` in
    `output_dir`."""
    cache_limit_gib: float = 20.0
    """Of all files in that folder."""


@dataclass
class FileDatasetConfig(DatasetConfig):
    """A data set in files."""

    root: str = MISSING
    """Folder of the data set."""
    class_names: list[str] = field(default_factory=list)
    """Order of the classes; empty: as found (COCO: by category id; YOLO: data.yaml; VOC: sorted)."""
    val_fraction: float = 0.2
    """Share of the training images that validates where the data set has no split for it."""
    test_fraction: float = 0.0
    """Share of the training images that is measured once, at the end, and chooses nothing; 0: none is drawn. For a
    data set without a test split."""
    split_seed: int = 0
    """Draws these splits: the same images for every `seed`, so that runs stay comparable."""
    overlap: Overlap = Overlap.move
    """Pictures that stand in two of the data set's splits."""
    on: dict[str, str] = field(default_factory=dict)
    """Kind of defect -> what is done about it, where that is not the default: `dataset.on.clipped_box=skip_box`."""
    min_side: float = 2.0
    """Pixels of the original: a box with a shorter side is tiny (`dataset.on.tiny_box`)."""
    max_pixels: float = 500e6
    """Width times height of the largest picture that is read: an aerial photo may have 200e6; a file of a few bytes
    that claims more than this is no photo."""
    train_split: Optional[str] = None
    """Name of the split to train on; null: found (train, trainval, train2017 …); `all`: every image but those of
    the other splits named here."""
    val_split: Optional[str] = None
    """Name of the split to validate on; null: found (val, valid, val2017 …) or drawn; `none`: drawn, whatever the data
    set has."""
    test_split: Optional[str] = None
    """Name of the split that is measured once, at the end; null: found (test, test2017 …), if it has labels; `none`:
    not even that."""


@dataclass
class VocConfig(FileDatasetConfig):
    """Pascal VOC xml, in any of the usual folder layouts."""

    download: bool = False
    """Fetch the public data set into `root` first (only for the named public sets)."""
    url_set: Optional[str] = None
    """Which public set `download` fetches: `voc2007`, `voc2012` or both, `voc0712`."""
    one_based: bool = False
    """Pixels count from 1 and the last one belongs to the box, as in the genuine Pascal VOC sets; other programs
    write 0-based corners."""


@dataclass
class CocoConfig(FileDatasetConfig):
    """COCO json."""

    train_json: Optional[str] = None
    """Annotation file relative to `root`; null: found (annotations/instances_train*.json,
    train/_annotations.coco.json …)."""
    val_json: Optional[str] = None
    """Likewise; null with `train_json` given: the validation split is drawn from the training images."""
    test_json: Optional[str] = None
    """Measured once, at the end; null: found, without `train_json`."""
    train_images: Optional[str] = None
    """Folder, relative to `root`, of the images that the training json lists; null: found by their names, or refused
    where two folders fit."""
    val_images: Optional[str] = None
    """Likewise of the validation json."""
    test_images: Optional[str] = None
    """Likewise of the test json."""
    download: bool = False
    """Fetch the public data set into `root` first (only for the named public sets)."""
    url_set: Optional[str] = None
    """Which public set `download` fetches: `coco2017`."""


@dataclass
class YoloConfig(FileDatasetConfig):
    """YOLO txt, with or without a data.yaml."""

    data_yaml: Optional[str] = None
    """Relative to `root`; null: found."""


@dataclass
class FormatConfig(FileDatasetConfig):
    """A format whose settings alone do not say which it is."""

    format: str = MISSING
    """For the record, which names the reader by it; `dataset=<format>_folder` chooses it."""


@dataclass
class LabelmeConfig(FormatConfig):
    """labelme json, one for each picture."""

    format: str = "labelme"


@dataclass
class DotaConfig(FormatConfig):
    """DOTA labelTxt: four corners of each object."""

    format: str = "dota"


@dataclass
class ListedConfig(FormatConfig):
    """A format whose files describe many pictures each."""

    train_file: Optional[str] = None
    """Annotation file relative to `root`; null: found, its split told by its name or by what stands in it."""
    val_file: Optional[str] = None
    """Likewise; null with `train_file` given: the validation split is drawn from the training images."""
    test_file: Optional[str] = None
    """Measured once, at the end; null: found, without `train_file`."""


@dataclass
class CsvConfig(ListedConfig):
    """A csv with a row for each object."""

    format: str = "csv"


@dataclass
class ViaConfig(ListedConfig):
    """VGG Image Annotator, a project or an export, json or csv."""

    format: str = "via"


@dataclass
class CvatConfig(ListedConfig):
    """CVAT xml, "CVAT for images"."""

    format: str = "cvat"


@dataclass
class LabelStudioConfig(ListedConfig):
    """Label Studio json."""

    format: str = "label_studio"


@dataclass
class OpenImagesConfig(ListedConfig):
    """Open Images csv, with its class descriptions."""

    format: str = "open_images"


@dataclass
class HuggingFaceConfig(ListedConfig):
    """A folder of Hugging Face `datasets`: parquet files, or pictures with metadata.jsonl or metadata.csv."""

    format: str = "hugging_face"


@dataclass
class ShapesConfig(DatasetConfig):
    """Shapes drawn by code: seeded, in two domains that differ in style, clutter, object size and classes."""

    domain: str = MISSING
    """`source` or `target`."""
    num_train: int = MISSING
    """Images; more of them are added behind the same first ones."""
    num_val: int = MISSING
    draw_seed: int = 0
    """Other pictures of the same kind; apart from the run's `seed`, so that seeds share their pictures."""

"""A dataclass for every node of the configuration that Headstart owns.

A default lives here or in a YAML file of `conf/`, never in both: here where every choice of a group shares it,
in the YAML where it is what that choice means. Imports nothing heavy: a wrong setting is answered before torch
is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from omegaconf import MISSING

# --------------------------------------------------------------------------------------------------- dataset


class Cache(Enum):
    """Where decoded, resized images are kept between epochs."""

    auto = "auto"  # in memory when they fit in 1 GiB
    ram = "ram"
    none = "none"


@dataclass
class DatasetConfig:
    """What every data set has."""

    name: str = MISSING
    """Appears in the run's name and in the record."""
    min_size: int = 240
    """Images keep their aspect ratio and are resized until the short side has this many pixels …"""
    max_size: int = 320
    """… or the long side this many, if that comes first."""
    fraction: float = 1.0
    """Share of the training images used, 0 < fraction <= 1; drawn with `subset_seed`."""
    shots: Optional[int] = None
    """Train on this many images per class (each class has at least so many, where there are enough)."""
    subset_seed: Optional[int] = None
    """Draws `fraction` and `shots`; null: the run's `seed`."""
    batch_size: int = 8
    """Images per process and step."""
    num_workers: Optional[int] = None
    """Processes that read images; null: none when the CPU trains, which they would slow down, else up to 4."""
    cache: Cache = Cache.auto


@dataclass
class FileDatasetConfig(DatasetConfig):
    """A data set in files."""

    root: str = MISSING
    """Folder of the data set."""
    class_names: list[str] = field(default_factory=list)
    """Order of the classes; empty: as found (COCO: by category id; YOLO: data.yaml; VOC: sorted)."""
    val_fraction: float = 0.2
    """Share of the images kept for validation where the data set has no split of its own."""
    split_seed: int = 0
    """Draws that split: the same images for every `seed`, so that runs stay comparable."""
    train_split: Optional[str] = None
    """Name of the split to train on; null: found (train, trainval, train2017 …); `all`: every image but those of
    the other splits named here."""
    val_split: Optional[str] = None
    """Name of the split to validate on; null: found (val, valid, test …) or made."""
    test_split: Optional[str] = None
    """Name of a further split, evaluated once at the end; null: none."""


@dataclass
class VocConfig(FileDatasetConfig):
    """Pascal VOC xml, in any of the usual folder layouts."""

    download: bool = False
    """Fetch the public data set into `root` first (only for the named public sets)."""
    url_set: Optional[str] = None
    """Which public set `download` fetches: `voc2007` or `voc2012`."""
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
    """Evaluated once at the end; null: none."""
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
class ShapesConfig(DatasetConfig):
    """Shapes drawn by code: seeded, in two domains that differ in style, clutter, object size and classes."""

    domain: str = MISSING
    """`source` or `target`."""
    num_train: int = MISSING
    """Images; more of them are added behind the same first ones."""
    num_val: int = MISSING
    draw_seed: int = 0
    """Other pictures of the same kind; apart from the run's `seed`, so that seeds share their pictures."""


# ---------------------------------------------------------------------------------------------------- model


class Architecture(Enum):
    retinanet = "retinanet"
    faster_rcnn = "faster_rcnn"
    fcos = "fcos"
    ssd = "ssd"
    ssdlite = "ssdlite"


class Variant(Enum):
    """torchvision's generations of one architecture."""

    v1 = "v1"
    v2 = "v2"


@dataclass
class ModelConfig:
    """What every detector has."""

    architecture: Architecture = MISSING
    score_threshold: float = 0.05
    """Detections below this score are dropped."""
    nms_threshold: float = 0.5
    """Of two detections of one class with a higher IoU than this, the worse is dropped."""
    detections_per_image: int = 100
    channels_last: bool = True
    """Memory layout of the convolutions: faster on CPUs and on GPUs with tensor cores, same result."""


@dataclass
class RetinaNetConfig(ModelConfig):
    variant: Variant = Variant.v1
    anchor_scale: float = 1.0
    """Multiplies torchvision's anchor sizes (32 … 512 pixels)."""


@dataclass
class FasterRCNNConfig(ModelConfig):
    variant: Variant = Variant.v1
    anchor_scale: float = 1.0


@dataclass
class FCOSConfig(ModelConfig):
    pass


@dataclass
class SSDConfig(ModelConfig):
    pass


@dataclass
class SSDLiteConfig(ModelConfig):
    reduced_tail: bool = True
    """On torchvision's MobileNetV3: half the channels in the last layers. COCO weights have it, ImageNet's do not."""


class BackboneLibrary(Enum):
    timm = "timm"
    torchvision = "torchvision"


@dataclass
class BackboneConfig:
    """The feature extractor. Mean and standard deviation of its inputs belong to its weights, not here."""

    name: str = MISSING
    """Short name, in the run's name."""
    library: BackboneLibrary = MISSING
    architecture: str = MISSING
    """The library's name: `resnet50`, `tf_efficientnet_lite0`, or any timm model with `features_only`."""
    neck_channels: int = 256
    """Width of the feature pyramid and of the heads on it."""


# --------------------------------------------------------------------------------------------------- source


class SourceKind(Enum):
    scratch = "scratch"
    imagenet = "imagenet"
    coco = "coco"
    checkpoint = "checkpoint"
    pretrained = "pretrained"


@dataclass
class SourceConfig:
    name: str = MISSING
    """Short name, in the run's name."""
    kind: SourceKind = MISSING
    aliases: dict[str, str] = field(default_factory=dict)
    """Class of the target -> class of the source that means the same; beside the same names and a table for the names
    of VOC and COCO."""


@dataclass
class ScratchConfig(SourceConfig):
    pass


@dataclass
class ImageNetConfig(SourceConfig):
    path: Optional[str] = None
    """State dict file of the backbone's library; null: the package or cache that holds it, or a download."""


@dataclass
class CocoSourceConfig(SourceConfig):
    weights: Optional[str] = None
    """Member of torchvision's weights enum, such as `COCO_V1`; null: the default for the combination."""
    path: Optional[str] = None
    """The weights' file, where it cannot be downloaded; null: torch.hub's cache, or a download."""


@dataclass
class CheckpointConfig(SourceConfig):
    path: str = MISSING
    """A run folder, an exported model (model.safetensors beside model.json), or a plain state dict file."""
    class_names: list[str] = field(default_factory=list)
    """Of a plain state dict file: the class of each row of its head, in order. The other two know them."""


# ------------------------------------------------------------------------------------------------- strategy


class NormPolicy(Enum):
    """What normalisation layers do whose statistics the source filled; others always train."""

    frozen = "frozen"  # statistics and affine parameters stay
    affine_only = "affine_only"  # statistics stay, affine parameters train
    train = "train"  # statistics and affine parameters train
    recalibrate = "recalibrate"  # statistics of all layers estimated anew on the target's images, then affine_only


class Thaw(Enum):
    """Tensors that train although their stage is frozen."""

    norm = "norm"  # weights and biases of normalisation layers
    predictors = "predictors"  # the head's last classification and regression layers


@dataclass
class PhaseConfig:
    """A part of the training, until the next phase starts or the training ends."""

    start: float = MISSING
    """Below 1: the share of all epochs that lies before it, in whole epochs; from 1: that many epochs."""
    freeze_through: Optional[str] = None
    """As the strategy's own, which holds before the first phase."""
    lr_factor: float = 1.0
    """On every rate of this phase."""


@dataclass
class GradualConfig:
    """Phases that open one stage after the other, from the head to the input (ULMFiT, Howard & Ruder, ACL 2018)."""

    first: float = MISSING
    """When the frozen stage next to the head opens; counted as a phase's `start`."""
    last: float = MISSING
    """When the stem opens; the stages between them at even distances."""


@dataclass
class PullConfig:
    """After each step, trained tensors go back towards the source (L2-SP, Li et al., ICML 2018)."""

    strength: float = MISSING
    """alpha: a step with rate lr takes the share lr * alpha of the distance; weight decay is off for these tensors."""


@dataclass
class AdaptersConfig:
    """Low-rank changes of frozen convolutions and linear layers (LoRA, Hu et al., ICLR 2022), merged at the end."""

    rank: int = 8
    alpha: float = 16.0
    """The change is multiplied by alpha / rank."""


@dataclass
class DistillConfig:
    """The source's detector, frozen, teaches the one that is trained (Shmelkov et al., ICCV 2017)."""

    features: float = 1.0
    """Weight of the difference between the feature maps."""
    outputs: float = 1.0
    """Weight of the difference between the logits of the classes that both know."""


@dataclass
class StrategyConfig:
    """What learns, when and how fast. A strategy of your own is a YAML file with these keys."""

    name: str = MISSING
    freeze_through: Optional[str] = None
    """The last frozen stage, from the input: `stem`, `stage1` … `stageN`, `neck`, `head`; null: nothing is frozen.
    Tensors that the source did not fill are never frozen."""
    thaw: list[Thaw] = field(default_factory=list)
    """Tensors that train although their stage is frozen."""
    norm: NormPolicy = NormPolicy.affine_only
    """Normalisation layers outside the frozen stages."""
    lr: dict[str, float] = field(default_factory=dict)
    """Optimizer name -> base learning rate that works for this strategy; `optimizer.lr` goes before it."""
    lr_decay: Optional[float] = None
    """Factor on the rate from each stage of the backbone to the one before it (ViTDet: 0.7 to 0.9)."""
    lr_factors: dict[str, float] = field(default_factory=dict)
    """Stage -> factor on the base learning rate, in place of `lr_decay`; stages not named: 1."""
    gradual: Optional[GradualConfig] = None
    """`{first, last}`: the frozen stages open one after the other, the first at `first`, the stem at `last`; below 1 a
    share of the training, from 1 a number of epochs."""
    phases: dict[str, PhaseConfig] = field(default_factory=dict)
    """Name -> `{start, freeze_through, lr_factor}`: a later part of the training, in which something else is frozen."""
    pull: Optional[PullConfig] = None
    """`{strength}`: after a step with rate lr, trained tensors go back lr * strength of the way to the source."""
    adapters: Optional[AdaptersConfig] = None
    """`{rank, alpha}`: low-rank changes of the convolutions and linear layers of the frozen stages."""
    cosine_scale: Optional[float] = None
    """The last classification layers compare directions only, times this scale (TFA: 20); null: as they are."""
    distill: Optional[DistillConfig] = None
    """`{features, outputs}`: weights of what the frozen source teaches: feature maps, logits of shared classes."""
    interpolate: list[float] = field(default_factory=list)
    """Shares of the fine-tuned weights, 0 to 1: after training, mixtures of source and result are measured and the
    best is kept (WiSE-FT, Wortsman et al., CVPR 2022)."""
    few_shot: bool = False
    """Refuse a source that knows none of the target's classes, and a training set that is not `dataset.shots=K`."""


# -------------------------------------------------------------------- augment, optimizer, scheduler, trainer


@dataclass
class AugmentConfig:
    """Random changes to training images. All zero: none."""

    name: str = MISSING
    hflip: float = 0.0
    """Probability of a left-right flip."""
    vflip: float = 0.0
    brightness: float = 0.0
    """Largest relative change; as torchvision's ColorJitter."""
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    """Largest change, 0 to 0.5 of the colour circle."""
    scale_min: float = 1.0
    """Scale jitter: the image is scaled by a factor between `scale_min` and `scale_max`, then cut or padded."""
    scale_max: float = 1.0
    crop: float = 0.0
    """Probability of a random crop that keeps boxes (SSD's minimum-IoU crop)."""


@dataclass
class OptimizerConfig:
    """Ours by name; one of your own needs no schema: a YAML file with `name` and `_target_`."""

    name: str = MISSING
    _target_: str = MISSING
    lr: Optional[float] = None
    """Base learning rate; null: the strategy's preset for this optimizer."""
    weight_decay: float = MISSING
    """Not applied to biases and normalisation layers."""


@dataclass
class AdamWConfig(OptimizerConfig):
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = 1e-8


@dataclass
class SGDConfig(OptimizerConfig):
    momentum: float = 0.9
    nesterov: bool = False


class Decay(Enum):
    constant = "constant"
    cosine = "cosine"


@dataclass
class SchedulerConfig:
    """Learning rate over the steps of the run, as a factor on each group's rate."""

    name: str = MISSING
    decay: Decay = MISSING
    warmup_fraction: float = 0.1
    """Share of all steps in which the rate rises linearly from 0.1 of itself."""
    final_factor: float = 0.01
    """Factor at the last step of a cosine decay."""


@dataclass
class TrainerConfig:
    """The arguments of `lightning.Trainer`, under their own names; a test holds the list equal to Lightning's.

    `precision: auto` is ours: bf16-mixed where the processor or GPU computes in it, else 32-true (CPU) or
    16-mixed (GPU). `callbacks`, `logger` and `default_root_dir` are Headstart's to set.
    """

    accelerator: Any = "auto"
    strategy: Any = "auto"
    devices: Any = 1
    num_nodes: int = 1
    precision: Any = "auto"
    fast_dev_run: Any = False
    max_epochs: Optional[int] = 20
    min_epochs: Optional[int] = None
    max_steps: int = -1
    min_steps: Optional[int] = None
    max_time: Any = None
    limit_train_batches: Any = None
    limit_val_batches: Any = None
    limit_test_batches: Any = None
    limit_predict_batches: Any = None
    overfit_batches: Any = 0.0
    val_check_interval: Any = None
    check_val_every_n_epoch: Optional[int] = 1
    num_sanity_val_steps: Optional[int] = 0
    log_every_n_steps: Optional[int] = 10
    enable_checkpointing: Optional[bool] = True
    enable_progress_bar: Optional[bool] = True
    enable_model_summary: Optional[bool] = False
    accumulate_grad_batches: int = 1
    gradient_clip_val: Any = 10.0
    gradient_clip_algorithm: Optional[str] = None
    deterministic: Any = None
    benchmark: Optional[bool] = None
    inference_mode: bool = True
    use_distributed_sampler: bool = False
    profiler: Optional[str] = None
    detect_anomaly: bool = False
    barebones: bool = False
    plugins: Any = None
    sync_batchnorm: bool = False
    reload_dataloaders_every_n_epochs: int = 0
    model_registry: Optional[str] = None
    enable_autolog_hparams: bool = True


# -------------------------------------------------------------------------------------------- logger, others


class WandbMode(Enum):
    auto = "auto"  # online when logged in, else offline: never asks for an account
    online = "online"
    offline = "offline"


@dataclass
class WandbConfig:
    """A run in Weights & Biases."""

    project: Optional[str] = None
    """null: headstart; of a comparison, that of its runs."""
    entity: Optional[str] = None
    """User or team; null: your default; of a comparison, that of its runs."""
    group: Optional[str] = None
    """The runs of a study have its name here unless another is given; a comparison has that of its runs."""
    tags: list[str] = field(default_factory=list)
    notes: Optional[str] = None
    mode: WandbMode = WandbMode.auto


@dataclass
class TensorBoardConfig:
    log_graph: bool = False


@dataclass
class LoggerConfig:
    """`history.csv` is always written. `logger='[wandb,tensorboard]'` uses several."""

    wandb: Optional[WandbConfig] = None
    tensorboard: Optional[TensorBoardConfig] = None
    log_images: int = 8
    """Validation images sent with ground truth and predictions, to the loggers that show images."""


@dataclass
class MonitorConfig:
    """What "best" means: for checkpoints, early stopping and the record."""

    name: str = "val/map"
    mode: str = "max"


@dataclass
class TrainingConfig:
    ema_decay: Optional[float] = None
    """Decay per step of the moving average of the weights that is evaluated and exported; null: none."""
    early_stopping_patience: Optional[int] = None
    """Stop after this many validations without a better `monitor`; null: never."""
    evaluate_untrained: bool = True
    """Measure the mAP before the first step: epoch 0 of the history."""


class Engine(Enum):
    hotcoco = "hotcoco"
    faster_coco_eval = "faster_coco_eval"


@dataclass
class EvaluationConfig:
    engine: Engine = Engine.hotcoco
    max_detections: int = 100
    """Per image."""
    retention: bool = False
    """Measure, before and after training, what the detector knows of the source's own validation images; needs
    source=checkpoint with the folder of a run."""


@dataclass
class StudyConfig:
    """What `-m` does with the combinations; nothing here changes what a run finds."""

    jobs: int = 1
    """Runs at a time, each a process of its own; processor threads and GPUs are divided among them."""
    sources_dir: Optional[str] = None
    """Where the runs that source=pretrained starts from have their folders, for every study that needs them; null:
    `sources` below `output_dir`."""
    only_source: int = 0
    """Do not train this run but the source it starts from (1), that one's own (2) …; studies use it."""


@dataclass
class PretrainedConfig(SourceConfig):
    """A run of its own, of the same model and backbone; trained where it is not yet there."""

    dataset: DatasetConfig = MISSING
    source: SourceConfig = MISSING
    strategy: StrategyConfig = MISSING
    augment: AugmentConfig = MISSING
    optimizer: Any = MISSING
    scheduler: SchedulerConfig = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 0
    """The same for every `seed` of the runs that start from it."""


@dataclass
class RunConfig:
    """One experiment: `python train.py`."""

    dataset: DatasetConfig = MISSING
    model: ModelConfig = MISSING
    backbone: BackboneConfig = MISSING
    source: SourceConfig = MISSING
    strategy: StrategyConfig = MISSING
    augment: AugmentConfig = MISSING
    optimizer: Any = MISSING
    scheduler: SchedulerConfig = MISSING
    trainer: TrainerConfig = MISSING
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    """Here, not in the group's files: several of them can be chosen, and each adds its logger."""
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    seed: int = 0
    """Of everything random: new layers, the order of images, augmentation, `dataset.fraction` and `shots`."""
    data_dir: str = MISSING
    """Where the named data sets lie: $HEADSTART_DATA, else data/."""
    output_dir: str = "outputs"
    """Where every run has its folder."""
    rerun: bool = False
    """Do again what is already finished."""


@dataclass
class EvaluateConfig:
    """`headstart evaluate run=<folder>`."""

    run: str = MISSING
    """A run folder with record.json and model.safetensors."""
    split: str = "val"
    data_dir: Optional[str] = None
    """Where the data lies now; null: where it lay then."""
    enable_progress_bar: bool = True


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
    split: str = "val"
    """`val`, which also chose the best epoch, or `test`, which chose nothing."""
    cost: Cost = Cost.cpu_seconds
    """What the mAP is weighed against."""
    report_dir: Optional[str] = None
    """Where report.html and the CSV files go; null: into `folder`."""
    wandb: bool = False
    """Log the comparison to Weights & Biases as a run of its own; offline unless you are logged in."""
    wandb_run: WandbConfig = field(default_factory=WandbConfig)
    """`{project, entity, group, tags, notes, mode}` of that run, as in logger.wandb of training."""


SCHEMAS: dict[str, dict[str, type]] = {
    "dataset": {"voc": VocConfig, "coco": CocoConfig, "yolo": YoloConfig, "shapes": ShapesConfig},
    "model": {
        "retinanet": RetinaNetConfig,
        "faster_rcnn": FasterRCNNConfig,
        "fcos": FCOSConfig,
        "ssd": SSDConfig,
        "ssdlite": SSDLiteConfig,
    },
    "backbone": {"base": BackboneConfig},
    "source": {
        "scratch": ScratchConfig,
        "imagenet": ImageNetConfig,
        "coco": CocoSourceConfig,
        "checkpoint": CheckpointConfig,
        "pretrained": PretrainedConfig,
    },
    "strategy": {"base": StrategyConfig},
    "augment": {"base": AugmentConfig},
    "optimizer": {"adamw": AdamWConfig, "sgd": SGDConfig},
    "scheduler": {"base": SchedulerConfig},
    "trainer": {"base": TrainerConfig},
}
"""Group -> name -> dataclass: each is in Hydra's ConfigStore as `<group>/schema_<name>`, which the YAML files
of the group name in their defaults list."""

NODES: dict[str, type] = {
    "monitor": MonitorConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "study": StudyConfig,
}
"""Nodes of `RunConfig` that are no groups: there is one of each."""

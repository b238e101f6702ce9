"""What one node cannot know alone: settings out of range, and settings that do not go together."""

from __future__ import annotations

import math
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.config.checks_defects import on_problems
from headstart.config.checks_format import format_problems
from headstart.config.checks_length import length_problems
from headstart.config.checks_network import network_problems
from headstart.config.checks_sizes import size_problems
from headstart.config.checks_tiles import tile_problems
from headstart.config.checks_transfer import check_retention, few_shot_problems, parts_that_need_a_source
from headstart.config.detr_sizes import query_problems
from headstart.config.fitting import check_installed, source_problems
from headstart.config.hub import is_hub_id
from headstart.config.postprocess import postprocess_problems
from headstart.config.schema import (
    Architecture,
    AugmentConfig,
    DatasetConfig,
    ExtensionConfig,
    FileDatasetConfig,
    Resize,
    RunConfig,
    SourceKind,
)
from headstart.errors import UserError

PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed", "64-true", "16-true", "bf16-true")
HALF = ("16-true", "bf16-true")


MOST_PICTURES = 100
"""In one page."""


def check(config: RunConfig) -> None:
    """Raises `UserError` with everything that is wrong, a line each."""
    problems = [
        *dataset_problems(config.dataset),
        *source_problems(config),
        *query_problems(config.model),
        *_transfer(config),
        *augment_problems(config.augment),
        *_optimization(config),
        *_trainer(config),
        *length_problems(config),
        *size_problems(config),
        *network_problems(config),
        *postprocess_problems(config.postprocess),
    ]
    if problems:
        raise UserError("\n".join(problems))


def check_files(config: RunConfig) -> None:
    """Raises `UserError` where a file or folder that the user names is not there: minutes before it is read."""
    check_dataset_folder(config.dataset)
    path = getattr(config.source, "path", None)
    elsewhere = config.source.kind is SourceKind.hub and is_hub_id(str(path))
    if path is not None and not elsewhere and not Path(path).expanduser().exists():
        raise UserError(f"source.path={path} does not exist.")
    if isinstance(config.model, ExtensionConfig) and not Path(config.model.file).expanduser().is_file():
        raise UserError(f"model.file={config.model.file} does not exist.")
    check_installed(config)
    check_retention(config)


def check_dataset_folder(config: DatasetConfig) -> None:
    """Raises `UserError` where the folder is not there, and is not to be fetched."""
    if isinstance(config, FileDatasetConfig) and not getattr(config, "download", False):
        dataset_folder(config)


def dataset_folder(config: FileDatasetConfig) -> Path:
    """`config.root`, which must be a folder."""
    root = Path(config.root).expanduser()
    if root.is_file():
        raise UserError(f"dataset.root={config.root} is a file, not a folder{_remedy(root)}.")
    if not root.is_dir():
        fetch = ", or fetch it with dataset.download=true" if getattr(config, "url_set", None) else ""
        raise UserError(
            f"dataset.root={config.root} does not exist; set HEADSTART_DATA or data_dir=…, or dataset.root=…{fetch}."
        )
    return root


def _remedy(file: Path) -> str:
    if zipfile.is_zipfile(file) or tarfile.is_tarfile(file) or file.suffix.lower() in (".7z", ".rar", ".gz"):
        return " (an archive: unpack it, and set dataset.root=<the folder that it gives>)"
    return f": name the folder that holds the images and their annotations, perhaps dataset.root={file.parent}"


def dataset_problems(config: DatasetConfig) -> Iterator[str]:
    if not 0 < config.fraction <= 1:
        yield f"dataset.fraction={config.fraction} must be above 0 and at most 1."
    if config.shots is not None and config.shots < 1:
        yield f"dataset.shots={config.shots} must be 1 or more, or null for all images."
    if config.shots is not None and config.fraction < 1:
        yield (
            f"dataset.fraction={config.fraction} and dataset.shots={config.shots} both choose the training images: "
            "set one of the two."
        )
    if isinstance(config, FileDatasetConfig) and not 0 <= config.test_fraction < 1:
        yield f"dataset.test_fraction={config.test_fraction} must be 0 (none is drawn) or more, and below 1."
    if isinstance(config, FileDatasetConfig) and not 1 <= config.max_pixels < math.inf:
        yield f"dataset.max_pixels={config.max_pixels:g} must be a number of pixels, 1 or more: 500e6."
    yield from format_problems(config)
    yield from tile_problems(config.tile)
    if isinstance(config, FileDatasetConfig):
        yield from on_problems(config.on)
        if not 0 <= config.min_side < math.inf:
            yield f"dataset.min_side={config.min_side:g} must be a number of pixels, 0 (no box is tiny) or more."
    if config.batch_size < 1:
        yield f"dataset.batch_size={config.batch_size} must be 1 or more."
    if config.num_workers is not None and config.num_workers < 0:
        yield f"dataset.num_workers={config.num_workers} must be 0 or more, or null."
    if not 0 <= config.cache_limit_gib < math.inf:
        yield f"dataset.cache_limit_gib={config.cache_limit_gib:g} must be 0 (nothing is written) or more."
    shortest = 32 if config.min_size is None else config.min_size
    if not 32 <= shortest <= (math.inf if config.max_size is None else config.max_size):
        yield (
            f"dataset.min_size={config.min_size} and dataset.max_size={config.max_size}: the short side of an image "
            "needs 32 pixels or more and cannot be longer than the long side."
        )
    elif config.resize is Resize.stretch and config.min_size != config.max_size:
        yield (
            f"dataset.resize=stretch with dataset.min_size={config.min_size} and dataset.max_size={config.max_size}: "
            "stretched pictures are squares. Set both to the side, as dataset.min_size=300 dataset.max_size=300, or "
            "dataset.resize=keep."
        )


def _transfer(config: RunConfig) -> Iterator[str]:
    strategy, source = config.strategy, config.source
    if source.kind is SourceKind.scratch:
        if strategy.freeze_through is not None or any(phase.freeze_through for phase in strategy.phases.values()):
            yield (
                f"source={source.name} with strategy={strategy.name} would freeze random weights "
                f"(strategy.freeze_through={strategy.freeze_through}). Choose another source, or strategy=full."
            )
        for part in parts_that_need_a_source(strategy):
            yield (
                f"source={source.name} with strategy={strategy.name}: strategy.{part} needs weights of a source. "
                "Choose another source, or strategy=full."
            )
    yield from few_shot_problems(config)
    if strategy.cosine_scale is not None and strategy.cosine_scale <= 0:
        yield f"strategy.cosine_scale={strategy.cosine_scale} must be above 0, or null for a plain head."


def augment_problems(config: AugmentConfig) -> Iterator[str]:
    for name in ("hflip", "vflip", "crop"):
        value = getattr(config, name)
        if not 0 <= value <= 1:
            yield f"augment.{name}={value} is a probability: 0 to 1."
    for name in ("brightness", "contrast", "saturation"):
        value = getattr(config, name)
        if not 0 <= value <= 1:
            yield f"augment.{name}={value} is a relative change: 0 to 1."
    if not 0 <= config.hue <= 0.5:
        yield f"augment.hue={config.hue} is a share of the colour circle: 0 to 0.5."
    if not 0 < config.scale_min <= config.scale_max:
        yield f"augment.scale_min={config.scale_min} must be above 0 and at most scale_max={config.scale_max}."
    scales = f"augment.scales=[{','.join(f'{scale:g}' for scale in config.scales)}]"
    if not all(0 < scale < math.inf for scale in config.scales):
        yield f"{scales} must each be above 0."
    if len(set(config.scales)) < len(config.scales):
        yield f"{scales}: one is there twice. Name each once; they are drawn equally often."
    if config.scales and (config.scale_min, config.scale_max) != (1.0, 1.0):
        yield (
            f"{scales} with scale_min={config.scale_min} and scale_max={config.scale_max}: use either a list of scales "
            "or a range (scales=[], or scale_min=1 scale_max=1)."
        )


def _optimization(config: RunConfig) -> Iterator[str]:
    lr = _setting(config.optimizer, "lr")
    if lr is not None and lr <= 0:
        yield f"optimizer.lr={lr} must be above 0."
    schedule = config.scheduler
    if not 0 <= schedule.warmup_fraction < 1:
        yield f"scheduler.warmup_fraction={schedule.warmup_fraction} must be 0 or more and below 1."
    if not 0 <= schedule.final_factor <= 1:
        yield f"scheduler.final_factor={schedule.final_factor} must be between 0 and 1."
    decay = config.training.ema_decay
    if decay is not None and not 0 < decay < 1:
        yield f"training.ema_decay={decay} must be between 0 and 1 (0.999 is usual), or null for none."
    if decay is not None and str(config.trainer.precision) in HALF:
        yield (
            f"training.ema_decay={decay} does not go with trainer.precision={config.trainer.precision}: most steps of "
            "the average are too small for 16 bits. Use trainer.precision="
            f"{str(config.trainer.precision).replace('true', 'mixed')}, or training.ema_decay=null."
        )
    patience = config.training.early_stopping_patience
    if patience is not None and patience < 1:
        yield f"training.early_stopping_patience={patience} must be 1 or more, or null for never."
    if config.monitor.mode not in ("min", "max"):
        yield f"monitor.mode={config.monitor.mode} must be max or min."
    if config.monitor.name.startswith("test/"):
        yield (
            f"monitor.name={config.monitor.name}: what is called test chooses nothing, and is measured after the last "
            f"epoch: use monitor.name={config.monitor.name.replace('test/', 'val/', 1)}."
        )
    if config.evaluation.max_detections < 1:
        yield f"evaluation.max_detections={config.evaluation.max_detections} must be 1 or more."
    if not 0 <= config.evaluation.worst_pictures <= MOST_PICTURES:
        number = config.evaluation.worst_pictures
        yield f"evaluation.worst_pictures={number} must be 0 to {MOST_PICTURES}: they all lie in one page."


def _trainer(config: RunConfig) -> Iterator[str]:
    trainer = config.trainer
    if str(trainer.precision) not in PRECISIONS:
        yield f"trainer.precision={trainer.precision} must be one of {', '.join(PRECISIONS)}."
    if str(trainer.precision) in HALF and config.model.architecture is Architecture.faster_rcnn:
        yield (
            f"trainer.precision={trainer.precision} does not go with model=faster_rcnn, whose second stage needs "
            f"float32 boxes: use trainer.precision={str(trainer.precision).replace('true', 'mixed')}."
        )
    for name, value, reason in (
        ("use_distributed_sampler", True, "Headstart's own sampler gives each process its share"),
        ("enable_checkpointing", False, "the best weights and the resume come from checkpoints"),
        ("barebones", True, "it switches off checkpoints, logging and callbacks"),
    ):
        if getattr(trainer, name) is value:
            yield f"trainer.{name}={str(value).lower()} cannot be used: {reason}."


def _setting(node: Any, name: str) -> Any:
    return node.get(name) if isinstance(node, dict) else getattr(node, name, None)

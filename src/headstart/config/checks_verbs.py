"""What the verbs beside `train` are asked for: a folder that is there, or one that is not yet. Imports no torch."""

from __future__ import annotations

import math
import re
from pathlib import Path

from headstart.config.checks import MOST_PICTURES, augment_problems, check_dataset_folder, dataset_problems
from headstart.config.checks_tiles import tile_problems
from headstart.config.checks_transfer import EXPORTED, source_folder
from headstart.config.postprocess import given, postprocess_problems
from headstart.config.schema import (
    CompareConfig,
    ConvertConfig,
    DoctorConfig,
    EvaluateConfig,
    FileDatasetConfig,
    Format,
    Ignored,
    LookConfig,
    PredictConfig,
    PushConfig,
    ReportConfig,
    RescoreConfig,
)
from headstart.errors import UserError


def check_recorded(run: str) -> None:
    """Raises `UserError` where `run` is no run's folder."""
    if not (Path(run).expanduser() / "record.json").is_file():
        raise UserError(f"run={run}: there is no record.json in it; name the folder of a run, outputs/<run>.")


def run_folders(run: str) -> list[Path]:
    """One, or several with commas between them. Raises `UserError` for what is no run's folder, or is there twice."""
    names = [run] if Path(run).expanduser().exists() else [name.strip() for name in run.split(",")]
    for name in names:
        check_recorded(name)
    folders = [Path(name).expanduser() for name in names]
    if twice := [name for name, folder in zip(names, folders, strict=True) if folders.count(folder) > 1]:
        raise UserError(f"run={run}: {twice[0]} is there twice; name each run once.")
    return folders


def check_run_folder(config: EvaluateConfig | RescoreConfig) -> None:
    """Raises `UserError` where `run` is no run's folder, or a setting is out of range."""
    if problems := [*postprocess_problems(config.postprocess)]:
        raise UserError("\n".join(problems))
    run_folders(str(config.run))


def check_rescoring(config: RescoreConfig) -> None:
    """Raises `UserError` where nothing is asked for, or what needs a model."""
    check_run_folder(config)
    asked = given(config.postprocess)
    for name in ("flips", "scales"):
        if name in asked:
            raise UserError(
                f"postprocess.{name} needs the model, which looks at the pictures again: "
                f"headstart evaluate run={config.run} postprocess.{name}=…"
            )
    if not asked and not config.merge_classes and len(run_folders(config.run)) == 1:
        raise UserError(
            "There is nothing to change: give postprocess.…, merge_classes.<class>=<class>, or several runs, "
            "run=<folder>,<folder>."
        )
    if config.out and Path(config.out).expanduser().is_dir():
        raise UserError(f"out={config.out} is a folder: name the file, such as {config.out}/rescored.json.")


def check_doctor(config: DoctorConfig) -> None:
    """Raises `UserError` where a setting of the data set is wrong, its folder is not there, or `fix` is not free."""
    if problems := [*dataset_problems(config.dataset)]:
        raise UserError("\n".join(problems))
    if not Path(getattr(config.dataset, "root", ".")).expanduser().is_file():  # an archive is refused as data
        check_dataset_folder(config.dataset)
    fix = Path(config.fix).expanduser() if config.fix else None
    if fix is not None and fix.exists() and (not fix.is_dir() or any(fix.iterdir())):
        raise UserError(f"fix={config.fix} is not empty: name a new folder for the clean copy.")


def check_comparison(config: CompareConfig) -> None:
    """Raises `UserError` where `folder` is no folder, or `margin` no loss."""
    if not 0 <= config.margin < math.inf:
        raise UserError(f"margin={config.margin} must be 0 or more, in units of the metric: 0.02 is 2 points of mAP.")
    if not Path(config.folder).expanduser().is_dir():
        raise UserError(f"folder={config.folder} is no folder: name the one that holds the runs, such as outputs/.")


def check_report(config: ReportConfig) -> None:
    """Raises `UserError` where `folder` is no folder."""
    if not Path(config.folder).expanduser().is_dir():
        raise UserError(f"folder={config.folder} is no folder: name that of a run, outputs/<run>, or one with runs.")


def check_look(config: LookConfig) -> None:
    """Raises `UserError` where a setting is wrong, or the data set's folder is not there."""
    problems = [*dataset_problems(config.dataset), *augment_problems(config.augment)]
    if not 0 <= config.pictures <= MOST_PICTURES:
        problems.append(f"pictures={config.pictures} must be 0 to {MOST_PICTURES}: they all lie in one file.")
    if problems:
        raise UserError("\n".join(problems))
    if not Path(getattr(config.dataset, "root", ".")).expanduser().is_file():  # an archive is refused as data
        check_dataset_folder(config.dataset)


def check_conversion(config: ConvertConfig) -> None:
    """Raises `UserError` where `folder` cannot be a new one, or a setting has no effect."""
    folder = Path(config.folder).expanduser()
    if config.ignored is not Ignored.keep and config.to is not Format.yolo:
        raise UserError(
            f"ignored={config.ignored.value}: to={config.to.value} can mark objects that are to be ignored, so it has "
            "no effect; leave it out."
        )
    check_free("folder", config.folder)
    _check_apart(folder, config)


def _check_apart(folder: Path, config: ConvertConfig) -> None:
    """What lies below a data set's folder is read with it."""
    if not isinstance(config.dataset, FileDatasetConfig):
        return
    root = Path(config.dataset.root).expanduser()
    if folder.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"folder={config.folder} lies in dataset.root={config.dataset.root}, where every picture would be found "
            "twice from then on: name a folder outside of it."
        )
    check_dataset_folder(config.dataset)


def check_prediction(config: PredictConfig) -> None:
    """Raises `UserError` where `run` is no model, or another setting cannot be obeyed; what `images` names is looked at
    when it is read."""
    folder = source_folder(str(Path(config.run).expanduser()))
    if missing := [name for name in EXPORTED if not (folder / name).is_file()]:
        raise UserError(
            f"run={config.run}: there is no {' and no '.join(missing)} in it; name the folder of a finished run, "
            "outputs/<run>."
        )
    if not config.save:
        raise UserError(
            "save=[] writes nothing: name some of coco, csv, yolo, geojson and pictures, as in save=[coco,csv]."
        )
    if problems := [*postprocess_problems(config.postprocess), *tile_problems(config.tile, "tile")]:
        raise UserError("\n".join(problems))
    if config.batch_size < 1:
        raise UserError(f"batch_size={config.batch_size} must be 1 or more pictures.")
    if not 1 <= config.max_pixels < math.inf:
        raise UserError(f"max_pixels={config.max_pixels:g} must be a number of pixels, 1 or more: 500e6.")
    scores = {"threshold": config.threshold} | {f"thresholds.{name}": v for name, v in config.thresholds.items()}
    for name, value in scores.items():
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"{name}={value:g} must be a score, 0 to 1.")
    if config.output is not None:
        check_free("output", config.output)


def check_free(key: str, text: str) -> None:
    """Raises `UserError` where a folder that is to be written is there, and not empty, or is no folder."""
    folder = Path(text).expanduser()
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{key}={text} has files in it: name a new folder, or an empty one.")
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise UserError(f"{key}={text} is no folder: name a new one.")


def check_push(config: PushConfig) -> None:
    """Raises `UserError` where `run` is no finished run with a model card, or `repo` no name."""
    folder = Path(config.run).expanduser()
    if missing := [name for name in ("record.json", "README.md", *EXPORTED) if not (folder / name).is_file()]:
        raise UserError(
            f"run={config.run}: there is no {' and no '.join(missing)} in it; name the folder of a finished run, "
            "outputs/<run>. Older runs have no card: rerun=true makes one."
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", config.repo, re.ASCII):
        raise UserError(f"repo={config.repo} must be <user or organisation>/<name>, as in me/kangaroos.")

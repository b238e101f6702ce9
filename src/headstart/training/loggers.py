"""Loggers as the user chose them. Nothing here ever asks for an account."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
import wandb.errors
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from wandb.sdk.lib.wbauth import read_netrc_auth

from headstart.config.schema import LoggerConfig, WandbConfig, WandbMode
from headstart.errors import UserError
from headstart.say import is_main_process


def build_loggers(config: LoggerConfig, run_dir: Path, run_id: str, resolved: Mapping[str, Any]) -> list[Logger]:
    """W&B and TensorBoard, as `config` says, writing below `run_dir`."""
    loggers: list[Logger] = []
    if config.wandb is not None:
        loggers.append(_wandb_logger(config.wandb, run_dir, run_id, resolved))
    if config.tensorboard is not None:
        if importlib.util.find_spec("tensorboard") is None:
            raise UserError("logger=tensorboard needs the package tensorboard: pip install 'headstart[tensorboard]'")
        loggers.append(
            TensorBoardLogger(run_dir, name="", version="tensorboard", log_graph=config.tensorboard.log_graph)
        )
    return loggers


def finish_loggers(loggers: Sequence[Logger], summary: Mapping[str, float]) -> list[str]:
    """Writes the final numbers, ends the W&B run, and gives the lines that tell the user where to look."""
    lines = []
    for logger in loggers:
        if isinstance(logger, WandbLogger) and isinstance(logger.experiment, wandb.Run):
            run = logger.experiment
            run.summary.update(dict(summary))
            offline = run.settings._offline
            lines.append(f"W&B, offline: wandb sync {Path(run.dir).parent}" if offline else f"W&B: {run.url}")
            run.finish()
        elif isinstance(logger, TensorBoardLogger):
            lines.append(f"TensorBoard: tensorboard --logdir {logger.log_dir}")
    return lines


def _wandb_logger(config: WandbConfig, run_dir: Path, run_id: str, resolved: Mapping[str, Any]) -> WandbLogger:
    # Pictures and tables are staged outside the run's folder by default: a copied folder would be incomplete.
    for variable, folder in (("WANDB_DATA_DIR", "data"), ("WANDB_CACHE_DIR", "cache")):
        os.environ.setdefault(variable, str((run_dir / "wandb" / folder).absolute()))
    if is_main_process():
        (run_dir / "wandb").mkdir(parents=True, exist_ok=True)
    logger = WandbLogger(
        project=config.project,
        entity=config.entity,
        group=config.group,
        tags=list(config.tags),
        notes=config.notes,
        name=run_dir.name,
        save_dir=run_dir,
        id=run_id,
        resume="allow",
        mode=_mode(config.mode),
        settings=wandb.Settings(silent=True, console="off"),
    )
    logger._wandb_init.pop("anonymous", None)  # Lightning always passes it; W&B warns that it has no effect
    if is_main_process():
        _describe(logger, resolved)
    return logger


def _describe(logger: WandbLogger, resolved: Mapping[str, Any]) -> None:
    """Flat keys first: W&B groups and filters by them. Best values are maxima, not the last ones."""
    names = {group: resolved[group]["name"] for group in ("dataset", "backbone", "source", "strategy")}
    flat = names | {
        "model": resolved["model"]["architecture"],
        "seed": resolved["seed"],
        "fraction": resolved["dataset"]["fraction"],
        "shots": resolved["dataset"]["shots"],
    }
    logger.experiment.config.update({"config": dict(resolved)} | flat, allow_val_change=True)
    for metric in ("val/map", "val/map_50", "val/map_75"):
        logger.experiment.define_metric(metric, step_metric="trainer/global_step", summary="max")


def _mode(mode: WandbMode) -> str:
    """`WANDB_MODE` goes first, as W&B's users expect; `auto` is online only for those who are logged in."""
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"]
    if mode is not WandbMode.auto:
        return mode.value
    return "online" if _logged_in() else "offline"


def _logged_in() -> bool:
    """By the places where `wandb login` and its users put a key."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        return read_netrc_auth(host=wandb.Settings().base_url) is not None  # W&B knows its server's former names
    except wandb.errors.AuthenticationError:  # what is there is no key
        return False

"""Loggers as the user chose them. Nothing here ever asks for an account."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from headstart.config.schema import LoggerConfig, SSDVariant, WandbConfig
from headstart.errors import UserError
from headstart.say import is_main_process
from headstart.visible import masked
from headstart.wandb_client import command_without_secrets, connection, project_of, stage_beside, where_to_look


def build_loggers(config: LoggerConfig, run_dir: Path, run_id: str, resolved: Mapping[str, Any]) -> list[Logger]:
    """W&B and TensorBoard, as `config` says, writing below `run_dir`."""
    loggers: list[Logger] = []
    if config.wandb is not None:
        loggers.append(_wandb_logger(config.wandb, run_dir, run_id, masked(dict(resolved))))
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
        if isinstance(logger, WandbLogger) and (run := _run_of(logger)):
            run.summary.update(dict(summary))
            lines.append(where_to_look(run))
            run.finish()
        elif isinstance(logger, TensorBoardLogger):
            lines.append(f"TensorBoard: tensorboard --logdir {logger.log_dir}")
    return lines


def _run_of(logger: WandbLogger) -> Any:
    """None where it has none: on every process but the first."""
    import wandb  # seconds, which a run without it does not spend

    return logger.experiment if isinstance(logger.experiment, wandb.Run) else None


def _wandb_logger(config: WandbConfig, run_dir: Path, run_id: str, resolved: Mapping[str, Any]) -> WandbLogger:
    import wandb

    stage_beside(run_dir)
    if is_main_process():
        (run_dir / "wandb").mkdir(parents=True, exist_ok=True)
    logger = WandbLogger(
        project=project_of(config),
        entity=config.entity,
        group=config.group,
        job_type="train",
        tags=masked(config.tags),
        notes=masked(config.notes),
        name=run_dir.name,
        save_dir=run_dir,
        id=run_id,
        resume="allow",
        mode=connection(config.mode),
        settings=wandb.Settings(silent=True, console="off"),
    )
    logger._wandb_init.pop("anonymous", None)  # Lightning always passes it; W&B warns that it has no effect
    if is_main_process():
        with command_without_secrets():
            _describe(logger, resolved)
    return logger


def _describe(logger: WandbLogger, resolved: Mapping[str, Any]) -> None:
    """Flat keys first: W&B groups, filters and weighs by them. Best values are maxima, not the last ones."""
    logger.experiment.config.update({"config": dict(resolved)} | _flat(resolved), allow_val_change=True)
    for metric in ("val/map", "val/map_50", "val/map_75"):
        logger.experiment.define_metric(metric, step_metric="trainer/global_step", summary="max")


def _flat(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """What studies sweep over, a name each."""
    dataset, model, optimizer, strategy = (resolved[group] for group in ("dataset", "model", "optimizer", "strategy"))
    names = {
        group: resolved[group]["name"]
        for group in ("dataset", "backbone", "source", "strategy", "augment", "optimizer", "scheduler")
    }
    preset = strategy["lr"].get(optimizer["name"])
    return names | {
        "model": model["architecture"] + "_tf" * (model.get("variant") == SSDVariant.tf.value),
        "seed": resolved["seed"],
        "fraction": dataset["fraction"],
        "shots": dataset["shots"],
        "batch_size": dataset["batch_size"],
        "lr": preset if optimizer.get("lr") is None else optimizer["lr"],
        "epochs": resolved["trainer"]["max_epochs"],
    }

"""Sources that are runs of their own: which run it is, and whether it is there. Imports no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart.config.checks import check, check_files
from headstart.config.resolve import resolved_dict
from headstart.config.schema import CheckpointConfig, PretrainedConfig, RunConfig, SourceKind
from headstart.errors import UserError
from headstart.records.record import SOURCES, RunRecord
from headstart.runs.identity import run_folder


def source_run(config: RunConfig) -> RunConfig | None:
    """The run that `source=pretrained` starts from; None for any other source.

    Its folder lies in `study.sources_dir`, so that studies share it and comparisons do not take it for a cell.
    """
    source = config.source
    if not isinstance(source, PretrainedConfig):
        return None
    sources_dir = config.study.sources_dir or str(Path(config.output_dir) / SOURCES)
    return RunConfig(
        dataset=source.dataset,
        model=config.model,
        backbone=config.backbone,
        source=source.source,
        strategy=source.strategy,
        augment=source.augment,
        optimizer=source.optimizer,
        scheduler=source.scheduler,
        trainer=source.trainer,
        logger=config.logger,
        training=source.training,
        study=replace(config.study, sources_dir=sources_dir, only_source=0),
        seed=source.seed,
        data_dir=config.data_dir,
        output_dir=sources_dir,
        on_change=config.on_change,
    )


def source_runs(config: RunConfig) -> list[RunConfig]:
    """The run's source, that one's own source …; empty where the source is no run."""
    source = source_run(config)
    return [source, *source_runs(source)] if source else []


def selected(config: RunConfig) -> RunConfig:
    """The run itself, or the one of its sources that `study.only_source` names."""
    runs = [config, *source_runs(config)]
    if not 0 <= config.study.only_source < len(runs):
        raise UserError(
            f"study.only_source={config.study.only_source}: source={config.source.name} comes of {len(runs) - 1} runs "
            "that are trained first; give a number up to that one, or 0."
        )
    return runs[config.study.only_source]


def folder_of(config: RunConfig) -> Path:
    """Where the run writes."""
    return run_folder(config, resolved_dict(config))


def is_finished(folder: Path) -> bool:
    """By the record, and by the weights that were written before it said so."""
    path = folder / "record.json"
    return path.exists() and RunRecord.read(path).status == "finished"


def with_source_folder(config: RunConfig) -> RunConfig:
    """The run with its trained source as a checkpoint. Raises `UserError` where the source is not trained."""
    source = source_run(config)
    if source is None:
        return config
    folder = folder_of(source)
    if not is_finished(folder):
        raise UserError(f"source={config.source.name}: {folder} is not trained; `headstart train` does it first.")
    path = CheckpointConfig(config.source.name, SourceKind.checkpoint, config.source.aliases, str(folder))
    return replace(config, source=path)


def check_all(config: RunConfig) -> None:
    """Raises `UserError` where the settings of the run, or of one that its source comes of, do not go together."""
    check(config)
    for source in source_runs(config):
        try:
            check(source)
        except UserError as error:
            raise UserError(f"The run that source={config.source.name} starts from: {error}") from None


def check_all_files(config: RunConfig) -> None:
    """Raises `UserError` where a file is missing that the run, or one of its sources still to be trained, needs."""
    check_files(config)
    for source in source_runs(config):
        if is_finished(folder_of(source)):
            return
        check_files(source)

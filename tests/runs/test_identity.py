"""The same experiment has the same folder, on every machine; another one has another."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from headstart.config import schema as s
from headstart.config.resolve import resolved_dict
from headstart.runs.identity import config_hash, run_folder, run_name, settings_that_matter


def configured(data_dir: str = "/data", **dataset: Any) -> s.RunConfig:
    voc: dict[str, Any] = {"name": "bccd", "root": f"{data_dir}/bccd"} | dataset
    return s.RunConfig(
        dataset=s.VocConfig(**voc),
        model=s.RetinaNetConfig(architecture=s.Architecture.retinanet),
        backbone=s.BackboneConfig("lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0"),
        source=s.ImageNetConfig(name="imagenet", kind=s.SourceKind.imagenet),
        strategy=s.StrategyConfig(name="head_only", freeze_through="neck", lr={"adamw": 1e-3}),
        augment=s.AugmentConfig(name="none"),
        optimizer=s.AdamWConfig(name="adamw", _target_="torch.optim.AdamW", weight_decay=0.0),
        scheduler=s.SchedulerConfig(name="cosine", decay=s.Decay.cosine),
        trainer=s.TrainerConfig(),
        logger=s.LoggerConfig(wandb=s.WandbConfig()),
        data_dir=data_dir,
    )


def name(config: s.RunConfig) -> str:
    return run_name(config, resolved_dict(config))


def changed(setting: str, value: Any) -> s.RunConfig:
    """The configuration with one setting, `group.key`, changed."""
    config = configured()
    node: Any = config
    *groups, key = setting.split(".")
    for group in groups:
        node = getattr(node, group)
    assert key in {field.name for field in dataclasses.fields(node)}
    setattr(node, key, value)
    return config


def test_a_name_tells_the_choices_the_seed_and_the_hash() -> None:
    assert re.fullmatch(r"bccd-retinanet-lite0-imagenet-head_only-seed0-[0-9a-f]{8}", name(configured()))
    assert re.match(r"bccd-.*-head_only-f0\.1-seed0-", name(configured(fraction=0.1)))
    assert re.match(r"bccd-.*-head_only-k5-seed0-", name(configured(shots=5)))


def test_a_run_lies_in_the_output_folder() -> None:
    config = changed("output_dir", "elsewhere/runs")
    assert run_folder(config, resolved_dict(config)) == Path("elsewhere/runs") / name(config)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("output_dir", "elsewhere"),
        ("rerun", True),
        ("logger.wandb", None),
        ("logger.log_images", 3),
        ("dataset.num_workers", 7),
        ("dataset.cache", s.Cache.none),
        ("dataset.cache_dir", "elsewhere"),
        ("dataset.cache_limit_gib", 1.0),
        ("trainer.enable_progress_bar", False),
        ("trainer.profiler", "simple"),
        ("trainer.log_every_n_steps", 1),
    ],
)
def test_what_cannot_change_the_result_does_not_change_the_name(setting: str, value: Any) -> None:
    assert name(changed(setting, value)) == name(configured())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("seed", 1),
        ("dataset.batch_size", 4),
        ("dataset.root", "/data/bccd2"),
        ("strategy.lr", {"adamw": 2e-3}),
        ("optimizer.weight_decay", 0.1),
        ("trainer.devices", 2),
        ("trainer.max_epochs", 21),
        ("trainer.precision", "32-true"),
        ("training.ema_decay", 0.9),
        ("evaluation.engine", s.Engine.faster_coco_eval),
    ],
)
def test_what_can_change_the_result_changes_the_name(setting: str, value: Any) -> None:
    assert name(changed(setting, value)) != name(configured())


@pytest.mark.parametrize("data_dir", ["/elsewhere/sets", "data", "/data/"])
def test_where_the_data_lies_does_not_change_the_name(data_dir: str) -> None:
    assert name(configured(data_dir, root=f"{data_dir.rstrip('/')}/bccd")) == name(configured("/data"))


def test_a_folder_that_only_begins_like_data_dir_is_another() -> None:
    assert settings_that_matter(resolved_dict(configured(root="/database/x")))["dataset.root"] == "/database/x"
    assert settings_that_matter(resolved_dict(configured(root="/data")))["dataset.root"] == "<data_dir>"


@pytest.mark.parametrize(
    "path", ["outputs/run", "{here}/outputs/run", "./outputs/run/", "outputs/run/model.safetensors"]
)
def test_one_place_has_one_name_however_it_is_written(path: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"data_dir": "/data", "source": {"path": path.format(here=tmp_path)}}
    assert settings_that_matter(settings) == {"source.path": "outputs/run"}
    assert settings_that_matter({"data_dir": "x", "dataset": {"root": f"{tmp_path}/x/y"}}) == {
        "dataset.root": "<data_dir>/y"
    }


def test_a_setting_that_is_null_is_as_one_that_an_older_record_does_not_have() -> None:
    assert config_hash({"seed": 1, "dataset": {"new": None}}) == config_hash({"seed": 1})


def test_a_record_of_another_version_is_another_run(monkeypatch: Any) -> None:
    before = name(configured())
    monkeypatch.setattr("headstart.runs.identity.SCHEMA_VERSION", 1)
    assert name(configured()) != before


@pytest.mark.parametrize(
    ("group", "key", "before", "other"),
    [
        ("dataset", "resize", "keep", "stretch"),
        ("dataset", "max_pixels", 500e6, 1e6),
        ("augment", "scales", [], [1.0, 0.5]),
        ("backbone", "darknet", False, True),
    ],
)
def test_a_setting_that_came_later_leaves_the_names_of_runs_that_did_the_same_and_is_a_label(
    group: str, key: str, before: Any, other: Any
) -> None:
    older, same, new = (resolved_dict(configured()) for _ in range(3))
    for node in (older[group], same[group]):
        assert node[key] == before
    del older[group][key]
    new[group][key] = other
    if group != "backbone":  # which a source that is a run has from the run
        older["source"][group], same["source"][group] = {}, {key: before}
    assert config_hash(older) == config_hash(same) != config_hash(new)
    assert settings_that_matter(same)[f"{group}.{key}"] == before


@pytest.mark.parametrize("setting", ["model.neck", "model.attention", "model.class_loss", "model.box_loss"])
def test_a_run_from_before_there_was_the_setting_keeps_its_name(setting: str) -> None:
    resolved = resolved_dict(configured())
    group, key = setting.split(".")
    before = {**resolved, group: {name: value for name, value in resolved[group].items() if name != key}}
    assert key in resolved[group]
    assert config_hash(before) == config_hash(resolved)

"""Every file under conf/ composes, and names only what exists."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

import lightning
import pytest
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from headstart.conf_path import conf_dir
from headstart.config.plain import plain
from headstart.config.resolve import resolve, typed
from headstart.config.schema import SCHEMAS, CompareConfig, EvaluateConfig, RunConfig, TrainerConfig

CONF = conf_dir()
FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
ROOTS = ("train.yaml", "evaluate.yaml", "compare.yaml")
CHOICES = [(path.parent.as_posix(), path.stem) for path in FILES if str(path) not in ROOTS]
NEEDED = {
    "dataset=voc_folder": ["dataset.root=x"],
    "dataset=coco_folder": ["dataset.root=x"],
    "dataset=yolo_folder": ["dataset.root=x"],
    "backbone=timm": ["backbone.architecture=resnet18"],
    "source=checkpoint": ["source.path=x"],
}
"""What a user must give with a choice."""

Compose = Callable[..., DictConfig]


BY_GROUP = {group: [f"{group}={c}" for g, c in CHOICES if g == group] for group in dict(CHOICES)}
ROWS = [[choice for choice in row if choice] for row in zip_longest(*BY_GROUP.values())]
"""Every choice once: the n-th choices of all groups together."""


def needed(choices: list[str]) -> list[str]:
    return [setting for choice in choices for setting in NEEDED.get(choice, [])]


def test_the_rows_hold_every_choice_once() -> None:
    assert sorted(choice for row in ROWS for choice in row) == sorted(f"{g}={c}" for g, c in CHOICES)


def test_every_file_on_disk_is_a_root_or_a_choice_of_a_group_with_a_schema() -> None:
    found = list(CONF.rglob("*.y*ml"))
    assert len(found) == len(FILES) == len(ROOTS) + len(CHOICES) > 50
    assert {group for group, _ in CHOICES} == {*SCHEMAS, "logger", "experiment"}


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_every_choice_composes(row: list[str], compose: Compose) -> None:
    """Some choices at a time: a composition takes a third of a second."""
    values = plain(typed(compose(*row, *needed(row)), RunConfig))
    for group, choice in (choice.split("=") for choice in row if not choice.startswith("experiment")):
        name = values[group].get("name", choice)
        assert name == choice or choice in ("timm", "pretrained")  # what the run's folder and the record call it


def test_evaluate_composes(compose: Compose) -> None:
    assert typed(compose("run=x", name="evaluate"), EvaluateConfig).run == "x"


def test_compare_composes(compose: Compose) -> None:
    assert typed(compose("folder=x", "cost=wall_seconds", name="compare"), CompareConfig).cost.value == "wall_seconds"


@pytest.mark.parametrize("choice", NEEDED)
def test_a_choice_that_needs_a_setting_says_which(choice: str, compose: Compose) -> None:
    setting = NEEDED[choice][0].split("=")[0]
    with pytest.raises(ValueError, match=re.escape(setting)):
        resolve(compose(choice))


def targets(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def test_every_target_binds_to_its_signature(compose: Compose) -> None:
    bound = set()
    for row in ROWS:
        for node in targets(OmegaConf.to_container(compose(*row, *needed(row)), resolve=False)):
            keys = {key for key in node if not key.startswith("_") and key != "name"}
            inspect.signature(get_object(node["_target_"])).bind_partial(**dict.fromkeys(keys))
            bound.add(node["_target_"])
    written = sum(
        len(re.findall(r"^\s*_target_: (?!hydra_plugins)", (CONF / path).read_text(), re.MULTILINE)) for path in FILES
    )
    assert len(bound) == written == 2


def test_trainer_settings_are_lightnings_but_for_those_headstart_sets() -> None:
    theirs = set(inspect.signature(lightning.Trainer.__init__).parameters) - {"self"}
    ours = {field.name for field in fields(TrainerConfig)}
    assert theirs - ours == {"callbacks", "logger", "default_root_dir"}
    assert ours <= theirs


INTERPOLATION = re.compile(r"\$\{([^}]*)\}")


@pytest.mark.parametrize("path", [path for path in FILES if str(path) not in ROOTS], ids=str)
def test_interpolation_stays_in_its_group_or_goes_to_root_settings_or_the_environment(path: Path) -> None:
    if str(path) == "source/pretrained.yaml":
        return  # a run within a run: its image size and hardware are those of the run around it
    for reference in INTERPOLATION.findall((CONF / path).read_text()):
        assert reference == "data_dir" or reference.startswith((".", "oc.env:")), f"{path}: ${{{reference}}}"


def test_two_loggers_are_both_there(compose: Compose) -> None:
    logger = resolve(compose("logger=[wandb,tensorboard]")).logger
    assert logger.wandb is not None
    assert logger.tensorboard is not None


def test_data_dir_comes_from_the_environment_when_not_set(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compose("dataset=bccd").dataset.root == "data/bccd"
    monkeypatch.setenv("HEADSTART_DATA", "/elsewhere")
    assert compose("dataset=bccd").dataset.root == "/elsewhere/bccd"
    assert compose("dataset=bccd", "data_dir=here").dataset.root == "here/bccd"

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

from headstart import cli
from headstart.conf_path import conf_dir
from headstart.config.plain import plain
from headstart.config.resolve import resolve, resolved_dict, typed
from headstart.config.schema import CompareConfig, EvaluateConfig, PretrainedConfig, RunConfig, TrainerConfig
from headstart.config.schemas import SCHEMAS
from headstart.errors import UserError
from headstart.runs.identity import run_name

CONF = conf_dir()
FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
ROOTS = tuple(f"{verb}.yaml" for verb in cli.VERBS)
CHOICES = [(path.parent.as_posix(), path.stem) for path in FILES if str(path) not in ROOTS]
NEEDED = {
    **{f"dataset={file.stem}": ["dataset.root=x"] for file in (CONF / "dataset").glob("*_folder.yaml")},
    "backbone=timm": ["backbone.architecture=resnet18"],
    "source=checkpoint": ["source.path=x"],
    "source=darknet": ["source.path=x"],
    "source=hub": ["source.path=x"],
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
        expected = "x" if choice.endswith("_folder") else choice  # the folder's own name
        assert name == expected or choice in ("timm", "pretrained")  # what the run's folder and the record call it


@pytest.mark.parametrize(
    ("root", "name"),
    [("my/photos", "photos"), ("my/new photos/", "new_photos"), ("/data/Tiere, 2024.", "Tiere_2024"), ("/", "data")],
)
@pytest.mark.parametrize("choice", ["voc_folder", "coco_folder", "yolo_folder"])
def test_a_data_set_of_ones_own_is_called_after_its_folder(root: str, name: str, choice: str, compose: Compose) -> None:
    config = resolve(compose(f"dataset={choice}", f"dataset.root='{root}'"))
    assert config.dataset.name == name
    assert run_name(config, resolved_dict(config)).startswith(f"{name}-retinanet-")


def test_a_relative_root_is_called_after_the_folder_it_is(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "birds" / "raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "birds" / "raw")
    for root, name in ((".", "raw"), ("..", "birds")):
        assert resolve(compose("dataset=voc_folder", f"dataset.root={root}")).dataset.name == name


def test_a_name_that_is_given_goes_before_the_folders(compose: Compose) -> None:
    words = ("dataset=voc_folder", "dataset.root=my/photos")
    assert resolve(compose(*words, "dataset.name=birds")).dataset.name == "birds"
    assert compose(*words, "output_dir=out/${dataset.name}").output_dir == "out/photos"  # before anything is typed


def test_the_data_of_a_pretrained_source_is_called_after_its_folder(compose: Compose) -> None:
    config = resolve(compose("source=pretrained", "dataset@source.dataset=yolo_folder", "source.dataset.root=a/cars"))
    assert isinstance(config.source, PretrainedConfig)
    assert config.source.dataset.name == "cars"


def test_a_folder_that_is_not_named_is_asked_for_and_not_its_name(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"Not set: dataset\.root\. "):
        resolve(compose("dataset=voc_folder"))


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
        inside = reference.startswith((".", "folder_name:", "oc.env:"))  # folder_name: of the setting beside it
        assert reference == "data_dir" or inside, f"{path}: ${{{reference}}}"


def test_two_loggers_are_both_there(compose: Compose) -> None:
    logger = resolve(compose("logger=[wandb,tensorboard]")).logger
    assert logger.wandb is not None
    assert logger.tensorboard is not None


def test_data_dir_comes_from_the_environment_when_not_set(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compose("dataset=bccd").dataset.root == "data/bccd"
    monkeypatch.setenv("HEADSTART_DATA", "/elsewhere")
    assert compose("dataset=bccd").dataset.root == "/elsewhere/bccd"
    assert compose("dataset=bccd", "data_dir=here").dataset.root == "here/bccd"

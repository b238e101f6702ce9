"""A misspelt key is an error that names it, wherever it stands."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from headstart.config.resolve import resolve
from headstart.config.schemas import SCHEMAS
from headstart.errors import UserError

Compose = Callable[..., DictConfig]
GROUPS = [*SCHEMAS, "logger", "logger.wandb", "monitor", "training", "evaluation"]


def messages(error: BaseException | None) -> str:
    """Hydra wraps the message of OmegaConf."""
    return f"{error}\n{messages(error.__cause__)}" if error else ""


@pytest.mark.parametrize("node", GROUPS)
def test_on_the_command_line(node: str, compose: Compose) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)) as raised:
        compose(f"{node}.misspelt_key=1")
    assert "misspelt_key" in messages(raised.value)


def test_on_the_command_line_with_a_plus(compose: Compose) -> None:
    """Hydra lets these in, and says nothing."""
    cfg = compose(*(f"+{node}.misspelt_key=1" for node in GROUPS), "+sede=1")
    with pytest.raises(UserError) as raised:
        resolve(cfg)
    assert [f"{node}.misspelt_key" in str(raised.value) for node in GROUPS] == [True] * len(GROUPS)
    assert "sede: there is no such setting. Did you mean 'seed'?" in str(raised.value)


def test_at_the_root(compose: Compose) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)) as raised:
        compose("sede=1")
    assert "sede" in messages(raised.value)


FILES = {group: f"defaults: [schema_{next(iter(schemas))}, _self_]" for group, schemas in SCHEMAS.items()}


@pytest.mark.parametrize("group", [*SCHEMAS, "logger"])
def test_in_a_file_of_the_user(group: str, compose: Compose, tmp_path: Path) -> None:
    path = tmp_path / group / "mine.yaml"
    path.parent.mkdir()
    path.write_text(f"{FILES.get(group, '')}\nmisspelt_key: 1\n")
    with pytest.raises((HydraException, OmegaConfBaseException)) as raised:
        compose(f"{group}=mine", folder=tmp_path)
    assert "misspelt_key" in messages(raised.value)


def test_in_an_experiment_of_the_user(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndataset:\n  misspelt_key: 1\n")
    with pytest.raises((HydraException, OmegaConfBaseException)) as raised:
        compose("experiment=mine", folder=tmp_path)
    assert "misspelt_key" in messages(raised.value)


def test_a_file_of_the_user_without_a_schema_is_held_to_what_the_group_shares(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text("name: mine\nfreeze_throug: stage1\n")
    with pytest.raises((HydraException, OmegaConfBaseException)) as raised:
        resolve(compose("strategy=mine", folder=tmp_path))
    assert "freeze_throug" in messages(raised.value)


def test_an_optimizer_of_another_library_needs_no_schema(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("name: mine\n_target_: torch.optim.RAdam\nlr: 0.1\neps: 1e-6\n")
    optimizer = resolve(compose("optimizer=mine", folder=tmp_path)).optimizer
    assert optimizer == {"name": "mine", "_target_": "torch.optim.RAdam", "lr": 0.1, "eps": 1e-6}


def test_a_value_that_is_not_among_the_choices_names_them(compose: Compose) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)) as raised:
        compose("strategy.norm=freezed")
    assert "freezed" in messages(raised.value)
    assert "affine_only" in messages(raised.value)

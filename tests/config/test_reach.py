"""What a strategy does not have can be given to it, and swept, from the command line."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from headstart import cli
from headstart.config.resolve import resolve, resolved_dict
from headstart.config.schema import (
    AdaptersConfig,
    DistillConfig,
    GradualConfig,
    PhaseConfig,
    PullConfig,
    StrategyConfig,
)
from headstart.errors import UserError
from headstart.runs.identity import config_hash

Compose = Callable[..., DictConfig]


def strategy_of(compose: Compose, *overrides: str) -> StrategyConfig:
    return resolve(compose(*overrides)).strategy


PARTS = {
    "strategy.pull.strength=10": ("pull", PullConfig(10.0)),
    "strategy.pull={strength: 10}": ("pull", PullConfig(10.0)),
    "strategy.adapters.rank=4": ("adapters", AdaptersConfig(4, 16.0)),
    "strategy.adapters.alpha=4": ("adapters", AdaptersConfig(8, 4.0)),
    "strategy.distill.features=2": ("distill", DistillConfig(2.0, 1.0)),
    "strategy.distill={}": ("distill", DistillConfig(1.0, 1.0)),
    "strategy.gradual.first=0.2 strategy.gradual.last=0.6": ("gradual", GradualConfig(0.2, 0.6)),
    "strategy.phases.late.start=0.5": ("phases", {"late": PhaseConfig(0.5)}),
    "strategy.phases.late={start: 3, lr_factor: 0.1}": ("phases", {"late": PhaseConfig(3, None, 0.1)}),
    "strategy.phases={late: {start: 3}}": ("phases", {"late": PhaseConfig(3)}),
    "strategy.lr_factors.stem=0.1": ("lr_factors", {"stem": 0.1}),
    "strategy.pull=null strategy.pull.strength=3": ("pull", PullConfig(3.0)),
}
"""Overrides -> field of the strategy and its value."""


@pytest.mark.parametrize("overrides", PARTS)
def test_a_part_that_the_strategy_does_not_have_is_added(overrides: str, compose: Compose) -> None:
    strategy = strategy_of(compose, "strategy=full", *overrides.replace(" strategy.", "\nstrategy.").split("\n"))
    field, value = PARTS[overrides]
    assert getattr(strategy, field) == value
    assert type(getattr(strategy, field)) is type(value)


@pytest.mark.parametrize("part", ["pull", "adapters", "distill", "gradual"])
def test_a_part_that_is_null_is_off(part: str, compose: Compose) -> None:
    having = {"pull": "l2_sp", "adapters": "lora", "distill": "distill", "gradual": "gradual_unfreeze"}[part]
    assert getattr(strategy_of(compose, f"strategy={having}"), part) is not None
    assert getattr(strategy_of(compose, f"strategy={having}", f"strategy.{part}=null"), part) is None


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("strategy.gradual.first=0.2", "strategy.gradual.last=…"),
        ("strategy.phases.late.lr_factor=0.1", "strategy.phases.late.start=…"),
        ("strategy.pull={}", "strategy.pull.strength=…"),
    ],
)
def test_what_a_part_needs_and_was_not_given_is_named(given: str, missing: str, compose: Compose) -> None:
    with pytest.raises(UserError, match=f"Not set: .*{missing}"):
        resolve(compose("strategy=full", given))


@pytest.mark.parametrize(
    "misspelt", ["strategy.pull.strenght=1", "strategy.pul.strength=1", "strategy.phases.late.strat=1"]
)
def test_a_misspelt_setting_of_a_part_is_still_told(misspelt: str, capsys, monkeypatch) -> None:
    assert "Did you mean" in told(misspelt, capsys, monkeypatch)


def test_an_optimizer_that_there_is_not_has_no_rate(capsys, monkeypatch) -> None:
    assert "adamv" in told("strategy.lr.adamv=1", capsys, monkeypatch)


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_a_setting_of_a_logger_that_was_not_chosen_says_how_to_choose_it(name: str, capsys, monkeypatch) -> None:
    setting = {"wandb": "project=mine", "tensorboard": "log_graph=true"}[name]
    assert f"logger='[csv,{name}]'" in told(f"logger=csv logger.{name}.{setting}", capsys, monkeypatch)


def told(overrides: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", ["headstart", "train"])
    with pytest.raises(SystemExit, match="1"):
        cli.main(["train", *overrides.split()])
    return capsys.readouterr().err


def test_a_strategy_of_the_user_and_a_source_that_is_a_run_have_room_for_parts(
    compose: Compose, tmp_path: Path
) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text("defaults: [full, _self_]\nname: mine\npull: null\n")
    assert resolve(compose("strategy=mine", "strategy.pull.strength=2", folder=tmp_path)).strategy.pull == PullConfig(2)
    source = ["source=pretrained", "dataset@source.dataset=shapes_source", "source.strategy.pull.strength=3"]
    assert compose(*source).source.strategy.pull.strength == 3


def test_aliases_need_no_plus(compose: Compose) -> None:
    assert resolve(
        compose("source=coco", "model=ssdlite", "backbone=mobilenet_v3_large", "source.aliases.ring=frisbee")
    ).source.aliases == {"ring": "frisbee"}


def test_a_part_switched_off_is_the_run_without_it_and_a_part_given_another(compose: Compose) -> None:
    def hash_of(*overrides: str) -> str:
        return config_hash(resolved_dict(resolve(compose("strategy=full", *overrides))))

    assert hash_of("strategy.pull.strength=3", "strategy.pull=null") == hash_of("strategy.pull=null") == hash_of()
    assert len({hash_of(), *(hash_of(f"strategy.pull.strength={alpha}") for alpha in (1, 10))}) == 3


def test_what_is_shown_before_a_run_has_no_unset_parts(compose: Compose) -> None:
    assert OmegaConf.to_container(compose("strategy=full").strategy, throw_on_missing=True)["pull"] is None

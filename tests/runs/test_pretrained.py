"""A source that is a run: which one, where, and that it is the same for all who need it."""

from pathlib import Path

import pytest

from headstart import train
from headstart.config.compose import compose
from headstart.config.schema import CheckpointConfig, Resize
from headstart.data.types import Size
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.runs.pretrained import (
    check_all,
    folder_of,
    selected,
    source_run,
    source_runs,
    with_source_folder,
)
from headstart.study.command import Command

PRETRAINED = ("source=pretrained", "dataset@source.dataset=shapes_source")


def source_folder(*overrides: str) -> str:
    source = source_run(compose(overrides))
    assert source is not None
    return str(folder_of(source))


def test_the_source_is_the_run_that_the_same_settings_give_by_themselves():
    alone = compose(["dataset=shapes_source", "source=imagenet", "strategy=full", "trainer.max_epochs=3"])
    found = source_folder(*PRETRAINED, "source.trainer.max_epochs=3", "output_dir=outputs")
    assert found == str(Path("outputs") / "sources" / folder_of(alone).name)


@pytest.mark.parametrize(
    "other", ["seed=3", "dataset=kangaroo", "strategy=head_only", "optimizer.lr=0.5", "trainer.max_epochs=7"]
)
def test_runs_that_differ_otherwise_start_from_the_same_source(other):
    assert source_folder(*PRETRAINED, other) == source_folder(*PRETRAINED)


@pytest.mark.parametrize("other", ["source.seed=3", "source.dataset.num_train=9", "model=fcos", "backbone=resnet18"])
def test_another_source_run_has_another_folder(other):
    assert source_folder(*PRETRAINED, other) != source_folder(*PRETRAINED)


def test_its_images_are_as_large_as_those_of_the_run_and_its_hardware_is_the_same():
    source = source_run(compose([*PRETRAINED, "dataset.max_size=160", "dataset.min_size=96", "trainer=ddp_cpu"]))
    assert source is not None
    assert source.dataset.resize is Resize.keep
    assert (source.dataset.min_size, source.dataset.max_size) == (96, 160)
    assert (source.trainer.accelerator, source.trainer.devices) == ("cpu", 2)


def test_its_images_are_stretched_where_those_of_the_run_are():
    source = source_run(compose([*PRETRAINED, "dataset.resize=stretch", "dataset.min_size=96", "dataset.max_size=96"]))
    assert source is not None
    assert Size.of(source.dataset) == Size(96, 96, Resize.stretch)


def test_what_cannot_change_the_source_does_not_change_its_folder_or_the_runs():
    for other in ("source.dataset.num_workers=2", "source.dataset.cache=none", "source.trainer.log_every_n_steps=3"):
        assert source_folder(*PRETRAINED, other) == source_folder(*PRETRAINED)
        assert folder_of(compose([*PRETRAINED, other])) == folder_of(compose(PRETRAINED))


def test_chains_are_followed_and_all_sources_lie_in_one_folder():
    config = compose([*PRETRAINED, "source@source.source=voc2007_1000", "study.sources_dir=shared"])
    names = [run.dataset.name for run in (config, *source_runs(config))]
    assert names == ["shapes", "shapes_source", "voc2007_1000"]
    assert [folder_of(run).parent for run in source_runs(config)] == [Path("shared")] * 2
    assert selected(compose([*PRETRAINED, "study.only_source=1"])).dataset.name == "shapes_source"
    with pytest.raises(UserError, match=r"study.only_source=2: source=shapes_source comes of 1 runs"):
        selected(compose([*PRETRAINED, "study.only_source=2"]))


def test_a_trained_source_is_a_checkpoint_and_one_that_is_not_is_refused(tmp_path):
    config = compose([*PRETRAINED, f"output_dir={tmp_path}", "+source.aliases.ring=circle"])
    with pytest.raises(UserError, match="is not trained"):
        with_source_folder(config)
    source = source_run(config)
    assert source is not None
    folder = folder_of(source)
    folder.mkdir(parents=True)
    RunRecord("finished").write(folder / "record.json")
    found = with_source_folder(config).source
    assert isinstance(found, CheckpointConfig)
    assert (found.name, found.path, found.aliases) == ("shapes_source", str(folder), {"ring": "circle"})


def test_settings_of_the_source_that_do_not_go_together_are_told_as_its_own():
    with pytest.raises(UserError, match="The run that source=shapes_source starts from: source=scratch with strategy"):
        check_all(compose([*PRETRAINED, "source@source.source=scratch", "strategy@source.strategy=head_only"]))


@pytest.mark.parametrize(("same", "started"), [(True, 0), (False, 1)])
def test_a_trained_source_is_looked_at_where_its_files_have_changed(tmp_path, monkeypatch, same, started):
    config = compose([*PRETRAINED, f"output_dir={tmp_path}", "on_change=keep"])
    source = source_run(config)
    assert source is not None
    assert source.on_change is config.on_change
    folder_of(source).mkdir(parents=True)
    RunRecord("finished").write(folder_of(source) / "record.json")
    commands = []
    monkeypatch.setattr(train, "same_inputs", lambda config, folder: same)
    monkeypatch.setattr(train, "wait_for", lambda words: commands.append(words) or 0)
    train._train_source(train.Single(config, Command(()), 0))
    assert len(commands) == started

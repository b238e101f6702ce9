"""What is left to the data is a number before the run has a name, the same for every arm."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import PIL.Image
import pytest

import headstart.run
from headstart import cli, train
from headstart.config.compose import compose
from headstart.config.resolve import resolved_dict
from headstart.config.schema import DatasetConfig
from headstart.data import catalog
from headstart.errors import UserError
from headstart.inference.export import DESCRIPTION
from headstart.runs.box_fit import better_scale, fit
from headstart.runs.from_data import Known, Numbers, data_of, know, knowing, with_numbers
from headstart.runs.identity import run_name
from headstart.runs.pretrained import folder_of, source_run
from headstart.study import launcher
from headstart.study.pool import Job

NULL = ("dataset.min_size=null", "dataset.max_size=null", "model.anchor_scale=null")
FOUND = ("dataset.min_size=480", "dataset.max_size=640", "model.anchor_scale=0.7")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> str:
    """Eight pictures of 960 x 720 with an object of 30 x 30 each: 20 pixels at the largest size."""
    root = tmp_path_factory.mktemp("photos") / "photos"
    root.mkdir()
    for number in range(8):
        annotated(root, number, 30)
    return str(root)


def annotated(root: Path, number: int, side: int) -> None:
    PIL.Image.new("RGB", (960, 720), (number, 0, 0)).save(root / f"{number}.png")
    size = "<size><width>960</width><height>720</height><depth>3</depth></size>"
    box = f"<bndbox><xmin>101</xmin><ymin>151</ymin><xmax>{100 + side}</xmax><ymax>{150 + side}</ymax></bndbox>"
    text = f"<annotation><filename>{number}.png</filename>{size}<object><name>a</name>{box}</object></annotation>"
    (root / f"{number}.xml").write_text(text)


def asked(*words: str) -> Numbers:
    return with_numbers(compose(words), lambda found: compose([*words, *found]), know)


def name(config: Any) -> str:
    return run_name(config, resolved_dict(config))


def of(photos: str) -> tuple[str, ...]:
    return ("dataset=voc_folder", f"dataset.root={photos}")


def test_a_run_with_null_is_the_run_with_the_numbers(photos) -> None:
    found = asked(*of(photos), *NULL)
    assert found.words == FOUND
    assert found.config == compose([*of(photos), *FOUND])
    assert name(found.config) == name(compose([*of(photos), *FOUND])) != name(compose(of(photos)))


def test_each_is_found_for_what_the_others_say(photos) -> None:
    assert asked(*of(photos), "model.anchor_scale=null").words == ("model.anchor_scale=0.35",)
    assert asked(*of(photos), "dataset.max_size=null", "dataset.min_size=300").words == ("dataset.max_size=400",)
    assert asked(*of(photos), *NULL[:2], "model=fcos").words == FOUND[:2]
    assert asked(*of(photos)).words == ()


@pytest.mark.parametrize(
    "arm",
    [
        ("seed=3",),
        ("dataset.fraction=0.2",),
        ("dataset.shots=1", "dataset.subset_seed=4"),
        ("source=scratch",),
        ("source=pretrained",),
        ("strategy=head_only",),
        ("optimizer=sgd", "augment=none"),
    ],
)
def test_every_arm_has_the_same_numbers(photos, arm) -> None:
    assert asked(*of(photos), *NULL, *arm).words == FOUND


def test_a_source_that_is_trained_first_has_the_runs_numbers_or_its_own(photos) -> None:
    words = (*of(photos), "source=pretrained")
    follows, typed = asked(*words, *NULL).config, compose([*words, *FOUND])
    assert source_run(follows) == source_run(typed)
    own = asked(*words, *NULL, "source.dataset.min_size=null", "source.dataset.max_size=null")
    assert own.words == (*FOUND, "source.dataset.min_size=240", "source.dataset.max_size=320")


@pytest.mark.parametrize("null", NULL)
def test_a_source_with_heads_of_its_own_takes_a_number(null, tmp_path) -> None:
    text = '{"preprocessing": {"min_size": 120, "max_size": 160}, "model": {"anchor_scale": 0.25}}'
    (tmp_path / DESCRIPTION).write_text(text)
    of_a_run = ["source=checkpoint", f"source.path={tmp_path}"]
    own = "dataset.min_size=120 dataset.max_size=160 model.anchor_scale=0.25"
    with pytest.raises(UserError, match=rf"{null} with source=checkpoint.*{own}.*Give the numbers"):
        compose([*of_a_run, null])
    with pytest.raises(UserError, match="800 to 1333"):
        compose(["source=coco", null])
    compose(["source=coco_ssd", "backbone=mobilenetv2_100", null])  # its trunk alone
    compose(["source=coco", "backbone=mobilenetv2_100", null])  # the same, which is what fits


def test_stated_where_the_source_is_tensorflows_ssd() -> None:
    words = ["backbone=mobilenetv2_100", "source=coco_ssd", "dataset.min_size=null"]
    for source in ("coco_ssd", "coco"):
        with pytest.raises(UserError, match=r"dataset\.min_size=300 dataset.max_size=300"):
            compose(["model=ssd_tf", *words, f"source={source}"])


@pytest.mark.parametrize("scale", ["0", "-1", "inf", "nan"])
def test_a_scale_that_is_none_is_refused(scale) -> None:
    with pytest.raises(UserError, match="above 0"):
        compose([f"model.anchor_scale={scale}"])


# ------------------------------------------------------------------------------------------ the command line


def read_by_the_command(words: Sequence[str], monkeypatch) -> train.Single:
    seen: list[train.Single] = []
    monkeypatch.setattr(train, "train", seen.append)
    monkeypatch.setattr(sys, "argv", ["headstart", "train", *words])
    cli.main(["train", *words])
    return seen[0]


def test_the_command_says_what_was_found_and_hands_it_to_the_sources_process(photos, monkeypatch) -> None:
    single = read_by_the_command([*of(photos), *NULL, "source=pretrained"], monkeypatch)
    typed = read_by_the_command([*of(photos), *FOUND, "source=pretrained"], monkeypatch)
    assert folder_of(single.config) == folder_of(typed.config)
    assert single.command.words(1)[-4:] == [*FOUND, "study.only_source=1"]
    assert [line.split(":")[0] for line in single.lines] == [*FOUND]
    assert (
        "100% of the 6 training boxes of photos are below 32 px there, at most 20% should be; no more, for"
        in single.lines[0]
    )
    assert typed.lines == ()


@pytest.mark.parametrize("key", ["dataset.min_size", "model.anchor_scale"])
def test_auto_is_told_to_be_null(key, capsys, monkeypatch) -> None:
    with pytest.raises(SystemExit):
        read_by_the_command([f"{key}=auto"], monkeypatch)
    assert f"{key}=null finds a number from the data" in capsys.readouterr().err


def test_the_name_of_the_method_is_told_to_be_null(capsys, monkeypatch) -> None:
    with pytest.raises(SystemExit):
        read_by_the_command(["model=yolov3", "model.anchors=kmeans"], monkeypatch)
    assert "model.anchors=null finds nine from the data, by k-means." in capsys.readouterr().err


# ----------------------------------------------------------------------------------- what was read is passed on


def reads(monkeypatch) -> list[DatasetConfig]:
    """The data sets that are read from now on."""
    read, seen = catalog.whole, []
    monkeypatch.setattr(catalog, "whole", lambda config, policy=None: seen.append(config) or read(config, policy))
    return seen


def test_the_run_takes_what_was_read_for_its_name_unless_it_has_changed(tmp_path, monkeypatch) -> None:
    for number in range(8):
        annotated(tmp_path, number, 30)
    config = compose([*of(str(tmp_path)), "dataset.fraction=0.5"])
    known = know(config.dataset)
    seen = reads(monkeypatch)
    assert repr(data_of(config, known)) == repr(catalog.cut(known.data, config.dataset, 0))
    assert [len(images) for images in data_of(config, known).splits.values()] == [3, 2]
    assert seen == []
    annotated(tmp_path, 8, 30)
    assert len(data_of(config, known).splits["train"]) == len(data_of(config, None).splits["train"])
    assert len(seen) == 2


def test_pictures_outside_of_the_folder_are_read_again(photos, monkeypatch) -> None:
    monkeypatch.setattr("headstart.data.info.num_outside", lambda splits: 1)
    known = know(compose(of(photos)).dataset)
    seen = reads(monkeypatch)
    data_of(compose(of(photos)), known)
    assert len(seen) == 1


def test_a_single_run_is_given_the_data_that_was_read(photos, monkeypatch) -> None:
    given: list[Known | None] = []
    with monkeypatch.context() as patched:
        single = read_by_the_command([*of(photos), *NULL, "source=scratch"], patched)
    monkeypatch.setattr(headstart.run, "run", lambda config, known=None: given.append(known))
    train.train(single)
    assert given == [single.known]
    assert single.known is not None
    assert len(single.known.data.splits["train"]) == 6


# --------------------------------------------------------------------------- how well the numbers of a run fit


def test_the_record_says_how_the_boxes_look_and_a_better_scale_is_named(photos) -> None:
    typed = compose([*of(photos), "dataset.min_size=480", "dataset.max_size=640"])
    data = catalog.read(typed.dataset, 0)
    assert fit(typed, data) == {"median_side": 19.3, "small": 1.0, "met": 0.0}
    (line,) = better_scale(typed, data)
    assert line.startswith("Only 0% of the training boxes")
    assert "model.anchor_scale=0.7, which" in line
    found = asked(*of(photos), *NULL).config
    assert fit(found, data)["met"] == 1.0
    assert better_scale(found, data) == []
    without = compose([*of(photos), "model=fcos"])
    assert fit(without, data) == {"median_side": 9.7, "small": 1.0, "met": None}
    assert better_scale(without, data) == []


# ------------------------------------------------------------------------------------------------ in a study


class NoPool:
    jobs: ClassVar[list[Job]] = []

    def __init__(self, jobs: Sequence[Job], *_: Any) -> None:
        NoPool.jobs = list(jobs)

    def run(self) -> None:
        for job in NoPool.jobs:
            job.status = "finished"


@pytest.mark.slow
def test_the_cells_of_a_study_get_the_numbers_and_their_data_is_read_once(
    photos, monkeypatch, tmp_path, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launcher, "Pool", NoPool)
    seen = reads(monkeypatch)
    words = ["-m", *of(photos), *NULL, "seed=0,1", "dataset.fraction=0.5,1", "source=imagenet,scratch"]
    monkeypatch.setattr(sys, "argv", ["headstart", "train", *words])
    cli.main(["train", *words])
    assert [job.words[-3:] for job in NoPool.jobs] == [[*FOUND]] * 8
    typed = [*of(photos), *FOUND, "source=scratch", "seed=1", "dataset.fraction=0.5"]
    assert folder_of(compose(typed)) in [job.folder for job in NoPool.jobs]
    assert len(seen) == 1
    assert capsys.readouterr().out.count("dataset.min_size=480: ") == 1


def test_a_cell_whose_data_cannot_be_read_ends_nothing_else(photos, monkeypatch, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launcher, "Pool", NoPool)
    words = ["-m", "dataset=voc_folder", f"dataset.root={photos},empty", *NULL]
    monkeypatch.setattr(sys, "argv", ["headstart", "train", *words])
    with pytest.raises(SystemExit):
        cli.main(["train", *words])
    assert len(NoPool.jobs) == 1


def test_data_sets_that_differ_in_what_is_read_are_read_apart(photos, monkeypatch) -> None:
    seen = reads(monkeypatch)
    ask = knowing()
    for words in ([], ["dataset.shots=2"], NULL[:2], ["dataset.split_seed=3"], ["dataset.val_fraction=0.5"]):
        ask(compose([*of(photos), *words]).dataset)
    assert len(seen) == 3


def test_the_anchors_of_yolov3_are_the_clusters_of_the_boxes_as_the_detector_sees_them(photos) -> None:
    """30 x 30 pixels of 960 x 720, at 120 x 160: all are 5 x 5."""
    words = ("model=yolov3", "dataset.min_size=120", "dataset.max_size=160", "model.anchors=null")
    found = asked(*of(photos), *words)
    assert found.words == (f"model.anchors=[{','.join(['[5,5]'] * 9)}]",)
    assert found.config.model.anchors == [[5, 5]] * 9  # type: ignore[attr-defined]
    said = (
        r"the mean IoU of the 6 training boxes of photos with the nearest in shape is 0\.93 \(0\.18 with the paper's\)"
    )
    assert re.search(said, found.lines[0])
    assert name(found.config) == name(compose([*of(photos), *words[:-1], *found.words]))

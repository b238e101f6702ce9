import gc
import logging
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from headstart.config.schema import CocoConfig, VocConfig
from headstart.data import catalog
from headstart.data.readers import tree
from headstart.data.types import Defect, DetectionData
from headstart.errors import UserError

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty images of two classes, half in train."""
    for number in range(20):
        folder = tmp_path / ("train" if number < 10 else "val")
        folder.mkdir(exist_ok=True)
        PIL.Image.new("RGB", (20, 20), (number, 0, 0)).save(folder / f"{number}.png")
        item = f"<object><name>{'cat' if number % 2 else 'dog'}</name>{BOX.format(9)}</object>"
        (folder / f"{number}.xml").write_text(f"<annotation>{item}</annotation>")
    return tmp_path


def read(root: Path, seed: int = 0, **settings: Any) -> DetectionData:
    return catalog.read(VocConfig(name="mine", root=str(root), **settings), seed)


def trained_on(data: DetectionData) -> set[str]:
    return {image.name for image in data.splits["train"]}


def test_fraction_and_shots_cut_only_the_training_images(root):
    for data, count in ((read(root, fraction=0.3), 3), (read(root, shots=2), 4)):
        assert (len(data.splits["train"]), len(data.splits["val"])) == (count, 10)


def test_reading_says_nothing_of_sound_data(root, capsys):
    """The table is of a run alone: the data of its source, or of an evaluation, is read without a word."""
    read(root, split_seed=3)
    assert capsys.readouterr().out == ""


def test_subsets_follow_the_runs_seed_unless_they_have_one_of_their_own(root):
    assert trained_on(read(root, seed=0, fraction=0.5)) != trained_on(read(root, seed=1, fraction=0.5))
    own = [trained_on(read(root, seed=seed, fraction=0.5, subset_seed=0)) for seed in (0, 1)]
    assert own[0] == own[1] == trained_on(read(root, seed=0, fraction=0.5))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fraction": 0.5, "shots": 3}, "dataset.fraction=0.5 and dataset.shots=3"),
        ({"fraction": 0.0}, "dataset.fraction=0.0"),
        ({"fraction": 1.5}, "dataset.fraction=1.5"),
        ({"shots": 0}, "dataset.shots=0"),
    ],
)
def test_impossible_subsets_are_refused(root, settings, says):
    with pytest.raises(UserError, match=says):
        read(root, **settings)


def test_defects_are_logged_in_one_line_with_their_names(root, caplog):
    (root / "train/1.png").write_bytes(b"broken")
    for number in (2, 3, 4, 5):
        item = f"<object><name>cat</name>{BOX.format(50)}</object>"
        (root / f"train/{number}.xml").write_text(f"<annotation>{item}</annotation>")
    with caplog.at_level(logging.WARNING):
        read(root)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("mine: ")
    assert "1 unreadable_image, skipped image (train/1.png: no picture of a known format" in line
    assert "4 oversized_box, clipped box (train/2.xml: object 1: cat (1, 2, 50, 9), train/3.xml" in line
    assert "train/4.xml" in line
    assert "train/5.xml" not in line


def test_sound_data_is_read_without_a_word(root, caplog):
    read(root)
    assert caplog.records == []


def test_a_summary_counts_each_kind_once():
    defects = [Defect("a", str(i), "done") for i in range(5)] + [Defect("b", "x", "left")]
    assert catalog.summarise(defects) == "5 a, done (0, 1, 2, …); 1 b, left (x)"


def test_download_is_only_for_public_sets(tmp_path):
    with pytest.raises(UserError, match=r"dataset.url_set=None: .* only coco2017, voc0712, voc2007, voc2012"):
        catalog.read(CocoConfig(name="mine", root=str(tmp_path), download=True), seed=0)


def test_a_missing_public_set_says_that_it_can_be_fetched(tmp_path):
    for url_set, says in ((None, r"or dataset.root=…\.$"), ("voc2007", r"or fetch it with dataset.download=true\.$")):
        with pytest.raises(UserError, match=says):
            read(tmp_path / "gone", url_set=url_set)


@pytest.mark.parametrize("threshold", [(700, 10, 10), (0, 5, 5), (90_000, 10, 10)])
def test_how_often_python_collects_is_as_before_a_data_set_was_read_or_refused(root, threshold, monkeypatch):
    during = []
    report = tree.report
    monkeypatch.setattr(tree, "report", lambda *args: (during.append(gc.get_threshold()), report(*args)))
    before = gc.get_threshold()
    gc.set_threshold(*threshold)
    try:
        read(root)
        with pytest.raises(UserError):
            read(root, class_names=("other",))
        assert gc.get_threshold() == threshold
        assert during[0] == ((20_000, 10, 10) if threshold[0] == 700 else threshold)
    finally:
        gc.set_threshold(*before)

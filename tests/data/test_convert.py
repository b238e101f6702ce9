"""`headstart convert` as a user has it."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest

from headstart import cli, convert
from headstart.config.schema import VocConfig, YoloConfig
from headstart.data import catalog


@pytest.fixture
def root(tmp_path):
    """Four pictures with xml, one object each."""
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(4):
        PIL.Image.new("RGB", (64, 48), (60 * i, 9, 9)).save(folder / f"{i}.png")
        (folder / f"{i}.xml").write_text(
            "<annotation><object><name>ant</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>"
            "<xmax>9</xmax><ymax>30</ymax></bndbox></object><object><name>bee</name><bndbox><xmin>3</xmin>"
            "<ymin>2</ymin><xmax>29</xmax><ymax>30</ymax></bndbox></object></annotation>"
        )
    return folder


def answer(capsys, monkeypatch, *words) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["headstart"])
    try:
        cli.main(["convert", *map(str, words)])
        code = 0
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    captured = capsys.readouterr()
    return code, " ".join((captured.out + captured.err).split())


def test_a_set_is_written_and_what_is_lost_is_said(capsys, monkeypatch, root, tmp_path):
    target = tmp_path / "new folder [1]"
    code, out = answer(capsys, monkeypatch, "dataset=voc_folder", f"dataset.root={root}", "to=yolo", f"folder={target}")
    assert code == 0
    assert "4 objects marked difficult; written as ordinary ones" in out
    assert "no outlines" in out
    assert "dataset=yolo_folder" in out
    back = catalog.read(YoloConfig(name="d", root=str(target)), 0)
    assert {split: len(found) for split, found in back.splits.items()} == {"train": 3, "val": 1}
    np.testing.assert_allclose(back.splits["val"][0].boxes_xyxy, [[1, 2, 9, 30], [3, 2, 29, 30]], atol=1e-9)
    assert sorted(os.listdir(tmp_path)) == ["new folder [1]", "set"]


REFUSED = {
    "to=coco folder={tmp}/set": "has files in it",
    "to=coco folder={tmp}/set/new": "lies in dataset.root",
    "to=coco folder={tmp}/file": "is no folder",
    "to=coco folder={tmp}/new ignored=drop": "has no effect",
    "to=voc folder={tmp}/file/new": "cannot be written",
    "to=coco": "folder=…",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_mistake_is_one_message_and_writes_nothing(capsys, monkeypatch, root, tmp_path, words):
    (tmp_path / "file").touch()
    given = ["dataset=voc_folder", f"dataset.root={root}", *words.format(tmp=tmp_path).split()]
    code, out = answer(capsys, monkeypatch, *given)
    assert code == 1
    assert REFUSED[words] in out
    assert "Traceback" not in out
    assert sorted(os.listdir(tmp_path)) == ["file", "set"]


def test_a_conversion_that_fails_leaves_nothing(capsys, monkeypatch, root, tmp_path):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headstart.data.writers.pictures.shutil.copyfile", fails)
    code, out = answer(
        capsys, monkeypatch, "dataset=voc_folder", f"dataset.root={root}", "to=coco", f"folder={tmp_path / 'new'}"
    )
    assert code == 1
    assert "No space left on device" in out
    assert os.listdir(tmp_path) == ["set"]


def test_what_is_not_read_back_is_not_kept(capsys, monkeypatch, root, tmp_path):
    monkeypatch.setattr(convert.coco, "_objects", lambda image: iter(()))
    code, out = answer(
        capsys, monkeypatch, "dataset=voc_folder", f"dataset.root={root}", "to=coco", f"folder={tmp_path / 'new'}"
    )
    assert code == 1
    assert "pictures and objects, and what was written of it" in out
    assert os.listdir(tmp_path) == ["set"]


SLOW = """
import sys, time
from headstart import cli
from headstart.data.writers import pictures
copy = pictures.shutil.copyfile
def slowly(*pair):
    time.sleep(1)
    return copy(*pair)
pictures.shutil.copyfile = slowly
cli.main(sys.argv[1:])
"""


def test_one_that_is_killed_leaves_no_folder_and_the_next_says_what_lies_there(capsys, monkeypatch, root, tmp_path):
    words = ["dataset=voc_folder", f"dataset.root={root}", "to=coco", f"folder={tmp_path / 'new'}"]
    process = subprocess.Popen([sys.executable, "-c", SLOW, "convert", *words], stdout=subprocess.DEVNULL)
    ends = time.monotonic() + 60
    while not any(name.startswith(".new") for name in os.listdir(tmp_path)) and time.monotonic() < ends:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "new").exists()
    code, out = answer(capsys, monkeypatch, *words)
    assert code == 0
    assert "was left by a command that was interrupted" in out
    assert len(catalog.read(VocConfig(name="d", root=str(root)), 0).splits["train"]) == 3

"""`headstart predict` looks at whatever it is given, names what it cannot read, and writes all the rest whole."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from omegaconf import OmegaConf
from pycocotools.coco import COCO

import headstart
from headstart import cli
from headstart.config.checks_verbs import check_prediction
from headstart.config.schema import PredictConfig, Save
from headstart.errors import UserError
from headstart.hints import message
from headstart.inference import model
from headstart.predict import verb

Answer = tuple[int, str]
_loaded: dict[str, model.Model] = {}


def _load(*words):
    """Half a second each time."""
    if repr(words) not in _loaded:
        _loaded[repr(words)] = model.load(*words)
    return _loaded[repr(words)]


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path, model_folder: Path):
    """`predict(*words)` in an empty folder, as the command line does it but for Hydra: exit code, and what was said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verb, "load", _load)

    def call(*words: str) -> Answer:
        code, error = 0, ""
        try:
            given = OmegaConf.from_dotlist([f"run={model_folder}", "device=cpu", "enable_progress_bar=false", *words])
            config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PredictConfig), given))
            assert isinstance(config, PredictConfig)
            check_prediction(config)
            verb.predict(config)
        except UserError as raised:
            code, error = getattr(raised, "exit_code", 1), message(raised)
        return code, " ".join((capsys.readouterr().out + error).split())

    return call


def test_it_is_a_verb_whose_exit_code_says_that_something_was_skipped(capsys, monkeypatch, photos, model_folder):
    monkeypatch.setattr(sys, "argv", ["headstart", "predict"])
    monkeypatch.chdir(photos)
    (photos / "empty.jpg").touch()
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", f"run={model_folder}", "images=**/[xe]*.jpg", "device=cpu", "save=[csv]", "output=found"])
    assert stopped.value.code == 3
    said = capsys.readouterr()
    assert "Looked at 2 pictures" in said.out
    assert "headstart: 1 file was skipped" in said.err
    assert sorted(path.name for path in (photos / "found").iterdir()) == ["predictions.csv", "skipped.txt"]


@pytest.fixture
def photos(tmp_path: Path, picture) -> Path:
    """Five pictures in two folders, some of the same stem."""
    for number, name in enumerate(("a/x.jpg", "a/x.png", "a/X.bmp", "b/x.jpg", "b/sub/y.PNG")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, 60 + 30 * number, 100).save(path)
    return tmp_path / "photos"


def test_a_folder_becomes_json_csv_text_and_drawn_pictures_that_say_the_same(predict, photos, tmp_path, model_folder):
    code, said = predict("images=photos", "threshold=0", "output=found")
    assert code == 0
    assert "Looked at 5 pictures: 25 detections in 5 of them" in said
    loaded = headstart.load(model_folder, device="cpu")
    coco = COCO(str(tmp_path / "found" / "predictions.json"))
    with (tmp_path / "found" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["file_name"] for row in coco.imgs.values()} == {row["image"] for row in rows}
    for row in coco.imgs.values():
        expected = loaded.predict(photos / row["file_name"], threshold=0)
        in_coco = coco.loadAnns(coco.getAnnIds(imgIds=[row["id"]]))
        in_csv = [one for one in rows if one["image"] == row["file_name"]]
        assert (row["width"], row["height"]) == expected.size_wh
        assert [coco.cats[one["category_id"]]["name"] for one in in_coco] == [*expected.names]
        assert [one["class"] for one in in_csv] == [*expected.names]
        np.testing.assert_allclose([one["score"] for one in in_coco], expected.scores, atol=1e-5)
        corners = [[float(one[side]) for side in ("left", "top", "right", "bottom")] for one in in_csv]
        np.testing.assert_allclose(corners, expected.boxes_xyxy, atol=2e-3)
        xywh = np.array([one["bbox"] for one in in_coco])
        np.testing.assert_allclose(xywh[:, :2] + xywh[:, 2:], expected.boxes_xyxy[:, 2:], atol=2e-3)


def test_pictures_of_one_stem_do_not_overwrite_each_other(predict, photos, tmp_path):
    assert predict("images=photos", "threshold=0", "output=found")[0] == 0
    for kind, suffix in (("labels", ".txt"), ("pictures", ".jpg")):
        names = {
            path.relative_to(tmp_path / "found" / kind).as_posix()
            for path in (tmp_path / "found").rglob(f"*{suffix}")
            if kind in path.parts
        }
        assert names == {f"{stem}{suffix}" for stem in ("a/X", "a/x_jpg", "a/x_png", "b/x", "b/sub/y")}


def test_yolo_text_has_shares_of_the_picture(predict, photos, tmp_path, model_folder):
    predict("images=photos/b/x.jpg", "threshold=0", "output=found", "save=[yolo]")
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["classes.txt", "labels"]
    found = headstart.load(model_folder, device="cpu").predict(photos / "b" / "x.jpg", threshold=0)
    table = np.loadtxt(tmp_path / "found" / "labels" / "x.txt")
    names = (tmp_path / "found" / "classes.txt").read_text().splitlines()
    assert [names[int(label)] for label in table[:, 0]] == [*found.names]
    width, height = found.size_wh
    middles = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2 / (width, height)
    np.testing.assert_allclose(table[:, 1:3], middles, atol=1e-4)
    np.testing.assert_allclose(
        table[:, 3:5] * (width, height), found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2], atol=1e-2
    )


def test_what_cannot_be_read_is_named_and_all_others_are_written_with_exit_code_3(predict, photos, tmp_path):
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("no picture")
    whole = (photos / "a" / "x.jpg").read_bytes()
    (photos / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "notes.txt").write_text("a note")
    code, said = predict("images=photos", "output=found")
    assert code == 3
    assert "3 files were skipped, all others are written" in said
    assert all(name in said for name in ("empty.jpg: an empty file", "text.png: no picture", "half.jpg: "))
    assert "Not looked at: 1 other files (1 .txt)" in said
    assert len((tmp_path / "found" / "skipped.txt").read_text().splitlines()) == 3
    assert len(json.loads((tmp_path / "found" / "predictions.json").read_text())["images"]) == 5


def test_a_pattern_and_a_file_name_pictures_too(predict, photos):
    assert "Looked at 2 pictures" in predict("images=photos/*/x.jpg")[1]
    assert "Looked at 4 pictures" in predict("images=photos/**/[xy].*")[1]
    assert "Looked at 1 pictures" in predict("images=photos/a/x.png")[1]


def test_thresholds_are_said_and_can_be_set_for_all_or_some_classes(predict, photos):
    said = predict("images=photos")[1]
    assert "Least score: cat, red dog, étoile 0.5 (validation chose none)" in said
    said = predict("images=photos", "threshold=0.25", "thresholds.red_dog=0.125", "thresholds.cat=0")[1]
    assert "cat 0 (set); red dog 0.125 (set); étoile 0.25 (set)" in said


MISTAKES = {
    "images=nowhere": "images=nowhere: there is no such file or folder",
    "images=https://example.org/a.jpg": "is an address, and nothing is downloaded",
    "images=texts": "images=texts: no file in it has the suffix of a picture or a video (1 .txt)",
    "thresholds.kat=0.5": "the model has no class 'kat'; it has cat, red dog, étoile",
    "threshold=2": "threshold=2 must be a score",
    "batch_size=0": "batch_size=0 must be 1 or more",
    "save=[]": "save=[] writes nothing",
    "output=texts": "output=texts has files in it",
    "output=texts/a.txt": "output=texts/a.txt is no folder",
    "device=tpu": "device=tpu is not there",
    "run=photos": "run=photos: there is no model.safetensors and no model.json in it",
    "max_pixels=0": "max_pixels=0 must be a number of pixels",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_and_nothing_is_written(predict, photos, tmp_path, mistake):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    before = sorted(tmp_path.rglob("*"))
    code, said = predict("images=photos", mistake)
    assert code == 1
    assert MISTAKES[mistake] in said
    assert sorted(tmp_path.rglob("*")) == before


def test_what_was_found_before_is_never_overwritten(predict, photos, tmp_path, model_folder):
    for _ in range(3):
        assert predict("images=photos/a/x.png", "save=[csv]")[0] == 0
    made = sorted(path.name for path in (tmp_path / "outputs" / "predict").iterdir())
    assert made == [f"{model_folder.name}{end}" for end in ("", "-2", "-3")]


def test_nothing_half_written_is_left_where_it_is_broken_off(predict, photos, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(verb, "look", fail)
    code, said = predict("images=photos", "output=found")
    assert code == 1
    assert "output=" in said
    assert "No space left" in said
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_picture_of_more_pixels_than_allowed_is_skipped_before_it_is_decoded(predict, photos):
    code, said = predict("images=photos", "max_pixels=7000")
    assert code == 3
    assert "a/x.png: it claims more than max_pixels=7000 pixels" in said
    assert "Looked at 1 pictures" in said


def test_a_drawn_picture_is_upright_and_no_larger_than_can_be_looked_at(predict, tmp_path, picture):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture(0, 100, 8000).save(tmp_path / "wide.jpg", exif=exif)
    assert predict("images=wide.jpg", "threshold=0", "output=found")[0] == 0
    assert PIL.Image.open(tmp_path / "found" / "pictures" / "wide.jpg").size == (48, 3840)
    (row,) = json.loads((tmp_path / "found" / "predictions.json").read_text())["images"]
    assert (row["width"], row["height"]) == (100, 8000)


def test_a_name_that_would_be_calculated_or_obeyed_is_harmless(predict, tmp_path, picture):
    (tmp_path / "odd").mkdir()
    picture(0).save(tmp_path / "odd" / "=1+1\n\x1b[31m.png")
    code, said = predict("images=odd", "threshold=0", "output=found")
    assert code == 0
    assert "\x1b" not in said
    with (tmp_path / "found" / "predictions.csv").open(newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} == {"'=1+1\\n\\x1b[31m.png"}


def test_all_that_can_be_saved_has_a_writer():
    from headstart.predict.writing import WRITERS

    assert set(WRITERS) == set(Save)

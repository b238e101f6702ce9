"""`headstart.load(path).predict(pictures)`: whatever holds the same pixels gives the same detections."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch
from pycocotools.coco import COCO

import headstart
from headstart.errors import UserError
from headstart.inference import model as model_module
from headstart.inference.found import Found
from headstart.inference.model import Model


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Model:
    return headstart.load(model_folder, device="cpu", batch_size=2)


def equal(one: Found, other: Found) -> None:
    np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
    assert one.names == other.names
    assert one.size_wh == other.size_wh


def test_paths_pictures_arrays_and_tensors_of_the_same_pixels_have_the_same_detections(
    model: Model, picture, tmp_path: Path
) -> None:
    shown = picture(0)
    shown.save(tmp_path / "a.png")
    array = np.array(shown)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    forms = [str(tmp_path / "a.png"), tmp_path / "a.png", shown, array, tensor, array[:, ::-1].copy()[:, ::-1]]
    first, *others = model.predict(forms, threshold=0)
    assert len(first) == 5
    for other in [*others, *(model.predict(form, threshold=0) for form in forms)]:
        equal(first, other)


def test_a_result_says_what_it_is_in_arrays_of_stated_types(model: Model, picture) -> None:
    found = model.predict(picture(1), threshold=0)
    assert (found.boxes_xyxy.dtype, found.boxes_xyxy.shape) == (np.float32, (5, 4))
    assert (found.scores.dtype, found.labels.dtype) == (np.float32, np.int64)
    assert found.size_wh == (120, 90)
    assert (np.diff(found.scores) <= 0).all()
    assert found.names == tuple(model.class_names[label] for label in found.labels)
    assert f"{found.names[0]} {found.scores[0]:.2f}" in repr(found)


@pytest.mark.parametrize("orientation", [2, 6])
def test_a_photo_is_turned_as_exif_says(model: Model, picture, tmp_path: Path, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture(2).save(tmp_path / "a.png", exif=exif)
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(tmp_path / "a.png"))
    equal(model.predict(tmp_path / "a.png", threshold=0), model.predict(upright, threshold=0))
    assert model.predict(tmp_path / "a.png").draw().size == upright.size


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1"])
def test_pictures_of_all_modes_are_read_as_training_reads_them(model: Model, picture, tmp_path: Path, mode) -> None:
    shown = picture(3)
    odd = (
        PIL.Image.fromarray(np.array(shown.convert("L")).astype(np.uint16) * 256)
        if ";" in mode
        else shown.convert(mode)
    )
    odd.save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), quality=95)
    (file,) = tmp_path.iterdir()
    assert len(model.predict([file, odd], threshold=0)[0]) == 5


def test_thresholds_are_the_models_own_or_those_that_are_given(model_folder: Path, picture, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "run"))
    said = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(said | {"thresholds": {"cat": 0.25}}))
    model = headstart.load(folder, device="cpu")
    assert model.thresholds == {"cat": 0.25, "red dog": 0.5, "étoile": 0.5}
    assert model.chosen == {"cat"}
    everything = model.predict([picture(n) for n in range(6)], threshold=0)
    for least, expected in (
        (None, {"cat": 0.25, "red dog": 0.5, "étoile": 0.5}),
        (0.6, dict.fromkeys(model.class_names, 0.6)),
        ({"étoile": 0.9}, {"cat": 0.25, "red dog": 0.5, "étoile": 0.9}),
    ):
        for all_of_it, some in zip(everything, model.predict([picture(n) for n in range(6)], least), strict=True):
            keep = [score >= expected[name] for score, name in zip(all_of_it.scores, all_of_it.names, strict=True)]
            assert some.names == tuple(name for name, kept in zip(all_of_it.names, keep, strict=True) if kept)


def test_files_from_before_there_were_thresholds_have_a_half(model_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "run"))
    said = json.loads((folder / "model.json").read_text())
    del said["thresholds"]
    (folder / "model.json").write_text(json.dumps(said))
    model = headstart.load(folder, device="cpu")
    assert set(model.thresholds.values()) == {0.5}
    assert not model.chosen


MISTAKES = {
    "https://example.org/a.jpg": "is an address, and nothing is downloaded",
    "nowhere.jpg": "nowhere.jpg: the picture cannot be read",
    7: "and not a int",
}


@pytest.mark.parametrize("given", MISTAKES, ids=str)
def test_what_is_no_picture_is_refused_by_name(model: Model, given) -> None:
    with pytest.raises(UserError, match=MISTAKES[given]):
        model.predict([given])


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 5), np.uint8), r"has to be \(height, width, 3\), RGB, and is \(4, 5\)"),
        (np.zeros((4, 5, 4), np.uint8), r"is \(4, 5, 4\)"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"list\(batch\)"),
        (np.zeros((4, 5, 3), np.float32), "has to be uint8"),
        (np.zeros((0, 5, 3), np.uint8), r"is \(0, 5, 3\)"),
        (torch.zeros(4, 5, 3, dtype=torch.uint8), r"has to be \(3, height, width\), RGB, and is \(4, 5, 3\)"),
        (torch.zeros(3, 4, 5), "has to be uint8"),
    ],
    ids=str,
)
def test_arrays_of_another_layout_are_refused_with_the_remedy(model: Model, array, said: str) -> None:
    with pytest.raises(UserError, match=said):
        model.predict(array)


@pytest.mark.parametrize(("threshold", "said"), [({"kat": 0.5}, "no class 'kat'; it has cat"), (1.5, "not between 0,")])
def test_a_threshold_that_is_none_is_refused(model: Model, picture, threshold, said: str) -> None:
    with pytest.raises(UserError, match=said):
        model.predict(picture(0), threshold)


def test_pycocotools_reads_what_it_gives(model: Model, picture) -> None:
    found = [model.predict(picture(n), threshold=0) for n in range(2)]
    truth = COCO()
    truth.dataset = {"images": [{"id": 1}, {"id": 2}], "categories": [{"id": n} for n in (1, 2, 3)], "annotations": []}
    truth.createIndex()
    loaded = truth.loadRes([row for number, one in enumerate(found, 1) for row in one.to_coco(number)])
    assert len(loaded.anns) == 10
    x, y, width, height = loaded.loadAnns(loaded.getAnnIds(imgIds=[2]))[0]["bbox"]
    np.testing.assert_allclose([x, y, x + width, y + height], found[1].boxes_xyxy[0], atol=2e-3)


def test_supervision_gets_boxes_scores_and_names(model: Model, picture) -> None:
    pytest.importorskip("supervision")
    found = model.predict(picture(0), threshold=0)
    given = found.to_supervision()
    np.testing.assert_array_equal(given.xyxy, found.boxes_xyxy)
    np.testing.assert_array_equal(given.confidence, found.scores)
    assert tuple(given["class_name"]) == found.names


def test_without_supervision_it_says_what_to_install(model: Model, picture, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UserError, match="pip install supervision"):
        model.predict(picture(0)).to_supervision()


def test_drawing_leaves_the_picture_as_it_was(model: Model, picture) -> None:
    shown = picture(0)
    drawn = model.predict(shown, threshold=0).draw()
    assert drawn.size == shown.size
    assert not np.array_equal(np.asarray(drawn), np.asarray(shown))
    assert np.array_equal(np.asarray(picture(0)), np.asarray(shown))


def test_of_a_long_list_only_a_batch_of_pictures_is_in_memory(
    model: Model, picture, tmp_path: Path, monkeypatch
) -> None:
    held, most = [0], [0]
    taken, found = model_module.taken, Model.found

    def counted(image):
        held[0] += 1
        most[0] = max(most[0], held[0])
        return taken(image)

    def freed(self, given, least):
        held[0] -= len(given)
        return found(self, given, least)

    monkeypatch.setattr(model_module, "taken", counted)
    monkeypatch.setattr(Model, "found", freed)
    picture(0).save(tmp_path / "a.png")
    assert len(model.predict([tmp_path / "a.png"] * 7)) == 7
    assert most == [2]


def test_load_names_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        headstart.load(tmp_path)


@pytest.mark.alone
def test_headstart_load_is_imported_within_two_seconds() -> None:
    code = "import time; a = time.perf_counter(); from headstart import load; print(time.perf_counter() - a)"
    seconds = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert seconds < 2


def test_importing_headstart_imports_no_torch() -> None:
    code = "import sys; from headstart import load; print(*sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"

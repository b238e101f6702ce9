"""`headstart doctor` on drawn pictures: every kind of strange picture, the report, the exit code, the clean copy."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from headstart import cli
from headstart.config.schema import VocConfig
from headstart.data import alike, catalog
from headstart.doctor.show import printable
from headstart.errors import UserError

XML = (
    "<annotation>{size}<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{right}</xmax>"
    "<ymax>9</ymax></bndbox></object></annotation>"
)
SIZE = "<size><width>{}</width><height>{}</height></size>"


def noise(seed: int, size_wh: tuple[int, int] = (40, 30)) -> PIL.Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return PIL.Image.fromarray(coarse).resize(size_wh, PIL.Image.Resampling.BICUBIC)


def put(
    root: Path, name: str, image: PIL.Image.Image, right: float = 9, size: Any = None, split: str = "train", **how: Any
) -> Path:
    path = root / split / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    stated = SIZE.format(*size) if size else ""
    path.with_suffix(".xml").write_text(XML.format(size=stated, right=right))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Nothing strange in it."""
    for number in range(3):
        put(tmp_path / "mine", f"{number}.png", noise(number))
        put(tmp_path / "mine", f"v{number}.png", noise(10 + number), split="val")
    return tmp_path / "mine"


def doctor(capsys, monkeypatch, root: Path, *more: str) -> tuple[int, str, dict[str, Any]]:
    """Exit code, what was printed, doctor.json."""
    monkeypatch.setattr(sys, "argv", ["headstart"])
    monkeypatch.setenv("COLUMNS", "80")
    out = root.parent / "out"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["doctor", "dataset=voc_folder", f"dataset.root={root}", f"out={out}", *more])
    printed = "".join(capsys.readouterr())
    file = out / "doctor.json"
    return int(stopped.value.code or 0), printed, json.loads(file.read_text()) if file.is_file() else {}


def counts(report: dict[str, Any]) -> dict[str, int]:
    return {finding["kind"]: finding["count"] for finding in report["findings"]}


def oriented(value: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = value
    return exif


def with_holes(path: Path) -> None:
    """Its ends stay as they are."""
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 40] = bytes(40)
    path.write_bytes(whole)


def strange(root: Path, kind: str) -> None:
    """Puts one picture of the kind there."""
    rgba = noise(20).convert("RGBA")
    makers = {
        "greyscale": lambda: put(root, "x.png", noise(20).convert("L")),
        "palette": lambda: put(root, "x.png", noise(20).quantize(8)),
        "transparent": lambda: put(root, "x.png", rgba),
        "cmyk": lambda: put(root, "x.jpg", noise(20).convert("CMYK")),
        "sixteen_bit": lambda: put(root, "x.png", PIL.Image.fromarray(np.full((30, 40), 999, np.uint16))),
        "lying_suffix": lambda: put(root, "x.jpg", noise(20), format="PNG"),
        "exif_turned": lambda: put(root, "x.jpg", noise(20), exif=oriented(6), size=(30, 40)),
        "exif_raw": lambda: put(root, "x.jpg", noise(20), exif=oriented(6), size=(40, 30)),
        "exif_doubt": lambda: put(root, "x.jpg", noise(20), exif=oriented(3), size=(40, 30)),
        "exif_invalid": lambda: put(root, "x.jpg", noise(20), exif=oriented(9)),
        "extreme_aspect": lambda: put(root, "x.png", noise(20, (300, 20))),
        "undecodable_image": lambda: with_holes(put(root, "x.png", noise(20, (200, 200)))),
        "unreadable_image": lambda: put(root, "x.jpg", noise(20)).write_bytes(b"<html>"),
        "equal_images": lambda: put(root, "x.png", noise(0)),
        "near_equal": lambda: put(root, "x.jpg", noise(0), split="val", quality=90),
        "empty_box": lambda: put(root, "x.png", noise(20), right=1),
    }
    makers[kind]()


ERRORS = ("undecodable_image", "unreadable_image", "empty_box")
STRANGE = (
    *("greyscale", "palette", "transparent", "cmyk", "sixteen_bit", "lying_suffix", "extreme_aspect"),
    *("exif_turned", "exif_raw", "exif_doubt", "exif_invalid", "equal_images", "near_equal", *ERRORS),
)


@pytest.mark.parametrize("kind", STRANGE)
def test_each_strange_picture_is_found_as_what_it_is_and_as_nothing_else(capsys, monkeypatch, root, kind):
    strange(root, kind)
    code, printed, report = doctor(capsys, monkeypatch, root)
    assert counts(report) == {kind: 1}
    assert code == (1 if kind in ERRORS else 0)
    assert kind in printed
    assert "x." in report["findings"][0]["places"][0]["where"]


def test_nothing_strange_is_said_so(capsys, monkeypatch, root):
    code, printed, report = doctor(capsys, monkeypatch, root)
    assert (code, report["status"], report["findings"]) == (0, "ok", [])
    assert "Nothing strange was found." in printed
    assert report["splits"]["train"]["pictures"] == 3


def test_a_bomb_is_told_from_a_picture_by_the_setting(capsys, monkeypatch, root):
    put(root, "x.png", noise(20, (100, 100)))
    code, printed, report = doctor(capsys, monkeypatch, root, "dataset.max_pixels=5000")
    assert (code, counts(report)) == (1, {"too_many_pixels": 1})
    assert "dataset.max_pixels=5000" in printed


def test_training_stops_at_broken_pixels_with_the_setting_that_leaves_them_out(root):
    strange(root, "undecodable_image")
    config = VocConfig(name="mine", root=str(root))
    data = catalog.read(config, 0)
    broken = next(image for image in data.splits["train"] if image.name == "train/x.png")
    with pytest.raises(UserError, match=r"dataset\.on\.undecodable_image=skip_image"):
        broken.read()
    config.on = {"undecodable_image": "skip_image"}
    data = catalog.read(config, 0)
    assert Counter(defect.kind for defect in data.defects) == {"undecodable_image": 1}
    assert len(data.splits["train"]) == 3


def test_a_refusal_is_a_finding_with_its_words_and_has_no_clean_copy(capsys, monkeypatch, root):
    for path in root.rglob("*.xml"):
        path.unlink()
    code, printed, report = doctor(capsys, monkeypatch, root, f"fix={root.parent / 'clean'}")
    assert (code, report["status"], report["splits"]) == (1, "refused", {})
    assert "Traceback" not in printed
    assert "nothing was written" in printed
    assert not (root.parent / "clean").exists()


def test_what_training_is_told_to_refuse_is_an_error(capsys, monkeypatch, root):
    put(root, "x.png", noise(20), right=40.8)
    assert doctor(capsys, monkeypatch, root)[0] == 0
    assert doctor(capsys, monkeypatch, root, "dataset.on.clipped_box=error")[0] == 1


def test_the_clean_copy_has_no_error_and_keeps_what_is_good(capsys, monkeypatch, root):
    for number, kind in enumerate(ERRORS):
        strange(root, kind)
        for path in (root / "train").glob("x.*"):
            path.rename(path.with_stem(f"bad{number}"))
    clean = root.parent / "clean"
    code, printed, before = doctor(capsys, monkeypatch, root, f"fix={clean}")
    assert code == 1
    assert "dataset=coco_folder" in printed
    assert sum(counts(before)[kind] for kind in ERRORS) == 3
    code, _, after = doctor(capsys, monkeypatch, clean, "dataset=coco_folder")
    assert (code, after["findings"]) == (0, [])
    # the picture of the box without area stays, as a negative
    assert after["splits"]["train"]["pictures"] == 4
    assert (clean / "images/train/0.png").read_bytes() == (root / "train/0.png").read_bytes()
    assert doctor(capsys, monkeypatch, root, f"fix={clean}")[0] == 2


@pytest.mark.parametrize("mistake", ["dataset.on.empty_bx=keep", "dataset.min_siz=3", "dataset.root=nowhere"])
def test_wrong_usage_is_exit_code_2(capsys, monkeypatch, root, mistake):
    assert doctor(capsys, monkeypatch, root, mistake)[0] == 2


def test_a_folder_may_have_a_name_like_markup(capsys, monkeypatch, root):
    fix = root.parent / "[bold] fix"
    _, printed, _ = doctor(capsys, monkeypatch, root, f"fix={fix}")
    assert f"'dataset.root={fix}'" in printed


def test_the_process_goes_on_to_warn_of_what_it_reads(capsys, monkeypatch, root, caplog):
    (root / "train" / "1.png").write_bytes(b"broken")
    doctor(capsys, monkeypatch, root)
    assert not caplog.records, "the report says it"
    catalog.read(VocConfig(name="mine", root=str(root)), 0)
    assert "1 unreadable_image" in caplog.text


def test_names_cannot_write_to_the_terminal(capsys, monkeypatch, root):
    put(root, "x\x1b[31m\n.png", noise(20).convert("L"))
    _, printed, report = doctor(capsys, monkeypatch, root)
    assert "\x1b[31m" not in printed
    assert "x\\x1b[31m\\n.png" in printed
    assert report["findings"][0]["places"][0]["image"] == "train/x\x1b[31m\n.png"
    assert printable("a\udc80") == "a\\udc80"


def changed(image: PIL.Image.Image, tmp_path: Path) -> dict[str, PIL.Image.Image]:
    image.save(tmp_path / "again.jpg", quality=30)
    bright = PIL.Image.fromarray((np.asarray(image) * 0.7 + 40).astype(np.uint8))
    return {
        "again": PIL.Image.open(tmp_path / "again.jpg").convert("RGB"),
        "half": image.resize((image.width // 2, image.height // 2), PIL.Image.Resampling.BICUBIC),
        "brighter": bright,
    }


@pytest.mark.parametrize("how", ["again", "half", "brighter"])
def test_a_copy_is_known_and_another_picture_is_not(tmp_path, how):
    looks = [alike.look(noise(seed, (120, 90))) for seed in range(20)]
    copies = [alike.look(changed(noise(seed, (120, 90)), tmp_path)[how]) for seed in range(20)]
    assert list(alike.pairs(looks, copies)) == [(seed, seed) for seed in range(20)]


def test_plain_pictures_are_not_alike():
    plain = [alike.look(PIL.Image.new("RGB", (40, 30), colour)) for colour in ("white", "grey", "white")]
    assert list(alike.pairs(plain, plain)) == []
    assert list(alike.pairs([], plain)) == []

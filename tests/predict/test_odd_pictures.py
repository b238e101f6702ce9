"""`headstart predict` gets to the end of every odd folder there is, and names what it skipped."""

import json
import os
from pathlib import Path

import PIL.Image
import pytest

from headstart.config.schema import PredictConfig, Save
from headstart.data.images import SUFFIXES
from headstart.predict.verb import Skipped, predict

REPOSITORY = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("HEADSTART_CASES", REPOSITORY.parent / "shared" / "cases"))


def pictures_in(folder: Path) -> set[str]:
    """As `find` does it: every real file, with or without links on its way."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return {os.path.realpath(path) for path in found}


def decodes(path: str) -> bool:
    try:
        with PIL.Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("which", ["data", "cases"])
def test_every_odd_picture_is_looked_at_or_named(
    which: str, request, monkeypatch, tmp_path: Path, model_folder: Path
) -> None:
    folder = request.getfixturevalue("real_data") if which == "data" else CASES
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set HEADSTART_CASES")
    out = tmp_path / "out"
    words = {"device": "cpu", "threshold": 0.0, "output": str(out), "enable_progress_bar": False}
    try:
        predict(PredictConfig(run=str(model_folder), images=str(folder), save=[Save.csv, Save.coco], **words))
        skipped = []
    except Skipped:
        skipped = (out / "skipped.txt").read_text().splitlines()
    looked_at = {image["file_name"] for image in json.loads((out / "predictions.json").read_text())["images"]}
    named = {line.split(": ")[0] for line in skipped}
    assert not looked_at & named
    real = {os.path.realpath(folder / name) for name in looked_at | named}
    assert real == pictures_in(folder)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    assert all(decodes(str(folder / name)) for name in looked_at)

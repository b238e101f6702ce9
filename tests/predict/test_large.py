"""Large pictures and maps go through `headstart predict` in windows, and everything else as it is."""

import csv
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from headstart.config.schema import PredictConfig, Save, TileConfig
from headstart.predict import large
from headstart.predict.inputs import Item
from headstart.predict.verb import Skipped, predict

rasterio = pytest.importorskip("rasterio")
WORDS = {"device": "cpu", "threshold": 0.0, "enable_progress_bar": False}


def rows(folder: Path) -> list[tuple[str, float, float, float, float, float]]:
    """Class, score, left, top, right, bottom."""
    with (folder / "predictions.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    sides = ("score", "left", "top", "right", "bottom")
    return [(row["class"], *(float(row[side]) for side in sides)) for row in found]


def found_in(folder: Path, model: Path, images: Path, **more) -> Path:
    config = PredictConfig(run=str(model), images=str(images), output=str(folder), **(WORDS | more))
    return predict(config)


def test_a_picture_that_is_read_in_windows_has_the_same_detections(tmp_path, model_folder, picture, monkeypatch):
    picture(1, 200, 300).save(tmp_path / "a.png")
    for tile in (TileConfig(), TileConfig(size=96)):
        whole = found_in(tmp_path / f"whole{tile.size}", model_folder, tmp_path / "a.png", tile=tile)
        with monkeypatch.context() as less:
            less.setattr(large, "AHEAD_PIXELS", 1000)
            assert large.is_large(Item(tmp_path / "a.png", "a.png"))
            windows = found_in(tmp_path / f"windows{tile.size}", model_folder, tmp_path / "a.png", tile=tile)
        assert rows(windows) == rows(whole)
        assert len(rows(whole)) >= 5
        assert (windows / "pictures" / "a.jpg").is_file()


def test_a_picture_beyond_pillows_own_limit_is_known_to_be_large(tmp_path):
    PIL.Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png", compress_level=1)
    assert large.is_large(Item(tmp_path / "a.png", "a.png"))


def test_detections_on_a_map_are_its_polygons_by_hand(tmp_path, model_folder, picture):
    """Half a metre a pixel, north up, from (400000, 4000000)."""
    bands = np.asarray(picture(2, 90, 120)).transpose(2, 0, 1)
    place = rasterio.Affine(0.5, 0, 400_000, 0, -0.5, 4_000_000)
    size = {"count": 3, "height": 90, "width": 120, "dtype": "uint8", "crs": "EPSG:32617", "transform": place}
    with rasterio.open(tmp_path / "map.tif", "w", driver="GTiff", **size) as file:
        file.write(bands)
    folder = found_in(tmp_path / "found", model_folder, tmp_path / "map.tif", save=[Save.csv, Save.geojson])
    features = json.loads((folder / "geojson" / "map.geojson").read_text())["features"]
    assert len(features) == len(rows(folder)) == 5
    for feature, (name, score, left, top, right, bottom) in zip(features, rows(folder), strict=True):
        assert feature["properties"] == {"class": name, "score": pytest.approx(score, abs=1e-4)}
        ring = np.array(feature["geometry"]["coordinates"][0])
        west, east, south, north = left / 2, right / 2, -bottom / 2, -top / 2
        assert ring.min(0) - (400_000, 4_000_000) == pytest.approx([west, south], abs=0.01)
        assert ring.max(0) - (400_000, 4_000_000) == pytest.approx([east, north], abs=0.01)


def test_a_plain_tiff_is_turned_as_exif_says_and_a_broken_one_is_named(tmp_path, model_folder, picture):
    photos = tmp_path / "photos"
    photos.mkdir()
    exif = PIL.Image.Exif()
    exif[274] = 6
    picture(3, 60, 100).save(photos / "turned.tif", exif=exif)
    (photos / "broken.tif").write_bytes((photos / "turned.tif").read_bytes()[:40])
    with pytest.raises(Skipped, match=r"broken\.tif: "):
        found_in(tmp_path / "found", model_folder, photos, save=[Save.coco])
    (one,) = json.loads((tmp_path / "found" / "predictions.json").read_text())["images"]
    assert (one["file_name"], one["width"], one["height"]) == ("turned.tif", 60, 100)

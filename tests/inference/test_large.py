"""Windows of files are what decoding them whole gives, GeoTIFFs lie where they say, and memory is bounded."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import rasterio
import torch
from rasterio.transform import Affine

from headstart.data.images import FileImage
from headstart.errors import UserError
from headstart.inference import large
from headstart.inference.geojson import write_geojson
from headstart.inference.large import Decoded, InMemory, open_large
from headstart.inference.raster import Raster

NOISE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
WINDOW = (3, 5, 37, 45)
UTM = Affine(0.5, 0, 400_000, 0, -0.5, 4_000_000)
"""Half a metre a pixel, north up."""


def written(path: Path, bands: np.ndarray, **more) -> Path:
    """A tiled TIFF of (bands, rows, columns)."""
    count, height, width = bands.shape
    settings = {"count": count, "height": height, "width": width, "dtype": bands.dtype, "tiled": True} | more
    with rasterio.open(path, "w", driver="GTiff", blockxsize=16, blockysize=16, **settings) as file:
        file.write(bands)
    return path


def geo(folder: Path, **more) -> Path:
    return written(folder / "map.tif", NOISE.transpose(2, 0, 1), **({"crs": "EPSG:32617", "transform": UTM} | more))


@pytest.fixture(autouse=True)
def quiet(recwarn):
    """Writing a file without a place warns."""


def pillow(path: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path).convert("RGB")).transpose(2, 0, 1)


def test_a_tiff_is_read_in_windows_and_a_png_is_decoded(tmp_path):
    PIL.Image.fromarray(NOISE).save(tmp_path / "a.png")
    assert isinstance(open_large(geo(tmp_path)), Raster)
    assert isinstance(open_large(tmp_path / "a.png"), Decoded)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_window_is_that_of_the_whole_picture(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    PIL.Image.fromarray(NOISE).save(path)
    picture = open_large(path)
    assert picture.size_wh == (70, 50)
    np.testing.assert_array_equal(picture.cut(WINDOW), pillow(path)[:, 5:45, 3:37])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_in_colour_is_held_in_three_bytes_a_pixel_which_are_pillows(tmp_path, suffix, orientation):
    path, exif = tmp_path / f"a.{suffix}", PIL.Image.Exif()
    exif[274] = orientation
    PIL.Image.fromarray(NOISE).save(path, exif=exif)
    picture = open_large(path)
    assert picture.stored.image.pixels.nbytes == 3 * 70 * 50
    upright = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(path))).transpose(2, 0, 1)
    assert picture.size_wh == (upright.shape[2], upright.shape[1])
    np.testing.assert_array_equal(picture.cut(WINDOW), upright[:, 5:45, 3:37])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_a_picture_of_another_kind_is_what_training_makes_of_it(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        PIL.Image.fromarray(NOISE[..., 0].astype(np.uint16) * 200).save(path)
    else:
        PIL.Image.fromarray(NOISE).convert(mode).save(path)
    picture = open_large(path)
    whole = np.asarray(FileImage(path)()).transpose(2, 0, 1)
    np.testing.assert_array_equal(picture.cut(WINDOW), whole[:, 5:45, 3:37])


@pytest.mark.parametrize("suffix", ["png", "tif", "memory"])
def test_scaled_down_a_pixel_is_the_mean_of_what_it_covers(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "memory":
        picture = InMemory(torch.from_numpy(NOISE).permute(2, 0, 1))
    else:
        PIL.Image.fromarray(NOISE).save(path)
        picture = open_large(path)
    found = picture.reduced(4).numpy()
    mean = NOISE[:48, :68].reshape(12, 4, 17, 4, 3).mean((1, 3)).transpose(2, 0, 1)
    assert found.shape == (3, 12, 17)
    assert np.abs(found - mean).max() <= 1


def test_of_other_bands_the_first_are_colours_and_one_is_grey(tmp_path):
    colours = NOISE.transpose(2, 0, 1)
    five = open_large(written(tmp_path / "five.tif", np.concatenate([colours, colours[:2]])))
    np.testing.assert_array_equal(five.cut(WINDOW), colours[:, 5:45, 3:37])
    grey = open_large(written(tmp_path / "grey.tif", colours[:1]))
    np.testing.assert_array_equal(grey.cut(WINDOW), np.repeat(colours[:1, 5:45, 3:37], 3, 0))
    deep = open_large(written(tmp_path / "deep.tif", colours.astype(np.uint16) * 256 + 7))
    np.testing.assert_array_equal(deep.cut(WINDOW), colours[:, 5:45, 3:37])


def test_a_palette_is_resolved(tmp_path):
    PIL.Image.fromarray(NOISE).quantize(16).save(tmp_path / "a.tif")
    picture = open_large(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.cut(WINDOW), pillow(tmp_path / "a.tif")[:, 5:45, 3:37])


def test_what_is_no_picture_is_refused_by_name(tmp_path):
    floats = written(tmp_path / "floats.tif", NOISE.transpose(2, 0, 1).astype(np.float32))
    with pytest.raises(UserError, match=r"floats\.tif: its pixels are float32; store them as uint8 or uint16"):
        _ = open_large(floats).size_wh
    whole = geo(tmp_path).read_bytes()
    for name, content in {"text.png": b"hello", "half.tif": whole[: len(whole) // 2], "empty.jpg": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=re.escape(name)):
            open_large(tmp_path / name).cut((0, 0, 70, 50))
    with pytest.raises(UserError, match=r"gone\.png"):
        open_large(tmp_path / "gone.png")


def test_a_picture_that_must_be_decoded_and_is_too_large_is_refused_with_a_remedy(tmp_path, monkeypatch):
    PIL.Image.fromarray(NOISE).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"has 70 x 50 pixels; .* may have 1,000\. Save it as a TIFF"):
        open_large(tmp_path / "a.png", max_pixels=1000)
    assert open_large(geo(tmp_path), max_pixels=1000).size_wh == (70, 50)
    monkeypatch.setattr(large, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"Install headstart\[geo\]"):
        open_large(geo(tmp_path), max_pixels=1000)


def found(*boxes):
    """Boxes, classes, scores."""
    return np.array(boxes, np.float32), ("tree", "car"), (0.9, 0.25)


def test_detections_lie_on_the_map_by_hand(tmp_path):
    """(10, 20) is 5 m east and 10 m south of the corner."""
    write_geojson(tmp_path / "a.geojson", Raster(geo(tmp_path)), *found((10, 20, 30, 24), (0, 0, 1, 2)))
    said = json.loads((tmp_path / "a.geojson").read_text())
    assert said["crs"] == {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32617"}}
    first, second = said["features"]
    assert first["properties"] == {"class": "tree", "score": 0.9}
    west, east, north, south = 400_005, 400_015, 3_999_990, 3_999_988
    assert first["geometry"]["coordinates"] == [
        [[west, south], [east, south], [east, north], [west, north], [west, south]]
    ]
    assert second["geometry"]["coordinates"][0][3] == [400_000, 4_000_000]


def test_a_picture_that_is_turned_on_the_map_has_turned_boxes(tmp_path):
    """Columns go north, rows go east, two metres a pixel."""
    path = geo(tmp_path, transform=Affine(0, 2, 100, 2, 0, 200))
    write_geojson(tmp_path / "a.geojson", Raster(path), *found((1, 2, 3, 7), (0, 0, 1, 1)))
    ring = json.loads((tmp_path / "a.geojson").read_text())["features"][0]["geometry"]["coordinates"][0]
    assert ring == [[114, 202], [114, 206], [104, 206], [104, 202], [114, 202]]


def test_a_picture_that_lies_nowhere_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"plain\.tif: says nothing of where it lies on a map"):
        write_geojson(
            tmp_path / "x", Raster(written(tmp_path / "plain.tif", NOISE.transpose(2, 0, 1))), *found((0, 0, 1, 1))
        )


SIDE = 20_000
MEASURED = """
import sys
from pathlib import Path
import torch
from headstart.config.schema import TileConfig
from headstart.data.types import Prediction
from headstart.inference.large import open_large
from headstart.inference.tiled import find_in

def peak():  # of this program alone: what getrusage says begins with the peak of whoever started it
    lines = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(lines["VmHWM"].split()[0]) * 1024

def look(pictures):
    global views
    views += len(pictures)
    assert all(picture.shape[1] * picture.shape[2] <= 4096**2 for picture in pictures)
    none = torch.zeros(0)
    return [Prediction(none.reshape(0, 4), none, none.long()) for _ in pictures]

views, before = 0, peak()
find_in(open_large(Path(sys.argv[1])), look, TileConfig(size=1024))
print(views, before, peak())
"""


def peak_gib(path: Path) -> tuple[int, float]:
    """Views seen, and GiB at the most in a process of its own, all libraries included."""
    result = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True)
    views, _, peak = map(int, result.stdout.split())
    print(f"{path.name}: {views} views, peak {peak / 2**30:.2f} GiB")
    return views, peak / 2**30


@pytest.mark.slow
@pytest.mark.alone
def test_a_geotiff_of_20_000_pixels_a_side_takes_half_a_gigabyte(tmp_path):
    rows = np.arange(SIDE, dtype=np.uint32)
    settings = {"count": 3, "height": SIDE, "width": SIDE, "dtype": "uint8", "tiled": True, "compress": "deflate"}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", blockxsize=512, blockysize=512, **settings) as file:
        for top in range(0, SIDE, 512):
            strip = ((rows[top : top + 512, None] // 7 + rows // 13) % 256).astype(np.uint8)
            part = rasterio.windows.Window(0, top, SIDE, len(strip))
            file.write(np.stack([strip] * 3), window=part)
    views, peak = peak_gib(tmp_path / "a.tif")
    assert views == 1 + 25**2
    assert peak < 0.8


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_of_20_000_pixels_a_side_takes_little_more_than_itself(tmp_path, suffix):
    """1.12 GiB of it are the picture, 3 bytes a pixel, and 0.66 the libraries."""
    code = "import sys, PIL.Image; PIL.Image.effect_mandelbrot((100, 100), (-2, -1, 1, 1), 9).convert('RGB').resize("
    code += f"({SIDE}, {SIDE})).save(sys.argv[1], compress_level=1)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / f"a.{suffix}")], check=True)
    views, peak = peak_gib(tmp_path / f"a.{suffix}")
    assert views == 1 + 25**2
    assert peak < 2.2

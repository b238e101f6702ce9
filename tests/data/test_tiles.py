"""Tiles hold every object, know which of it they show, and are counted as what they are: windows of pictures."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.config.checks import dataset_problems
from headstart.config.schema import AugmentConfig, Cache, DatasetConfig, ShapesConfig, TileConfig
from headstart.data import shapes
from headstart.data.boxes import box_areas
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.data.keeping import Place
from headstart.data.table import ImageTable
from headstart.data.tiles import in_tiles, table, windows
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.errors import UserError

DRAWN = shapes.draw(ShapesConfig(name="s", domain="target", num_train=6, num_val=3))


def picture(boxes, size_wh=(100, 80), name="p") -> AnnotatedImage:
    """A grey ramp, so that each window has other pixels."""
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    no = np.zeros(len(boxes), bool)
    ramp = np.add.outer(np.arange(size_wh[1]), np.arange(size_wh[0])).astype(np.uint8)
    image = PIL.Image.fromarray(ramp).convert("RGB")
    labels = np.arange(len(boxes))
    return AnnotatedImage(name, image.copy, size_wh, boxes, labels, no, no, box_areas(boxes), "00" * 16)


def data_of(*train: AnnotatedImage) -> DetectionData:
    return DetectionData("d", ("a", "b", "c"), {"train": ImageTable.of(train), "val": ImageTable.of(train)})


sides = st.integers(20, 400)


@settings(max_examples=200, deadline=None)
@given(sides, sides, st.integers(32, 120), st.floats(0, 0.89), st.randoms())
def test_an_object_no_larger_than_the_overlap_is_whole_in_a_tile(width, height, size, overlap, random):
    tile = TileConfig(size=size, overlap=overlap, whole=False)
    found = windows((width, height), tile)
    side = int(size * overlap)
    w, h = min(side, width), min(side, height)
    x, y = random.uniform(0, width - w), random.uniform(0, height - h)
    box = np.array([x, y, x + w, y + h])
    assert ((found[:, :2] <= box[:2]) & (found[:, 2:] >= box[2:])).all(1).any()
    assert (found[:, 2:] - found[:, :2] == [min(size, width), min(size, height)]).all()
    assert found[:, :2].min() == 0
    assert (found.max(0)[2:] == [width, height]).all()


def test_the_grid_by_hand():
    found = windows((100, 40), TileConfig(size=50, overlap=0.2))
    assert found.tolist() == [[0, 0, 100, 40], [0, 0, 50, 40], [25, 0, 75, 40], [50, 0, 100, 40]]
    assert windows((50, 50), TileConfig(size=50)).tolist() == [[0, 0, 50, 50]]


def test_what_a_tile_shows_of_each_object_by_hand():
    boxes = [[10, 10, 30, 30], [40, 10, 80, 30], [49.5, 50, 90, 60], [45, 60, 65, 70]]
    tile = TileConfig(size=50, overlap=0, min_visible=0.4, empty=1, whole=False)
    tables = in_tiles(data_of(picture(boxes, (100, 100))), tile)[0].splits["val"]
    left, right, lower, last = tables
    assert [image.name for image in tables][1:3] == ["p#50,0,100,50", "p#0,50,50,100"]
    # A quarter of the second is in the left tile: it is ignored there, and counts in the right one.
    assert left.boxes_xyxy.tolist() == [[10, 10, 30, 30], [40, 10, 50, 30]]
    assert left.ignore.tolist() == [False, True]
    assert left.area.tolist() == [400, 200]
    assert right.boxes_xyxy.tolist() == [[0, 10, 30, 30]]
    assert not right.ignore.any()
    # Of the third, half a pixel is in the lower left tile: there is nothing of it to be seen.
    assert lower.labels.tolist() == [3]
    assert lower.ignore.tolist() == [True]
    assert last.labels.tolist() == [2, 3]
    assert not last.ignore.any()


def test_a_whole_picture_among_tiles_is_the_picture_itself():
    data = data_of(picture([[10, 10, 90, 70]]))
    whole, *tiles = in_tiles(data, TileConfig(size=50, empty=1))[0].splits["train"]
    (own,) = data.splits["train"]
    assert (whole.name, whole.digest, whole.size_wh) == (own.name, own.digest, own.size_wh)
    assert whole.boxes_xyxy.tolist() == own.boxes_xyxy.tolist()
    # The object is larger than any tile, which shows less than half of it: the picture alone teaches it.
    assert not whole.ignore.any()
    assert all(tile.ignore.all() for tile in tiles)


def test_a_tile_reads_its_window_and_has_a_digest_of_its_own():
    data = data_of(picture([[10, 10, 20, 20]]))
    images = in_tiles(data, TileConfig(size=50, empty=1))[0].splits["val"]
    pixels = np.asarray(data.splits["val"][0].read())
    for image in images:
        x1, y1, x2, y2 = map(int, image.name.split("#")[1].split(",")) if "#" in image.name else (0, 0, 100, 80)
        np.testing.assert_array_equal(np.asarray(image.read()), pixels[y1:y2, x1:x2])
    assert len({image.digest for image in images}) == len(images)


def test_the_share_of_empty_tiles_is_kept_in_training_alone_and_grows_by_adding():
    data = data_of(*(picture([[1, 1, 9, 9]], (400, 400), f"p{number}") for number in range(20)))
    kept = {}
    for share in (0, 0.25, 0.5, 1):
        found = in_tiles(data, TileConfig(size=50, overlap=0, empty=share))[0].splits
        kept[share] = {image.name for image in found["train"] if not len(image.labels)}
        assert len(found["val"]) == 20 * 65
    assert not kept[0]
    assert kept[0.25] < kept[0.5] < kept[1]
    assert len(kept[1]) == 20 * 63
    assert len(kept[0.25]) == pytest.approx(0.25 * 20 * 63, abs=50)  # three standard deviations of a binomial


def test_subsets_fingerprints_and_counts_are_of_pictures():
    tiled = DatasetConfig(name="s", tile=TileConfig(size=64))
    assert describe(DRAWN, tiled) == describe(DRAWN, DatasetConfig(name="s"))


def test_without_a_size_nothing_is_another():
    assert in_tiles(DRAWN, TileConfig()) == (DRAWN, {})


def module(**settings) -> DetectionDataModule:
    config = DatasetConfig(
        **({"name": "s", "min_size": 64, "max_size": 96, "batch_size": 4, "num_workers": 0} | settings)
    )
    place = settings.pop("place", Place())
    return DetectionDataModule(DRAWN, describe(DRAWN, config), config, AugmentConfig(name="none"), 0, place)


def test_batches_of_tiles_are_the_same_wherever_pictures_are_kept(tmp_path):
    found = []
    for cache in (Cache.none, Cache.memory, Cache.disk):
        data = module(tile=TileConfig(size=64), cache=cache, cache_dir=str(tmp_path))
        found.append(torch.cat([batch.images.flatten() for batch in data.whole("val")]))
        assert data.keeping.kind is cache
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_tiles_of_other_sizes_share_no_file_of_pictures(tmp_path):
    for size in (64, 80):
        next(module(tile=TileConfig(size=size), cache=Cache.disk, cache_dir=str(tmp_path)).whole("val"))
    assert len(list(tmp_path.glob("*.pixels"))) == 2


def test_a_run_says_as_how_many_windows_it_sees_its_pictures():
    data = module(tile=TileConfig(size=64))
    assert f"val 3 as {len(data.seen.splits['val'])}; " not in data.report()[0]  # the last one, without a semicolon
    assert data.report()[0].startswith(
        f"Tiles: pictures are seen in windows (train 6 as {len(data.seen.splits['train'])}"
    )


def test_tiles_of_which_none_shows_an_object_are_refused():
    data = data_of(picture([[5, 5, 95, 75]]))
    with pytest.raises(UserError, match=r"dataset\.tile\.size=40: no tile shows 50% of any object of train"):
        in_tiles(data, TileConfig(size=40, whole=False))


@pytest.mark.parametrize(
    ("setting", "value"), [("size", 16), ("overlap", 0.9), ("overlap", -0.1), ("min_visible", 0), ("empty", 1.5)]
)
def test_tiles_that_cannot_be_are_refused_by_name(setting, value):
    tile = replace(TileConfig(size=64), **{setting: value})
    (problem,) = dataset_problems(DatasetConfig(name="s", tile=tile))
    assert problem.startswith(f"dataset.tile.{setting}={value} must be ")


def test_views_know_the_rows_of_a_picture():
    views = in_tiles(DRAWN, TileConfig(size=64))[1]["val"]
    rows = views.of(1)
    assert (views.numbers[rows] == 1).all()
    assert (views.numbers == 1).sum() == len(rows)
    assert len(table(views, TileConfig(size=64))) == len(views.numbers)

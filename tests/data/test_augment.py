"""Draws of a batch, and its boxes: distributions are those of torchvision, and the same key is the same change."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from headstart.config.schema import AugmentConfig, Resize
from headstart.data.augment import Changes, TargetArrays, draw
from headstart.data.draws import image_keys, name_digests, uniforms
from headstart.data.transforms import resized_hw
from headstart.data.types import Size
from headstart.data.views import shown_in, views

Box = tuple[float, float, float, float]
SIZE = Size(80, 120)


def keys(number: int, epoch: int = 0) -> np.ndarray:
    return image_keys(0, epoch, name_digests(map(str, range(number))))


def objects(*images: list[Box], rows: int | None = None) -> TargetArrays:
    """Padded; labels count up from 1, areas are half of them."""
    rows = rows or max(1, *map(len, images))
    present = np.array([[row < len(boxes) for row in range(rows)] for boxes in images])
    labels = (np.arange(rows) + 1) * present
    padded = [[*boxes, *[(0.0,) * 4] * (rows - len(boxes))] for boxes in images]
    return {
        "present": present,
        "boxes_xyxy": np.array(padded, np.float32),
        "labels": labels,
        "crowd": labels % 2 == 1,
        "area": labels.astype(np.float32) / 2,
    }


def drawn(
    number: int, hw: tuple[int, int], boxes: list[Box], **settings: Any
) -> tuple[Changes, TargetArrays, np.ndarray]:
    """Of one picture under many keys."""
    config, sizes = AugmentConfig(name="", **settings), np.tile(hw, (number, 1))
    changes, moved, sizes = draw(config, SIZE, keys(number), sizes, objects(*[boxes] * number), np.array([120, 120]))
    assert changes is not None
    return changes, moved, sizes


# ----------------------------------------------------------------------------------------------- distributions


def test_factors_are_even_between_torchvisions_limits() -> None:
    changes, _, _ = drawn(20_000, (80, 100), [], brightness=0.2, contrast=1.0, saturation=0.4, hue=0.05)
    assert changes.factors is not None
    assert changes.hue is not None
    jitter = v2.ColorJitter(0.2, 1.0, 0.4, 0.05)
    limits = jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue
    for factors, limit in zip((*changes.factors.T, changes.hue), limits, strict=True):
        assert limit is not None
        least, largest = limit
        width = largest - least
        assert factors.min() == pytest.approx(least, abs=width / 1000)
        assert factors.max() == pytest.approx(largest, abs=width / 1000)
        assert factors.mean() == pytest.approx((least + largest) / 2, abs=width / 100)
        assert factors.std() == pytest.approx(width / 12**0.5, rel=0.02)


def test_colours_change_in_any_order_equally_often() -> None:
    changes, _, _ = drawn(24_000, (80, 100), [], brightness=0.2, contrast=0.2, saturation=0.4, hue=0.05)
    assert changes.order is not None
    assert changes.hue_place is not None
    orders = Counter(map(tuple, torch.cat([changes.order, changes.hue_place[:, None]], dim=1).tolist()))
    assert len(orders) == 24
    assert all(880 < count < 1120 for count in orders.values())  # 1000, and four standard deviations
    two, _, _ = drawn(2000, (80, 100), [], contrast=0.2, hue=0.1)
    assert two.order is not None
    assert two.hue_place is not None
    assert two.order.unique().tolist() == [1]
    assert two.hue_place.float().mean() == pytest.approx(0.5, abs=0.05)


def test_scales_are_even_and_lie_anywhere() -> None:
    changes, _, _ = drawn(20_000, (80, 100), [], scale_min=0.5, scale_max=1.5)
    assert changes.place_xyxy is not None
    x1, y1, x2, y2 = changes.place_xyxy.double().T
    scale = (y2 - y1) / 80
    assert [scale.min(), scale.max()] == pytest.approx([0.5, 1.5])
    assert scale.mean() == pytest.approx(1, abs=0.01)
    assert scale.std() == pytest.approx(1 / 12**0.5, rel=0.02)
    assert torch.equal(((x2 - x1) / 100 * 80).round(), y2 - y1) or ((x2 - x1) - scale * 100).abs().max() <= 1.2
    free = (100 - (x2 - x1)).abs() > 20
    at = (x1 / (100 - (x2 - x1)))[free]
    assert [at.min(), at.max(), at.mean()] == pytest.approx([0, 1, 0.5], abs=0.03)
    assert np.corrcoef(at, (y1 / (80 - (y2 - y1)))[free])[0, 1] == pytest.approx(0, abs=0.03)


CROPPED = [(10.0, 12.0, 30.0, 50.0), (55.0, 20.0, 95.0, 70.0)]


class Numbers:
    """What `torch.rand` and `torch.randint` give to `RandomIoUCrop` for a picture of 100 x 80: those of a key."""

    def __init__(self, key: np.ndarray) -> None:
        self.rounds = uniforms(key, 60 * 161, first=16).reshape(60, 161).tolist()
        self.rest: list[float] = []
        self.shaped = False

    def randint(self, low: int, high: int, size: tuple[int]) -> Tensor:
        option, *self.rest = self.rounds.pop(0)
        self.shaped = False
        return torch.tensor([low + int(option * (high - low))])

    def rand(self, number: int) -> Tensor:
        """Each trial has four numbers: two for the sides and, where these have an allowed shape, two for the place."""
        pair, self.rest = self.rest[:number], self.rest[number:]
        if self.shaped:
            self.shaped = False
        else:
            width, height = (int(side * (0.3 + 0.7 * share)) for side, share in zip((100, 80), pair, strict=True))
            self.shaped = 0.5 <= width / height <= 2
            self.rest = self.rest if self.shaped else self.rest[2:]
        return torch.tensor(pair, dtype=torch.float64)


def test_crops_are_torchvisions_when_it_is_given_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    changes, _, _ = drawn(100, (80, 100), CROPPED, crop=1.0)
    assert changes.window_xyxy is not None
    for key, window in zip(keys(100), changes.window_xyxy.tolist(), strict=True):
        numbers = Numbers(np.array([key]))
        with monkeypatch.context() as patched:
            patched.setattr(torch, "rand", numbers.rand)
            patched.setattr(torch, "randint", numbers.randint)
            assert window == _their_window(v2.RandomIoUCrop())


@pytest.mark.slow
def test_crops_are_distributed_as_torchvisions() -> None:
    """How often a picture is cropped, and the windows' places and sizes: what 3000 of ours have within the chance of
    that many of theirs."""
    number = 3000
    changes, _, _ = drawn(3000, (80, 100), CROPPED, crop=1.0)
    assert changes.window_xyxy is not None
    ours = changes.window_xyxy.numpy()
    torch.manual_seed(0)
    theirs = np.array([_their_window(v2.RandomIoUCrop()) for _ in range(number)])
    chance = 5 / number**0.5
    assert ours.mean(0) == pytest.approx(theirs.mean(0), abs=chance * theirs.std(0).max())
    assert np.cov(ours.T) == pytest.approx(np.cov(theirs.T), abs=chance * theirs.var(0).max())
    whole = [(windows == [0, 0, 100, 80]).all(1).mean() for windows in (ours, theirs)]
    assert whole[0] == pytest.approx(whole[1], abs=chance / 2)


def _their_window(crop: v2.RandomIoUCrop) -> list[int]:
    boxes = tv_tensors.BoundingBoxes(torch.tensor(CROPPED), format="XYXY", canvas_size=(80, 100))
    params = crop.make_params([torch.zeros(3, 80, 100), boxes])
    if not params:
        return [0, 0, 100, 80]
    left, top = params["left"], params["top"]
    return [left, top, left + params["width"], top + params["height"]]


def test_crops_and_flips_come_as_often_as_they_should() -> None:
    changes, _, _ = drawn(5000, (80, 100), CROPPED, crop=0.3, hflip=0.2, vflip=0.7)
    always, _, _ = drawn(5000, (80, 100), CROPPED, crop=1.0)
    assert changes.flip_x is not None
    assert changes.flip_y is not None
    assert changes.flip_x.float().mean() == pytest.approx(0.2, abs=0.025)
    assert changes.flip_y.float().mean() == pytest.approx(0.7, abs=0.025)
    assert _cropped(changes) == pytest.approx(0.3 * _cropped(always), abs=0.025)


def _cropped(changes: Changes) -> float:
    assert changes.window_xyxy is not None
    return (changes.window_xyxy != torch.tensor([0.0, 0, 100, 80])).any(1).double().mean().item()


# ------------------------------------------------------------------------------------------- sizes and boxes


def test_crops_are_resized_as_pictures_are_and_stay_on_their_canvas() -> None:
    changes, _, sizes = drawn(500, (80, 100), CROPPED, crop=1.0)
    assert changes.window_xyxy is not None
    x1, y1, x2, y2 = changes.window_xyxy.int().T.tolist()
    for size, *window in zip(sizes.tolist(), x1, y1, x2, y2, strict=True):
        width, height = window[2] - window[0], window[3] - window[1]
        wanted = resized_hw((height, width), *SIZE)
        assert tuple(size) == ((80, 100) if (width, height) == (100, 80) else wanted)
    config, objects_ = AugmentConfig(name="", crop=1.0), objects(*[CROPPED] * 500)
    _, _, narrow = draw(config, SIZE, keys(500), np.tile((80, 100), (500, 1)), objects_, np.array([80, 100]))
    assert (narrow <= [80, 100]).all()
    assert (narrow == [80, 100]).any(1).all()  # as large as fits
    fits = (sizes <= [80, 100]).all(1)
    assert 0 < fits.sum() < 500
    assert narrow[fits].tolist() == sizes[fits].tolist()


def test_stretched_crops_are_squares() -> None:
    config, size = AugmentConfig(name="", crop=1.0), Size(64, 64, Resize.stretch)
    boxes = objects(*[[(5.0, 5.0, 40.0, 40.0)]] * 50)
    _, _, sizes = draw(config, size, keys(50), np.full((50, 2), 64), boxes, np.array([64, 64]))
    assert np.unique(sizes).tolist() == [64]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("hflip", [[60.0, 20.0, 90.0, 35.0], [0.0, 0.0, 1.0, 1.0]]),
        ("vflip", [[10.0, 45.0, 40.0, 60.0], [99.0, 79.0, 100.0, 80.0]]),
    ],
)
def test_flipped_boxes_are_those_computed_by_hand(setting: str, expected: list[list[float]]) -> None:
    """In 100x80 pixels; the second box is one pixel in the corner."""
    _, moved, _ = drawn(1, (80, 100), [(10, 20, 40, 35), (99, 0, 100, 1)], **{setting: 1.0})
    assert moved["boxes_xyxy"][0].tolist() == expected
    assert moved["labels"].tolist() == [[1, 2]]
    assert moved["crowd"].tolist() == [[True, False]]


def test_none_changes_nothing() -> None:
    given, sizes = objects(CROPPED, []), np.array([[80, 100], [60, 40]])
    changes, same, same_sizes = draw(AugmentConfig(name="none"), SIZE, keys(2), sizes, given, sizes)
    assert changes is None
    assert same is given
    assert same_sizes is sizes


def test_objects_go_with_their_centre_and_the_others_close_up_with_all_that_is_said_of_them() -> None:
    """Doubled around its middle, a 100 x 80 picture shows its columns 25 to 75 and rows 20 to 60."""
    boxes = [(0.0, 30.0, 49.0, 50.0), (40.0, 30.0, 60.0, 50.0), (70.0, 30.0, 90.0, 50.0), (30.0, 10.0, 50.0, 50.0)]
    _, moved, _ = drawn(1, (80, 100), boxes, scales=[2.0])
    assert moved["present"].tolist() == [[True, True, False, False]]
    assert moved["labels"].tolist() == [[2, 4, 0, 0]]
    assert moved["area"].tolist() == [[1.0, 2.0, 0, 0]]
    assert moved["boxes_xyxy"][0].tolist() == [[30, 20, 70, 60], [10, 0, 50, 60], [0] * 4, [0] * 4]


def test_objects_smaller_than_a_pixel_are_kept() -> None:
    _, moved, _ = drawn(1, (60, 60), [(10.0, 10.0, 10.5, 10.4)], hflip=1.0)
    assert moved["present"].tolist() == [[True]]


def test_pictures_without_objects_and_of_a_pixel_are_drawn_as_others_are() -> None:
    _, moved, sizes = drawn(100, (60, 80), [], crop=1.0, scale_min=0.5, scale_max=2.0)
    assert not moved["present"].any()
    assert np.unique(sizes, axis=0).tolist() == [[60, 80]]
    _, moved, sizes = drawn(100, (1, 2), [(0.0, 0.0, 2.0, 1.0)], crop=1.0, scale_min=0.5, scale_max=2.0)
    assert (sizes >= 1).all()


# ---------------------------------------------------------------------------------------------- same key, same change

ALL = {"hflip": 0.5, "vflip": 0.5, "brightness": 0.3, "contrast": 0.4, "hue": 0.1, "scale_min": 0.6, "scale_max": 1.6}
ALL = AugmentConfig(name="all", saturation=0.3, crop=0.7, **ALL)


def test_a_key_draws_the_same_whatever_else_is_in_the_batch() -> None:
    sizes = np.array([[80, 100], [80, 60], [70, 120], [80, 80]] * 10)
    given = objects(*[CROPPED, [(5.0, 5.0, 50.0, 60.0)], [], CROPPED] * 10)
    together, moved, shown = draw(ALL, SIZE, keys(40), sizes, given, np.array([120, 120]))
    assert together is not None
    for some in ([7], [39, 0, 12]):
        part = {name: column[some] for name, column in given.items()}
        alone, moved_alone, shown_alone = draw(ALL, SIZE, keys(40)[some], sizes[some], part, np.array([120, 120]))
        assert alone is not None
        for name, value in vars(alone).items():
            assert name == "taps" or torch.equal(value, vars(together)[name][some])
        assert all((column == moved[name][some]).all() for name, column in moved_alone.items())
        assert (shown_alone == shown[some]).all()


def test_a_view_is_what_is_drawn_when_it_is_drawn() -> None:
    config, sizes = AugmentConfig(name="", hflip=0.5, vflip=0.5, scales=[1.0, 0.75, 1.3]), np.tile((80, 100), (60, 1))
    _, moved, shown = draw(config, SIZE, keys(60), sizes, objects(*[CROPPED] * 60), sizes)
    known = views(config)
    assert known is not None
    for number, view in enumerate(known):
        these = shown_in(config, keys(60)) == number
        these_keys, given = keys(60, epoch=9)[these], objects(*[CROPPED] * int(these.sum()))
        _, viewed, viewed_sizes = draw(view.augment, SIZE, these_keys, sizes[these], given, sizes[these])
        assert (viewed_sizes == shown[these]).all()
        assert all((column == moved[name][these]).all() for name, column in viewed.items())

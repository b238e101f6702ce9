"""Pixels of a batch: as torchvision changes each picture by itself, with the same parameters."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from headstart.config.schema import AugmentConfig
from headstart.data.augment import Changes, draw
from headstart.data.colours import recolour
from headstart.data.render import FILL, render
from headstart.data.types import Size
from headstart.data.views import shown_in, views
from tests.waiting import no_waiting

from .test_augment import ALL, Box, keys, objects

CANVAS = 64, 72
SIZES = [(61, 55), (64, 72), (40, 71), (33, 20), (64, 41), (51, 51)]
SIZE = Size(64, 72)


def pictures(sizes: list[tuple[int, int]] = SIZES, canvas: tuple[int, int] = CANVAS) -> Tensor:
    """(N, 3, H, W): smooth colours with some noise, on a canvas of zeros."""
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(len(sizes), 3, *canvas, dtype=torch.uint8)
    for place, (height, width) in zip(images, sizes, strict=True):
        smooth = torch.rand(1, 3, 7, 7, generator=generator) * 255
        smooth = torch.nn.functional.interpolate(smooth, (height, width), mode="bicubic")[0]
        noise = torch.randint(-9, 10, smooth.shape, generator=generator)
        place[:, :height, :width] = (smooth + noise).clamp(0, 255).to(torch.uint8)
    return images


def rendered(
    images: Tensor, sizes: list[tuple[int, int]], boxes: list[list[Box]] | None = None, seed: int = 0, **changes: Any
) -> tuple[Tensor, Changes, np.ndarray]:
    hw, found = np.array(sizes), objects(*(boxes or [[(5.0, 5.0, 18.0, 16.0)]] * len(sizes)))
    made, _, shown = draw(AugmentConfig("", **changes), SIZE, keys(len(sizes), seed), hw, found, np.array(CANVAS))
    assert made is not None
    return render(images, torch.from_numpy(hw), made, CANVAS), made, shown


def cut(images: Tensor, sizes: Any) -> list[Tensor]:
    return [image[:, :height, :width] for image, (height, width) in zip(images, sizes, strict=True)]


def difference(one: Tensor, other: Tensor) -> int:
    assert one.shape == other.shape
    return int((one.int() - other.int()).abs().max())


# -------------------------------------------------------------------------------------------------- colours


@pytest.mark.parametrize("setting", ["brightness", "contrast", "saturation", "hue"])
def test_each_change_of_colour_is_torchvisions_to_a_grey_level(setting: str) -> None:
    images = pictures()
    after, changes, _ = rendered(images, SIZES, **{setting: 0.4})
    factors = changes.hue if setting == "hue" else changes.factors
    assert factors is not None
    factors = factors if setting == "hue" else factors[:, ["brightness", "contrast", "saturation"].index(setting)]
    adjust = getattr(F, f"adjust_{setting}")
    for before, ours, factor in zip(cut(images, SIZES), cut(after, SIZES), factors.tolist(), strict=True):
        assert difference(ours, adjust(before, factor)) <= 1
        assert difference(ours, before) > 1


@pytest.mark.parametrize("seed", range(6))
def test_colours_change_one_after_another_as_torchvisions_do_on_unrounded_pixels(seed: int) -> None:
    images = pictures()
    strength = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.3}
    after, changes, _ = rendered(images, SIZES, seed=seed, **strength)
    pixels = [image.double() / 255 for image in cut(images, SIZES)]
    for number, ours in enumerate(cut(after, SIZES)):
        expected = _in_order(pixels[number], changes, number)
        apart = ours - expected * 255  # where greys are whole numbers, and the end is
        assert apart.abs().max() < 1.5
        assert apart.abs().mean() < 0.35
        assert apart.mean() == pytest.approx(0, abs=0.05)
    outside = torch.ones(after.shape, dtype=torch.bool)
    for place, (height, width) in zip(outside, SIZES, strict=True):
        place[:, :height, :width] = False
    assert not after[outside].any()


def _in_order(pixels: Tensor, changes: Changes, number: int) -> Tensor:
    assert changes.factors is not None
    assert changes.order is not None
    assert changes.hue is not None
    assert changes.hue_place is not None
    operations = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation]
    steps = [(operations[kind], changes.factors[number, kind].item()) for kind in changes.order[number].tolist()]
    steps.insert(int(changes.hue_place[number]), (_turned_hue, changes.hue[number].item()))
    for operation, factor in steps:
        pixels = operation(pixels, factor)
    return pixels


def _turned_hue(pixels: Tensor, turns: float) -> Tensor:
    """torchvision's takes float32 alone."""
    return F.adjust_hue(pixels.float(), turns).double()


# ------------------------------------------------------------------------------------------------- what moves


@pytest.mark.parametrize(("setting", "axis"), [("hflip", 2), ("vflip", 1)])
def test_flips_are_exact_within_each_picture(setting: str, axis: int) -> None:
    images = pictures()
    after, _, _ = rendered(images, SIZES, **{setting: 1.0})
    for before, ours, whole in zip(cut(images, SIZES), cut(after, SIZES), after, strict=True):
        assert torch.equal(ours, before.flip(axis))
        assert int(whole.count_nonzero()) == int(before.count_nonzero())


def test_a_flip_in_resampled_pictures_is_that_of_the_resampled_picture() -> None:
    images, moving = pictures(), {"scale_min": 0.6, "scale_max": 1.6, "crop": 0.7}
    straight, _, sizes = rendered(images, SIZES, **moving)
    flipped, _, _ = rendered(images, SIZES, hflip=1.0, vflip=1.0, **moving)
    for one, other in zip(cut(straight, sizes), cut(flipped, sizes), strict=True):
        assert difference(one.flip(1, 2), other) <= 1


@pytest.mark.parametrize(("least", "most"), [(0.3, 0.9), (0.9, 1.1), (1.1, 2.5)])
def test_scale_jitter_is_torchs_antialiased_resize_then_padding_and_cutting(least: float, most: float) -> None:
    images = pictures()
    after, changes, _ = rendered(images, SIZES, scale_min=least, scale_max=most)
    assert changes.place_xyxy is not None
    places = changes.place_xyxy.int().tolist()
    for before, ours, (x1, y1, x2, y2) in zip(cut(images, SIZES), cut(after, SIZES), places, strict=True):
        scaled = F.resize(before, [y2 - y1, x2 - x1], antialias=True)
        height, width = before.shape[1:]
        padding = [max(0, x1), max(0, y1), max(0, width - x2), max(0, height - y2)]
        expected = F.crop(F.pad(scaled, padding, fill=list(FILL)), max(0, -y1), max(0, -x1), height, width)
        assert difference(ours, expected) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_crop_is_torchs_crop_then_its_antialiased_resize(seed: int) -> None:
    images = pictures()
    after, changes, sizes = rendered(images, SIZES, seed=seed, crop=1.0)
    assert changes.window_xyxy is not None
    windows = changes.window_xyxy.int().tolist()
    for before, ours, (x1, y1, x2, y2) in zip(cut(images, SIZES), cut(after, sizes), windows, strict=True):
        expected = F.resized_crop(before, y1, x1, y2 - y1, x2 - x1, list(ours.shape[1:]), antialias=True)
        assert difference(ours, expected) <= 1
        if (x2 - x1, y2 - y1) == before.shape[:0:-1]:
            assert torch.equal(ours, before)  # not resampled


# ------------------------------------------------------------------------------------------- boxes and pixels


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    """Width, height and a rectangle of at least 8 pixels a side."""
    width, height = draw(st.integers(60, 160)), draw(st.integers(60, 160))
    x1, y1 = draw(st.integers(0, width - 8)), draw(st.integers(0, height - 8))
    return width, height, (x1, y1, draw(st.integers(x1 + 8, width)), draw(st.integers(y1 + 8, height)))


MOVING = AugmentConfig(name="", hflip=0.5, vflip=0.5, scale_min=0.5, scale_max=2.0, crop=0.7)


@given(st.lists(rectangles(), min_size=3, max_size=3), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_boxes_follow_scale_crop_and_flips_to_the_pixel(
    drawn: list[tuple[int, int, tuple[int, int, int, int]]], epoch: int
) -> None:
    sizes, images = np.array([(height, width) for width, height, _ in drawn]), torch.zeros(3, 3, 160, 160).byte()
    for image, (_, _, (x1, y1, x2, y2)) in zip(images, drawn, strict=True):
        image[:, y1:y2, x1:x2] = 255
    given_objects = objects(*[[box] for _, _, box in drawn])
    changes, moved, shown = draw(MOVING, Size(160, 160), keys(3, epoch), sizes, given_objects, np.array([160, 160]))
    after = cut(render(images, torch.from_numpy(sizes), changes, (160, 160)), shown)
    for image, box, present in zip(after, moved["boxes_xyxy"][:, 0], moved["present"][:, 0], strict=True):
        seen = _white_bounds(image)
        if present:  # else its centre left the picture
            # Interpolation moves an edge by at most one pixel of the source.
            assert box.tolist() == pytest.approx(seen, abs=1.0)
        else:
            height, width = image.shape[1:]
            assert not seen or seen[0] <= 1 or seen[1] <= 1 or seen[2] >= width - 1 or seen[3] >= height - 1


def _white_bounds(image: Tensor) -> list[float]:
    """Bounds of the pixels that are more white than black; the padding's colour counts as black."""
    ys, xs = (image.amin(dim=0) > 127).nonzero(as_tuple=True)
    return [float(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)] if len(xs) else []


def test_labels_stay_with_their_boxes() -> None:
    """Each object's label is the grey value that it is painted with."""
    boxes: list[Box] = [(x, y, x + 12, y + 12) for x in range(4, 180, 20) for y in range(4, 120, 20)]
    image = torch.zeros(3, 140, 200, dtype=torch.uint8)
    for label, (x1, y1, x2, y2) in enumerate(boxes, 1):
        image[:, int(y1) : int(y2), int(x1) : int(x2)] = 130 + label
    sizes, all_objects = np.tile((140, 200), (20, 1)), objects(*[boxes] * 20)
    changes, moved, _ = draw(MOVING, Size(140, 200), keys(20), sizes, all_objects, np.array([200, 200]))
    after = render(image.expand(20, -1, -1, -1), torch.from_numpy(sizes), changes, (200, 200))
    # Of small ones at half size, the middle is still of one colour where their box is not clipped.
    for picture, found, labels, present in zip(
        after, moved["boxes_xyxy"], moved["labels"], moved["present"], strict=True
    ):
        for (x1, y1, x2, y2), label in zip(found[present].tolist(), labels[present].tolist(), strict=True):
            if min(x2 - x1, y2 - y1) > 5:
                assert picture[0, int((y1 + y2) / 2), int((x1 + x2) / 2)] == 130 + label


# ------------------------------------------------------------------------------------------------- of a batch


@pytest.mark.parametrize("colour", [0.0, 0.3])
def test_a_picture_comes_out_the_same_to_the_bit_alone_and_among_others_on_any_canvas(colour: float) -> None:
    config = AugmentConfig(
        **vars(ALL) | {"brightness": colour, "contrast": colour, "saturation": colour, "hue": colour}
    )
    sizes, found = np.array(SIZES), objects(*[[(5.0, 5.0, 18.0, 16.0)]] * len(SIZES))
    changes, _, shown = draw(config, SIZE, keys(len(SIZES)), sizes, found, sizes)
    together = cut(render(pictures(canvas=(70, 90)), torch.from_numpy(sizes), changes, (70, 90)), shown)
    for number in range(len(SIZES)):
        own, one = slice(number, number + 1), {name: column[number : number + 1] for name, column in found.items()}
        changes, _, shown = draw(config, SIZE, keys(len(SIZES))[own], sizes[own], one, sizes[own])
        alone = render(pictures()[own], torch.from_numpy(sizes[own]), changes, CANVAS)
        assert torch.equal(cut(alone, shown)[0], together[number])


def test_colours_are_the_same_before_they_are_rounded_too() -> None:
    """A mean that depends on what is summed beside it would show here before it shows in a grey level."""
    _, changes, _ = rendered(pictures(), SIZES, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    fields = changes.factors, changes.order, changes.hue, changes.hue_place
    sizes = torch.tensor(SIZES)
    together = recolour(pictures(canvas=(67, 101)).float(), sizes, *fields)
    for number, (height, width) in enumerate(SIZES):
        own = slice(number, number + 1)
        alone = recolour(pictures()[own].float(), sizes[own], *(field[own] for field in fields))
        assert torch.equal(alone[0, :, :height, :width], together[number, :, :height, :width])


def test_a_view_is_what_is_shown_when_it_is_drawn() -> None:
    config, sizes = AugmentConfig(name="", hflip=0.5, scales=[1.0, 0.75, 1.3]), np.tile(SIZES[0], (40, 1))
    images, hw = pictures(SIZES[:1]).expand(40, -1, -1, -1), torch.from_numpy(sizes)
    changes, _, _ = draw(config, SIZE, keys(40), sizes, objects(*[[]] * 40), sizes)
    shown, known = render(images, hw, changes, CANVAS), views(config)
    assert known is not None
    for number, view in enumerate(known):
        these = shown_in(config, keys(40)) == number
        changes, _, _ = draw(view.augment, SIZE, keys(1, epoch=9), sizes[:1], objects([]), sizes[:1])
        assert (shown[torch.from_numpy(these)] == render(images[:1], hw[:1], changes, CANVAS)).all()


def test_nothing_waits_for_the_device() -> None:
    images, sizes = pictures(), torch.tensor(SIZES)
    changes, _, _ = draw(ALL, SIZE, keys(len(SIZES)), np.array(SIZES), objects(*[[]] * len(SIZES)), np.array(CANVAS))
    flipped = AugmentConfig(name="", hflip=1.0)
    flips, _, _ = draw(flipped, SIZE, keys(len(SIZES)), np.array(SIZES), objects(*[[]] * len(SIZES)), np.array(CANVAS))
    with no_waiting():
        render(images, sizes, changes, CANVAS)
        render(images, sizes, flips, CANVAS)

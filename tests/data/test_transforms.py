"""Resized pictures, and their boxes."""

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from headstart.config.schema import Resize
from headstart.data.objects import Objects
from headstart.data.table import ImageTable
from headstart.data.transforms import resize, resized_hw
from headstart.data.types import AnnotatedImage, Size

Box = tuple[int, int, int, int]


def marked(width: int, height: int, box: Box) -> Tensor:
    """A black picture with one white rectangle."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = 255
    return image


def seen_boxes(size_wh: tuple[int, int], boxes: list[Box], size: Size) -> Tensor:
    """As a detector is taught them: what the pixels become is the other half of it."""
    no = np.zeros(len(boxes), bool)
    image = AnnotatedImage(
        "",
        lambda: PIL.Image.new("RGB", size_wh),
        size_wh,
        np.array(boxes, float),
        no.astype(int),
        no,
        no,
        np.ones(len(no)),
    )
    return Objects.of(ImageTable.of([image]), size, len(boxes)).take(np.array([0])).boxes_xyxy[0]


def white_bounds(image: Tensor) -> list[float]:
    """Bounds of the pixels that are more white than black; the padding's colour counts as black."""
    ys, xs = (image.amin(dim=0) > 127).nonzero(as_tuple=True)
    return [float(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)] if len(xs) else []


@st.composite
def pictures(draw: st.DrawFn, smallest: int) -> tuple[int, int, Box]:
    """Width, height and a rectangle of at least `smallest` pixels a side."""
    width, height = draw(st.integers(60, 160)), draw(st.integers(60, 160))
    x1, y1 = draw(st.integers(0, width - smallest)), draw(st.integers(0, height - smallest))
    x2, y2 = draw(st.integers(x1 + smallest, width)), draw(st.integers(y1 + smallest, height))
    return width, height, (x1, y1, x2, y2)


@pytest.mark.parametrize(
    ("image_hw", "expected"),
    [
        ((480, 640), (240, 320)),  # both limits at once
        ((640, 480), (320, 240)),  # portrait
        ((500, 500), (240, 240)),  # short side decides
        ((100, 400), (80, 320)),  # long side decides
        ((60, 80), (240, 320)),  # up
        ((333, 500), (213, 320)),  # 333 * 0.64 = 213.12
        ((1, 2000), (1, 320)),  # never empty
    ],
)
def test_resized_sizes_are_those_computed_by_hand(image_hw: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_hw(image_hw, 240, 320) == expected
    image = resize(torch.zeros(3, *image_hw, dtype=torch.uint8), 240, 320)
    assert tuple(image.shape) == (3, *expected)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(32, 400), st.integers(0, 300))
def test_one_limit_is_met_and_none_exceeded(height: int, width: int, min_size: int, more: int) -> None:
    new_hw = resized_hw((height, width), min_size, min_size + more)
    assert min(new_hw) <= min_size
    assert max(new_hw) <= min_size + more
    assert min(new_hw) == min_size or max(new_hw) == min_size + more
    assert resized_hw(new_hw, min_size, min_size + more) == new_hw


def test_boxes_are_scaled_by_the_exact_ratio_of_each_axis() -> None:
    """333 rows become 213, not 213.12: the ratio of the heights is 213/333."""
    boxes = seen_boxes((500, 333), [(50, 111, 500, 333)], Size(240, 320))
    assert boxes.tolist() == [pytest.approx([32.0, 71.0, 320.0, 213.0])]


@given(pictures(smallest=8), st.integers(32, 200))
@settings(max_examples=40, deadline=None)
def test_resized_boxes_bound_the_resized_rectangle(picture: tuple[int, int, Box], min_size: int) -> None:
    width, height, box = picture
    image = resize(marked(width, height, box), min_size, 2 * min_size)
    boxes = seen_boxes((width, height), [box], Size(min_size, 2 * min_size))
    assert boxes[0].tolist() == pytest.approx(white_bounds(image), abs=1.0)


@pytest.mark.parametrize("size_wh", [(640, 480), (90, 120)])
def test_pixels_are_those_of_pillows_antialiased_bilinear_resize(size_wh: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    ours = resize(torch.from_numpy(noise).permute(2, 0, 1).contiguous(), 240, 320)
    height, width = ours.shape[1:]
    theirs = np.asarray(PIL.Image.fromarray(noise).resize((width, height), PIL.Image.Resampling.BILINEAR))
    assert np.abs(ours.permute(1, 2, 0).numpy().astype(int) - theirs.astype(int)).max() <= 1


def test_a_stretched_picture_is_a_square_and_its_boxes_move_by_the_ratio_of_each_axis() -> None:
    """200 x 100 becomes 96 x 96: x times 0.48, y times 0.96."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    moved = seen_boxes((200, 100), [(20, 10, 120, 60), (0, 0, 200, 100)], Size(96, 96, Resize.stretch))
    image = resize(torch.from_numpy(noise).permute(2, 0, 1).contiguous(), 96, 96, Resize.stretch)
    theirs = np.asarray(PIL.Image.fromarray(noise).resize((96, 96), PIL.Image.Resampling.BILINEAR))
    assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - theirs.astype(int)).max() <= 1
    assert moved.tolist() == [pytest.approx([9.6, 9.6, 57.6, 57.6]), pytest.approx([0, 0, 96, 96])]

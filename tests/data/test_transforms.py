"""Pictures and boxes move together."""

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import tv_tensors

from headstart.config.schema import AugmentConfig, Resize
from headstart.data.transforms import RandomScale, build_augmentation, resize, resized_hw, wrap_boxes

Box = tuple[int, int, int, int]


def marked(width: int, height: int, box: Box) -> Tensor:
    """A black picture with one white rectangle."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = 255
    return image


def white_bounds(image: Tensor) -> list[float]:
    """Bounds of the pixels that are more white than black; the padding's colour counts as black."""
    ys, xs = (image.amin(dim=0) > 127).nonzero(as_tuple=True)
    return [float(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)] if len(xs) else []


def sample(image: Tensor, boxes: list[Box]) -> tuple[Tensor, dict[str, Tensor]]:
    labels = torch.arange(len(boxes))
    target = wrap_boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), (image.shape[1], image.shape[2]))
    rows = {"boxes_xyxy": target, "labels": labels, "crowd": labels % 2 == 1, "area": labels / 2}
    return tv_tensors.Image(image), rows


@st.composite
def pictures(draw: st.DrawFn, smallest: int) -> tuple[int, int, Box]:
    """Width, height and a rectangle of at least `smallest` pixels a side."""
    width, height = draw(st.integers(60, 160)), draw(st.integers(60, 160))
    x1, y1 = draw(st.integers(0, width - smallest)), draw(st.integers(0, height - smallest))
    x2, y2 = draw(st.integers(x1 + smallest, width)), draw(st.integers(y1 + smallest, height))
    return width, height, (x1, y1, x2, y2)


@given(pictures(smallest=8), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_boxes_follow_scale_crop_and_flips_to_the_pixel(picture: tuple[int, int, Box], seed: int) -> None:
    width, height, box = picture
    config = AugmentConfig(name="all", hflip=0.5, vflip=0.5, scale_min=0.5, scale_max=2.0, crop=0.7)
    torch.manual_seed(seed)
    image, target = build_augmentation(config)(*sample(marked(width, height, box), [box]))
    seen = white_bounds(image)
    if len(target["boxes_xyxy"]):  # else its centre left the picture
        # Interpolation moves an edge by at most one pixel.
        assert target["boxes_xyxy"][0].tolist() == pytest.approx(seen, abs=1.0)
    else:
        assert not seen or _seen_share(seen, image) < 1


def _seen_share(seen: list[float], image: Tensor) -> float:
    """Less than 1 where the rectangle touches the picture's edge: it goes on outside."""
    height, width = image.shape[-2:]
    inside = seen[0] > 1 and seen[1] > 1 and seen[2] < width - 1 and seen[3] < height - 1
    return 1.0 if inside else 0.5


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("hflip", [[60.0, 20.0, 90.0, 35.0], [0.0, 0.0, 1.0, 1.0]]),
        ("vflip", [[10.0, 45.0, 40.0, 60.0], [99.0, 79.0, 100.0, 80.0]]),
    ],
)
def test_flipped_boxes_are_those_computed_by_hand(setting: str, expected: list[list[float]]) -> None:
    """In 100x80 pixels; the second box is one pixel in the corner."""
    boxes = [(10, 20, 40, 35), (99, 0, 100, 1)]
    _, target = build_augmentation(AugmentConfig(name="flip", **{setting: 1.0}))(
        *sample(torch.zeros(3, 80, 100, dtype=torch.uint8), boxes)
    )
    assert target["boxes_xyxy"].tolist() == expected
    assert target["labels"].tolist() == [0, 1]
    assert target["crowd"].tolist() == [False, True]
    assert target["area"].tolist() == [0, 0.5]


def test_none_changes_nothing() -> None:
    image, target = sample(torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8), [(0, 0, 70, 50), (3, 4, 5, 6)])
    same, kept = build_augmentation(AugmentConfig(name="none"))(image, target)
    assert torch.equal(same, image)
    assert all(torch.equal(kept[key], target[key]) for key in target)


def test_objects_smaller_than_a_pixel_are_kept() -> None:
    """torchvision's SanitizeBoundingBoxes would drop them, and with them every crowd seen from far."""
    image, target = sample(torch.zeros(3, 60, 60, dtype=torch.uint8), [(10, 10, 20, 20)])
    target["boxes_xyxy"] = wrap_boxes(torch.tensor([[10.0, 10.0, 10.5, 10.4]]), (60, 60))
    _, kept = build_augmentation(AugmentConfig(name="flip", hflip=1.0))(image, target)
    assert kept["boxes_xyxy"].shape == (1, 4)


@pytest.mark.parametrize("seed", range(20))
def test_labels_flags_and_areas_stay_with_their_boxes(seed: int) -> None:
    """Each object's label is the grey value that it is painted with."""
    boxes = [(x, y, x + 12, y + 12) for x in range(4, 180, 20) for y in range(4, 120, 20)]
    image = torch.zeros(3, 140, 200, dtype=torch.uint8)
    for label, (x1, y1, x2, y2) in enumerate(boxes):
        image[:, y1:y2, x1:x2] = 130 + label
    torch.manual_seed(seed)
    config = AugmentConfig(name="all", hflip=0.5, vflip=0.5, scale_min=0.8, scale_max=2.0, crop=0.5)
    warped, target = build_augmentation(config)(*sample(image, boxes))
    assert 0 < len(target["boxes_xyxy"]) <= len(boxes)
    for box, label in zip(target["boxes_xyxy"].tolist(), target["labels"].tolist(), strict=True):
        x, y = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
        assert warped[0, y, x] == 130 + label
    assert target["crowd"].tolist() == (target["labels"] % 2 == 1).tolist()
    assert target["area"].tolist() == (target["labels"] / 2).tolist()


@pytest.mark.parametrize("seed", range(10))
def test_pictures_without_objects_are_augmented_too(seed: int) -> None:
    torch.manual_seed(seed)
    config = AugmentConfig(name="all", hflip=0.5, brightness=0.3, hue=0.1, scale_min=0.5, scale_max=2.0, crop=1.0)
    image, target = build_augmentation(config)(*sample(torch.full((3, 60, 80), 99, dtype=torch.uint8), []))
    assert image.dtype == torch.uint8
    assert target["boxes_xyxy"].shape == (0, 4)
    assert target["labels"].shape == target["crowd"].shape == target["area"].shape == (0,)


def test_scale_jitter_keeps_the_size_and_covers_its_range() -> None:
    box = (40, 40, 60, 60)
    torch.manual_seed(0)
    sides = []
    for _ in range(200):
        image, target = RandomScale(0.5, 1.5)(*sample(marked(100, 90, box), [box]))
        assert image.shape == (3, 90, 100)
        x1, y1, x2, y2 = target["boxes_xyxy"][0].tolist()
        if x1 > 0 and x2 < 100 and y1 > 0 and y2 < 90:
            sides.append(x2 - x1)
    assert min(sides) == pytest.approx(10, abs=1)
    assert max(sides) == pytest.approx(30, abs=1)


@pytest.mark.parametrize("setting", ["brightness", "contrast", "saturation", "hue"])
def test_each_colour_setting_changes_the_colours_and_no_box(setting: str) -> None:
    image, target = sample(torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8), [(1, 2, 30, 40)])
    torch.manual_seed(0)
    changed, kept = build_augmentation(AugmentConfig(name="colour", **{setting: 0.4}))(image, target)
    assert not torch.equal(changed, image)
    assert torch.equal(kept["boxes_xyxy"], target["boxes_xyxy"])


# ----------------------------------------------------------------------------------------------------- resizing


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
    image, _ = resize(torch.zeros(3, *image_hw, dtype=torch.uint8), torch.zeros(0, 4), 240, 320)
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
    _, boxes = resize(
        torch.zeros(3, 333, 500, dtype=torch.uint8), torch.tensor([[50.0, 111.0, 500.0, 333.0]]), 240, 320
    )
    assert boxes.tolist() == [pytest.approx([32.0, 71.0, 320.0, 213.0])]


@given(pictures(smallest=8), st.integers(32, 200))
@settings(max_examples=40, deadline=None)
def test_resized_boxes_bound_the_resized_rectangle(picture: tuple[int, int, Box], min_size: int) -> None:
    width, height, box = picture
    image, boxes = resize(marked(width, height, box), torch.tensor([box], dtype=torch.float32), min_size, 2 * min_size)
    assert boxes[0].tolist() == pytest.approx(white_bounds(image), abs=1.0)


@pytest.mark.parametrize("size_wh", [(640, 480), (90, 120)])
def test_pixels_are_those_of_pillows_antialiased_bilinear_resize(size_wh: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    ours, _ = resize(torch.from_numpy(noise).permute(2, 0, 1).contiguous(), torch.zeros(0, 4), 240, 320)
    height, width = ours.shape[1:]
    theirs = np.asarray(PIL.Image.fromarray(noise).resize((width, height), PIL.Image.Resampling.BILINEAR))
    assert np.abs(ours.permute(1, 2, 0).numpy().astype(int) - theirs.astype(int)).max() <= 1


def test_a_stretched_picture_is_a_square_and_its_boxes_move_by_the_ratio_of_each_axis() -> None:
    """200 x 100 becomes 96 x 96: x times 0.48, y times 0.96."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    boxes = torch.tensor([[20.0, 10.0, 120.0, 60.0], [0.0, 0.0, 200.0, 100.0]])
    image, moved = resize(torch.from_numpy(noise).permute(2, 0, 1).contiguous(), boxes, 96, 96, Resize.stretch)
    theirs = np.asarray(PIL.Image.fromarray(noise).resize((96, 96), PIL.Image.Resampling.BILINEAR))
    assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - theirs.astype(int)).max() <= 1
    assert moved.tolist() == [pytest.approx([9.6, 9.6, 57.6, 57.6]), pytest.approx([0, 0, 96, 96])]
